from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.protocol.coins import Coin, Output
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.records import MAX_AMOUNT, codec_of
from goldengrain.chaincode.protocol.task import Tensor
from goldengrain.chaincode.protocol.ticket import JobTicketPayload

from . import samples


def test_an_object_read_back_is_the_same() -> None:
    payload = JobTicketPayload(samples.task(), samples.order(), samples.ticket())
    assert JobTicketPayload.from_bytes(payload.to_bytes()) == payload
    policy = samples.policy()
    assert Policy.from_bytes(policy.to_bytes()) == policy


def test_a_job_ticket_in_another_form_is_refused() -> None:
    data = JobTicketPayload(samples.task(), samples.order(), samples.ticket()).to_bytes()
    for other in (data + b" ", data.replace(b'"v":1', b'"v":2'), b"[]", data.replace(b'"v":1', b'"v":1,"x":1')):
        with pytest.raises(MalformedInput):
            JobTicketPayload.from_bytes(other)


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT + 1, True, 1.0, "1", None])
def test_an_amount_that_is_none_is_refused(amount: object) -> None:
    with pytest.raises(MalformedInput, match=r"Output\.amount"):
        Output(samples.word("owner"), amount)  # type: ignore[arg-type]


@given(st.integers(1, MAX_AMOUNT))
def test_every_amount_travels(amount: int) -> None:
    output = Output(samples.word("owner"), amount)
    assert Output.from_json(output.to_json()) == output


@pytest.mark.parametrize(
    "document",
    [
        {"owner": "00" * 32},
        {"owner": "00" * 32, "amount": 1, "more": 1},
        {"owner": "00" * 31, "amount": 1},
        {"owner": "AA" * 32, "amount": 1},
        {"owner": "zz" * 32, "amount": 1},
        {"owner": "0" * 63, "amount": 1},
        {"owner": "0" * 10_000, "amount": 1},
        {"owner": 5, "amount": 1},
        {"owner": "00" * 32, "amount": "1"},
        [],
        "x",
        None,
    ],
)
def test_a_document_that_does_not_fit_is_refused(document: object) -> None:
    with pytest.raises(MalformedInput):
        Output.from_json(document)


@pytest.mark.parametrize("coin", ["", "ab" * 32, "ab" * 32 + ":00", "AB" * 32 + ":0", "ab" * 32 + ":0\n", "é" * 66])
def test_a_coin_id_has_one_form(coin: str) -> None:
    with pytest.raises(MalformedInput):
        Coin(coin, samples.word("owner"), 1)


@pytest.mark.parametrize("field", ["name", "type", "shape"])
def test_wrong_kinds_name_the_field(field: str) -> None:
    document = Tensor.from_json({"name": "x", "type": "float32", "shape": [0, 1]}).to_json()
    for wrong in (None, 1.5, {}, "\x00", "float\ud800"):
        with pytest.raises(MalformedInput, match=f"Tensor.{field}"):
            Tensor.from_json({**document, field: wrong})


def test_flags_nested_objects_and_tuples_are_checked() -> None:
    document = samples.policy().to_json()
    for name, wrong in (("paused", 1), ("roots", [1]), ("organizations", "Org1MSP"), ("organizations", ["a", "a"])):
        with pytest.raises(MalformedInput, match=f"Policy.{name}"):
            Policy.from_json({**document, name: wrong})
    with pytest.raises(MalformedInput, match="tuple"):
        samples.policy(organizations=["Org1MSP"])
    with pytest.raises(MalformedInput, match="AttestationRoot"):
        samples.policy(roots=("x",))
    with pytest.raises(MalformedInput, match="bytes"):
        samples.policy(bundle="00" * 32)


def test_an_annotation_that_says_too_little_is_a_fault_of_the_program() -> None:
    with pytest.raises(TypeError):
        codec_of(int)
