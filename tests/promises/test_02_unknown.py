"""Promise 2: a commit timeout is reported as unknown, with the transaction id; resuming by it never pays twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import CommitUnknown, SubmitUnknown
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.network import Network
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import Fault, ServerDouble

SOON = Deadlines(evaluate=2, endorse=2, submit=1, commit=0.3, deliver=2)


@pytest.fixture
async def server() -> AsyncIterator[ServerDouble]:
    double = ServerDouble()
    await double.start()
    yield double
    await double.stop()


@pytest.fixture(params=[False, True], ids=["asked", "told"])
async def network(server: ServerDouble, request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    user = server.ledger.members[0].user
    async with Gateway.connect(
        server.endpoint, user.identity, user.signer, deadlines=SOON, shared_commit_stream=request.param
    ) as gateway:
        yield gateway.network(CHANNEL)


@pytest.fixture
def contract(network: Network) -> Contract:
    return network.contract(CHAINCODE)


def paid(server: ServerDouble) -> bytes:
    return server.ledger.state.get("paid", (b"", None))[0]


async def test_no_block_in_time_is_unknown_and_known_by_its_id_later(
    network: Network, contract: Contract, server: ServerDouble
) -> None:
    server.hold = True
    with pytest.raises(CommitUnknown) as caught:
        await contract.submit("append", "paid", "once")
    error = caught.value
    assert error.may_commit
    assert error.transaction_id is not None
    assert error.transaction_id in str(error)
    await server.cut()
    assert (await network.commit(error.transaction_id).status()).successful
    assert paid(server) == b"once"


async def test_resuming_pays_once_wherever_the_answer_was_lost(contract: Contract, server: ServerDouble) -> None:
    gone = grpc.StatusCode.UNAVAILABLE
    for times, fault in enumerate([Fault(gone, "gone", after_work=True), Fault(gone, "gone")], start=1):
        server.faults["Submit"] = [fault]
        await contract.submit("append", "paid", "once", attempts=3)
        assert paid(server) == b"once" * times


async def test_what_is_late_and_was_sent_again_pays_once(contract: Contract, server: ServerDouble) -> None:
    server.hold = True
    with pytest.raises((CommitUnknown, SubmitUnknown)) as caught:
        await contract.submit("append", "paid", "once", attempts=3)
    assert len(server.held) == 3
    await server.cut()
    assert paid(server) == b"once"
    assert caught.value.may_commit
