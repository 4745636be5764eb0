"""Certificates are renewed with the same account, revoked, and their authorities' keys encrypted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from goldengrain.chaincode.protocol.accounts import account_of
from goldengrain.gateway.errors import PassphraseMissing, PassphraseWrong
from goldengrain.gateway.identity import credentials_from_msp
from goldengrain.gateway.passphrases import FILE_VARIABLE, VARIABLE
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.certificate_check import check_certificates
from goldengrain.network.certificates import ATTRIBUTES_OID, VALIDITY
from goldengrain.network.errors import CertificateUnusable, IdentityInvalid, IdentityNotFound, NetworkIncomplete
from goldengrain.network.genesis import msp_config
from goldengrain.network.home import Home
from goldengrain.network.msp_folders import read_authorities, read_only_file
from goldengrain.network.participation import participation
from goldengrain.network.pki import issue_identity
from goldengrain.network.profiles import add_to_wallet
from goldengrain.network.renewal import encrypt, folder_of, renew, renew_authorities, revoke
from goldengrain.network.topology import Topology


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_renewed_user_is_the_same_account_with_another_key(home: Home, topology: Topology) -> None:
    organization = topology.organizations[0]
    label = add_to_wallet(home, issue_identity(home, organization, "alice", attributes={"department": "audit"}))
    before = Wallet(home.wallet).get(label)
    tls = _certificate(home.user(organization, "alice") / "tls" / "client.crt")
    made = renew(home, organization, "alice")
    after = Wallet(home.wallet).get(label)
    assert after.identity.x509 == made
    assert made.serial_number != before.identity.x509.serial_number
    assert made.public_key() != before.identity.x509.public_key()
    one, two = (account_of(found.identity.msp_id, found.identity.certificate) for found in (before, after))
    assert one == two
    oid = ATTRIBUTES_OID
    assert made.extensions.get_extension_for_oid(oid) == before.identity.x509.extensions.get_extension_for_oid(oid)
    renewed_tls = _certificate(home.user(organization, "alice") / "tls" / "client.crt")
    assert (renewed_tls.subject, renewed_tls == tls) == (tls.subject, False)
    for path in (home.user(organization, "alice") / "msp" / "keystore" / "priv_sk", home.wallet / f"{label}.id"):
        assert path.stat().st_mode & 0o077 == 0


def test_an_orderer_keeps_its_keys_and_a_peer_does_not(home: Home, topology: Topology) -> None:
    organization, orderer = topology.orderer, topology.orderer.orderers[0]
    member, peer = next(topology.peers())
    for owner, name, folder, kept in (
        (organization, orderer.host(organization), home.orderer(organization, orderer), True),
        (member, peer.host(member), home.peer(member, peer), False),
    ):
        old = _certificate(folder / "tls" / "server.crt")
        signing = x509.load_pem_x509_certificate(read_only_file(folder / "msp" / "signcerts"))
        renew(home, owner, name)
        new = _certificate(folder / "tls" / "server.crt")
        assert new.serial_number != old.serial_number
        assert new.extensions.get_extension_for_class(x509.SubjectAlternativeName) == (
            old.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        )
        assert (new.public_key() == old.public_key()) is kept
        renewed = x509.load_pem_x509_certificate(read_only_file(folder / "msp" / "signcerts"))
        assert (renewed.public_key() == signing.public_key()) is kept
        key = load_pem_private_key(read_only_file(folder / "msp" / "keystore"), None)
        assert key.public_key() == renewed.public_key()


def test_revoked_certificates_are_on_one_list_that_the_authority_signed(home: Home, topology: Topology) -> None:
    organization = topology.organizations[0]
    numbers = []
    for name in ("alice", "bob"):
        issue_identity(home, organization, name)
        numbers.append(_only(home, topology, name).serial_number)
        revoke(home, organization, name)
    revoke(home, organization, "bob")
    (path,) = (home.organization(organization) / "msp" / "crls").iterdir()
    crl = x509.load_pem_x509_crl(path.read_bytes())
    assert sorted(entry.serial_number for entry in crl) == sorted(numbers)
    authority = read_authorities(home.organization(organization), organization.domain).identity.pair.certificate
    assert crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    assert path.read_bytes() in msp_config(home, organization).config


def _only(home: Home, topology: Topology, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(
        read_only_file(folder_of(home, topology.organizations[0], name) / "msp/signcerts")
    )


def test_who_is_not_there_cannot_be_renewed(home: Home, topology: Topology) -> None:
    for name in ("nobody", "../Org2", ""):
        with pytest.raises(IdentityNotFound, match=r"there are Admin, User1, peer0\.org1\.example\.com"):
            renew(home, topology.organizations[0], name)
    folder = home.user(topology.organizations[0], "User1") / "msp" / "signcerts"
    next(folder.iterdir()).write_text("junk")
    with pytest.raises(NetworkIncomplete, match="cannot be renewed"):
        renew(home, topology.organizations[0], "User1")


def test_a_certificate_of_another_authority_is_not_renewed(home: Home, topology: Topology) -> None:
    first, second = topology.organizations[:2]
    stranger = read_only_file(home.user(second, "User1") / "msp" / "signcerts")
    next((home.user(first, "User1") / "msp" / "signcerts").iterdir()).write_bytes(stranger)
    with pytest.raises(NetworkIncomplete, match="was issued by"):
        renew(home, first, "User1")


def test_an_encrypted_authority_needs_its_password(
    home: Home, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization = topology.organizations[0]
    with pytest.raises(IdentityInvalid, match="empty password"):
        encrypt(home, organization, b"")
    encrypt(home, organization, b"first")
    key = home.organization(organization) / "ca" / "priv_sk"
    assert b"ENCRYPTED" in key.read_bytes()
    assert key.stat().st_mode & 0o077 == 0
    with pytest.raises(PassphraseMissing, match=f"ca/priv_sk is encrypted: set {VARIABLE}"):
        issue_identity(home, organization, "alice")
    monkeypatch.setenv(VARIABLE, "wrong")
    with pytest.raises(PassphraseWrong, match=r"ca/priv_sk is encrypted by another passphrase"):
        issue_identity(home, organization, "alice")
    monkeypatch.setenv(VARIABLE, "first")
    issue_identity(home, organization, "alice")
    renew(home, organization, "alice")
    issue_identity(home, topology.organizations[1], "bob")  # whose authority is not encrypted


def test_a_users_keys_are_encrypted_everywhere_and_stay_so_when_renewed(
    home: Home, topology: Topology, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    organization = topology.organizations[0]
    label = add_to_wallet(home, issue_identity(home, organization, "alice"))
    account = account_of(organization.msp_id, Wallet(home.wallet).identity(label).certificate)
    encrypt(home, organization, b"secret", "alice")
    (tmp_path / "passphrase").write_text("secret\n")
    folder = home.user(organization, "alice")
    files = [folder / "msp" / "keystore" / "priv_sk", folder / "tls" / "client.key", home.wallet / f"{label}.id"]
    for renewed in (False, True):
        monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "passphrase"))
        if renewed:
            renew(home, organization, "alice")
        assert all(b"ENCRYPTED PRIVATE KEY" in one.read_bytes() for one in files)
        assert all(one.stat().st_mode & 0o077 == 0 for one in files)
        found = Wallet(home.wallet).get(label)
        assert account_of(found.identity.msp_id, found.identity.certificate) == account
        assert credentials_from_msp(folder / "msp", organization.msp_id).identity == found.identity
        monkeypatch.delenv(FILE_VARIABLE)
        assert Wallet(home.wallet).is_encrypted(label)
        with pytest.raises(PassphraseMissing, match=rf"the key of {label} is encrypted"):
            Wallet(home.wallet).get(label)
        with pytest.raises(PassphraseWrong, match="another passphrase"):
            Wallet(home.wallet).get(label, b"wrong")
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(PassphraseMissing, match="cannot be read"):
        Wallet(home.wallet).get(label)
    (tmp_path / "none").write_text("\n")
    with pytest.raises(PassphraseMissing, match="no passphrase in its first line"):
        Wallet(home.wallet).get(label)


def test_a_nodes_keys_stay_plain_because_fabric_reads_them_so(home: Home, topology: Topology) -> None:
    for owner, name in (
        (topology.organizations[0], "peer0.org1.example.com"),
        (topology.orderer, "orderer.example.com"),
    ):
        with pytest.raises(IdentityInvalid, match=r"Fabric's BCCSP reads a node's keys .*PKCS#11"):
            encrypt(home, owner, b"secret", name)


def test_an_orderers_admin_endpoint_is_called_with_an_encrypted_key(
    home: Home, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, orderer = next(topology.orderers())
    encrypt(home, owner, b"secret", "Admin")
    with pytest.raises(PassphraseMissing):
        participation(home, owner, orderer)
    monkeypatch.setenv(VARIABLE, "wrong")
    with pytest.raises(PassphraseWrong):
        participation(home, owner, orderer)
    monkeypatch.setenv(VARIABLE, "secret")
    assert participation(home, owner, orderer)


def test_a_renewed_authority_is_the_same_and_began_when_the_old_one_did(home: Home, topology: Topology) -> None:
    owner = topology.organizations[0]
    folder = home.organization(owner)
    before = read_authorities(folder, owner.domain)
    leaf = _certificate(next((home.user(owner, "User1") / "msp" / "signcerts").iterdir()))
    renew_authorities(home, topology, owner)
    after = read_authorities(folder, owner.domain)
    for old, new in ((before.identity, after.identity), (before.tls, after.tls)):
        one, two = old.pair.certificate, new.pair.certificate
        assert (one.subject, one.public_key(), one.not_valid_before_utc) == (
            two.subject,
            two.public_key(),
            two.not_valid_before_utc,
        )
        assert one.serial_number != two.serial_number
        assert one.not_valid_after_utc <= two.not_valid_after_utc
        assert list(one.extensions) == list(two.extensions)
        pem = new.pair.certificate_pem
        assert one.public_bytes(Encoding.PEM) not in [
            path.read_bytes() for path in home.path.rglob("*.*") if path.is_file()
        ]
        assert pem in [path.read_bytes() for path in home.path.rglob("*.*") if path.is_file()]
    leaf.verify_directly_issued_by(after.identity.pair.certificate)
    assert after.identity.pair.certificate_pem in msp_config(home, owner).config
    check_certificates(home, topology)
    profile = json.loads(home.connection_profile(topology.organizations[1]).read_text())
    assert profile["peers"]["peer0.org1.example.com"]["tlsCACerts"]["pem"] == after.tls.pair.certificate_pem.decode()


def test_a_node_is_not_started_with_a_certificate_that_nobody_accepts(home: Home, topology: Topology) -> None:
    check_certificates(home, topology)
    with pytest.raises(CertificateUnusable, match=r"expired on .* `goldengrain identity renew Org1 peer0\.org1"):
        check_certificates(home, topology, now=datetime.now(UTC) + VALIDITY)
    first, second = (home.peer(*member) / "msp" / "signcerts" for member in list(topology.peers())[:2])
    own = next(first.iterdir()).read_bytes()
    next(first.iterdir()).write_bytes(read_only_file(second))
    with pytest.raises(CertificateUnusable, match=r"peer0\.org1\.example\.com is not of the authority"):
        check_certificates(home, topology)
    next(first.iterdir()).write_bytes(own)
    (home.orderer(topology.orderer, topology.orderer.orderers[0]) / "tls" / "server.crt").write_text("junk")
    with pytest.raises(CertificateUnusable, match=r"orderer\.example\.com"):
        check_certificates(home, topology)
