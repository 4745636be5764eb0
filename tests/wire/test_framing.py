"""Length-prefixed messages, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.wire.errors import Status, StreamFailed
from goldengrain.wire.framing import Deframer, frame


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_messages_arrive_whole_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(map(frame, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    deframer, found = Deframer(40), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        found += deframer.feed(wire[start:end])
    assert found == messages
    assert deframer.empty


def test_a_message_over_the_limit_is_refused_before_it_has_arrived() -> None:
    assert Deframer(10).feed(frame(bytes(10))) == [bytes(10)]
    with pytest.raises(StreamFailed, match="a message of 11 bytes") as refusal:
        Deframer(10).feed(frame(bytes(11))[:5])
    assert refusal.value.status == Status.RESOURCE_EXHAUSTED


def test_a_compressed_message_is_refused() -> None:
    with pytest.raises(StreamFailed, match="compressed") as refusal:
        Deframer(10).feed(b"\1\0\0\0\1x")
    assert refusal.value.status == Status.UNIMPLEMENTED


def test_half_a_message_is_kept() -> None:
    deframer = Deframer(10)
    assert deframer.feed(frame(b"whole") + frame(b"half")[:-1]) == [b"whole"]
    assert not deframer.empty
