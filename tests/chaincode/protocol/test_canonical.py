from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import MalformedInput

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(codec="utf-8"), max_size=12)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_what_is_written_is_read_back_and_written_the_same(document: Any) -> None:
    data = canonical.dumps(document)
    assert canonical.loads(data) == document
    assert canonical.dumps(canonical.loads(data)) == data
    assert data.isascii()


def test_keys_are_sorted_and_nothing_is_spaced() -> None:
    assert canonical.dumps({"b": [1, True], "a": "é"}) == b'{"a":"\\u00e9","b":[1,true]}'


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b"1.0",
        b"1e3",
        b"NaN",
        b"-Infinity",
        b"\xff",
        b"",
        b"{",
        b"9" * 21,
        b"[" * 17 + b"]" * 17,
        b"[" * 100_000,
        b'"\n"',
    ],
)
def test_what_is_not_canonical_json_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        canonical.loads(data)


def test_brackets_inside_of_text_do_not_nest() -> None:
    text = "[" * 100 + '"\\{'
    assert canonical.loads(json.dumps(text).encode()) == text


def test_too_large_a_document_is_refused() -> None:
    assert canonical.loads(b'"aa"', 4) == "aa"
    with pytest.raises(MalformedInput, match="at most 4"):
        canonical.loads(b'"aaa"', 4)


@pytest.mark.parametrize("value", [1.5, b"x", {1: 2}, {"a": {1, 2}}])
def test_what_has_no_canonical_form_is_a_fault_of_the_program(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical.dumps(value)
