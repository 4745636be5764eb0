"""Several gateway peers: the next takes over where one gives no answer, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import (
    CommitUnknown,
    ConnectionProfileError,
    EndorseError,
    EvaluateError,
    SubmitError,
    SubmitUnknown,
)
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import Fault, ServerDouble

DEADLINES = Deadlines(evaluate=1, endorse=1, submit=1, commit=1, deliver=1)
GONE = Fault(grpc.StatusCode.UNAVAILABLE, "gone")


@pytest.fixture
async def other(server: ServerDouble) -> AsyncIterator[ServerDouble]:
    double = ServerDouble()
    await double.start(beside=server)
    yield double
    await double.stop()


@pytest.fixture
async def contract(server: ServerDouble, other: ServerDouble, user: Credentials) -> AsyncIterator[Contract]:
    both = [server.endpoint, other.endpoint]
    async with Gateway.connect(both, user.identity, user.signer, deadlines=DEADLINES) as gateway:
        yield gateway.network(CHANNEL).contract(CHAINCODE)


async def test_a_dead_peer_is_left_for_the_next(contract: Contract, server: ServerDouble, other: ServerDouble) -> None:
    await server.stop()
    assert (await contract.submit("append", "k", "v")).code == "VALID"
    assert await contract.evaluate("get", "k") == b"v"
    assert await contract._session.peers.current.reachable()
    assert other.calls == ["Endorse", "Submit", "CommitStatus", "Evaluate"]
    await server.start()


@pytest.mark.parametrize("rpc", ["Evaluate", "Endorse", "Submit", "CommitStatus"])
@pytest.mark.parametrize("fault", [GONE, Fault(delay=5)], ids=["gone", "silent"])
async def test_each_step_goes_to_the_next_peer(
    contract: Contract, server: ServerDouble, other: ServerDouble, rpc: str, fault: Fault
) -> None:
    server.faults[rpc] = [fault]
    if rpc == "Evaluate":
        await contract.evaluate("get", "k")
    else:
        assert (await contract.submit("append", "k", "v")).code == "VALID"
        assert server.ledger.state["k"][0] == b"v"
    assert rpc in other.calls


async def test_a_submit_that_got_through_unheard_commits_once(
    contract: Contract, server: ServerDouble, other: ServerDouble
) -> None:
    server.faults["Submit"] = [Fault(grpc.StatusCode.UNAVAILABLE, "gone", after_work=True)]
    result = await contract.submit("append", "k", "v")
    assert result.code == "VALID"
    assert other.calls.count("Submit") == 1
    assert len(server.ledger.blocks) == 3  # genesis, the transaction, its duplicate
    assert server.ledger.state["k"][0] == b"v"


async def test_a_refusal_is_not_carried_to_the_next_peer(
    contract: Contract, server: ServerDouble, other: ServerDouble
) -> None:
    server.faults["Endorse"] = [Fault(grpc.StatusCode.ABORTED, "no")]
    with pytest.raises(EndorseError):
        await contract.submit("put", "k", "v")
    with pytest.raises(EvaluateError):
        await contract.evaluate("refuse", "404", "none")
    assert other.calls == []


async def test_a_refusal_after_silence_is_still_unknown(
    contract: Contract, server: ServerDouble, other: ServerDouble
) -> None:
    """The first peer may have handed it on before it fell silent."""
    server.faults["Submit"] = [GONE]
    other.faults["Submit"] = [Fault(grpc.StatusCode.ABORTED, "status=FORBIDDEN")]
    with pytest.raises(SubmitUnknown) as caught:
        await contract.submit("put", "k", "v")
    assert caught.value.may_commit
    other.faults["Submit"] = [Fault(grpc.StatusCode.ABORTED, "status=FORBIDDEN")]
    with pytest.raises(SubmitError) as refused:
        await contract.submit("put", "k", "v")
    assert not refused.value.may_commit


async def test_silent_peers_share_the_deadline(contract: Contract, server: ServerDouble, other: ServerDouble) -> None:
    for one in (server, other):
        one.faults["Endorse"] = [Fault(delay=10)]
    began = time.monotonic()
    with pytest.raises(EndorseError) as caught:
        await contract.propose("get", "k").endorse()
    assert time.monotonic() - began < 1.5
    assert caught.value.grpc_code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.calls + other.calls == ["Endorse", "Endorse"]


async def test_the_status_is_asked_for_until_the_deadline(
    contract: Contract, server: ServerDouble, other: ServerDouble
) -> None:
    for one in (server, other):
        one.faults["CommitStatus"] = [GONE] * 2
    assert (await contract.submit("put", "k", "v")).code == "VALID"
    for one in (server, other):
        one.faults["CommitStatus"] = [GONE] * 1000
    began = time.monotonic()
    with pytest.raises(CommitUnknown) as caught:
        await contract.submit("put", "k", "v")
    assert time.monotonic() - began < 2
    assert caught.value.transaction_id in str(caught.value)


async def test_a_peer_that_comes_back_is_used_again(
    contract: Contract, server: ServerDouble, other: ServerDouble
) -> None:
    await server.stop()
    await contract.evaluate("get", "k")
    await server.start(int(server.endpoint.address.rpartition(":")[2]))
    await other.stop()
    async with asyncio.timeout(10):
        while True:
            try:
                await contract.evaluate("get", "k")
                break
            except EvaluateError:
                await asyncio.sleep(0.1)
    await other.start(beside=server)


async def test_nobody_to_connect_to_is_said_at_once(user: Credentials) -> None:
    with pytest.raises(ConnectionProfileError):
        Gateway.connect([], user.identity, user.signer)


BUSY = Fault(grpc.StatusCode.UNKNOWN, "too many requests for /gateway.Gateway, exceeding concurrency limit (500)")


@pytest.mark.parametrize("rpc", ["Evaluate", "Endorse", "Submit", "CommitStatus"])
async def test_a_peer_that_has_too_many_calls_is_left_for_the_next(
    contract: Contract, server: ServerDouble, other: ServerDouble, rpc: str
) -> None:
    server.faults[rpc] = [BUSY]
    await (contract.evaluate("get", "k") if rpc == "Evaluate" else contract.submit("append", "k", "v"))
    assert rpc in other.calls


async def test_what_busy_peers_refuse_unread_cannot_commit(
    contract: Contract, server: ServerDouble, other: ServerDouble
) -> None:
    for one in (server, other):
        one.faults["Submit"] = [BUSY]
    with pytest.raises(SubmitError) as caught:
        await contract.submit("append", "k", "v")
    assert not caught.value.may_commit
    for one in (server, other):
        one.faults["CommitStatus"] = [BUSY] * 2
    assert (await contract.submit("append", "k", "v")).code == "VALID"
