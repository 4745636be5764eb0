"""The client against what real Fabric 3.1.5 peers answered: every recorded gateway, event and block stream case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2, proposal_response_pb2, transaction_pb2

from goldengrain.gateway.backoff import Reconnect
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import (
    CommitStatusError,
    CommitUnknown,
    DeliverError,
    EndorseError,
    EvaluateError,
    EventsError,
    PeerError,
    SubmitError,
    SubmitUnknown,
    TransactionError,
)
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.proposal import build_proposal, parse_proposal
from goldengrain.gateway.streams import EventStream
from goldengrain.gateway.transaction import Commit, Proposal, Transaction
from tests.gateway.certificates import Ca
from tests.gateway.replay_double import CODES, ReplayDouble
from tests.recordings.calls import Case, Step
from tests.recordings.calls import client_cases as cases

USER = Ca("org1").credentials("Org1MSP", "User1", "client")
GATEWAY = "/gateway.Gateway/"
PROCESS = "/protos.Endorser/ProcessProposal"


@asynccontextmanager
async def replay(*steps: Step) -> AsyncIterator[tuple[Gateway, ReplayDouble]]:
    double = ReplayDouble(*steps)
    endpoint = await double.start()
    try:
        deadlines = Deadlines(evaluate=5, endorse=5, submit=5, commit=0.5, deliver=5)
        at_once = Reconnect(patience=0)
        connected = Gateway.connect(endpoint, USER.identity, USER.signer, deadlines=deadlines, reconnect=at_once)
        async with connected as gateway:
            yield gateway, double
    finally:
        await double.stop()


def unary(rpc: str, failed: bool) -> list[object]:
    """Recorded calls of one RPC whose requests are whole enough to be made by a client."""
    return [
        pytest.param(step, id=f"{case.name}-{index}")
        for case in cases().values()
        for index, step in enumerate(case.steps)
        if step.rpc == GATEWAY + rpc and bool(step.code) is failed
    ]


def streams(*rpcs: str) -> list[object]:
    return [pytest.param(case, id=case.name) for case in cases().values() if case.steps[0].rpc.endswith(rpcs)]


async def call(gateway: Gateway, step: Step) -> object:
    contract = gateway.network("market").contract("vec")
    session = contract._session
    match step.rpc.rsplit("/", 1)[1]:
        case "Evaluate":
            return await contract.evaluate("script", "[]")
        case "Endorse":
            return await contract.propose("script", "[]").endorse()
        case "Submit":
            envelope = common_pb2.Envelope.FromString(
                gateway_pb2.EndorseResponse.FromString(
                    cases()["endorse_ok"].steps[0].answers[0]
                ).prepared_transaction.SerializeToString()
            )
            return await Transaction(session, "market", "aa" * 32, envelope).submit()
        case _:
            return await gateway.network("market").commit("aa" * 32).status()


REFUSALS: dict[str, type[TransactionError]] = {
    "Evaluate": EvaluateError,
    "Endorse": EndorseError,
    "Submit": SubmitError,
    "CommitStatus": CommitStatusError,
}


@pytest.mark.parametrize(
    "step", [*unary("Evaluate", True), *unary("Endorse", True), *unary("Submit", True), *unary("CommitStatus", True)]
)
async def test_every_recorded_refusal_is_the_error_of_its_stage(step: Step) -> None:
    rpc = step.rpc.rsplit("/", 1)[1]
    async with replay(step) as (gateway, _):
        with pytest.raises(REFUSALS[rpc]) as caught:
            await call(gateway, step)
    error = caught.value
    assert error.grpc_code is CODES[step.code or 0]
    assert tuple((one.address, one.msp_id, one.message) for one in error.details) == step.details
    assert step.message in str(error)
    assert error.transaction_id
    assert error.may_commit is (rpc == "CommitStatus" or isinstance(error, SubmitUnknown))


def test_an_orderer_out_of_reach_leaves_the_outcome_unknown() -> None:
    assert [
        case.name
        for case in cases().values()
        for step in case.steps
        if step.rpc == GATEWAY + "Submit" and step.code == 14
    ] == ["orderer_down"]


async def test_orderer_down_and_status_timeouts_are_unknown() -> None:
    for name, kind in (("orderer_down", SubmitUnknown), ("commit_status_unknown_tx", CommitUnknown)):
        step = next(one for one in cases()[name].steps if one.code)
        async with replay(step) as (gateway, _):
            with pytest.raises(kind, match="outcome unknown"):
                await call(gateway, step)


async def test_the_chaincodes_answer_is_found_in_the_peers_words() -> None:
    expected = {
        "evaluate_cc_error": (500, "no such model"),
        "endorse_cc_error": (500, "no such model"),
        "endorse_cc_error_second_org": (500, "org two says no"),
        "endorse_cc_error_400_payload": (400, "bad"),
    }
    for name, answer in expected.items():
        (step,) = cases()[name].steps
        async with replay(step) as (gateway, _):
            with pytest.raises(TransactionError) as caught:
                await call(gateway, step)
        assert caught.value.chaincode_response is not None
        assert caught.value.chaincode_response[0] == answer[0], name


@pytest.mark.parametrize("step", unary("Evaluate", False))
async def test_recorded_evaluations_return_their_payload(step: Step) -> None:
    async with replay(step) as (gateway, _):
        payload = await call(gateway, step)
    assert payload == gateway_pb2.EvaluateResponse.FromString(step.answers[0]).result.payload


@pytest.mark.parametrize("step", unary("Endorse", False))
async def test_recorded_endorsements_answer_the_recorded_proposal(step: Step) -> None:
    """The client sends the very request that was recorded, and reads result and endorsers from the answer."""
    asked = gateway_pb2.EndorseRequest.FromString(step.request)
    async with replay(step) as (gateway, double):
        session = gateway.network("market").contract("vec")._session
        signed = asked.proposed_transaction
        proposal = Proposal(
            session, parse_proposal(signed.proposal_bytes), asked.endorsing_organizations, signed.signature
        )
        transaction = await proposal.endorse()
    sent = gateway_pb2.EndorseRequest.FromString(double.requests[0])
    assert sent.proposed_transaction == asked.proposed_transaction
    assert list(sent.endorsing_organizations) == list(asked.endorsing_organizations)
    assert transaction.transaction_id == proposal.transaction_id
    organizations = [one.msp_id for one in transaction.endorsements]
    assert organizations
    assert len(set(organizations)) == len(organizations)
    if asked.endorsing_organizations:
        assert set(organizations) == set(asked.endorsing_organizations)
    assert transaction.chaincode_action.response.status in range(200, 400)
    assert (
        transaction.envelope
        == gateway_pb2.EndorseResponse.FromString(step.answers[0]).prepared_transaction.SerializeToString()
    )


@pytest.mark.parametrize("step", unary("Submit", False))
async def test_recorded_submits_are_taken(step: Step) -> None:
    async with replay(step) as (gateway, double):
        commit = await call(gateway, step)
    assert isinstance(commit, Commit)
    sent = gateway_pb2.SubmitRequest.FromString(double.requests[0])
    assert (sent.transaction_id, sent.channel_id) == (commit.transaction_id, commit.channel)


def proposals(failed: bool) -> list[object]:
    """Recorded proposals straight to a peer."""
    return [
        pytest.param(step, id=f"{case.name}-{index}")
        for case in cases().values()
        for index, step in enumerate(case.steps)
        if step.rpc == PROCESS and bool(step.code) is failed
    ]


@pytest.mark.parametrize("step", [*proposals(False), *proposals(True)])
async def test_recorded_answers_of_one_peer(step: Step) -> None:
    double = ReplayDouble(step)
    endpoint = await double.start()
    async with Endorser.connect(endpoint, USER.identity, USER.signer, timeout=5) as peer:
        if step.code:
            with pytest.raises(PeerError) as caught:
                await peer.process("vec", "script", channel="market")
            assert caught.value.grpc_code is CODES[step.code]
            assert step.message in str(caught.value)
        else:
            answer = await peer.process("vec", "script", channel="market")
            assert answer == proposal_response_pb2.ProposalResponse.FromString(step.answers[0])
    await double.stop()


@pytest.mark.parametrize("step", proposals(False))
async def test_what_a_peer_refuses_in_its_answer_is_a_peer_error(step: Step) -> None:
    recorded = proposal_response_pb2.ProposalResponse.FromString(step.answers[0]).response
    double = ReplayDouble(step)
    endpoint = await double.start()
    async with Endorser.connect(endpoint, USER.identity, USER.signer, timeout=5) as peer:
        if 200 <= recorded.status < 400:
            assert await peer.call("vec", "script", channel="market") == recorded.payload
        else:
            with pytest.raises(PeerError) as caught:
                await peer.call("vec", "script", channel="market")
            assert caught.value.status == recorded.status
    await double.stop()


def test_no_recorded_case_is_left_out() -> None:
    """Each call of each case is one of the tests here."""
    tried = [*unary("Evaluate", True), *unary("Endorse", True), *unary("Submit", True), *unary("CommitStatus", True)]
    tried += [*unary("Evaluate", False), *unary("Endorse", False), *unary("Submit", False), *proposals(True)]
    tried += [*unary("CommitStatus", False), *proposals(False), *streams("/ChaincodeEvents")]
    tried += streams("/Deliver", "/DeliverFiltered", "/DeliverWithPrivateData")
    assert len(tried) == sum(len(case.steps) for case in cases().values()) > 300


@pytest.mark.parametrize("step", unary("CommitStatus", False))
async def test_recorded_commit_statuses(step: Step) -> None:
    answer = gateway_pb2.CommitStatusResponse.FromString(step.answers[0])
    async with replay(step) as (gateway, _):
        status = await gateway.network("market").commit("aa" * 32).status()
    assert (status.code, status.block) == (answer.result, answer.block_number)
    assert status.code_name == transaction_pb2.TxValidationCode.Name(answer.result)
    assert status.successful is (status.code_name == "VALID")


@pytest.mark.parametrize("case", streams("/ChaincodeEvents"))
async def test_recorded_event_streams(case: Case) -> None:
    (step,) = case.steps
    expected = [
        (block["block"], event["tx"], event["chaincode"], event["name"])
        for block in case.events
        for event in block["events"]
    ]
    async with replay(step) as (gateway, _):
        stream = gateway.network("market").chaincode_events("vec", start_block=0)
        found = []
        async with stream:
            for _ in expected:
                event = await anext(stream)
                found.append((event.block, event.transaction_id, event.chaincode, event.name))
            if step.code:
                with pytest.raises(EventsError, match=r"chaincode events: \w+ "):
                    await anext(stream)
    assert found == expected


OPEN: dict[str, Callable[[Gateway], EventStream[object]]] = {
    "/protos.Deliver/Deliver": lambda gateway: gateway.network("market").fetch_blocks(0, 0),  # type: ignore[dict-item,return-value]
    "/protos.Deliver/DeliverFiltered": lambda gateway: gateway.network("market").filtered_block_events(0),  # type: ignore[dict-item,return-value]
    "/protos.Deliver/DeliverWithPrivateData": lambda gateway: gateway.network("market").private_block_events(0),  # type: ignore[dict-item,return-value]
}


def number(item: object) -> int:
    for path in (("header", "number"), ("number",), ("block", "header", "number")):
        value: object = item
        for name in path:
            value = getattr(value, name, None)
        if isinstance(value, int):
            return value
    raise AssertionError(item)


@pytest.mark.parametrize("case", streams("/Deliver", "/DeliverFiltered", "/DeliverWithPrivateData"))
async def test_recorded_block_streams(case: Case) -> None:
    (step,) = case.steps
    found: list[object] = []
    async with replay(step) as (gateway, _), OPEN[step.rpc](gateway) as stream:
        for kind, value in case.outcome:
            if kind != "status":
                found.append([kind, number(await anext(stream))])
                continue
            found.append([kind, value])
            if value == "SUCCESS":
                with pytest.raises(StopAsyncIteration):
                    await anext(stream)
            else:
                with pytest.raises(DeliverError) as caught:
                    await anext(stream)
                assert caught.value.status == value
    assert found == case.outcome


async def test_private_data_of_a_recorded_block_is_there_for_members_only() -> None:
    counted = {}
    for name in ("deliver_private", "deliver_private_org3"):
        (step,) = cases()[name].steps
        async with replay(step) as (gateway, _), gateway.network("market").private_block_events(0) as stream:
            counted[name] = sum([len(one.private_data) async for one in stream])
    assert counted["deliver_private"] > counted["deliver_private_org3"]


def test_the_client_builds_the_very_proposals_that_were_accepted() -> None:
    for name in ("evaluate_ok", "evaluate_with_transient", "endorse_ok"):
        step = cases()[name].steps[0]
        recorded = gateway_pb2.EndorseRequest.FromString(step.request).proposed_transaction.proposal_bytes
        proposal = proposal_pb2.Proposal.FromString(recorded)
        header = common_pb2.Header.FromString(proposal.header)
        channel_header = common_pb2.ChannelHeader.FromString(header.channel_header)
        signature_header = common_pb2.SignatureHeader.FromString(header.signature_header)
        asked = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
        spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(asked.input).chaincode_spec
        built = build_proposal(
            channel=channel_header.channel_id,
            chaincode=spec.chaincode_id.name,
            arguments=list(spec.input.args),
            creator=signature_header.creator,
            now_ns=channel_header.timestamp.seconds * 10**9 + channel_header.timestamp.nanos,
            transient=dict(asked.TransientMap),
            nonce=signature_header.nonce,
        )
        assert built.transaction_id == channel_header.tx_id
        ours = proposal_pb2.Proposal.FromString(built.raw)
        assert ours.header == proposal.header
        assert proposal_pb2.ChaincodeProposalPayload.FromString(ours.payload).TransientMap == asked.TransientMap
        ours_input = proposal_pb2.ChaincodeProposalPayload.FromString(ours.payload).input
        ours_spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(ours_input).chaincode_spec
        assert ours_spec.input == spec.input
        assert ours_spec.chaincode_id == spec.chaincode_id
