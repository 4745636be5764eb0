"""Identities, signers, wallets."""

from __future__ import annotations

import json
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fabric_protos.msp import identities_pb2

from goldengrain.gateway.errors import IdentityError, WalletError
from goldengrain.gateway.identity import (
    Identity,
    PrivateKeySigner,
    credentials_from_msp,
    credentials_from_pem,
    is_low_s,
    low_s,
)
from goldengrain.gateway.wallet import Wallet
from tests.gateway.certificates import Ca, Issued

CA = Ca("org1")
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    encryption: serialization.KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())


@pytest.fixture
def issued() -> Issued:
    return CA.issue("User1@org1", "client")


def test_signatures_have_low_s_and_verify() -> None:
    signer = PrivateKeySigner(KEY)
    for number in range(20):
        message = bytes([number])
        signature = signer.sign(sha256(message).digest())
        assert is_low_s(signature)
        KEY.public_key().verify(signature, message, ec.ECDSA(hashes.SHA256()))


def test_low_s_mirrors_a_high_s_and_leaves_a_low_one() -> None:
    signatures = [KEY.sign(b"m", ec.ECDSA(hashes.SHA256())) for _ in range(40)]
    high = [one for one in signatures if not is_low_s(one)]
    assert high
    for one in high:
        KEY.public_key().verify(low_s(one), b"m", ec.ECDSA(hashes.SHA256()))
        assert is_low_s(low_s(one))
    assert not is_low_s(b"junk")


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (pem(KEY), None),
        (pem(KEY, serialization.PrivateFormat.TraditionalOpenSSL), None),
        (pem(KEY, encryption=serialization.BestAvailableEncryption(b"pw")), b"pw"),
    ],
    ids=["PKCS#8", "SEC1", "PKCS#8 encrypted"],
)
def test_keys_are_read_in_every_usual_form(text: bytes, password: bytes | None) -> None:
    assert PrivateKeySigner.from_pem(text, password).public_key == KEY.public_key()


@pytest.mark.parametrize(
    ("text", "password", "reason"),
    [
        (b"junk", None, "not a PEM private key"),
        (pem(ec.generate_private_key(ec.SECP384R1())), None, "curve is secp384r1"),
        (pem(rsa.generate_private_key(65537, 2048)), None, "sign with ECDSA"),
        (pem(KEY, encryption=serialization.BestAvailableEncryption(b"pw")), None, "password"),
        (pem(KEY, encryption=serialization.BestAvailableEncryption(b"pw")), b"no", "another passphrase"),
        (pem(KEY), b"pw", "password"),
    ],
    ids=["junk", "curve", "rsa", "password missing", "password wrong", "password needless"],
)
def test_keys_that_fabric_does_not_take_are_refused(text: bytes, password: bytes | None, reason: str) -> None:
    with pytest.raises(IdentityError, match=reason):
        PrivateKeySigner.from_pem(text, password)


def test_an_identity_is_serialized_as_fabric_does(issued: Issued) -> None:
    parsed = identities_pb2.SerializedIdentity.FromString(Identity("Org1MSP", issued.certificate).serialized)
    assert (parsed.mspid, parsed.id_bytes) == ("Org1MSP", issued.certificate)


def test_certificate_and_key_must_belong_together(issued: Issued) -> None:
    with pytest.raises(IdentityError, match=r"does not belong to the certificate .*CN=User1@org1"):
        credentials_from_pem("Org1MSP", issued.certificate, pem(KEY))
    with pytest.raises(IdentityError, match="not a PEM certificate"):
        credentials_from_pem("Org1MSP", b"junk", issued.key)


def test_a_key_is_never_shown(issued: Issued) -> None:
    assert "PRIVATE" not in repr(credentials_from_pem("Org1MSP", issued.certificate, issued.key))


def msp_folder(folder: Path, issued: Issued, *more_keys: bytes) -> Path:
    (folder / "signcerts").mkdir(parents=True)
    (folder / "keystore").mkdir()
    (folder / "signcerts" / "cert.pem").write_bytes(issued.certificate)
    for index, key in enumerate((*more_keys, issued.key)):
        (folder / "keystore" / f"{index}_sk").write_bytes(key)
    return folder


def test_credentials_from_an_msp_folder(tmp_path: Path, issued: Issued) -> None:
    found = credentials_from_msp(msp_folder(tmp_path, issued), "Org1MSP")
    assert found.identity == Identity("Org1MSP", issued.certificate)


def test_the_certificates_key_is_found_among_several(tmp_path: Path, issued: Issued) -> None:
    folder = msp_folder(tmp_path, issued)
    (folder / "keystore" / "zzz_sk").write_bytes(pem(KEY))
    assert credentials_from_msp(folder, "Org1MSP").identity.certificate == issued.certificate


@pytest.mark.parametrize("gone", ["signcerts", "keystore", "signcerts/cert.pem", "keystore/0_sk"])
def test_a_folder_that_is_no_users_msp_is_refused(tmp_path: Path, issued: Issued, gone: str) -> None:
    folder = msp_folder(tmp_path, issued)
    path = folder / gone
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(IdentityError):
        credentials_from_msp(folder, "Org1MSP")


def test_two_certificates_are_ambiguous(tmp_path: Path, issued: Issued) -> None:
    folder = msp_folder(tmp_path, issued)
    (folder / "signcerts" / "second.pem").write_bytes(issued.certificate)
    with pytest.raises(IdentityError, match="holds 2 files"):
        credentials_from_msp(folder, "Org1MSP")


def test_a_wallet_keeps_identities_in_fabrics_format(tmp_path: Path, issued: Issued) -> None:
    wallet = Wallet(tmp_path / "wallet")
    assert wallet.labels() == []
    wallet.put("alice", "Org1MSP", issued.certificate, issued.key)
    entry = json.loads((tmp_path / "wallet" / "alice.id").read_text())
    assert entry == {
        "credentials": {"certificate": issued.certificate.decode(), "privateKey": issued.key.decode()},
        "mspId": "Org1MSP",
        "type": "X.509",
        "version": 1,
    }
    assert stat.S_IMODE((tmp_path / "wallet" / "alice.id").stat().st_mode) == 0o600
    assert wallet.labels() == ["alice"]
    assert wallet.get("alice").identity == Identity("Org1MSP", issued.certificate)
    wallet.remove("alice")
    assert wallet.labels() == []
    with pytest.raises(WalletError):
        wallet.remove("alice")


@pytest.mark.parametrize("label", ["", "../alice", "a/b", ".hidden", "a" * 129, "a\0b"])
def test_a_label_cannot_leave_the_wallet(tmp_path: Path, issued: Issued, label: str) -> None:
    wallet = Wallet(tmp_path)
    with pytest.raises(WalletError, match="not a label"):
        wallet.put(label, "Org1MSP", issued.certificate, issued.key)
    with pytest.raises(WalletError, match="not a label"):
        wallet.get(label)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"mspId": "M", "type": "X.509", "credentials": {}}',
        '{"mspId":"M","type":"HSM-X.509","credentials":{"certificate":"c","privateKey":"k"}}',
    ],
)
def test_a_malformed_entry_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bob.id").write_text(text)
    with pytest.raises(WalletError, match="not a"):
        Wallet(tmp_path).get("bob")


def test_a_missing_label_names_those_that_are_there(tmp_path: Path, issued: Issued) -> None:
    wallet = Wallet(tmp_path)
    wallet.put("alice", "Org1MSP", issued.certificate, issued.key)
    with pytest.raises(WalletError, match="it has: alice"):
        wallet.get("bob")
