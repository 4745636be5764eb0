"""The format of encrypted models and test sets: AES-256-GCM in chunks (protocol section 5).

    header  = "GGS1" || chunk size (u32) || prefix (7 bytes)                        15 bytes, big-endian
    chunk i = AES-256-GCM(key, nonce = prefix || i (u32) || last, ad = header)      chunk size + 16 bytes, the last less

`last` is 1 for the last chunk and 0 for all before; an empty text is one empty chunk. So chunks can be neither moved
nor dropped nor appended, and a text is opened piece by piece without ever trusting what was not authenticated. This is
STREAM of Hoang, Reyhanitabar, Rogaway and Vizár (Crypto 2015). A key is used for one text only.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from goldengrain.chaincode.protocol.errors import KeyMalformed, StreamMalformed, StreamNotAuthentic, StreamTruncated
from goldengrain.chaincode.protocol.offer import DEFAULT_CHUNK, MAX_CHUNK, MIN_CHUNK

MAGIC = b"GGS1"
PREFIX = 7
HEADER = len(MAGIC) + 4 + PREFIX
TAG = 16
KEY = 32
MAX_CHUNKS = 2**32


@dataclass(frozen=True)
class Header:
    """How a text is cut, and the start of its nonces."""

    chunk_size: int
    prefix: bytes

    def __post_init__(self) -> None:
        if not MIN_CHUNK <= self.chunk_size <= MAX_CHUNK:
            raise StreamMalformed(f"chunks have {MIN_CHUNK:,} to {MAX_CHUNK:,} bytes, not {self.chunk_size:,}")
        if len(self.prefix) != PREFIX:
            raise StreamMalformed(f"the nonces' prefix has {PREFIX} bytes, not {len(self.prefix)}")

    def to_bytes(self) -> bytes:
        """Return the 15 bytes."""
        return MAGIC + struct.pack(">I", self.chunk_size) + self.prefix

    @classmethod
    def from_bytes(cls, data: bytes, chunk_size: int | None = None) -> Self:
        """Read the 15 bytes; raises `StreamMalformed`, also when the chunk size is not the one expected."""
        if len(data) < HEADER or data[: len(MAGIC)] != MAGIC:
            raise StreamMalformed(f"no {MAGIC.decode()} header; this is not an encrypted model or test set")
        header = cls(struct.unpack_from(">I", data, len(MAGIC))[0], bytes(data[HEADER - PREFIX : HEADER]))
        if chunk_size is not None and header.chunk_size != chunk_size:
            raise StreamMalformed(f"the header's chunk size is {header.chunk_size:,}, the ledger's {chunk_size:,}")
        return header

    def nonce(self, index: int, last: bool) -> bytes:
        """Return a chunk's nonce, 12 bytes."""
        if index >= MAX_CHUNKS:
            raise StreamMalformed(f"more than {MAX_CHUNKS:,} chunks")
        return self.prefix + struct.pack(">IB", index, last)


@dataclass(frozen=True)
class Written:
    """What was written: its size in bytes and its SHA-256."""

    size: int
    digest: bytes


def generate_key() -> bytes:
    """Make a key K of 32 bytes."""
    return os.urandom(KEY)


