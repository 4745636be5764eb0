"""Who sent a transaction: the creator's `SerializedIdentity`, opened.

The peer has checked the certificate against the organisation's MSP before the chaincode sees it; nothing here
verifies anything again. Attributes are Fabric CA's: JSON under X.509 extension 1.2.3.4.5.6.7.8.1.
"""

import base64
import json
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2
from google.protobuf.message import DecodeError

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.chaincode.shim.distinguished_names import text_of
from goldengrain.chaincode.shim.errors import InvalidArgument, Unauthorized

ATTRIBUTES_OID = x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1")
NODE_OUS = ("client", "peer", "admin", "orderer")
"""What NodeOUs call the four kinds of identities, unless an MSP is configured to call them otherwise."""


@dataclass(frozen=True)
class ClientIdentity:
    """The sender: organisation and certificate. `certificate_pem` is exactly what the client sent."""

    msp_id: str
    certificate_pem: bytes

    @classmethod
    def from_bytes(cls, creator: bytes) -> "ClientIdentity":
        """Open a `msp.SerializedIdentity`. Raises InvalidArgument."""
        try:
            identity = identities_pb2.SerializedIdentity.FromString(creator)
        except DecodeError as error:
            raise InvalidArgument("the creator is no SerializedIdentity") from error
        if not identity.mspid:
            raise InvalidArgument("the creator names no MSP")
        return cls(identity.mspid, identity.id_bytes)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The X.509 certificate. Raises InvalidArgument if it is none."""
        try:
            return x509.load_pem_x509_certificate(self.certificate_pem)
        except UNREADABLE as error:
            raise InvalidArgument("the creator holds no X.509 certificate in PEM") from error

    @cached_property
    def certificate_der(self) -> bytes:
        """The certificate in DER: what to hash, since PEM text can be written in many ways."""
        return self.certificate.public_bytes(Encoding.DER)

    @cached_property
    def organizational_units(self) -> tuple[str, ...]:
        """The subject's OUs; with NodeOUs one of them is `client`, `peer`, `admin` or `orderer`."""
        values = self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return tuple(str(value.value) for value in values)

    @cached_property
    def node_ou(self) -> str | None:
        """Kind of the identity by its OU: `client`, `peer`, `admin` or `orderer`; None without such an OU."""
        return next((kind for kind in NODE_OUS if kind in self.organizational_units), None)

    @cached_property
    def id(self) -> str:
        """Name that stays the same when the certificate is renewed: base64 of `x509::<subject>::<issuer>`.

        Unique within an MSP only: keep it together with `msp_id`. The same as Go's `cid.GetID`.
        """
        subject, issuer = text_of(self.certificate.subject), text_of(self.certificate.issuer)
        return base64.b64encode(f"x509::{subject}::{issuer}".encode()).decode()

    @cached_property
    def common_name(self) -> str:
        """The subject's CN, or the empty string."""
        values = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(values[0].value) if values else ""

    @cached_property
    def attributes(self) -> dict[str, str]:
        """Attributes that Fabric CA wrote into the certificate; none if there are none. Raises InvalidArgument."""
        try:
            extension = self.certificate.extensions.get_extension_for_oid(ATTRIBUTES_OID)
        except x509.ExtensionNotFound:
            return {}
        value = extension.value
        raw = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
        try:
            attributes = json.loads(raw)["attrs"]
            return {str(name): str(text) for name, text in attributes.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidArgument("the certificate's attribute extension is malformed") from error

    def require_attribute(self, name: str, value: str) -> None:
        """Raise Unauthorized unless the certificate has this attribute with this value."""
        if self.attributes.get(name) != value:
            raise Unauthorized(f"this takes a certificate with the attribute {name}={value}")

    def require_node_ou(self, *kinds: str) -> None:
        """Raise Unauthorized unless the identity is of one of these kinds (`node_ou`)."""
        if self.node_ou not in kinds:
            raise Unauthorized(f"this takes a certificate with the OU {' or '.join(kinds)}")
