"""MSP and TLS folders as Fabric's own tools lay them out.

    msp/config.yaml                 NodeOUs: which organisational unit makes a client, peer, admin, orderer
    msp/cacerts/ca.DOMAIN-cert.pem  identity authority
    msp/tlscacerts/tlsca.DOMAIN-cert.pem
    msp/keystore/priv_sk            of a node or user only
    msp/signcerts/NAME-cert.pem     of a node or user only
    tls/{ca.crt,server.crt,server.key}  or client.crt, client.key of a user

Keys are readable by their owner only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.gateway.errors import PassphraseWrong
from goldengrain.gateway.passphrases import is_encrypted, passphrase

from .certificates import CertificateAuthority, KeyPair
from .errors import NetworkIncomplete
from .home import write_atomically

_UNITS = ("client", "peer", "admin", "orderer")


@dataclass(frozen=True)
class Authorities:
    """The two certificate authorities of an organisation; `domain` is its name in their subjects."""

    domain: str
    identity: CertificateAuthority
    tls: CertificateAuthority

    @classmethod
    def create(cls, domain: str) -> Authorities:
        """Make both anew."""
        return cls(
            domain,
            CertificateAuthority.create(f"ca.{domain}", domain),
            CertificateAuthority.create(f"tlsca.{domain}", domain),
        )


def write_authorities(folder: Path, authorities: Authorities) -> None:
    """Write `ca`, `tlsca` and the verifying `msp` of an organisation into its folder."""
    for kind, authority in (("ca", authorities.identity), ("tlsca", authorities.tls)):
        _write(folder / kind / f"{kind}.{authorities.domain}-cert.pem", authority.pair.certificate_pem)
        _write(folder / kind / "priv_sk", authority.pair.key_pem, secret=True)
    _write_verifying_msp(folder / "msp", authorities)


def read_authorities(folder: Path, domain: str) -> Authorities:
    """Read what `write_authorities` wrote; the passphrase of keys that are encrypted is asked for.

    Raises:
        NetworkIncomplete: if a file is missing or is not PEM.
        PassphraseMissing, PassphraseWrong: if a key is encrypted and cannot be opened.

    """
    try:
        identity, tls = (
            CertificateAuthority(read_pair(folder / kind / f"{kind}.{domain}-cert.pem", folder / kind / "priv_sk"))
            for kind in ("ca", "tlsca")
        )
    except (OSError, *UNREADABLE) as error:
        raise NetworkIncomplete(
            f"the certificate authorities of {domain} in {folder} cannot be read ({error}); restore the folder"
        ) from error
    return Authorities(domain, identity, tls)


def read_pair(certificate: Path, key: Path) -> KeyPair:
    """Read a certificate and its key; the passphrase of one that is encrypted is asked for.

    Raises:
        OSError, ValueError: if a file is missing, or is not PEM, or the key is not an elliptic curve key.
        PassphraseMissing, PassphraseWrong: if the key is encrypted and cannot be opened.

    """
    return KeyPair(x509.load_pem_x509_certificate(certificate.read_bytes()), read_key(key))


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key. Raises as `read_pair` does."""
    pem, name = path.read_bytes(), f"the key {path}"
    password = passphrase(name) if is_encrypted(pem) else None
    try:
        found = load_pem_private_key(pem, password)
    except (ValueError, UnsupportedAlgorithm) as error:
        if password is None:
            raise ValueError(f"{path} is not a private key: {error}") from error
        raise PassphraseWrong(f"{name} is encrypted by another passphrase than the one given") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is not an elliptic curve key")
    return found


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, password: bytes | None) -> None:
    """Replace a private key (PKCS#8, 0600), encrypted where there is a password."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    write_atomically(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), mode=0o600)


def write_signing_msp(folder: Path, authorities: Authorities, name: str, identity: KeyPair) -> None:
    """Write the `msp` folder of a node or user: what verifies its organisation, and what it signs with."""
    _write_verifying_msp(folder, authorities)
    _write(folder / "keystore" / "priv_sk", identity.key_pem, secret=True)
    _write(folder / "signcerts" / f"{name}-cert.pem", identity.certificate_pem)


def write_tls(folder: Path, authorities: Authorities, pair: KeyPair, kind: str) -> None:
    """Write a `tls` folder; `kind` is `server` or `client`."""
    _write(folder / "ca.crt", authorities.tls.pair.certificate_pem)
    _write(folder / f"{kind}.crt", pair.certificate_pem)
    _write(folder / f"{kind}.key", pair.key_pem, secret=True)


def read_only_file(folder: Path) -> bytes:
    """Read the one file of a folder such as `signcerts` or `keystore`.

    Raises:
        NetworkIncomplete: if there is none or more than one.

    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if len(files) != 1:
        raise NetworkIncomplete(f"{folder} should hold exactly one file, but holds {len(files)}; restore the folder")
    return files[0].read_bytes()


def read_all(folder: Path) -> list[bytes]:
    """Read every file of a folder such as `crls`, by name; none if there is no such folder."""
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def _write_verifying_msp(folder: Path, authorities: Authorities) -> None:
    certificate = f"cacerts/ca.{authorities.domain}-cert.pem"
    _write(folder / certificate, authorities.identity.pair.certificate_pem)
    _write(folder / "tlscacerts" / f"tlsca.{authorities.domain}-cert.pem", authorities.tls.pair.certificate_pem)
    _write(folder / "config.yaml", _node_units(certificate).encode())


def _node_units(certificate: str) -> str:
    lines = ["NodeOUs:", "    Enable: true"]
    for unit in _UNITS:
        lines += [
            f"    {unit.capitalize()}OUIdentifier:",
            f"        Certificate: {certificate}",
            f"        OrganizationalUnitIdentifier: {unit}",
        ]
    return "\n".join(lines) + "\n"


def _write(path: Path, content: bytes, *, secret: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