def ciphertext_size(size: int, chunk_size: int = DEFAULT_CHUNK) -> int:
    """Return the size of the stream of a text."""
    return HEADER + size + TAG * max(1, -(-size // chunk_size))


def plaintext_size(size: int, chunk_size: int) -> int:
    """Return the size of the text in a stream; raises `StreamMalformed` for a size that no stream has."""
    body = size - HEADER
    full, rest = divmod(body, chunk_size + TAG)
    text = full * chunk_size + max(0, rest - TAG)
    if body < TAG or ciphertext_size(text, chunk_size) != size:
        raise StreamMalformed(f"no stream with chunks of {chunk_size:,} bytes has {size:,} bytes")
    return text


def encrypt_file(key: bytes, source: BinaryIO, sink: BinaryIO, *, chunk_size: int = DEFAULT_CHUNK) -> Written:
    """Encrypt a file under a fresh key; returns size and digest of the stream. Memory: two chunks."""
    cipher = _cipher(key)
    header = Header(chunk_size, os.urandom(PREFIX))
    head = header.to_bytes()
    digest = hashlib.sha256(head)
    sink.write(head)
    size = len(head)
    for index, chunk, last in _pieces(source, chunk_size):
        sealed = cipher.encrypt(header.nonce(index, last), chunk, head)
        digest.update(sealed)
        sink.write(sealed)
        size += len(sealed)
    return Written(size, digest.digest())


def decrypt_file(key: bytes, source: BinaryIO, sink: BinaryIO, *, chunk_size: int | None = None) -> Written:
    """Decrypt a stream; returns size and digest of the text. Memory: three chunks.

    What is written before an error is authentic but not all: throw it away. Raises `StreamMalformed`, `StreamTruncated`
    or `StreamNotAuthentic`.
    """
    cipher = _cipher(key)
    header = Header.from_bytes(source.read(HEADER), chunk_size)
    head = header.to_bytes()
    buffer = bytearray(header.chunk_size)
    digest = hashlib.sha256()
    size = 0
    for index, sealed, last in _pieces(source, header.chunk_size + TAG):
        chunk = memoryview(buffer)[: max(0, len(sealed) - TAG)]
        _open_chunk(cipher, header, head, index, memoryview(sealed), last, chunk)
        digest.update(chunk)
        sink.write(chunk)
        size += len(chunk)
    return Written(size, digest.digest())


def encrypt(key: bytes, text: bytes | bytearray | memoryview, *, chunk_size: int = DEFAULT_CHUNK) -> bytes:
    """Encrypt a text in memory under a fresh key."""
    cipher = _cipher(key)
    header = Header(chunk_size, os.urandom(PREFIX))
    head = header.to_bytes()
    view = memoryview(text).cast("B")
    result = bytearray(ciphertext_size(len(view), chunk_size))
    result[:HEADER] = head
    out = memoryview(result)
    position = HEADER
    for index in range(max(1, -(-len(view) // chunk_size))):
        chunk = view[index * chunk_size : (index + 1) * chunk_size]
        end = position + len(chunk) + TAG
        last = (index + 1) * chunk_size >= len(view)
        cipher.encrypt_into(header.nonce(index, last), chunk, head, out[position:end])
        position = end
    return bytes(result)


def decrypt(key: bytes, stream: bytes | bytearray | memoryview, *, chunk_size: int | None = None) -> bytearray:
    """Decrypt a stream in memory; raises as `decrypt_file` does."""
    view = memoryview(stream).cast("B")
    header = Header.from_bytes(bytes(view[:HEADER]), chunk_size)
    text = bytearray(plaintext_size(len(view), header.chunk_size))
    decrypt_into(key, view, text, chunk_size=chunk_size)
    return text


def decrypt_into(
    key: bytes,
    stream: bytes | bytearray | memoryview,
    out: bytearray | memoryview,
    *,
    chunk_size: int | None = None,
) -> None:
    """Decrypt a stream into memory of exactly the text's size, each chunk straight into its place.

    Memory that was used before takes it at the cipher's own speed; fresh memory costs as much again. `ValueError`
    for another size, else refusals as `decrypt_file`'s; after an error the memory holds nothing of use.
    """
    cipher = _cipher(key)
    view, room = memoryview(stream).cast("B"), memoryview(out).cast("B")
    header = Header.from_bytes(bytes(view[:HEADER]), chunk_size)
    head, step = header.to_bytes(), header.chunk_size
    if len(room) != plaintext_size(len(view), step):
        raise ValueError(f"the text has {plaintext_size(len(view), step):,} bytes, there is room for {len(room):,}")
    for index in range(max(1, -(-len(room) // step))):
        start = HEADER + index * (step + TAG)
        last = start + step + TAG >= len(view)
        chunk = room[index * step : (index + 1) * step]
        _open_chunk(cipher, header, head, index, view[start : start + step + TAG], last, chunk)


def _open_chunk(
    cipher: AESGCM, header: Header, head: bytes, index: int, sealed: memoryview, last: bool, out: memoryview
) -> None:
    """Decrypt one chunk into its place; raises the named error."""
    if len(sealed) < TAG:
        raise StreamTruncated("the stream ends in the middle of a chunk")
    try:
        cipher.decrypt_into(header.nonce(index, last), sealed, head, out)
    except InvalidTag as error:
        if last and _opens(cipher, header.nonce(index, False), sealed, head):
            raise StreamTruncated(f"the stream ends after chunk {index}, which is not the last") from error
        raise StreamNotAuthentic(f"chunk {index} doesn't open: changed, or another key") from error


def _opens(cipher: AESGCM, nonce: bytes, sealed: memoryview, head: bytes) -> bool:
    try:
        cipher.decrypt(nonce, sealed, head)
    except InvalidTag:
        return False
    return True


def _pieces(source: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Cut a file into pieces and tell which is the last; an empty file is one empty piece."""
    index, piece = 0, _read(source, size)
    while True:
        following = _read(source, size) if len(piece) == size else b""
        yield index, piece, not following
        if not following:
            return
        index, piece = index + 1, following


def _read(source: BinaryIO, size: int) -> bytes:
    """Read exactly so many bytes unless the file ends; pipes and sockets give less at a time."""
    piece = source.read(size)
    while len(piece) < size:
        more = source.read(size - len(piece))
        if not more:
            break
        piece += more
    return piece


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY:
        raise KeyMalformed(f"a key has {KEY} bytes, not {len(key)}")
    return AESGCM(key)
