"""The signing identity of a node, read from its MSP folder (`signcerts/`, `keystore/`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fabric_protos.msp import identities_pb2

from goldengrain.network.embedded.blocks import BlockSigner, sign_low_s
from goldengrain.network.embedded.errors import ConfigError

__all__ = ["certificate_of", "load_signer", "public_key"]


def load_signer(msp: Path, msp_id: str) -> BlockSigner:
    """Read certificate and key from an MSP folder with one file in `signcerts` and one in `keystore`.

    Raises:
        ConfigError: the folder doesn't hold them.

    """
    certificate = _only_file(msp / "signcerts").read_bytes()
    key_file = _only_file(msp / "keystore")
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{key_file} is not a private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{key_file} is not an elliptic curve key")
    identity = identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=certificate)
    return BlockSigner(identity.SerializeToString(), partial(sign_low_s, key))


def certificate_of(identity: bytes) -> bytes:
    """Return the certificate (PEM) of a serialised identity."""
    return identities_pb2.SerializedIdentity.FromString(identity).id_bytes


def public_key(certificate: bytes) -> bytes:
    """Return the public key of a certificate (PEM), which a renewed one has as well."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _only_file(folder: Path) -> Path:
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if len(files) != 1:
        raise ConfigError(f"{folder} holds {len(files)} files instead of one; remake the network's certificates")
    return files[0]
