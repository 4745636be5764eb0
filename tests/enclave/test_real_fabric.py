"""Transactions that real Fabric peers endorsed: the strict parser and the endorsers' checks take them as they are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fabric_protos.common import common_pb2 as common
from fabric_protos.common import configtx_pb2 as configtx
from fabric_protos.msp import identities_pb2 as identities
from fabric_protos.msp import msp_config_pb2 as msp_config

from goldengrain.chaincode.protocol.policy import BundleOrganization, TrustBundle
from goldengrain.enclave.errors import TicketEndorserRefused, TicketMalformed
from goldengrain.enclave.msp import Endorsers
from goldengrain.enclave.transaction import Endorsement, PreparedTransaction, parse_transaction
from tests.recordings.blocks import blocks


@pytest.fixture(scope="module")
def endorsers() -> Endorsers:
    """What the channel's first configuration says of its organisations, as a trust bundle."""
    payload = common.Payload.FromString(common.Envelope.FromString(blocks()[0].data.data[0]).payload)
    groups = configtx.ConfigEnvelope.FromString(payload.data).config.channel_group.groups["Application"].groups
    found = []
    for _, group in sorted(groups.items()):
        config = msp_config.MSPConfig.FromString(group.values["MSP"].value)
        msp = msp_config.FabricMSPConfig.FromString(config.config)
        roots = tuple(x509.load_pem_x509_certificate(root).public_bytes(Encoding.DER) for root in msp.root_certs)
        found.append(BundleOrganization(msp.name, roots))
    return Endorsers(TrustBundle("market", "vec", 2, 120, tuple(found)))


def transactions(blocks: Sequence[common.Block]) -> list[bytes]:
    found = []
    for block in blocks:
        for data in block.data.data:
            payload = common.Payload.FromString(common.Envelope.FromString(data).payload)
            header = common.ChannelHeader.FromString(payload.header.channel_header)
            if header.type == common.ENDORSER_TRANSACTION:
                found.append(data)
    return found


def parsed(data: bytes) -> PreparedTransaction | str:
    try:
        return parse_transaction(data)
    except TicketMalformed as error:
        return str(error)


def refusal(endorsers: Endorsers, one: PreparedTransaction, endorsement: Endorsement) -> str:
    message = one.response_payload_bytes + endorsement.endorser
    try:
        endorsers.check(endorsement.msp_id, endorsement.certificate, one.seconds, message, endorsement.signature)
    except TicketEndorserRefused as error:
        return str(error)
    return ""


def test_real_transactions_parse_and_their_endorsers_are_accepted(endorsers: Endorsers) -> None:
    """The recording also holds transactions that were changed on purpose, and one without an action."""
    found = [parsed(data) for data in transactions(blocks())]
    whole = [one for one in found if not isinstance(one, str)]
    assert [one for one in found if isinstance(one, str)] == ["the transaction has no action"]
    hashes = [
        hashlib.sha256(one.channel_header_bytes + one.signature_header_bytes + one.proposal_payload_bytes).digest()
        for one in whole
    ]
    assert sum(made == one.response_payload.proposal_hash for made, one in zip(hashes, whole, strict=True)) == 108
    refusals = Counter(refusal(endorsers, one, endorsement) for one in whole for endorsement in one.endorsements)
    assert refusals == {"": 191, "an endorser didn't sign these bytes": 5}


def test_a_creator_is_no_endorser(endorsers: Endorsers) -> None:
    data = transactions(blocks())[0]
    payload = common.Payload.FromString(common.Envelope.FromString(data).payload)
    creator = common.SignatureHeader.FromString(payload.header.signature_header).creator
    identity = identities.SerializedIdentity.FromString(creator)
    at = parse_transaction(data).seconds
    with pytest.raises(TicketEndorserRefused, match="OU 'peer'"):
        endorsers.check(identity.mspid, identity.id_bytes, at, b"", b"")
