"""The synchronous client: complete, and the same in what it does and raises."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator

import pytest

from goldengrain.gateway import contract, endorser, gateway, network, sync, transaction
from goldengrain.gateway.blocking import LOOP, BackgroundLoop, Blocking
from goldengrain.gateway.errors import DeliverError, EndorseError, GatewayError, SigningError
from goldengrain.gateway.events import ChaincodeEventsRequest
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.market import client, consortium, enclaves, offers, tasks
from goldengrain.gateway.market import credits as market_credits
from goldengrain.gateway.market import sync as market_sync
from goldengrain.gateway.streams import EventStream
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import ServerDouble

PAIRS: list[tuple[type, type]] = [
    (gateway.Gateway, sync.Gateway),
    (network.Network, sync.Network),
    (contract.Contract, sync.Contract),
    (transaction.Proposal, sync.Proposal),
    (transaction.Transaction, sync.Transaction),
    (transaction.Commit, sync.Commit),
    (ChaincodeEventsRequest, sync.EventsRequest),
    (EventStream, sync.Stream),
    (endorser.Endorser, sync.Endorser),
    (client.Market, market_sync.Market),
    (consortium.Consortium, market_sync.Consortium),
    (market_credits.Credits, market_sync.Credits),
    (enclaves.Enclaves, market_sync.Enclaves),
    (tasks.Tasks, market_sync.Tasks),
    (offers.Offers, market_sync.Offers),
]


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("asynchronous", "synchronous"), PAIRS, ids=[pair[0].__name__ for pair in PAIRS])
def test_nothing_is_missing(asynchronous: type, synchronous: type) -> None:
    assert public(asynchronous) <= public(synchronous)
    added = public(synchronous) - public(asynchronous) - set(vars(Blocking)) - {"asynchronous"}
    instance = inspect.getsource(asynchronous.__init__)
    assert {name for name in added if f"self.{name} =" not in instance} <= {"on"}


def test_documentation_is_the_asynchronous_methods() -> None:
    assert vars(sync.Contract)["submit"].__doc__ == contract.Contract.submit.__doc__
    assert sync.Contract(object()).submit.__name__ == "submit"  # type: ignore[arg-type]


@pytest.fixture
def double() -> Iterator[ServerDouble]:
    double = ServerDouble()
    double.endpoint = LOOP.run(double.start())
    yield double
    LOOP.run(double.stop())


@pytest.fixture
def person(double: ServerDouble) -> Credentials:
    return double.ledger.members[0].user


@pytest.fixture
def connected(double: ServerDouble, person: Credentials) -> Iterator[sync.Gateway]:
    with sync.Gateway.connect(double.endpoint, person.identity, person.signer) as connected:
        yield connected


def test_submit_evaluate_and_the_steps_beneath(connected: sync.Gateway) -> None:
    called = connected.network(CHANNEL).contract(CHAINCODE)
    assert called.submit("append", "k", "a").code == "VALID"
    proposal = called.propose("append", "k", "b")
    endorsed = proposal.endorse()
    assert endorsed.transaction_id == proposal.transaction_id
    assert endorsed.result == b"ab"
    assert endorsed.submit().status().successful
    assert called.submit_async("append", "k", "c").payload == b"abc"
    assert called.evaluate("get", "k") == b"abc"


def test_errors_are_the_same(connected: sync.Gateway) -> None:
    with pytest.raises(EndorseError) as caught:
        connected.network(CHANNEL).contract(CHAINCODE).submit("refuse", "409", "no")
    assert caught.value.chaincode_response == (409, "no")
    with pytest.raises(DeliverError):
        connected.network(CHANNEL).fetch_block(99)


def test_streams_are_iterators(connected: sync.Gateway) -> None:
    channel = connected.network(CHANNEL)
    channel.contract(CHAINCODE).submit("announce", "a", "1")
    with channel.chaincode_events(CHAINCODE, start_block=0) as events:
        assert next(events).name == "a"
    assert list(events) == []
    assert [block.header.number for block in channel.fetch_blocks(0, 1)] == [0, 1]
    assert channel.height() == 2


def test_signing_elsewhere(double: ServerDouble, person: Credentials) -> None:
    with sync.Gateway.connect(double.endpoint, person.identity) as unsigned:
        proposal = unsigned.network(CHANNEL).contract(CHAINCODE).propose("get", "k")
        with pytest.raises(SigningError):
            proposal.evaluate()
        proposal.sign(person.signer.sign(proposal.digest))
        assert proposal.evaluate() == b""


def test_an_endorser(double: ServerDouble, person: Credentials) -> None:
    with sync.Endorser.connect(double.endpoint, person.identity, person.signer) as peer:
        assert peer.call(CHAINCODE, "append", "k", "v", channel=CHANNEL) == b"v"


def test_threads_share_a_gateway(connected: sync.Gateway) -> None:
    called = connected.network(CHANNEL).contract(CHAINCODE)
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda key=str(number): results.append(called.submit("put", key, "v").code))  # type: ignore[misc]
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["VALID"] * 8


def test_a_call_from_the_loops_own_thread_is_refused_instead_of_hanging() -> None:
    loop = BackgroundLoop()

    async def nothing() -> None: ...

    def from_inside() -> None:
        loop.run(nothing())

    with pytest.raises(GatewayError, match="own event loop"):
        loop.call(from_inside)
