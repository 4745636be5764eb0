"""The outcome of many transactions over one stream of blocks."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import grpc
import pytest

from goldengrain.gateway import transaction as steps
from goldengrain.gateway.backoff import Reconnect
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import CommitUnknown, SubmitUnknown
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import Fault, ServerDouble

DEADLINES = Deadlines(evaluate=2, endorse=2, submit=2, commit=4, deliver=2)
SOON = Reconnect(first=0.02, most=0.1, patience=3.0)


@pytest.fixture
async def gateway(server: ServerDouble, user: Credentials) -> AsyncIterator[Gateway]:
    connected = Gateway.connect(
        server.endpoint, user.identity, user.signer, deadlines=DEADLINES, reconnect=SOON, shared_commit_stream=True
    )
    async with connected as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_SECOND_OPINION_S", 0.5)


async def test_one_stream_tells_all(contract: Contract, server: ServerDouble) -> None:
    results = await asyncio.gather(*(contract.submit("put", str(number), "v") for number in range(50)))
    assert {one.code for one in results} == {"VALID"}
    assert len({one.block for one in results}) == 50
    assert server.calls.count("CommitStatus") == 0
    assert server.calls.count("DeliverFiltered") == 2  # where to begin, and the stream itself


async def test_read_conflicts_are_told_too(contract: Contract, server: ServerDouble) -> None:
    stale = await contract.propose("append", "k", "a").endorse()
    await contract.submit("put", "k", "b")
    status = await (await stale.submit()).status()
    assert (status.code_name, status.block) == ("MVCC_READ_CONFLICT", 2)
    assert "CommitStatus" not in server.calls


async def test_the_second_of_the_same_envelope_has_the_first_ones_status(
    contract: Contract, server: ServerDouble
) -> None:
    transaction = await contract.propose("append", "k", "v").endorse()
    first = await (await transaction.submit()).status()
    second = await (await transaction.submit()).status()
    assert first == second
    assert first.code_name == "VALID"
    assert server.calls.count("CommitStatus") == 1
    assert server.ledger.state["k"][0] == b"v"


async def test_both_of_the_same_envelope_at_once(contract: Contract, server: ServerDouble) -> None:
    server.hold = True
    transaction = await contract.propose("append", "k", "v").endorse()
    commits = [await transaction.submit() for _ in range(2)]
    await server.cut()
    assert [(await one.status()).code_name for one in commits] == ["VALID", "VALID"]


async def test_what_was_committed_before_is_asked_for(gateway: Gateway, contract: Contract, user: Credentials) -> None:
    done = await contract.submit("put", "k", "v")
    status = await gateway.network(CHANNEL).commit(done.transaction_id).status()
    assert (status.block, status.code_name) == (done.block, "VALID")


async def test_the_stream_goes_on_over_a_restart(contract: Contract, server: ServerDouble) -> None:
    server.hold = True
    commit = await contract.submit_async("put", "k", "v")
    waiting = asyncio.ensure_future(commit.status())
    held = list(server.held)
    await server.restart(0.1)
    server.ledger.order(*held)
    server.held.clear()
    await server.cut()
    assert (await waiting).successful


async def test_where_blocks_may_not_be_read_each_is_asked_for(contract: Contract, server: ServerDouble) -> None:
    server.faults["DeliverFiltered"] = [Fault(grpc.StatusCode.PERMISSION_DENIED, "no blocks for you")]
    assert (await contract.submit("put", "k", "v")).code == "VALID"
    assert (await contract.submit("put", "k", "w")).code == "VALID"
    assert server.calls.count("CommitStatus") == 2
    assert server.calls.count("DeliverFiltered") == 1


async def test_a_stream_that_is_refused_later_leaves_nobody_waiting(contract: Contract, server: ServerDouble) -> None:
    server.faults["DeliverFiltered"] = [Fault(), Fault(grpc.StatusCode.PERMISSION_DENIED, "not any more")]
    assert (await contract.submit("put", "k", "v")).code == "VALID"
    assert server.calls.count("CommitStatus") == 1


async def test_a_silent_stream_is_doubted(contract: Contract, server: ServerDouble) -> None:
    server.faults["DeliverFiltered"] = [Fault(), Fault(delay=30)]
    result = await contract.submit("put", "k", "v")
    assert result.code == "VALID"
    assert server.calls.count("CommitStatus") == 1


async def test_the_stream_is_believed_while_the_call_hangs(contract: Contract, server: ServerDouble) -> None:
    server.hold = True
    server.faults["CommitStatus"] = [Fault(delay=30)]
    commit = await contract.submit_async("put", "k", "v")
    waiting = asyncio.ensure_future(commit.status())
    await server.called("CommitStatus")
    await server.cut()
    assert (await asyncio.wait_for(waiting, 2)).successful


async def test_no_block_in_time_is_unknown_and_comes_later(contract: Contract, server: ServerDouble) -> None:
    server.hold = True
    commit = await contract.submit_async("put", "k", "v")
    with pytest.raises(CommitUnknown) as caught:
        await commit.status(deadline=0.3)
    assert caught.value.transaction_id == commit.transaction_id
    assert caught.value.may_commit
    await server.cut()
    assert (await commit.status()).successful


async def test_what_nobody_waits_for_is_forgotten(gateway: Gateway, contract: Contract, server: ServerDouble) -> None:
    server.hold = True
    server.faults["Submit"] = [Fault(grpc.StatusCode.UNAVAILABLE, "gone", after_work=True)]
    with pytest.raises(SubmitUnknown):
        await contract.submit("put", "k", "v")
    await contract.submit_async("put", "k", "w")
    gc.collect()
    (watcher,) = gateway._session.watchers.values()
    assert len(watcher._expected) == 0


async def test_without_a_signer_each_is_asked_for(server: ServerDouble, user: Credentials) -> None:
    async with Gateway.connect(server.endpoint, user.identity, shared_commit_stream=True) as gateway:
        proposal = gateway.network(CHANNEL).contract(CHAINCODE).propose("put", "k", "v")
        proposal.sign(user.signer.sign(proposal.digest))
        transaction = await proposal.endorse()
        transaction.sign(user.signer.sign(transaction.digest))
        commit = await transaction.submit()
        commit.sign(user.signer.sign(commit.digest))
        assert (await commit.status()).successful
