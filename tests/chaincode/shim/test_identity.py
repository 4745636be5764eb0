import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2

from goldengrain.chaincode.shim import ClientIdentity, InvalidArgument, Unauthorized
from tests.chaincode.shim.identities import certificate_of, name_of


def certificate(attributes: bytes | None = None) -> bytes:
    return certificate_of(name_of("alice", ("client", "sales")), attributes).public_bytes(Encoding.PEM)


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


def test_an_identity_has_an_id_that_outlives_its_certificate() -> None:
    assert base64.b64decode(identity(certificate()).id) == (
        b"x509::CN=alice,OU=client+OU=sales::CN=alice,OU=client+OU=sales"
    )
    assert identity(certificate()).id == identity(certificate()).id


def test_an_id_is_spelt_as_go_spells_it() -> None:
    parts = [
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.STATE_OR_PROVINCE_NAME, "North Carolina"),
        (NameOID.ORGANIZATION_NAME, "Hyper, ledger"),
        (NameOID.EMAIL_ADDRESS, "left@out"),
        (NameOID.COMMON_NAME, "not this"),
        (NameOID.COMMON_NAME, " #a+b"),
    ]
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "#ca")])
    pem = certificate_of(subject, None, issuer).public_bytes(Encoding.PEM)
    assert base64.b64decode(identity(pem).id).decode() == (
        "x509::CN=\\ #a\\+b,O=Hyper\\, ledger,ST=North Carolina,C=US::CN=\\#ca"
    )


def test_kinds_and_attributes_can_be_asked_for() -> None:
    sender = identity(certificate(json.dumps({"attrs": {"role": "buyer"}}).encode()))
    assert sender.node_ou == "client"
    sender.require_node_ou("admin", "client")
    sender.require_attribute("role", "buyer")
    with pytest.raises(Unauthorized, match="role=seller"):
        sender.require_attribute("role", "seller")
    with pytest.raises(Unauthorized, match="admin or peer"):
        sender.require_node_ou("admin", "peer")
    assert identity(certificate_of(name_of("bob")).public_bytes(Encoding.PEM)).node_ou is None
