from __future__ import annotations

import json
import os
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from goldengrain.network.certificates import ATTRIBUTES_OID, key_identifier
from goldengrain.network.errors import IdentityExists, IdentityInvalid, IdentityNotFound, NetworkIncomplete
from goldengrain.network.home import Home
from goldengrain.network.pki import create_pki, identity_names, issue_identity, load_identity
from goldengrain.network.topology import OrdererOrganization, Organization, Topology, default_topology

ORG1 = "peerOrganizations/org1.example.com"

LAYOUT = {
    "ca/ca.org1.example.com-cert.pem",
    "ca/priv_sk",
    "tlsca/tlsca.org1.example.com-cert.pem",
    "tlsca/priv_sk",
    "msp/cacerts/ca.org1.example.com-cert.pem",
    "msp/tlscacerts/tlsca.org1.example.com-cert.pem",
    "msp/config.yaml",
} | {
    f"{folder}/{file}"
    for folder, name, tls in [
        ("peers/peer0.org1.example.com", "peer0.org1.example.com", "server"),
        ("users/Admin@org1.example.com", "Admin@org1.example.com", "client"),
        ("users/User1@org1.example.com", "User1@org1.example.com", "client"),
    ]
    for file in [
        "msp/cacerts/ca.org1.example.com-cert.pem",
        "msp/tlscacerts/tlsca.org1.example.com-cert.pem",
        "msp/config.yaml",
        "msp/keystore/priv_sk",
        f"msp/signcerts/{name}-cert.pem",
        "tls/ca.crt",
        f"tls/{tls}.crt",
        f"tls/{tls}.key",
    ]
}


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _shape(certificate: x509.Certificate) -> dict[str, object]:
    """What must be the same in every certificate of its kind: all but keys, serial numbers and dates."""
    extensions = {}
    for extension in certificate.extensions:
        value: object = extension.value
        if isinstance(value, x509.SubjectKeyIdentifier):
            value = len(value.digest)
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            assert value.key_identifier is not None
            value = (len(value.key_identifier), value.authority_cert_issuer, value.authority_cert_serial_number)
        elif isinstance(value, x509.ExtendedKeyUsage):
            value = frozenset(value)
        extensions[extension.oid.dotted_string] = (extension.critical, value)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "days": (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days,
        "signature": certificate.signature_algorithm_oid,
        "curve": certificate.public_key().curve.name,  # type: ignore[union-attr]
        "version": certificate.version,
        "extensions": extensions,
    }


def test_the_layout_is_cryptogens(home: Home) -> None:
    assert _files(home.organizations / ORG1) == LAYOUT


def test_layout_and_certificates_match_what_cryptogen_made(home: Home, vectors: Path) -> None:
    recorded = vectors / "crypto"
    for organization in (ORG1, "peerOrganizations/org3.example.com", "ordererOrganizations/example.com"):
        theirs = {
            path
            for path in _files(recorded / organization)
            if "User2@" not in path
            and not path.startswith(("orderers/orderer2", "orderers/orderer3", "orderers/orderer4"))
        }
        assert _files(home.organizations / organization) == theirs
        for path in theirs:
            ours = home.organizations / organization / path
            if path.endswith((".pem", ".crt")):
                assert _shape(_certificate(ours)) == _shape(_certificate(recorded / organization / path)), path
            elif path.endswith("config.yaml"):
                assert ours.read_text() == (recorded / organization / path).read_text()


def test_every_certificate_is_verified_by_its_authority(home: Home, topology: Topology) -> None:
    everyone: list[Organization | OrdererOrganization] = [*topology.organizations, topology.orderer]
    for organization in everyone:
        folder = home.organization(organization)
        identity_ca = _certificate(folder / "ca" / f"ca.{organization.domain}-cert.pem")
        tls_ca = _certificate(folder / "tlsca" / f"tlsca.{organization.domain}-cert.pem")
        for path in folder.rglob("signcerts/*.pem"):
            _certificate(path).verify_directly_issued_by(identity_ca)
        for path in [*folder.rglob("server.crt"), *folder.rglob("client.crt")]:
            _certificate(path).verify_directly_issued_by(tls_ca)


def test_keys_fit_their_certificates_and_are_private(home: Home) -> None:
    keys = [*home.organizations.rglob("priv_sk"), *home.organizations.rglob("*.key")]
    assert len(keys) == 3 * 8 + 6
    for path in keys:
        assert path.stat().st_mode & 0o777 == 0o600
        key = load_pem_private_key(path.read_bytes(), None)
        beside = path.with_suffix(".crt") if path.suffix == ".key" else None
        if beside is None:
            folder = path.parent.parent / "signcerts" if path.parent.name == "keystore" else path.parent
            (beside,) = folder.glob("*.pem")
        assert key.public_key() == _certificate(beside).public_key()


