"""A file that the host brings, known by its digest on the ledger.

It is read once, from its start, and hashed as it is read: nothing else is believed of it, not even its size. Whether it
was the right one is known only at its end, and comes before whatever else is wrong with it (protocol section 5).
"""

from __future__ import annotations

import hashlib
import hmac
import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Protocol

from goldengrain.enclave.errors import HostBytesRefused

PIECE = 1024 * 1024


class Digest(Protocol):
    """A hash function at work, as `hashlib` has it."""

    def update(self, data: bytes, /) -> None:
        """Take in more."""

    def digest(self) -> bytes:
        """Return the digest of all so far."""


class Sha256Aside:
    """SHA-256 in a thread of its own, one piece behind: for when nothing else has use for a second processor."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "hashing")
        self._behind: Future[None] | None = None

    def update(self, data: bytes, /) -> None:
        """Take in more, once the last piece is done."""
        self._catch_up()
        self._behind = self._thread.submit(self._digest.update, data)

    def digest(self) -> bytes:
        """Return the digest of all; the thread ends."""
        self._catch_up()
        self._thread.shutdown()
        return self._digest.digest()

    def _catch_up(self) -> None:
        if self._behind is not None:
            self._behind.result()


class HostFile:
    """One reading of a file; `read` as a file has it."""

    def __init__(self, name: str, content: bytes | BinaryIO, digest: Digest | None = None) -> None:
        self.size = 0
        """Bytes read so far."""
        self._name = name
        self._file = io.BytesIO(content) if isinstance(content, bytes) else content
        self._digest = digest or hashlib.sha256()
        self._file.seek(0)

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most so many."""
        data = self._file.read(size)
        self._digest.update(data)
        self.size += len(data)
        return data

    def require(self, digest: bytes) -> None:
        """Read what is left; raises `HostBytesRefused` unless all of it has this digest."""
        while self.read(PIECE):
            pass
        if not hmac.compare_digest(self._digest.digest(), digest):
            raise HostBytesRefused(f"{self._name} has another digest than the ledger says: fetch it anew")
