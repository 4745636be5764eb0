"""The steps of a transaction against Fabric's services over TLS: results, bytes, deadlines, errors by stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc
import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import proposal_pb2

from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import (
    CommitError,
    CommitUnknown,
    EndorseError,
    EvaluateError,
    SigningError,
    SubmitError,
    SubmitUnknown,
)
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.network import Network
from goldengrain.gateway.transaction import Proposal
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import Fault, ServerDouble

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
PEERS = (("10.0.0.1:7051", "Org1MSP", "chaincode response 409, OFFER_CLOSED: it is over"),)


async def test_submit_waits_until_the_transaction_is_valid(contract: Contract) -> None:
    result = await contract.submit("append", "k", "v")
    assert (result.payload, result.block, result.code) == (b"v", 1, "VALID")
    assert await contract.evaluate("get", "k") == b"v"


async def test_evaluate_writes_nothing(contract: Contract, server: ServerDouble) -> None:
    assert await contract.evaluate("append", "k", "v") == b"v"
    assert len(server.ledger.blocks) == 1


async def test_steps_beneath_submit(contract: Contract) -> None:
    proposal = contract.propose("append", "k", "v", endorsing_organizations=["Org2MSP"])
    transaction = await proposal.endorse()
    assert transaction.transaction_id == proposal.transaction_id
    assert transaction.result == b"v"
    assert [one.msp_id for one in transaction.endorsements] == ["Org2MSP"]
    commit = await transaction.submit()
    status = await commit.status()
    assert status.successful
    assert status.code_name == "VALID"


async def test_an_endorsed_transaction_never_submitted_changes_nothing(
    contract: Contract, server: ServerDouble
) -> None:
    transaction = await contract.propose("put", "k", "v").endorse()
    envelope = common_pb2.Envelope.FromString(transaction.envelope)
    assert envelope.payload == transaction.payload
    assert envelope.signature == b""
    assert {one.msp_id for one in transaction.endorsements} == {"Org1MSP", "Org2MSP"}
    assert server.ledger.state == {}


async def test_submit_async_returns_before_the_block(contract: Contract, server: ServerDouble) -> None:
    server.hold = True
    commit = await contract.submit_async("append", "k", "v")
    assert commit.payload == b"v"
    assert len(server.ledger.blocks) == 1
    await server.cut()
    assert (await commit.status()).block == 1


async def test_transient_data_reaches_the_endorser_and_stays_out_of_the_transaction(
    contract: Contract, server: ServerDouble
) -> None:
    transaction = await contract.propose("put", "k", "v", transient={"secret": b"whisper"}).endorse()
    proposal = proposal_pb2.Proposal.FromString(server.requests[-1].proposed_transaction.proposal_bytes)
    sent = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
    assert dict(sent.TransientMap) == {"secret": b"whisper"}
    assert b"whisper" not in transaction.envelope


async def test_a_named_contract_prefixes_its_functions(network: Network, server: ServerDouble) -> None:
    await network.contract(CHAINCODE, "stock").evaluate("get", "k")
    assert b"stock:get" in server.requests[-1].proposed_transaction.proposal_bytes


class FixedClock:
    def now_ns(self) -> int:
        return 1_700_000_000_123_456_789


async def test_the_clock_handed_in_dates_the_transaction(server: ServerDouble, user: Credentials) -> None:
    async with Gateway.connect(server.endpoint, user.identity, user.signer, clock=FixedClock()) as gateway:
        await gateway.network(CHANNEL).contract(CHAINCODE).evaluate("get", "k")
    proposal = proposal_pb2.Proposal.FromString(server.requests[-1].proposed_transaction.proposal_bytes)
    header = common_pb2.ChannelHeader.FromString(common_pb2.Header.FromString(proposal.header).channel_header)
    assert (header.timestamp.seconds, header.timestamp.nanos) == (1_700_000_000, 123_456_789)


async def test_a_read_conflict_is_a_commit_error(contract: Contract, server: ServerDouble) -> None:
    stale = await contract.propose("append", "k", "a").endorse()
    await contract.submit("put", "k", "b")
    commit = await stale.submit()
    status = await commit.status()
    assert not status.successful
    with pytest.raises(CommitError) as caught:
        status.check()
    assert caught.value.is_read_conflict
    assert caught.value.validation_name == "MVCC_READ_CONFLICT"
    assert caught.value.transaction_id == stale.transaction_id
    assert caught.value.block == 2


async def test_retry_of_a_read_conflict_is_a_new_transaction(
    contract: Contract, server: ServerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    endorse = Proposal.endorse
    seen: list[str] = []

    async def raced(self: Proposal, deadline: float | None = None) -> object:
        transaction = await endorse(self, deadline)
        seen.append(transaction.transaction_id)
        if len(seen) == 1:
            monkeypatch.setattr(Proposal, "endorse", endorse)
            await contract.submit("put", "k", "b")
            monkeypatch.setattr(Proposal, "endorse", raced)
        return transaction

    monkeypatch.setattr(Proposal, "endorse", raced)
    result = await contract.submit("append", "k", "a", attempts=2)
    assert result.payload == b"ba"
    assert len(set(seen)) == 2
    assert result.transaction_id == seen[1]


async def test_conflicts_are_not_retried_unless_asked(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    endorse = Proposal.endorse

    async def raced(self: Proposal, deadline: float | None = None) -> object:
        transaction = await endorse(self, deadline)
        monkeypatch.setattr(Proposal, "endorse", endorse)
        await contract.submit("put", "k", "b")
        return transaction

    monkeypatch.setattr(Proposal, "endorse", raced)
    with pytest.raises(CommitError):
        await contract.submit("append", "k", "a")


async def test_the_same_envelope_twice_commits_once(contract: Contract, server: ServerDouble) -> None:
    transaction = await contract.propose("append", "k", "v").endorse()
    first = await (await transaction.submit()).status()
    second = await (await transaction.submit()).status()
    assert first == second
    assert server.ledger.state["k"][0] == b"v"


FAILURES: list[tuple[str, Callable[[Contract], Awaitable[object]], type[Exception]]] = [
    ("Evaluate", lambda contract: contract.evaluate("get", "k"), EvaluateError),
    ("Endorse", lambda contract: contract.submit("put", "k", "v"), EndorseError),
    ("Submit", lambda contract: contract.submit("put", "k", "v"), SubmitError),
]


@pytest.mark.parametrize(("rpc", "call", "kind"), FAILURES, ids=[row[0] for row in FAILURES])
async def test_each_stage_has_its_error_with_the_peers_words(
    contract: Contract,
    server: ServerDouble,
    rpc: str,
    call: Callable[[Contract], Awaitable[object]],
    kind: type[EvaluateError],
) -> None:
    server.faults[rpc] = [Fault(grpc.StatusCode.ABORTED, "no", PEERS)]
    with pytest.raises(kind) as caught:
        await call(contract)
    error = caught.value
    assert type(error) is kind
    assert error.grpc_code is grpc.StatusCode.ABORTED
    assert error.transaction_id
    assert len(error.transaction_id) == 64
    assert [(one.address, one.msp_id, one.message) for one in error.details] == list(PEERS)
    assert error.chaincode_response == (409, "OFFER_CLOSED: it is over")
    assert "Org1MSP at 10.0.0.1:7051" in str(error)
    assert not error.may_commit
    assert isinstance(error.__cause__, grpc.aio.AioRpcError)


async def test_a_refusing_chaincode_is_seen_when_endorsing(contract: Contract) -> None:
    with pytest.raises(EndorseError) as caught:
        await contract.submit("refuse", "404", "OFFER_NOT_FOUND: none")
    assert caught.value.chaincode_response == (404, "OFFER_NOT_FOUND: none")


async def test_no_answer_to_a_submit_is_unknown_and_resumed_by_its_id(
    contract: Contract, network: Network, server: ServerDouble
) -> None:
    server.faults["Submit"] = [Fault(UNAVAILABLE, "gone", after_work=True)]
    with pytest.raises(SubmitUnknown) as caught:
        await contract.submit("append", "k", "v")
    assert caught.value.may_commit
    assert caught.value.transaction_id is not None
    assert caught.value.transaction_id in str(caught.value)
    status = await network.commit(caught.value.transaction_id).status()
    assert status.successful
    assert server.ledger.state["k"][0] == b"v"


ORDERERS = (
    (
        "10.0.0.1:7050",
        "OrdererMSP",
        "status=SERVICE_UNAVAILABLE, info=failed to submit request: request already processed",
    ),
    ("10.0.0.2:7050", "OrdererMSP", "connection refused"),
)


async def test_an_orderer_that_has_the_transaction_already_has_taken_it(
    contract: Contract, server: ServerDouble
) -> None:
    server.faults["Submit"] = [Fault(UNAVAILABLE, "insufficient number of orderers", ORDERERS, after_work=True)]
    assert (await contract.submit("append", "k", "v")).code == "VALID"
    assert server.ledger.state["k"][0] == b"v"
    server.faults["Submit"] = [Fault(UNAVAILABLE, "insufficient number of orderers", ORDERERS[1:], after_work=True)]
    with pytest.raises(SubmitUnknown):
        await contract.submit("append", "k", "w")


async def test_an_orderer_that_only_says_so_makes_no_commit(contract: Contract, server: ServerDouble) -> None:
    server.faults["Submit"] = [Fault(UNAVAILABLE, "insufficient number of orderers", ORDERERS)]
    commit = await contract.submit_async("append", "k", "v")
    with pytest.raises(CommitUnknown):
        await commit.status(deadline=0.1)


async def test_a_commit_timeout_is_unknown_and_resumed_by_its_id(
    contract: Contract, network: Network, server: ServerDouble
) -> None:
    server.hold = True
    commit = await contract.submit_async("append", "k", "v")
    with pytest.raises(CommitUnknown) as caught:
        await commit.status(deadline=0.1)
    assert caught.value.may_commit
    assert caught.value.transaction_id == commit.transaction_id
    assert "network.commit(id).status()" in str(caught.value)
    await server.cut()
    assert (await network.commit(commit.transaction_id).status()).successful


@pytest.mark.parametrize(("rpc", "kind"), [("Evaluate", EvaluateError), ("Endorse", EndorseError)])
async def test_every_step_has_a_deadline(
    contract: Contract, server: ServerDouble, rpc: str, kind: type[EvaluateError]
) -> None:
    server.faults[rpc] = [Fault(delay=5)]
    proposal = contract.propose("get", "k")
    with pytest.raises(kind) as caught:
        await (proposal.evaluate(0.1) if rpc == "Evaluate" else proposal.endorse(0.1))
    assert caught.value.grpc_code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_nobody_there_is_an_error_of_the_stage(user: Credentials) -> None:
    async with Gateway.connect("127.0.0.1:1", user.identity, user.signer) as gateway:
        with pytest.raises(EndorseError) as caught:
            await gateway.network(CHANNEL).contract(CHAINCODE).submit("put", "k", "v")
    assert caught.value.grpc_code is UNAVAILABLE
    assert "Is the peer at 127.0.0.1:1 up" in str(caught.value)


async def test_another_transaction_than_the_proposed_one_is_not_signed(
    contract: Contract, server: ServerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await contract.propose("put", "k", "evil").endorse()
    swapped = common_pb2.Envelope(payload=other.payload)
    monkeypatch.setattr(server.ledger, "endorse", lambda *_: swapped)
    with pytest.raises(EndorseError, match="another transaction"):
        await contract.submit("put", "k", "good")


@pytest.mark.parametrize("payload", [b"", b"\xff\xff"])
async def test_an_answer_that_is_no_transaction_is_refused(
    contract: Contract, server: ServerDouble, monkeypatch: pytest.MonkeyPatch, payload: bytes
) -> None:
    monkeypatch.setattr(server.ledger, "endorse", lambda *_: common_pb2.Envelope(payload=payload))
    with pytest.raises(EndorseError, match="not an endorsed transaction"):
        await contract.submit("put", "k", "good")


async def test_signing_elsewhere(server: ServerDouble, user: Credentials) -> None:
    """Digest out, signature in, at every step; the steps survive as bytes in between."""
    async with Gateway.connect(server.endpoint, user.identity) as gateway:
        network = gateway.network(CHANNEL)
        unsigned = network.contract(CHAINCODE).propose("append", "k", "v")
        with pytest.raises(SigningError):
            await unsigned.endorse()
        proposal = gateway.proposal_from_bytes(unsigned.to_bytes(), user.signer.sign(unsigned.digest))
        assert proposal.transaction_id == unsigned.transaction_id
        prepared = await proposal.endorse()
        with pytest.raises(SigningError):
            await prepared.submit()
        transaction = gateway.transaction_from_bytes(CHANNEL, prepared.to_bytes(), user.signer.sign(prepared.digest))
        commit = await transaction.submit()
        with pytest.raises(SigningError):
            await commit.status()
        commit.sign(user.signer.sign(commit.digest))
        assert (await commit.status()).successful
        assert commit.payload == b"v"
