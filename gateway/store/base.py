"""What every content store does: blobs under the SHA-256 of their bytes, verified whenever they are read.

A blob's name is its digest, so what comes back is checked against what was asked for while it streams, and nobody
needs to trust whoever keeps the store. Blobs may be larger than memory: everything works in chunks. A blob appears
whole or not at all.
"""

from __future__ import annotations

import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Protocol

from goldengrain.gateway.errors import BlobCorrupt, BlobTooLarge, StoreAnswerMalformed, StoreError

CHUNK = 1 << 20  # bytes
NAME = re.compile(r"[0-9a-f]{64}")

Digest = bytes | str
"""32 bytes, or 64 lowercase hex digits."""
Progress = Callable[[int], None]
"""Told the number of bytes done so far, after each chunk."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What was stored: SHA-256 (32 bytes) and size (bytes)."""

    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A blob in a store: SHA-256, size in bytes, when it came (seconds since 1970), whose it is (MSP id, or empty)."""

    digest: bytes
    size: int
    stored: int
    owner: str = ""


class Source(Protocol):
    """Bytes that come one after another."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, at least one before the end."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class VerifiedReader:
    """Chunks of a blob. The last one is handed over only when all of them have the blob's digest.

    So whoever has read to the end without BlobCorrupt holds the blob, and nothing read before the end may be relied
    on. Use it as ``with``, or ``close`` it. ``size`` is the bytes that the store says it has.
    """

    def __init__(self, source: Source, digest: bytes, size: int) -> None:
        self._source = source
        self._digest = digest
        self._hash = sha256()
        self._hashed = 0
        self._ahead: bytes | None = None
        self._left = b""
        self._ended = False
        self._failure: BlobCorrupt | None = None
        self.size = size

    def read(self, size: int = CHUNK) -> bytes:
        """Return at most ``size`` further bytes, ``b""`` at the end. Raises BlobCorrupt instead of the last ones."""
        chunk = self._left or self._next()
        self._left = chunk[size:]
        return chunk[:size] if self._left else chunk

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk

    def close(self) -> None:
        """Let go of the store."""
        self._source.close()

    def __enter__(self) -> VerifiedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> bytes:
        """Return a chunk once it is known whether another one follows."""
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return b""
        if self._ahead is None:
            self._ahead = self._pull()
        chunk, self._ahead = self._ahead, self._pull() if self._ahead else b""
        if not self._ahead:
            self._ended = True
            self._require_digest()
        return chunk

    def _pull(self) -> bytes:
        chunk = self._source.read(CHUNK)
        self._hash.update(chunk)
        self._hashed += len(chunk)
        if self._hashed > self.size:
            raise self._corrupt(f"it has more than its {self.size} bytes")
        return chunk

    def _require_digest(self) -> None:
        if self._hash.digest() != self._digest:
            raise self._corrupt(f"its bytes have the SHA-256 {self._hash.hexdigest()}")

    def _corrupt(self, why: str) -> BlobCorrupt:
        name = self._digest.hex()
        self._failure = BlobCorrupt(f"blob {name} is damaged: {why}; fetch it from another organisation's store")
        return self._failure


class ContentStore(ABC):
    """A store. A kind of store brings the abstract methods; all others are made of them."""

    @abstractmethod
    def put(self, chunks: Iterable[bytes], expected: Digest | None = None, max_size: int | None = None) -> Blob:
        """Store a stream of chunks and return its digest; storing what is there already is fine.

        Raises BlobCorrupt where ``expected`` is another digest and BlobTooLarge past ``max_size`` bytes; nothing is
        kept then.
        """

    @abstractmethod
    def open(self, digest: Digest, max_size: int | None = None) -> VerifiedReader:
        """Return a reader that verifies while it streams. Raises BlobNotFound, BlobTooLarge past ``max_size`` bytes."""

    @abstractmethod
    def size(self, digest: Digest) -> int:
        """Return a blob's size in bytes. Raises BlobNotFound."""

    @abstractmethod
    def has(self, digest: Digest) -> bool:
        """Whether there is a blob of that name (its bytes are checked when they are read)."""

    @abstractmethod
    def remove(self, digest: Digest) -> None:
        """Delete a blob. Raises BlobNotFound."""

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Yield what is in the store, in the order of digests."""

    def __iter__(self) -> Iterator[bytes]:
        """Return the digests of all blobs, in order."""
        return (entry.digest for entry in self.entries())

    def put_bytes(self, content: bytes) -> Blob:
        """Store bytes held in memory. Raises as ``put`` does."""
        return self.put((content,))

    def put_file(self, path: str | Path, expected: Digest | None = None, progress: Progress | None = None) -> Blob:
        """Store a file's bytes. Raises as ``put`` does, and StoreError where the file cannot be read."""
        try:
            with Path(path).open("rb") as file:
                return self.put(counted(chunks_of(file), progress), expected)
        except OSError as error:
            raise StoreError(f"cannot store {path}: {error}") from error

    def read(self, digest: Digest, max_size: int | None = None) -> bytes:
        """Return a whole blob in memory, verified. Raises as ``open`` does, and BlobCorrupt."""
        with self.open(digest, max_size) as reader:
            return b"".join(reader)

    def fetch(
        self, digest: Digest, path: str | Path, max_size: int | None = None, progress: Progress | None = None
    ) -> int:
        """Copy a blob to a file and return its size; the file appears only once verified.

        Raises BlobNotFound, BlobTooLarge, BlobCorrupt, and StoreError where the file cannot be written.
        """
        target = Path(path)
        with self.open(digest, max_size) as reader, new_file(target.parent) as (file, temporary):
            for chunk in counted(reader, progress):
                file.write(chunk)
            seal(file, temporary, target)
            return reader.size


