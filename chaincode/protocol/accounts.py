"""Accounts: who somebody is on the ledger.

An account is D(account; MSP id, subject DER, issuer DER): it outlives a renewed certificate and a new key. The names
are taken as they stand in the certificate, byte for byte. The role is the NodeOU that Fabric's tools put into the
subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.errors import MalformedInput

MAX_CERTIFICATE = 16_384
_SEQUENCE = 0x30


class Role(StrEnum):
    """NodeOU of a certificate."""

    CLIENT = "client"
    ADMIN = "admin"
    PEER = "peer"
    ORDERER = "orderer"


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
        except ValueError as error:
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
