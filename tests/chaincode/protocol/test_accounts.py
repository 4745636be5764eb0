from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.protocol.accounts import (
    Duty,
    Identity,
    Role,
    account_of,
    certificate_names,
    certificate_role,
)
from goldengrain.chaincode.protocol.errors import MalformedInput

from . import samples


def test_an_account_is_msp_subject_and_issuer() -> None:
    certificate = samples.certificate()
    subject, issuer = certificate.subject.public_bytes(), certificate.issuer.public_bytes()
    words = [b"golden-grain/account/v1", b"Org1MSP", subject, issuer]
    expected = hashlib.sha256(b"".join(hashlib.sha256(word).digest() for word in words)).digest()
    assert Identity.from_certificate("Org1MSP", certificate).account == expected
    assert account_of("Org1MSP", certificate.public_bytes(Encoding.PEM)) == expected
    assert account_of("Org1MSP", certificate.public_bytes(Encoding.PEM).decode()) == expected
    assert account_of("Org1MSP", certificate.public_bytes(Encoding.DER)) == expected


def test_a_renewed_certificate_keeps_the_account_and_another_name_or_msp_does_not() -> None:
    first, renewed = samples.certificate(serial=1), samples.certificate(serial=2)
    account = Identity.from_certificate("Org1MSP", first).account
    assert Identity.from_certificate("Org1MSP", renewed).account == account
    assert Identity.from_certificate("Org2MSP", first).account != account
    assert Identity.from_certificate("Org1MSP", samples.certificate(name="User2")).account != account


@pytest.mark.parametrize("role", list(Role))
def test_the_role_is_the_node_ou(role: Role) -> None:
    assert Identity.from_certificate("Org1MSP", samples.certificate((role.value,))).role is role


@pytest.mark.parametrize("units", [(), ("sales",), ("client", "admin"), ("Client",)])
def test_without_exactly_one_node_ou_there_is_no_role(units: tuple[str, ...]) -> None:
    assert certificate_role(samples.certificate(units)) is None


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"x" * 20_000])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(MalformedInput):
        Identity.from_pem("Org1MSP", pem)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        certificate_names(b"\x30\x80" + data)


def test_a_cut_certificate_is_refused() -> None:
    der = samples.certificate().public_bytes(Encoding.DER)
    for length in range(0, len(der), 7):
        with pytest.raises(MalformedInput):
            certificate_names(der[:length])


def test_a_certificate_is_for_everything_unless_its_attribute_narrows_it() -> None:
    assert Identity.from_certificate("Org1MSP", samples.certificate()).duties == tuple(Duty)
    other = samples.certificate(attributes=b'{"attrs":{"hf.Type":"client"}}')
    assert Identity.from_certificate("Org1MSP", other).duties == tuple(Duty)
    narrowed = samples.certificate(attributes=b'{"attrs":{"golden-grain.roles":"storer, developer"}}')
    assert Identity.from_certificate("Org1MSP", narrowed).duties == (Duty.DEVELOPER, Duty.STORER)


@pytest.mark.parametrize(
    "attributes",
    [
        b"",
        b"[]",
        b'{"attrs":[]}',
        b'{"attrs":{"golden-grain.roles":""}}',
        b'{"attrs":{"golden-grain.roles":"Developer"}}',
        b'{"attrs":{"golden-grain.roles":7}}',
    ],
)
def test_an_attribute_that_cannot_be_read_narrows_to_nothing_by_refusing(attributes: bytes) -> None:
    with pytest.raises(MalformedInput):
        _ = Identity.from_certificate("Org1MSP", samples.certificate(attributes=attributes)).duties
