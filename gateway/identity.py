"""Who signs: X.509 identities of an MSP, and signers of their P-256 keys.

Fabric accepts only ECDSA signatures whose ``s`` is at most half the curve's order ("low s"); every signer here makes
such. A signer is handed a SHA-256 digest, never the message, so that a key may live in another process or device:
anything with ``sign(digest: bytes) -> bytes`` will do.

Example::

    user = credentials_from_msp("organizations/…/users/User1@org1.example.com/msp", "Org1MSP")
    user.signer.sign(hashlib.sha256(b"message").digest())
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from fabric_protos.msp import identities_pb2

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.gateway.errors import IdentityError, PassphraseMissing, PassphraseWrong
from goldengrain.gateway.passphrases import is_encrypted, passphrase

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF_ORDER = P256_ORDER // 2
_PREHASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))


class Signer(Protocol):
    """Makes signatures over digests."""

    def sign(self, digest: bytes) -> bytes:
        """ECDSA signature (DER, low s) over a SHA-256 digest of 32 bytes."""
        ...


@dataclass(frozen=True)
class Identity:
    """A certificate of a member of an organisation: MSP id and X.509 certificate in PEM."""

    msp_id: str
    certificate: bytes

    @cached_property
    def serialized(self) -> bytes:
        """``msp.SerializedIdentity``: what Fabric calls *creator*."""
        message = identities_pb2.SerializedIdentity(mspid=self.msp_id, id_bytes=self.certificate)
        return message.SerializeToString(deterministic=True)

    @cached_property
    def x509(self) -> x509.Certificate:
        """The parsed certificate. Raises IdentityError if it is not one."""
        try:
            return x509.load_pem_x509_certificate(self.certificate)
        except UNREADABLE as error:
            raise IdentityError(f"not a PEM certificate ({self.msp_id}): {error}") from error


class PrivateKeySigner:
    """Signs with a P-256 private key held in memory."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        if not isinstance(key.curve, ec.SECP256R1):
            raise IdentityError(f"Fabric identities sign with P-256; this key's curve is {key.curve.name}")
        self._key = key

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes | None = None, *, name: str = "the private key") -> PrivateKeySigner:
        """Return a signer from PEM: PKCS#8 (encrypted too) or SEC1.

        Where it is encrypted and no password is given, it is asked for (`passphrases`); ``name`` names the key then.

        Raises:
            PassphraseMissing, PassphraseWrong: where it is encrypted and cannot be opened.
            IdentityError: where it is no P-256 key in PEM.

        """
        encrypted = is_encrypted(pem)
        if encrypted and password is None:
            password = passphrase(name)
        try:
            key = serialization.load_pem_private_key(pem, password)
        except TypeError as error:
            raise IdentityError(f"private key: {error}; give (or leave out) the password") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            if encrypted:
                raise PassphraseWrong(f"{name} is encrypted by another passphrase than the one given") from error
            raise IdentityError(f"not a PEM private key: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise IdentityError(f"Fabric identities sign with ECDSA; this key is {type(key).__name__}")
        return cls(key)

    @property
    def pem(self) -> bytes:
        """The private key in PEM (PKCS#8, not encrypted), for TLS on behalf of its holder."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The key's public half."""
        return self._key.public_key()

    def sign(self, digest: bytes) -> bytes:
        """ECDSA signature (DER, low s) over a SHA-256 digest of 32 bytes."""
        return low_s(self._key.sign(digest, _PREHASHED))

    def __repr__(self) -> str:
        return "PrivateKeySigner(P-256)"


def low_s(signature: bytes) -> bytes:
    """Return the same P-256 signature with ``s`` in the lower half of the group's order."""
    r, s = utils.decode_dss_signature(signature)
    return signature if s <= _HALF_ORDER else utils.encode_dss_signature(r, P256_ORDER - s)


def is_low_s(signature: bytes) -> bool:
    """Whether a DER signature's ``s`` lies in the lower half; False for what is not a signature."""
    try:
        return utils.decode_dss_signature(signature)[1] <= _HALF_ORDER
    except ValueError:
        return False


@dataclass(frozen=True)
class Credentials:
    """An identity together with the signer of its key."""

    identity: Identity
    signer: Signer = field(repr=False)


def credentials_from_pem(
    msp_id: str,
    certificate: bytes,
    private_key: bytes,
    password: bytes | None = None,
    *,
    name: str = "the private key",
) -> Credentials:
    """Credentials from two PEM texts. Raises IdentityError also where key and certificate do not belong together."""
    identity = Identity(msp_id, certificate)
    signer = PrivateKeySigner.from_pem(private_key, password, name=name)
    try:
        matching = identity.x509.public_key() == signer.public_key
        subject = identity.x509.subject.rfc4514_string()
    except UNREADABLE as error:
        raise IdentityError(f"the certificate's key or subject cannot be read ({msp_id}): {error}") from error
    if not matching:
        raise IdentityError(f"the private key does not belong to the certificate {subject}")
    return Credentials(identity, signer)


def credentials_from_msp(folder: str | Path, msp_id: str, password: bytes | None = None) -> Credentials:
    """Credentials from an MSP folder as Fabric's tools lay it out: one file each in ``signcerts`` and ``keystore``.

    Where ``keystore`` holds several keys, the one of the certificate is taken. Raises IdentityError.
    """
    root = Path(folder)
    certificate = _single(root / "signcerts").read_bytes()
    keys = _files(root / "keystore")
    for path in keys[:-1]:
        try:
            return credentials_from_pem(msp_id, certificate, path.read_bytes(), password, name=f"the key {path}")
        except (PassphraseMissing, PassphraseWrong):
            raise
        except IdentityError:
            continue
    return credentials_from_pem(msp_id, certificate, keys[-1].read_bytes(), password, name=f"the key {keys[-1]}")


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise IdentityError(f"not an MSP folder: {error}") from error
    if not found:
        raise IdentityError(f"no file in {folder}; an MSP folder of a user holds its certificate and key")
    return found


def _single(folder: Path) -> Path:
    found = _files(folder)
    if len(found) > 1:
        raise IdentityError(f"{folder} holds {len(found)} files; it must hold the one certificate of the user")
    return found[0]
