"""Accounts: who somebody is on the ledger.

An account is D(account; MSP id, subject DER, issuer DER): it outlives a renewed certificate and a new key. The names
are taken as they stand in the certificate, byte for byte. The role is the NodeOU that Fabric's tools put into the
subject. An organisation may narrow what one of its certificates is for by the attribute `golden-grain.roles` (Fabric
CA's attributes, X.509 extension 1.2.3.4.5.6.7.8.1): a comma-separated list of `Duty`; without it, all are allowed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.unreadable import UNREADABLE

MAX_CERTIFICATE = 16_384
_SEQUENCE = 0x30
ATTRIBUTES_OID = x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1")
ROLES_ATTRIBUTE = "golden-grain.roles"


class Role(StrEnum):
    """NodeOU of a certificate."""

    CLIENT = "client"
    ADMIN = "admin"
    PEER = "peer"
    ORDERER = "orderer"


class Duty(StrEnum):
    """What a certificate may be for, where the attribute `golden-grain.roles` narrows it."""

    ADMIN = "admin"
    """Proposing and voting; the NodeOU must be `admin` as well."""
    PROVIDER = "provider"
    """Opening tasks."""
    DEVELOPER = "developer"
    """Making offers."""
    OPERATOR = "operator"
    """Registering enclaves and claiming."""
    STORER = "storer"
    """Giving receipts."""


@dataclass(frozen=True)
class Identity:
    """Somebody's MSP id and certificate. That the certificate is the MSP's is checked by who receives it."""

    msp_id: str
    certificate: bytes
    """DER."""

    @classmethod
    def from_pem(cls, msp_id: str, pem: bytes | str) -> Self:
        """Read an identity as it stands in a transaction's creator; raises `MalformedInput`."""
        text = pem.encode() if isinstance(pem, str) else pem
        if len(text) > MAX_CERTIFICATE:
            raise MalformedInput(f"a certificate of {len(text):,} bytes; at most {MAX_CERTIFICATE:,} are read")
        try:
            certificate = x509.load_pem_x509_certificate(text)
        except UNREADABLE as error:
            raise MalformedInput(f"not a certificate in PEM: {error}") from error
        return cls.from_certificate(msp_id, certificate)

    @classmethod
    def from_certificate(cls, msp_id: str, certificate: x509.Certificate) -> Self:
        """Make an identity of a certificate that is read already."""
        return cls(msp_id, certificate.public_bytes(Encoding.DER))

    @cached_property
    def names(self) -> tuple[bytes, bytes]:
        """DER of the certificate's subject and issuer."""
        return certificate_names(self.certificate)

    @cached_property
    def account(self) -> bytes:
        """The account's id, 32 bytes."""
        subject, issuer = self.names
        return digests.account(self.msp_id, subject, issuer)

    @cached_property
    def role(self) -> Role | None:
        """The NodeOU; None without one, or with several that contradict each other."""
        certificate = x509.load_der_x509_certificate(self.certificate)
        return certificate_role(certificate)

    @cached_property
    def duties(self) -> tuple[Duty, ...]:
        """What the certificate is for: all duties, unless its attribute narrows them; raises `MalformedInput`."""
        return certificate_duties(x509.load_der_x509_certificate(self.certificate))


def account_of(msp_id: str, certificate: bytes | str) -> bytes:
    """Return the account, 32 bytes, of an MSP id and a certificate in PEM or DER; raises `MalformedInput`."""
    data = certificate.encode() if isinstance(certificate, str) else certificate
    identity = Identity(msp_id, data) if data[:1] == b"\x30" else Identity.from_pem(msp_id, data)
    return identity.account


def certificate_role(certificate: x509.Certificate) -> Role | None:
    """Return the NodeOU of a certificate's subject; None without one, or with several."""
    units = {str(unit.value) for unit in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)}
    roles = [role for role in Role if role in units]
    return roles[0] if len(roles) == 1 else None


def certificate_duties(certificate: x509.Certificate) -> tuple[Duty, ...]:
    """Return what a certificate is for, in the order of `Duty`.

    An attribute that can't be read is refused with `MalformedInput`: narrowing that is misspelt must not widen.
    """
    try:
        extension = certificate.extensions.get_extension_for_oid(ATTRIBUTES_OID).value
    except x509.ExtensionNotFound:
        return tuple(Duty)
    raw = extension.value if isinstance(extension, x509.UnrecognizedExtension) else b""
    try:
        stated = json.loads(raw)["attrs"].get(ROLES_ATTRIBUTE)
        named = [Duty(part.strip()) for part in stated.split(",")] if stated is not None else list(Duty)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedInput(
            f"the certificate's attribute {ROLES_ATTRIBUTE} is malformed; it lists some of {', '.join(Duty)}"
        ) from error
    return tuple(duty for duty in Duty if duty in named)


def certificate_names(certificate: bytes) -> tuple[bytes, bytes]:
    """Return the DER of subject and issuer of a certificate in DER, unchanged; raises `MalformedInput`."""
    outer, _ = _element(certificate, 0)
    body, _ = _element(certificate, outer.content)
    parts: list[_Element] = []
    position = body.content
    while position < body.end and len(parts) < 6:
        element, position = _element(certificate, position)
        if element.tag != 0xA0:  # the version, which stands first where there is one
            parts.append(element)
    if len(parts) < 6 or parts[2].tag != _SEQUENCE or parts[4].tag != _SEQUENCE:
        raise MalformedInput("not an X.509 certificate")
    issuer, subject = parts[2], parts[4]
    return certificate[subject.start : subject.end], certificate[issuer.start : issuer.end]


@dataclass(frozen=True)
class _Element:
    tag: int
    start: int
    content: int
    end: int


def _element(data: bytes, start: int) -> tuple[_Element, int]:
    """Read the DER element at a position; returns it and where the next one starts."""
    head = data[start : start + 2]
    if len(head) < 2:
        raise MalformedInput("a certificate that ends in the middle")
    content, length = start + 2, head[1]
    if length & 0x80:
        octets = length & 0x7F
        length = int.from_bytes(data[content : content + octets], "big")
        content += octets
    end = content + length
    if end > len(data):
        raise MalformedInput("a certificate that ends in the middle")
    return _Element(head[0], start, content, end), end
