"""A content store in a folder: one file per blob, named by the hex digest.

What is written meanwhile lies in a hidden folder beside the blobs: nameless files of a ``put``, and unfinished uploads
(:class:`Upload`), which go on where they stopped, even after the process was killed. Either is removed a day later.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from goldengrain.gateway.errors import BlobCorrupt, BlobNotFound, BlobTooLarge, StoreError, UploadBusy
from goldengrain.gateway.store.base import (
    NAME,
    Blob,
    ContentStore,
    Digest,
    Entry,
    VerifiedReader,
    chunks_of,
    digest_of,
    new_file,
    require_size,
    seal,
    write_hashed,
)

_INCOMING = ".incoming"
_STALE = 24 * 3600  # seconds after which an abandoned upload is removed


class FolderStore(ContentStore):
    """A store in a folder, which need not exist yet."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._incoming = self.folder / _INCOMING
        self.sweep()

    def put(self, chunks: Iterable[bytes], expected: Digest | None = None, max_size: int | None = None) -> Blob:
        """Store a stream of chunks, see ``ContentStore``. What is there under that digest but damaged is replaced."""
        with new_file(self._incoming) as (file, temporary):
            blob = write_hashed(chunks, file, expected, max_size)
            seal(file, temporary, self._path(blob.digest))
        return blob

    def open(self, digest: Digest, max_size: int | None = None) -> VerifiedReader:
        """Return a reader that verifies while it streams. Raises BlobNotFound, BlobTooLarge past ``max_size`` bytes."""
        wanted = digest_of(digest)
        file = self.open_unverified(wanted)
        try:
            size = os.fstat(file.fileno()).st_size
            require_size(wanted, size, max_size)
        except BlobTooLarge:
            file.close()
            raise
        return VerifiedReader(file, wanted, size)

    def open_unverified(self, digest: bytes, offset: int = 0) -> BinaryIO:
        """Return a blob's file from an offset on, for whoever verifies elsewhere. Raises BlobNotFound, StoreError."""
        try:
            file = self._path(digest).open("rb", buffering=0)
            file.seek(offset)
        except FileNotFoundError:
            raise self._missing(digest) from None
        except OSError as error:
            raise StoreError(f"cannot read blob {digest.hex()}: {error}") from error
        return file

    def size(self, digest: Digest) -> int:
        """Return a blob's size in bytes. Raises BlobNotFound."""
        wanted = digest_of(digest)
        try:
            return self._path(wanted).stat().st_size
        except FileNotFoundError:
            raise self._missing(wanted) from None

    def has(self, digest: Digest) -> bool:
        """Whether there is a blob of that name (its bytes are checked when they are read)."""
        return self._path(digest_of(digest)).is_file()

    def remove(self, digest: Digest) -> None:
        """Delete a blob. Raises BlobNotFound."""
        wanted = digest_of(digest)
        try:
            self._path(wanted).unlink()
        except FileNotFoundError:
            raise self._missing(wanted) from None

    def entries(self) -> Iterator[Entry]:
        """Yield what is in the store, in the order of digests."""
        if not self.folder.is_dir():
            return
        for name in sorted(path.name for path in self.folder.iterdir() if NAME.fullmatch(path.name)):
            try:
                status = (self.folder / name).stat()
            except FileNotFoundError:
                continue  # removed meanwhile
            yield Entry(bytes.fromhex(name), status.st_size, int(status.st_mtime))

    @contextmanager
    def upload(self, digest: bytes, size: int, by: str) -> Iterator[Upload]:
        """Take up an upload of a blob where it stopped, or begin it; ``by`` says whose it is.

        Raises UploadBusy while the same upload is under way elsewhere.
        """
        path = self._partial(digest, by)
        self._incoming.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UploadBusy(f"blob {digest.hex()} is being uploaded already; wait, then ask again") from error
            yield Upload(file, path, self._path(digest), Blob(digest, size))

    def received(self, digest: bytes, by: str) -> int:
        """Return how many bytes of an unfinished upload are here."""
        try:
            return self._partial(digest, by).stat().st_size
        except FileNotFoundError:
            return 0

    def sweep(self) -> None:
        """Remove what killed processes left behind a day ago."""
        if not self._incoming.is_dir():
            return
        for path in self._incoming.iterdir():
            try:
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()
            except FileNotFoundError:
                continue

    def _path(self, digest: bytes) -> Path:
        return self.folder / digest.hex()

    def _partial(self, digest: bytes, by: str) -> Path:
        return self._incoming / f"{digest.hex()}-{sha256(by.encode()).hexdigest()[:16]}"

    def _missing(self, digest: bytes) -> BlobNotFound:
        return BlobNotFound(f"no blob {digest.hex()} in the store {self.folder}")


class Upload:
    """A blob on its way into a folder: as much of it as has come stays, until it is whole or proves to be another."""

    def __init__(self, file: BinaryIO, path: Path, target: Path, blob: Blob) -> None:
        self._file = file
        self._path = path
        self._target = target
        self._blob = blob
        self.received = path.stat().st_size

    def write(self, chunk: bytes) -> None:
        """Add a chunk. Raises BlobTooLarge where more comes than was announced; then nothing is kept."""
        if self.received + len(chunk) > self._blob.size:
            self.discard()
            raise BlobTooLarge(f"blob {self._blob.digest.hex()} was announced with {self._blob.size} bytes; more came")
        self._file.write(chunk)
        self.received += len(chunk)

    def finish(self) -> None:
        """Give the blob its name. Raises BlobCorrupt where its bytes are others; then nothing is kept."""
        hashed = sha256()
        self._file.seek(0)
        for chunk in chunks_of(self._file):
            hashed.update(chunk)
        if hashed.digest() != self._blob.digest:
            self.discard()
            wanted = self._blob.digest.hex()
            raise BlobCorrupt(f"the bytes uploaded have the SHA-256 {hashed.hexdigest()}, not {wanted}")
        seal(self._file, self._path, self._target)

    def discard(self) -> None:
        """Throw away what has come."""
        self._path.unlink(missing_ok=True)
