"""Who may sign what on a channel."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fabric_protos.msp import msp_config_pb2

from goldengrain.gateway.errors import BlockError
from goldengrain.gateway.identity import Credentials, Identity, is_low_s
from goldengrain.gateway.trust import ChannelTrust, Msp, msp_from_config
from tests.gateway.certificates import Ca
from tests.gateway.ledger_double import LedgerDouble, sign

LEDGER = LedgerDouble()
TRUST = ChannelTrust.from_config_block(LEDGER.blocks[0])
ORG1 = LEDGER.members[0]
PEER = ORG1.node
MESSAGE = b"message"


def high_s(who: Credentials) -> bytes:
    while True:
        signature = who.signer._key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))  # type: ignore[attr-defined]
        if not is_low_s(signature):
            return bytes(signature)


def test_members_sign_in_their_roles() -> None:
    creator = PEER.identity.serialized
    for role in ("peer", None):
        assert TRUST.check(creator, sign(PEER, MESSAGE), MESSAGE, role) == "Org1MSP"
    orderer = LEDGER.orderer.node
    signature = sign(orderer, MESSAGE)
    assert TRUST.check(orderer.identity.serialized, signature, MESSAGE, "orderer", orderer=True) == "OrdererMSP"


def identity(credentials: Credentials, msp_id: str | None = None) -> bytes:
    return Identity(msp_id or credentials.identity.msp_id, credentials.identity.certificate).serialized


STRANGER = Ca("Org1MSP").credentials("Org1MSP", "peer0", "peer")
REFUSED = [
    ("a client in a peer's role", identity(ORG1.user), sign(ORG1.user, MESSAGE), "peer", "not one of a peer"),
    ("a CA of the same name", identity(STRANGER), sign(STRANGER, MESSAGE), "peer", "not issued by a CA of Org1MSP"),
    ("an unknown MSP", identity(PEER, "Org9MSP"), sign(PEER, MESSAGE), "peer", "Org9MSP is not an organisation"),
    ("another organisation's id", identity(PEER, "Org2MSP"), sign(PEER, MESSAGE), "peer", "not issued by a CA of Org2"),
    ("another message", identity(PEER), sign(PEER, b"other"), "peer", "does not verify"),
    ("a high s", identity(PEER), high_s(PEER), "peer", "low s"),
    ("no signature", identity(PEER), b"", "peer", "low s"),
    ("no certificate", Identity("Org1MSP", b"junk").serialized, b"", "peer", "identity is malformed"),
    ("no identity", b"\xff", b"", "peer", "identity is malformed"),
]


@pytest.mark.parametrize(
    ("creator", "signature", "role", "reason"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_others_are_refused(creator: bytes, signature: bytes, role: str, reason: str) -> None:
    with pytest.raises(BlockError, match=reason):
        TRUST.check(creator, signature, MESSAGE, role)


def test_a_peers_organisation_does_not_sign_blocks() -> None:
    with pytest.raises(BlockError, match="Org1MSP is not an organisation"):
        TRUST.check(PEER.identity.serialized, sign(PEER, MESSAGE), MESSAGE, "orderer", orderer=True)


def test_revoked_certificates_and_msps_without_roles() -> None:
    root = x509.load_pem_x509_certificate(ORG1.ca.pem)
    certificate = ORG1.user.identity.x509
    assert Msp("Org1MSP", (root,)).admits(certificate, "peer") is None
    revoked = Msp("Org1MSP", (root,), revoked=frozenset({certificate.serial_number}))
    assert revoked.admits(certificate, None) == "its certificate is revoked"


def test_a_chain_through_an_intermediate() -> None:
    root, intermediate = Ca("root"), Ca("intermediate")
    between = intermediate.signed_by(root)
    person = intermediate.credentials("OrgMSP", "peer0", "peer").identity.x509
    roots = (x509.load_pem_x509_certificate(root.pem),)
    assert Msp("OrgMSP", roots, (between,)).admits(person, "peer") is None
    assert Msp("OrgMSP", roots).admits(person, "peer") == "its certificate was not issued by a CA of OrgMSP"


def test_an_msp_reads_its_revocation_list() -> None:
    serial = ORG1.user.identity.x509.serial_number
    config = msp_config_pb2.FabricMSPConfig(name="Org1MSP", root_certs=[ORG1.ca.pem])
    config.revocation_list.append(ORG1.ca.revocation_list(serial))
    assert msp_from_config(config).revoked == {serial}
