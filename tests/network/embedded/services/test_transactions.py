# ruff: noqa: E501 - tables of the texts that real gateways answer with
"""Transactions through the Gateway service, from proposal to commit."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import proposal_pb2, transaction_pb2

from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import (
    CommitError,
    CommitUnknown,
    EndorseError,
    EvaluateError,
    GatewayError,
    SubmitError,
)
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.transaction import Transaction
from tests.network.embedded.services.deployed import Deployed

UNSATISFIED = "no combination of peers can be derived which satisfy the endorsement policy"


async def test_what_is_submitted_through_one_organisation_is_read_through_all(net: Deployed) -> None:
    contract = await net.contract()
    result = await contract.submit("put", "model", "m1")
    assert result.code == "VALID"
    for number in (1, 2, 3):
        assert await (await net.contract(number)).evaluate("get", "model") == b"m1"


async def test_a_majority_of_organisations_endorses_the_own_one_first(net: Deployed) -> None:
    contract = await net.contract(2)
    seconds = set()
    for number in range(4):
        transaction = await contract.propose("put", f"k{number}", "v").endorse()
        endorsers = [endorsement.msp_id for endorsement in transaction.endorsements]
        assert endorsers[0] == "Org2MSP"
        assert len(endorsers) == 2
        seconds.add(endorsers[1])
    assert seconds == {"Org1MSP", "Org3MSP"}


async def test_named_organisations_are_taken_at_their_word(net: Deployed) -> None:
    contract = await net.contract()
    transaction = await contract.propose("put", "k", "v", endorsing_organizations=["Org3MSP"]).endorse()
    assert [endorsement.msp_id for endorsement in transaction.endorsements] == ["Org3MSP"]
    commit = await transaction.submit()
    with pytest.raises(CommitError) as caught:
        (await commit.status()).check()
    assert caught.value.validation_name == "ENDORSEMENT_POLICY_FAILURE"


async def test_the_envelope_holds_no_transient_data(net: Deployed) -> None:
    contract = await net.contract()
    transaction = await contract.propose("put", "k", "v", transient={"secret": b"the secret itself"}).endorse()
    assert b"the secret itself" not in transaction.envelope
    assert (await (await transaction.submit()).status()).successful


async def test_of_two_transactions_that_read_the_same_version_one_is_refused(net: Deployed) -> None:
    contract = await net.contract()
    first = await contract.propose("add", "counter", "1").endorse()
    second = await contract.propose("add", "counter", "1").endorse()
    commits = [await transaction.submit() for transaction in (first, second)]
    codes = [(await commit.status()).code_name for commit in commits]
    assert sorted(codes) == ["MVCC_READ_CONFLICT", "VALID"]
    assert await contract.evaluate("get", "counter") == b"1"


async def test_the_same_envelope_commits_once(net: Deployed) -> None:
    contract = await net.contract()
    transaction = await contract.propose("add", "counter", "1").endorse()
    first = await (await transaction.submit()).status()
    again = await (await transaction.submit()).status()
    assert (again.block, again.code_name) == (first.block, "VALID")
    await contract.submit("put", "later", "1")
    channel = net.network.channels["market"]
    codes = [
        code
        for number in range(first.block + 1, channel.height)
        for code in channel.ledger.chain.block(number).metadata.metadata[common_pb2.TRANSACTIONS_FILTER]
    ]
    assert transaction_pb2.DUPLICATE_TXID in codes
    assert await contract.evaluate("get", "counter") == b"1"
    with pytest.raises(EndorseError, match="duplicate transaction found"):
        await resend(contract, transaction)


async def resend(contract: Contract, transaction: Transaction) -> None:
    """Propose with a transaction id that is committed already."""
    payload = common_pb2.Payload.FromString(transaction.payload)
    action = transaction_pb2.Transaction.FromString(payload.data).actions[0]
    visible = transaction_pb2.ChaincodeActionPayload.FromString(action.payload).chaincode_proposal_payload
    raw = proposal_pb2.Proposal(header=payload.header.SerializeToString(), payload=visible).SerializeToString()
    proposed = gateway_pb2.ProposedTransaction(
        transaction_id=transaction.transaction_id,
        proposal=proposal_pb2.SignedProposal(proposal_bytes=raw),
    )
    gateway = contract._session
    signature = gateway.sign(raw, transaction.transaction_id)
    proposal = Gateway(gateway, False).proposal_from_bytes(proposed.SerializeToString(), signature)
    await proposal.endorse()


async def test_a_changed_transaction_is_refused_by_the_orderer(net: Deployed) -> None:
    contract = await net.contract()
    transaction = await contract.propose("put", "k", "v").endorse()
    transaction.sign(b"\x30\x06\x02\x01\x01\x02\x01\x01")
    with pytest.raises(SubmitError, match="status=FORBIDDEN, info=implicit policy evaluation failed") as caught:
        await transaction.submit()
    assert caught.value.grpc_code is grpc.StatusCode.ABORTED


CHAINCODE_ERRORS: list[tuple[str, list[str], int, str]] = [
    ("fail", ["no such model"], 422, "no such model"),
    ("get", ["missing"], 404, "no key 'missing'"),
    ("nosuch", [], 404, "no function 'nosuch'"),
]


@pytest.mark.parametrize(("function", "arguments", "status", "message"), CHAINCODE_ERRORS)
async def test_a_chaincodes_refusal_reaches_the_client_with_the_peer_that_said_it(
    net: Deployed, function: str, arguments: list[str], status: int, message: str
) -> None:
    contract = await net.contract()
    with pytest.raises(EvaluateError) as evaluated:
        await contract.evaluate(function, *arguments)
    assert evaluated.value.grpc_code is grpc.StatusCode.UNKNOWN
    assert f"evaluate call to endorser returned error: chaincode response {status}, {message}" in str(evaluated.value)
    with pytest.raises(EndorseError) as endorsed:
        await contract.submit(function, *arguments)
    assert endorsed.value.grpc_code is grpc.StatusCode.ABORTED
    for error in (evaluated.value, endorsed.value):
        (detail,) = error.details
        assert (detail.address, detail.msp_id) == (net.organization().peers[0].address, "Org1MSP")
        assert detail.message.startswith(f"chaincode response {status}, {message}")


REFUSALS: list[tuple[str, dict[str, Any], str, str]] = [
    ("evaluate", {"chaincode": "nosuch"}, "FAILED_PRECONDITION", "no peers available to evaluate chaincode nosuch in channel market"),
    ("evaluate", {"channel": "nosuch"}, "UNAVAILABLE", "failed to get config for channel [nosuch]: could not get last config for channel nosuch"),
    ("evaluate", {"organizations": ["NopeMSP"]}, "FAILED_PRECONDITION", "no peers available to evaluate chaincode kv in channel market"),
    ("submit", {"chaincode": "nosuch"}, "FAILED_PRECONDITION", f"{UNSATISFIED}: No metadata was found for chaincode nosuch in channel market"),
    ("submit", {"channel": "nosuch"}, "FAILED_PRECONDITION", f"{UNSATISFIED}: No metadata was found for chaincode kv in channel nosuch"),
    ("submit", {"chaincode": "qscc"}, "FAILED_PRECONDITION", f"{UNSATISFIED}: No metadata was found for chaincode qscc in channel market"),
    ("submit", {"organizations": ["Org1MSP", "NopeMSP"]}, "UNAVAILABLE", "failed to find any endorsing peers for org(s): NopeMSP"),
    ("submit", {"organizations": ["Org1MSP"], "chaincode": "nosuch"}, "UNAVAILABLE", "failed to find any endorsing peers for org(s): Org1MSP"),
    ("submit", {"organizations": ["Org1MSP"], "channel": "nosuch"}, "UNAVAILABLE", "failed to find any endorsing peers for org(s): Org1MSP"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "where", "code", "message"), REFUSALS)
async def test_what_cannot_be_run_is_refused_as_real_gateways_do(
    net: Deployed, call: str, where: dict[str, Any], code: str, message: str
) -> None:
    gateway = await net.gateway()
    contract = gateway.network(where.get("channel", "market")).contract(where.get("chaincode", "kv"))
    organizations = where.get("organizations", [])
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "evaluate": lambda: contract.evaluate("get", "k", target_organizations=organizations),
        "submit": lambda: contract.submit("put", "k", "v", endorsing_organizations=organizations),
    }
    with pytest.raises(GatewayError) as caught:
        await calls[call]()
    assert caught.value.grpc_code is grpc.StatusCode[code]
    assert message in str(caught.value)


async def test_the_status_of_an_unknown_transaction_is_waited_for(net: Deployed) -> None:
    network = (await net.gateway()).network("market")
    with pytest.raises(CommitUnknown):
        await network.commit("ab" * 32).status(deadline=0.2)


async def test_many_clients_at_once(net: Deployed) -> None:
    contracts = [await net.contract(number) for number in (1, 2, 3)]
    results = await asyncio.gather(
        *(contracts[number % 3].submit("put", f"many{number}", str(number)) for number in range(90))
    )
    assert {result.code for result in results} == {"VALID"}
    assert len({result.transaction_id for result in results}) == 90
    assert await contracts[0].evaluate("get", "many89") == b"89"


async def test_chaincode_calls_of_one_transaction_reach_several_organisations_with_one_result(net: Deployed) -> None:
    contract = await net.contract()
    name = os.urandom(4).hex()
    transaction = await contract.propose(
        "put", name, "v", endorsing_organizations=["Org1MSP", "Org2MSP", "Org3MSP"]
    ).endorse()
    assert {endorsement.msp_id for endorsement in transaction.endorsements} == {"Org1MSP", "Org2MSP", "Org3MSP"}
    assert (await (await transaction.submit()).status()).successful
