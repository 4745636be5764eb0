"""Certificates as Fabric CA issues them, self-signed."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2

from goldengrain.chaincode.shim.identity import ATTRIBUTES_OID


def certificate_of(
    name: x509.Name, attributes: bytes | None = None, issuer: x509.Name | None = None
) -> x509.Certificate:
    """A certificate with a subject, and Fabric CA's attributes as they stand in it."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
    )
    if attributes is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(ATTRIBUTES_OID, attributes), critical=False)
    return builder.sign(key, hashes.SHA256())


def name_of(common_name: str, units: Sequence[str] = ()) -> x509.Name:
    """A subject with OUs."""
    parts = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def creator_of(
    common_name: str, units: Sequence[str] = (), attributes: Mapping[str, str] | None = None, msp_id: str = "Org1MSP"
) -> bytes:
    """A `msp.SerializedIdentity`."""
    raw = None if attributes is None else json.dumps({"attrs": dict(attributes)}).encode()
    pem = certificate_of(name_of(common_name, units), raw).public_bytes(Encoding.PEM)
    return identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=pem).SerializeToString()