def test_signatures_on_certificates_have_a_low_s(home: Home) -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for path in [*home.organizations.rglob("*.pem"), *home.organizations.rglob("*.crt")]:
        assert decode_dss_signature(_certificate(path).signature)[1] <= order // 2


def test_the_key_identifier_is_that_of_fabric(home: Home) -> None:
    certificate = _certificate(home.organizations / ORG1 / "ca" / "ca.org1.example.com-cert.pem")
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert identifier.digest == key_identifier(key)


def test_a_tls_handshake_with_localhost_and_its_address_succeeds(home: Home, topology: Topology) -> None:
    organization = topology.organizations[0]
    tls = home.peer(organization, organization.peers[0]) / "tls"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls / "server.crt", tls / "server.key")
    for name in ("localhost", "127.0.0.1", "peer0.org1.example.com"):
        _handshake(server, ssl.create_default_context(cafile=str(tls / "ca.crt")), name)


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert all(end.version() == "TLSv1.3" for end in ends)


def test_three_organisations_take_well_under_300_ms(tmp_path: Path) -> None:
    start = time.process_time()
    create_pki(Home(tmp_path / "home"), default_topology())
    assert time.process_time() - start < 0.3


def test_an_existing_network_keeps_its_certificates(home: Home, topology: Topology) -> None:
    before = load_identity(home, topology.organizations[0], "Admin")
    with pytest.raises(IdentityExists):
        create_pki(home, topology)
    assert load_identity(home, topology.organizations[0], "Admin") == before


def test_a_failure_midway_leaves_nothing(tmp_path: Path, topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    import goldengrain.network.pki as module

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module, "_create_orderer_organization", fail)
    home = Home(tmp_path / "home")
    with pytest.raises(OSError, match="disk full"):
        create_pki(home, topology)
    assert list(home.path.iterdir()) == []


def test_an_issued_identity_has_role_and_attributes(home: Home, topology: Topology) -> None:
    organization = topology.organizations[1]
    identity = issue_identity(home, organization, "alice", "client", {"department": "models"})
    certificate = x509.load_pem_x509_certificate(identity.certificate)
    unit, name = (
        certificate.subject.get_attributes_for_oid(oid)[0].value
        for oid in (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME)
    )
    assert (unit, name, identity.msp_id) == ("client", "alice@org2.example.com", "Org2MSP")
    extension = certificate.extensions.get_extension_for_oid(ATTRIBUTES_OID).value
    assert isinstance(extension, x509.UnrecognizedExtension)
    assert json.loads(extension.value) == {"attrs": {"department": "models"}}
    assert _files(identity.folder) == {
        path.removeprefix("users/User1@org1.example.com/").replace("User1@org1", "alice@org1").replace("org1.", "org2.")
        for path in LAYOUT
        if path.startswith("users/User1@")
    }
    assert identity_names(home, organization) == ["Admin", "User1", "alice"]


def test_a_taken_name_is_refused_and_the_identity_kept(home: Home, topology: Topology) -> None:
    before = load_identity(home, topology.organizations[0], "User1")
    with pytest.raises(IdentityExists):
        issue_identity(home, topology.organizations[0], "User1")
    assert load_identity(home, topology.organizations[0], "User1") == before


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "ä", "x" * 65, ".hidden"])
def test_a_name_that_is_no_name_is_refused(home: Home, topology: Topology, name: str) -> None:
    with pytest.raises(IdentityInvalid):
        issue_identity(home, topology.organizations[0], name)
    with pytest.raises(IdentityNotFound):
        load_identity(home, topology.organizations[0], name)


def test_a_user_cannot_be_made_a_peer(home: Home, topology: Topology) -> None:
    with pytest.raises(IdentityInvalid):
        issue_identity(home, topology.organizations[0], "mallory", "peer")


def test_attributes_without_end_are_refused(home: Home, topology: Topology) -> None:
    with pytest.raises(IdentityInvalid):
        issue_identity(home, topology.organizations[0], "mallory", "client", {"a": "x" * 9000})


def test_damaged_folders_are_named(home: Home, topology: Topology) -> None:
    organization = topology.organizations[0]
    (home.organization(organization) / "ca" / "priv_sk").write_text("no key")
    with pytest.raises(NetworkIncomplete, match=r"org1\.example\.com"):
        issue_identity(home, organization, "bob")
    keystore = home.user(organization, "User1") / "msp" / "keystore"
    os.link(keystore / "priv_sk", keystore / "second_sk")
    with pytest.raises(NetworkIncomplete, match="exactly one file"):
        load_identity(home, organization, "User1")
