from __future__ import annotations

import io
import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import stream
from goldengrain.chaincode.protocol.digests import sha256
from goldengrain.chaincode.protocol.errors import KeyMalformed, StreamMalformed, StreamNotAuthentic, StreamTruncated

KEY = bytes(range(32))
CHUNK = stream.MIN_CHUNK
SIZES = st.one_of(st.integers(0, 5 * CHUNK), st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK]))


def independent(key: bytes, text: bytes, chunk: int, prefix: bytes) -> bytes:
    """The format, written from its description."""
    header = b"GGS1" + struct.pack(">I", chunk) + prefix
    parts = [text[i : i + chunk] for i in range(0, len(text), chunk)] or [b""]
    sealed = [
        AESGCM(key).encrypt(prefix + struct.pack(">I", i) + bytes([i == len(parts) - 1]), part, header)
        for i, part in enumerate(parts)
    ]
    return header + b"".join(sealed)


class Trickle(io.BytesIO):
    """A file that gives less than asked for, as pipes do."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size, 100) if size is not None and size > 0 else size)


def opened(data: bytes) -> bytes:
    sink = io.BytesIO()
    stream.decrypt_file(KEY, io.BytesIO(data), sink)
    return sink.getvalue()


@given(SIZES)
def test_both_ways_agree_with_the_description_and_with_each_other(size: int) -> None:
    text = bytes(i % 251 for i in range(size))
    data = stream.encrypt(KEY, text, chunk_size=CHUNK)
    assert data == independent(KEY, text, CHUNK, data[8:15])
    assert len(data) == stream.ciphertext_size(size, CHUNK)
    assert stream.plaintext_size(len(data), CHUNK) == size
    assert stream.decrypt(KEY, data, chunk_size=CHUNK) == text == opened(data)
    sink = io.BytesIO()
    written = stream.encrypt_file(KEY, Trickle(text), sink, chunk_size=CHUNK)
    assert written == stream.Written(len(data), sha256(sink.getvalue()))
    assert stream.decrypt(KEY, sink.getvalue()) == text
    out = io.BytesIO()
    assert stream.decrypt_file(KEY, Trickle(sink.getvalue()), out) == stream.Written(size, sha256(text))


@given(SIZES, st.data())
def test_any_changed_byte_is_noticed(size: int, data: st.DataObject) -> None:
    sealed = bytearray(stream.encrypt(KEY, bytes(size), chunk_size=CHUNK))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= 1 << data.draw(st.integers(0, 7))
    for call in (lambda: stream.decrypt(KEY, sealed, chunk_size=CHUNK), lambda: opened(bytes(sealed))):
        with pytest.raises((StreamNotAuthentic, StreamMalformed, StreamTruncated)):
            call()


@given(SIZES, st.data())
def test_any_cut_is_noticed(size: int, data: st.DataObject) -> None:
    sealed = stream.encrypt(KEY, bytes(size), chunk_size=CHUNK)
    cut = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    for call in (lambda: stream.decrypt(KEY, cut), lambda: opened(cut)):
        with pytest.raises((StreamNotAuthentic, StreamMalformed, StreamTruncated)):
            call()


def test_a_stream_that_ends_between_chunks_is_truncated() -> None:
    sealed = stream.encrypt(KEY, bytes(3 * CHUNK), chunk_size=CHUNK)
    cut = sealed[: stream.HEADER + 2 * (CHUNK + 16)]
    with pytest.raises(StreamTruncated):
        stream.decrypt(KEY, cut)
    with pytest.raises(StreamTruncated):
        opened(cut)


def test_chunks_are_neither_moved_nor_appended() -> None:
    sealed = stream.encrypt(KEY, bytes(2 * CHUNK), chunk_size=CHUNK)
    head, first, second = sealed[:15], sealed[15 : 15 + CHUNK + 16], sealed[15 + CHUNK + 16 :]
    for changed in (head + second + first, sealed + second, head + second):
        with pytest.raises(StreamNotAuthentic):
            stream.decrypt(KEY, changed)
        with pytest.raises(StreamNotAuthentic):
            opened(changed)


def test_another_key_opens_nothing() -> None:
    with pytest.raises(StreamNotAuthentic):
        stream.decrypt(bytes(32), stream.encrypt(KEY, b"model"))


@pytest.mark.parametrize("chunk", [0, CHUNK - 1, stream.MAX_CHUNK + 1])
def test_chunk_sizes_are_bounded_before_anything_is_allocated(chunk: int) -> None:
    header = b"GGS1" + struct.pack(">I", chunk) + bytes(7)
    with pytest.raises(StreamMalformed):
        stream.decrypt(KEY, header + bytes(16))
    with pytest.raises(StreamMalformed):
        stream.encrypt(KEY, b"", chunk_size=chunk)


def test_what_the_ledger_says_of_chunks_must_hold() -> None:
    with pytest.raises(StreamMalformed, match="the ledger's"):
        stream.decrypt(KEY, stream.encrypt(KEY, b"", chunk_size=CHUNK), chunk_size=2 * CHUNK)


def test_memory_is_used_again_and_must_fit() -> None:
    room = bytearray(b"?" * (CHUNK + 5))
    stream.decrypt_into(KEY, stream.encrypt(KEY, bytes(CHUNK + 5), chunk_size=CHUNK), room)
    assert room == bytes(CHUNK + 5)
    with pytest.raises(ValueError, match="there is room for"):
        stream.decrypt_into(KEY, stream.encrypt(KEY, b"x"), room)


def test_misuse_is_refused() -> None:
    with pytest.raises(KeyMalformed):
        stream.encrypt(b"short", b"")
    with pytest.raises(StreamMalformed):
        stream.decrypt(KEY, b"GGS2" + bytes(40))
    with pytest.raises(StreamMalformed):
        stream.Header(CHUNK, b"")
    with pytest.raises(StreamMalformed):
        stream.Header(CHUNK, bytes(7)).nonce(2**32, last=True)
    assert len(stream.generate_key()) == 32
