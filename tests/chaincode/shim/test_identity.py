import json
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2

from goldengrain.chaincode.shim import ClientIdentity, InvalidArgument
from goldengrain.chaincode.shim.identity import ATTRIBUTES_OID


def certificate(attributes: bytes | None = None) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "client"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "sales"),
            x509.NameAttribute(NameOID.COMMON_NAME, "alice"),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
    )
    if attributes is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(ATTRIBUTES_OID, attributes), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def identity(pem: bytes, msp_id: str = "Org1MSP") -> ClientIdentity:
    serialized = identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=pem)
    return ClientIdentity.from_bytes(serialized.SerializeToString())


def test_a_creator_opens_into_organisation_and_certificate() -> None:
    pem = certificate(json.dumps({"attrs": {"role": "buyer", "level": 3}}).encode())
    sender = identity(pem)
    assert (sender.msp_id, sender.certificate_pem) == ("Org1MSP", pem)
    assert sender.organizational_units == ("client", "sales")
    assert sender.common_name == "alice"
    assert sender.attributes == {"role": "buyer", "level": "3"}
    assert x509.load_der_x509_certificate(sender.certificate_der) == sender.certificate


def test_a_certificate_without_attributes_has_none() -> None:
    assert identity(certificate()).attributes == {}


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"attrs": 1}', b"\xff"])
def test_malformed_attributes_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        _ = identity(certificate(raw)).attributes


@pytest.mark.parametrize("creator", [b"", b"\xff\xff", b"\x12\x01x"])
def test_a_creator_that_is_none_is_refused(creator: bytes) -> None:
    with pytest.raises(InvalidArgument):
        ClientIdentity.from_bytes(creator)


def test_an_identity_without_a_certificate_is_refused_where_one_is_asked_for() -> None:
    with pytest.raises(InvalidArgument):
        _ = identity(b"idemix").certificate
