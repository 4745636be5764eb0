"""A small CA for tests: MSP certificates with NodeOUs and TLS server certificates."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from goldengrain.gateway.identity import Credentials, Identity, credentials_from_pem, is_low_s

_START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2050, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Issued:
    certificate: bytes
    key: bytes


class Ca:
    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ca.{name}")])
        builder = _builder(self._subject, self._subject, self._key.public_key())
        self._x509 = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.pem = self._x509.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, common_name: str, unit: str = "", hosts: tuple[str, ...] = (), until: datetime.datetime | None = None
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        names += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
        builder = _builder(x509.Name(names), self._subject, key.public_key(), until)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(certificate.public_bytes(serialization.Encoding.PEM), key_pem(key))

    def signed_by(self, other: Ca) -> x509.Certificate:
        """This CA's certificate as an intermediate of another one."""
        builder = _builder(self._subject, other._subject, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return builder.sign(other._key, hashes.SHA256())

    def revocation_list(self, *serials: int) -> bytes:
        builder = x509.CertificateRevocationListBuilder(self._subject, _START, _END)
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder(serial, _START).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def credentials(self, msp_id: str, common_name: str, unit: str) -> Credentials:
        issued = self.issue(common_name, unit)
        return credentials_from_pem(msp_id, issued.certificate, issued.key)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime.datetime | None = None
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_START)
        .not_valid_after(until or _END)
    )


def expired(user: Credentials, authority: bytes, authority_key: bytes) -> Credentials:
    """The same user with a certificate of the same authority that has run out."""
    issuer = x509.load_pem_x509_certificate(authority)
    key = serialization.load_pem_private_key(authority_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    old = user.identity.x509
    public = old.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    start = issuer.not_valid_before_utc
    builder = x509.CertificateBuilder(issuer.subject, old.subject, public, x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(seconds=2))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    while not is_low_s((signed := builder.sign(key, hashes.SHA256())).signature):
        pass
    return Credentials(Identity(user.identity.msp_id, signed.public_bytes(serialization.Encoding.PEM)), user.signer)
