# ruff: noqa: E501 - tables of the texts that real peers answer with
"""The order in which a peer checks a proposal, and what it says; straight at `protos.Endorser`."""

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import grpc
import grpc.aio
import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2, proposal_response_pb2

from goldengrain.gateway.identity import Credentials
from goldengrain.network.embedded.blocks import P256_ORDER
from tests.network.embedded.services.deployed import Deployed

NONCE = b"nonce of twenty-four byt"
WRITERS = (
    "Failed evaluating policy on signed data during check policy on channel [market] with policy "
    "[/Channel/Application/Writers]: [implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy "
    "requires 1 of the 'Writers' sub-policies to be satisfied]"
)


def signed_proposal(user: Credentials, **changes: Any) -> proposal_pb2.SignedProposal:
    """A proposal to read a key; `changes` make it wrong."""
    creator = changes.get("creator", user.identity.serialized)
    nonce = changes.get("nonce", NONCE)
    name = changes.get("chaincode", "kv")
    chaincode = chaincode_pb2.ChaincodeID(name=name)
    extension = proposal_pb2.ChaincodeHeaderExtension(chaincode_id=chaincode)
    header = common_pb2.ChannelHeader(
        type=changes.get("type", common_pb2.ENDORSER_TRANSACTION),
        channel_id=changes.get("channel", "market"),
        tx_id=changes.get("tx_id", sha256(nonce + creator).hexdigest()),
        epoch=changes.get("epoch", 0),
        extension=changes.get("extension", extension.SerializeToString()),
    )
    header.timestamp.FromNanoseconds(int((time.time() + changes.get("shift", 0)) * 1e9))
    signature_header = common_pb2.SignatureHeader(creator=creator, nonce=nonce)
    arguments = changes.get("arguments", [b"range", b"a", b"b"])
    spec = chaincode_pb2.ChaincodeInvocationSpec(
        chaincode_spec=chaincode_pb2.ChaincodeSpec(
            chaincode_id=chaincode, input=chaincode_pb2.ChaincodeInput(args=arguments)
        )
    )
    proposal = proposal_pb2.Proposal(
        header=common_pb2.Header(
            channel_header=header.SerializeToString(), signature_header=signature_header.SerializeToString()
        ).SerializeToString(),
        payload=proposal_pb2.ChaincodeProposalPayload(input=spec.SerializeToString()).SerializeToString(),
    ).SerializeToString()
    signature = changes.get("signature", user.signer.sign(sha256(proposal).digest()))
    return proposal_pb2.SignedProposal(proposal_bytes=proposal, signature=signature)


async def process(
    net: Deployed, signed: proposal_pb2.SignedProposal, number: int = 1
) -> proposal_response_pb2.ProposalResponse:
    channel = await net.peer_channel(number)
    call = channel.unary_unary(
        "/protos.Endorser/ProcessProposal",
        request_serializer=proposal_pb2.SignedProposal.SerializeToString,
        response_deserializer=proposal_response_pb2.ProposalResponse.FromString,
    )
    return await call(signed)


async def test_a_proposal_is_endorsed_with_the_peers_signature(net: Deployed) -> None:
    response = await process(net, signed_proposal(net.user()))
    assert (response.version, response.response.status, response.response.payload) == (1, 200, b"[]")
    msps = net.network.channels["market"].config.msps
    endorser = msps.validated(response.endorsement.endorser)
    assert endorser.msp_id == "Org1MSP"
    assert endorser.verify(response.payload + response.endorsement.endorser, response.endorsement.signature)
    assert [call.name for call in response.interest.chaincodes] == ["kv"]


WRONG_TX_ID = "ab" * 32
FLAWS: list[tuple[dict[str, Any], str]] = [
    ({"shift": -3600, "extension": b"", "signature": b""}, "request unauthorized due to incorrect timestamp "),
    ({"shift": -3600, "epoch": 1}, "request unauthorized due to incorrect timestamp "),
    ({"shift": 3600}, ", peer.authentication.timewindow 15m0s"),
    ({"extension": b"", "epoch": 1}, "ChaincodeHeaderExtension.ChaincodeId is nil"),
    ({"type": common_pb2.MESSAGE, "epoch": 1}, "error validating proposal: invalid header type MESSAGE"),
    ({"epoch": 1, "nonce": b""}, "error validating proposal: epoch is non-zero"),
    ({"nonce": b"", "tx_id": WRONG_TX_ID}, "error validating proposal: nonce is empty"),
    ({"tx_id": WRONG_TX_ID, "signature": b""}, f"error validating proposal: incorrectly computed txid '{WRONG_TX_ID}' -- expected '"),
    ({"signature": b"", "creator": b"x"}, "error validating proposal: empty signature bytes"),
    ({"creator": b"x"}, "error validating proposal: access denied: channel [market] creator org unknown, creator is malformed"),
    ({"signature": b"garbage"}, "error validating proposal: access denied: channel [market] creator org [Org1MSP]"),
    ({"signature": b"garbage", "chaincode": "nosuch"}, "access denied: channel [market] creator org [Org1MSP]"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), FLAWS)
