"""The content store: where ciphertexts, envelopes, test sets and collateral lie, under the SHA-256 of their bytes.

A blob's name is its digest, so what comes back is checked against what was asked for while it streams, and nobody
needs to trust whoever keeps the store. Blobs may be larger than memory: everything works in chunks. A blob appears
whole or not at all; what is written meanwhile lies in a hidden folder beside it.

Example::

    store = FolderStore("store/org1")
    blob = store.put_file("model.sealed")
    store.fetch(blob.digest, "copy.sealed")          # verified before it gets its name
    with store.open(blob.digest) as reader:          # verified when the last byte has been read
        for chunk in reader: …
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from goldengrain.gateway.errors import BlobCorrupt, BlobNotFound, BlobTooLarge, StoreError

CHUNK = 1 << 20  # bytes
_NAME = re.compile(r"[0-9a-f]{64}")
_INCOMING = ".incoming"
_STALE = 24 * 3600  # seconds after which an abandoned upload is removed

Digest = bytes | str
Progress = Callable[[int], None]
"""Told the number of bytes done so far, after each chunk."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What was stored: SHA-256 (32 bytes) and size (bytes)."""

    digest: bytes
    size: int


class ContentStore(Protocol):
    """What every kind of store offers; see :class:`FolderStore` for what the methods do and raise."""

    def put(self, chunks: Iterable[bytes], expected: Digest | None = None, max_size: int | None = None) -> Blob:
        """Store chunks."""
        ...

    def open(self, digest: Digest, max_size: int | None = None) -> VerifiedReader:
        """Open a blob for verified reading."""
        ...

    def has(self, digest: Digest) -> bool:
        """Tell whether a blob is there."""
        ...


class VerifiedReader:
    """Chunks of a blob; iterating to the end without BlobCorrupt proves that all of them are the blob's.

    Nothing read before the end may be relied on. Use it as ``with``, or ``close`` it.
    """

    def __init__(self, file: BinaryIO, digest: bytes, size: int) -> None:
        self._file = file
        self._digest = digest
        self._hash = sha256()
        self.size = size
        """Bytes that the store says it has."""

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next bytes, ``b""`` at the end. Raises BlobCorrupt there if digest and bytes don't agree."""
        chunk = self._file.read(size)
        self._hash.update(chunk)
        if not chunk and size and self._hash.digest() != self._digest:
            raise BlobCorrupt(
                f"blob {self._digest.hex()} is damaged: its bytes have the SHA-256 {self._hash.hexdigest()}; "
                "fetch it from another organisation's store"
            )
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> VerifiedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FolderStore:
    """A store in a folder, one file per blob, named by the hex digest."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._incoming = self.folder / _INCOMING
        self._sweep()

    def put(self, chunks: Iterable[bytes], expected: Digest | None = None, max_size: int | None = None) -> Blob:
        """Store a stream of chunks and return its digest; storing what is there already is fine.

        Raises BlobCorrupt where ``expected`` is another digest and BlobTooLarge past ``max_size`` bytes; nothing is
        kept then. What is there under that digest but damaged is replaced.
        """
        with self._writing(self._incoming) as (file, temporary):
            hashed, size = sha256(), 0
            for chunk in chunks:
                size += len(chunk)
                if max_size is not None and size > max_size:
                    raise BlobTooLarge(f"the blob is larger than the {max_size} bytes allowed")
                hashed.update(chunk)
                file.write(chunk)
            digest = hashed.digest()
            if expected is not None and digest != _digest(expected):
                raise BlobCorrupt(f"the bytes have the SHA-256 {digest.hex()}, not {_digest(expected).hex()}")
            _seal(file, temporary, self.folder / digest.hex())
        return Blob(digest, size)

    def put_bytes(self, content: bytes) -> Blob:
        """Store bytes held in memory."""
        return self.put((content,))

    def put_file(self, path: str | Path, expected: Digest | None = None, progress: Progress | None = None) -> Blob:
        """Store a file's bytes. Raises as ``put`` does, and StoreError where the file cannot be read."""
        try:
            with Path(path).open("rb") as file:
                return self.put(_counted(_chunks(file), progress), expected)
        except OSError as error:
            raise StoreError(f"cannot store {path}: {error}") from error

    def open(self, digest: Digest, max_size: int | None = None) -> VerifiedReader:
        """Return a reader that verifies while it streams. Raises BlobNotFound, BlobTooLarge past ``max_size`` bytes."""
        wanted = _digest(digest)
        try:
            file = (self.folder / wanted.hex()).open("rb")
        except FileNotFoundError:
            raise BlobNotFound(f"no blob {wanted.hex()} in the store {self.folder}") from None
        except OSError as error:
            raise StoreError(f"cannot read blob {wanted.hex()}: {error}") from error
        size = os.fstat(file.fileno()).st_size
        if max_size is not None and size > max_size:
            file.close()
            raise BlobTooLarge(f"blob {wanted.hex()} has {size} bytes, {max_size} are allowed")
        return VerifiedReader(file, wanted, size)

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
        with self.open(digest, max_size) as reader, self._writing(target.parent) as (file, temporary):
            for chunk in _counted(reader, progress):
                file.write(chunk)
            _seal(file, temporary, target)
            return reader.size

    def has(self, digest: Digest) -> bool:
        """Whether there is a blob of that name (its bytes are checked when they are read)."""
        return (self.folder / _digest(digest).hex()).is_file()

    def size(self, digest: Digest) -> int:
        """Return a blob's size in bytes. Raises BlobNotFound."""
        with self.open(digest) as reader:
            return reader.size

    def remove(self, digest: Digest) -> None:
        """Delete a blob. Raises BlobNotFound."""
        wanted = _digest(digest)
        try:
            (self.folder / wanted.hex()).unlink()
        except FileNotFoundError:
            raise BlobNotFound(f"no blob {wanted.hex()} in the store {self.folder}") from None

    def __iter__(self) -> Iterator[bytes]:
        """Return the digests of all blobs, in order."""
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                if _NAME.fullmatch(path.name):
                    yield bytes.fromhex(path.name)

    @contextmanager
    def _writing(self, folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
        """Return a temporary file that is gone afterwards unless it was given its name."""
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

    def _sweep(self) -> None:
        """Remove uploads that a killed process left behind."""
        if self._incoming.is_dir():
            for path in self._incoming.iterdir():
                try:
                    if time.time() - path.stat().st_mtime > _STALE:
                        path.unlink()
                except FileNotFoundError:
                    continue


def _digest(digest: Digest) -> bytes:
    """Return a digest as 32 bytes, from bytes or 64 hex digits. Anything else is no name of a blob."""
    if isinstance(digest, bytes) and len(digest) == 32:
        return digest
    if isinstance(digest, str) and _NAME.fullmatch(digest):
        return bytes.fromhex(digest)
    raise StoreError(f"{digest!r} is not a SHA-256: 32 bytes, or 64 lowercase hex digits")


def _seal(file: BinaryIO, temporary: Path, target: Path) -> None:
    """Make the file durable, then give it its name."""
    os.fsync(file.fileno())
    temporary.chmod(0o644)
    temporary.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _counted(chunks: Iterable[bytes], progress: Progress | None) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if progress is not None:
            progress(done)
