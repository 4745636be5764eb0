from __future__ import annotations

import re

import pytest

from goldengrain.chaincode.protocol import errors


def test_every_error_has_its_own_code_and_stands_in_the_drawing() -> None:
    drawn = set(re.findall(r"\b[A-Z]\w+", errors.__doc__ or ""))
    for code, kind in errors.ERRORS.items():
        assert kind.code == code
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+", code)
        assert kind.__name__ in drawn
    assert len({kind.code for kind in errors.ERRORS.values()}) == len(errors.ERRORS)


def test_every_refusal_of_the_contract_has_a_clients_status() -> None:
    for kind in errors.ERRORS.values():
        if issubclass(kind, errors.ContractError):
            assert kind.status in (400, 403, 404, 409, 422)


@pytest.mark.parametrize("kind", errors.ERRORS.values())
def test_a_refusal_survives_the_way_through_a_response(kind: type[errors.GoldenGrainError]) -> None:
    rebuilt = errors.error_from_code(kind.code, "wait: it is late")
    assert type(rebuilt) is kind
    assert str(rebuilt) == "wait: it is late"
    if isinstance(rebuilt, errors.ContractError):
        again = errors.error_from_response(rebuilt.response_message)
        assert (type(again), again.message) == (kind, rebuilt.message)


@pytest.mark.parametrize("text", ["NEW_CODE: later", "no code at all", "Lower: case"])
def test_an_unknown_refusal_keeps_its_text(text: str) -> None:
    error = errors.error_from_response(text)
    assert type(error) is errors.ContractError
    assert str(error) == text