def digest_of(digest: Digest) -> bytes:
    """Return a digest as 32 bytes. Raises StoreError for anything else: it is no name of a blob."""
    if isinstance(digest, bytes) and len(digest) == 32:
        return digest
    if isinstance(digest, str) and NAME.fullmatch(digest):
        return bytes.fromhex(digest)
    raise StoreError(f"{digest!r} is not a SHA-256: 32 bytes, or 64 lowercase hex digits")


def in_order(entries: Iterable[Entry], store: str) -> Iterator[Entry]:
    """Yield what a store lists. Raises StoreAnswerMalformed for what isn't in order: a listing has to have an end."""
    before = b""
    for one in entries:
        if len(one.digest) != 32 or one.digest <= before or one.size < 0 or one.stored < 0:
            raise malformed(store, f"the listing has {one.digest.hex()[:64]!r} with {one.size} bytes of {one.stored} s")
        before = one.digest
        yield one


def malformed(store: str, why: object) -> StoreAnswerMalformed:
    """Return the error that says that a store's answer is none, and what to do."""
    return StoreAnswerMalformed(
        f"{store} answers what no content store answers ({why}); is this its address? If so, tell its keeper, "
        "and use another organisation's store"
    )


def require_size(digest: bytes, size: int, max_size: int | None) -> None:
    """Raise BlobTooLarge where a blob has more bytes than allowed."""
    if max_size is not None and size > max_size:
        raise BlobTooLarge(f"blob {digest.hex()} has {size} bytes, {max_size} are allowed")


def write_hashed(
    chunks: Iterable[bytes], file: IO[bytes], expected: Digest | None = None, max_size: int | None = None
) -> Blob:
    """Write chunks to a file and return what they are. Raises BlobCorrupt and BlobTooLarge as ``put`` does."""

    def written() -> Iterator[bytes]:
        for chunk in chunks:
            file.write(chunk)
            yield chunk

    return hash_chunks(written(), expected, max_size)


def hash_chunks(chunks: Iterable[bytes], expected: Digest | None = None, max_size: int | None = None) -> Blob:
    """Return what chunks are. Raises BlobCorrupt and BlobTooLarge as ``put`` does."""
    hashed, size = sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if max_size is not None and size > max_size:
            raise BlobTooLarge(f"the blob is larger than the {max_size} bytes allowed")
        hashed.update(chunk)
    digest = hashed.digest()
    if expected is not None and digest != digest_of(expected):
        raise BlobCorrupt(f"the bytes have the SHA-256 {digest.hex()}, not {digest_of(expected).hex()}")
    return Blob(digest, size)


@contextmanager
def new_file(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Return a temporary file that is gone afterwards unless ``seal`` gave it its name. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error}") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            yield file, temporary
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def seal(file: BinaryIO, temporary: Path, target: Path) -> None:
    """Make a file durable, then give it its name."""
    os.fsync(file.fileno())
    temporary.chmod(0o644)
    temporary.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def chunks_of(file: Source) -> Iterator[bytes]:
    """Yield a file's bytes in chunks."""
    while chunk := file.read(CHUNK):
        yield chunk


def counted(chunks: Iterable[bytes], progress: Progress | None) -> Iterator[bytes]:
    """Yield chunks and tell how many bytes have gone by."""
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if progress is not None:
            progress(done)
