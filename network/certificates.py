"""Certificate authorities and X.509 certificates as Fabric's `cryptogen` makes them: ECDSA P-256, SHA-256.

A key identifier is the SHA-256 of the uncompressed public point (that is how Fabric's BCCSP names a key). Signatures on
certificates have a low S: Fabric's MSP rewrites others when it reads them, and the same identity would then have two
serialized forms (fabric msp/cert.go, `sanitizeECDSASignedCert`).
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ATTRIBUTES_OID = x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1")
"""Extension in which Fabric CA puts an identity's attributes, as JSON `{"attrs": {name: value}}`."""

VALIDITY = datetime.timedelta(days=3650)
_BACKDATED = datetime.timedelta(minutes=5)  # so that a node whose clock is a little behind accepts a new certificate
_HALF_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2
_AUTHENTICATION = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class CertificateAuthority:
    """An organisation's certificate authority, for identities or for TLS."""

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair

    @classmethod
    def create(cls, name: str, organization: str) -> CertificateAuthority:
        """Make a self-signed authority `CN=name, O=organization`, such as `ca.org1.example.com`, `org1.example.com`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name([(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, name)])
        builder = (
            _builder(subject, subject, key.public_key())
            .add_extension(_usage(encipher=True, authority=True), critical=True)
            .add_extension(_AUTHENTICATION, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier(key_identifier(key.public_key())), critical=False)
        )
        return cls(KeyPair(_sign(builder, key), key))

    def again(self) -> CertificateAuthority:
        """The same authority (subject, key, extensions) with a certificate that ends later.

        It begins when the old one began: Fabric's MSP judges a chain by the moment at which the leaf begins, so that
        an authority which began after its certificates would disown them.
        """
        old = self.pair.certificate
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(old.subject)
            .issuer_name(old.issuer)
            .public_key(self.pair.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(old.not_valid_before_utc)
            .not_valid_after(now + VALIDITY)
        )
        for extension in old.extensions:
            builder = builder.add_extension(extension.value, critical=extension.critical)
        return CertificateAuthority(KeyPair(_sign(builder, self.pair.key), self.pair.key))

    def issue_identity(self, name: str, unit: str, attributes: Mapping[str, str] | None = None) -> KeyPair:
        """Issue a signing identity `CN=name, OU=unit`; attributes go into Fabric CA's extension."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name([(NameOID.ORGANIZATIONAL_UNIT_NAME, unit), (NameOID.COMMON_NAME, name)])
        builder = self._leaf(subject, key.public_key()).add_extension(_usage(), critical=True)
        if attributes:
            encoded = json.dumps({"attrs": dict(attributes)}, separators=(",", ":"), sort_keys=True).encode()
            builder = builder.add_extension(x509.UnrecognizedExtension(ATTRIBUTES_OID, encoded), critical=False)
        return KeyPair(_sign(builder, self.pair.key), key)

    def issue_tls(self, name: str, alternative_names: Sequence[str] = ()) -> KeyPair:
        """Issue a TLS certificate for server and client use; names that are IP addresses become such."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._leaf(_name([(NameOID.COMMON_NAME, name)]), key.public_key())
            .add_extension(_usage(encipher=True), critical=True)
            .add_extension(_AUTHENTICATION, critical=False)
        )
        if alternative_names:
            names = x509.SubjectAlternativeName([_general_name(name) for name in alternative_names])
            builder = builder.add_extension(names, critical=False)
        return KeyPair(_sign(builder, self.pair.key), key)

    def renew(self, old: x509.Certificate, key: ec.EllipticCurvePrivateKey | None = None) -> KeyPair:
        """Issue a certificate with the subject and extensions of an old one, from now on, for a new key or a given one.

        Raises:
            ValueError: if this authority did not issue the old one.

        """
        if old.issuer != self.pair.certificate.subject:
            raise ValueError(f"{old.subject.rfc4514_string()} was issued by {old.issuer.rfc4514_string()}")
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = _builder(old.subject, old.issuer, key.public_key())
        for extension in old.extensions:
            builder = builder.add_extension(extension.value, critical=extension.critical)
        return KeyPair(_sign(builder, self.pair.key), key)

    def revocation_list(
        self, revoked: Sequence[x509.Certificate], earlier: x509.CertificateRevocationList | None = None
    ) -> bytes:
        """Make a certificate revocation list (CRL), PEM: what an earlier one holds, and some more certificates."""
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        entries = {entry.serial_number: entry for entry in earlier or ()}
        for certificate in revoked:
            builder = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
            entries.setdefault(certificate.serial_number, builder.build())
        authority = x509.AuthorityKeyIdentifier(key_identifier(self.pair.key.public_key()), None, None)
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.pair.certificate.subject)
            .last_update(now - _BACKDATED)
            .next_update(now + VALIDITY)
            .add_extension(authority, critical=False)
            .add_extension(x509.CRLNumber(_number(earlier) + 1), critical=False)
        )
        for entry in entries.values():
            made = made.add_revoked_certificate(entry)
        return made.sign(self.pair.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _leaf(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        authority = x509.AuthorityKeyIdentifier(key_identifier(self.pair.key.public_key()), None, None)
        return (
            _builder(subject, self.pair.certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(authority, critical=False)
        )


def key_identifier(key: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 of the uncompressed point, 32 bytes: Fabric's SKI of a public key."""
    return hashlib.sha256(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).digest()


def _number(crl: x509.CertificateRevocationList | None) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number if crl is not None else 0


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    start = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + VALIDITY)
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    while True:
        certificate = builder.sign(key, hashes.SHA256())
        if decode_dss_signature(certificate.signature)[1] <= _HALF_ORDER:
            return certificate


def _name(most_specific: list[tuple[x509.ObjectIdentifier, str]]) -> x509.Name:
    place = [
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.STATE_OR_PROVINCE_NAME, "California"),
        (NameOID.LOCALITY_NAME, "San Francisco"),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in [*place, *most_specific]])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, encipher: bool = False, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