async def test_the_first_flaw_in_fabrics_order_is_reported(
    net: Deployed, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await process(net, signed_proposal(net.user(), **changes))
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert message in str(caught.value.details())


async def test_a_signature_with_the_larger_s_is_a_bad_signature(net: Deployed) -> None:
    from cryptography.hazmat.primitives.asymmetric import utils

    signed = signed_proposal(net.user())
    r, s = utils.decode_dss_signature(signed.signature)
    signed.signature = utils.encode_dss_signature(r, P256_ORDER - s)
    with pytest.raises(grpc.aio.AioRpcError, match=r"access denied: channel \[market\] creator org \[Org1MSP\]"):
        await process(net, signed)


async def test_peers_and_foreign_organisations_may_not_write(net: Deployed) -> None:
    from goldengrain.gateway.identity import credentials_from_msp

    organization = net.organization()
    peer = credentials_from_msp(net.home.peer(organization, organization.peers[0]) / "msp", "Org1MSP")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await process(net, signed_proposal(peer))
    assert caught.value.details() == WRITERS


RESPONSES: list[tuple[dict[str, Any], str]] = [
    ({"channel": "nosuch", "signature": b"garbage"}, "channel 'nosuch' not found"),
    ({"chaincode": "nosuch"}, "make sure the chaincode nosuch has been successfully defined on channel market and try again: chaincode nosuch not found"),
    ({"channel": ""}, "make sure the chaincode kv has been successfully defined on channel  and try again: could not get channel config for channel ''"),
    ({"chaincode": "qscc", "arguments": [b"GetChainInfo", b"nope"]}, "Invalid chain ID, nope"),
    ({"chaincode": "qscc", "arguments": [b"GetChainInfo"]}, "Incorrect number of arguments, 1"),
    ({"chaincode": "qscc", "arguments": [b"Nope", b"market"]}, "missing 3rd argument for Nope"),
    ({"chaincode": "qscc", "arguments": [b"GetBlockByNumber", b"market", b"9999"]}, "Failed to get block number 9999, error no such block number [9999] in index"),
    ({"chaincode": "qscc", "arguments": [b"GetBlockByNumber", b"market", b"abc"]}, 'Failed to parse block number with error strconv.ParseUint: parsing "abc": invalid syntax'),
    ({"chaincode": "cscc", "channel": "", "arguments": [b"JoinChain"]}, "Incorrect number of arguments, 1"),
    ({"chaincode": "cscc", "channel": "", "arguments": [b"JoinChain", b"\xff\x00junk"]}, "Failed to reconstruct the genesis block, error unmarshalling Block: proto:\u00a0cannot parse invalid wire-format data"),
    ({"chaincode": "_lifecycle", "channel": "", "arguments": [b"QueryInstalledChaincodes"]}, "lifecycle scc operations require exactly two arguments but received 1"),
    ({"chaincode": "_lifecycle", "arguments": [b"Nope", b""]}, "Failed to authorize invocation due to failed ACL check: Unmapped policy for _lifecycle/Nope"),
    ({"chaincode": "_lifecycle", "channel": "", "arguments": [b"QueryInstalledChaincodes", b""]}, "Failed to authorize invocation due to failed ACL check: Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP [Org1MSP]: The identity does not contain OU [ADMIN], MSP: [Org1MSP]]"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), RESPONSES)
async def test_what_cannot_be_simulated_is_a_response_of_status_500(
    net: Deployed, changes: dict[str, Any], message: str
) -> None:
    response = await process(net, signed_proposal(net.user(), **changes))
    assert (response.response.status, response.response.message) == (500, message)
    assert not response.HasField("endorsement")


async def test_another_organisations_user_is_unknown_without_a_channel(net: Deployed) -> None:
    signed = signed_proposal(net.user(2), channel="", chaincode="cscc", arguments=[b"GetChannels"])
    with pytest.raises(grpc.aio.AioRpcError, match=r"access denied: channel \[\] creator org unknown"):
        await process(net, signed)


async def test_a_proposal_is_refused_once_its_transaction_is_committed(net: Deployed) -> None:
    contract = await net.contract()
    result = await contract.submit("put", "k", "v")
    envelope = net.network.channels["market"].ledger.chain.envelope(result.transaction_id)
    header = common_pb2.Payload.FromString(envelope.payload).header
    nonce = common_pb2.SignatureHeader.FromString(header.signature_header).nonce
    with pytest.raises(grpc.aio.AioRpcError, match=rf"duplicate transaction found \[{result.transaction_id}\]"):
        await process(net, signed_proposal(net.user(), nonce=nonce))


QUERIES: list[tuple[str, list[bytes], Callable[[Any, bytes], bool]]] = [
    ("qscc", [b"GetChainInfo", b"market"], lambda channel, payload: payload[1] == channel.height),
    ("qscc", [b"GetBlockByNumber", b"market", b"0"], lambda channel, payload: payload == channel.ledger.chain.block_bytes(0)),
    ("cscc", [b"GetChannelConfig", b"market"], lambda channel, payload: payload == channel.config.config.SerializeToString()),
    ("cscc", [b"GetConfigBlock", b"market"], lambda channel, payload: payload == channel.ledger.chain.block_bytes(0)),
    ("cscc", [b"GetChannels"], lambda channel, payload: payload == b"\n\x08\n\x06market"),
]  # fmt: skip


@pytest.mark.parametrize(("chaincode", "arguments", "check"), QUERIES)
async def test_system_chaincodes_answer(
    net: Deployed, chaincode: str, arguments: list[bytes], check: Callable[[Any, bytes], bool]
) -> None:
    response = await process(net, signed_proposal(net.user(), chaincode=chaincode, arguments=arguments))
    assert response.response.status == 200
    assert check(net.network.channels["market"], response.response.payload)
