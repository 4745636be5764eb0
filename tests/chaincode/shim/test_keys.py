import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.shim import InvalidKey, composite_key, split_composite_key
from goldengrain.chaincode.shim.keys import check_key, check_range, composite_range

PART = st.text(st.characters(exclude_characters="\x00\U0010ffff", exclude_categories=["Cs"]), max_size=8)


def test_a_composite_key_is_written_as_recorded_on_real_fabric() -> None:
    assert composite_key("own~model", ["alice", "m1"]) == "\x00own~model\x00alice\x00m1\x00"


@given(PART, st.lists(PART, max_size=4))
def test_a_composite_key_splits_into_what_it_was_made_of(object_type: str, attributes: list[str]) -> None:
    key = composite_key(object_type, attributes)
    assert split_composite_key(key) == (object_type, attributes)
    assert check_key(key) == key


@given(PART, st.lists(PART, min_size=1, max_size=4))
def test_a_composite_range_holds_every_key_that_begins_with_its_parts(object_type: str, attributes: list[str]) -> None:
    start, end = composite_range(object_type, attributes[:-1])
    assert start.encode() <= composite_key(object_type, attributes).encode() < end.encode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_code_points_sort_as_the_peers_bytes_do(one: str, other: str) -> None:
    assert (one < other) == (one.encode() < other.encode())


@pytest.mark.parametrize("key", ["", "\x00", "\x00bad", "\x00own\x00alice", "\ud800", "k\udfff"])
def test_a_key_that_must_not_reach_the_ledger_is_refused(key: str) -> None:
    with pytest.raises(InvalidKey):
        check_key(key)


@pytest.mark.parametrize("key", ["a", "ä", "\x01", "a\x00b", "k\U0010ffffz", "\x00\x00", "\x00t\x00"])
def test_a_key_that_fabric_can_hold_is_taken(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("part", ["a\x00", "\U0010ffff", "\ud800"])
def test_a_part_that_would_break_a_composite_key_is_refused(part: str) -> None:
    with pytest.raises(InvalidKey):
        composite_key("t", [part])
    with pytest.raises(InvalidKey):
        composite_key(part)


@pytest.mark.parametrize("key", ["", "\x00", "a", "a\x00", "\x00a"])
def test_only_a_composite_key_can_be_split(key: str) -> None:
    with pytest.raises(InvalidKey):
        split_composite_key(key)


def test_an_open_range_leaves_composite_keys_out() -> None:
    assert check_range("", "") == ("\x01", "")
    assert check_range("a", "a") == ("a", "a")


@pytest.mark.parametrize(("start", "end"), [("\x00", "a"), ("a", "\x00t\x00"), ("b", "a"), ("\ud800", "")])
def test_a_range_that_cannot_be_meant_is_refused(start: str, end: str) -> None:
    with pytest.raises(InvalidKey):
        check_range(start, end)
