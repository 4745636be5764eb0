"""From a content store to a plain file: fetched, decrypted in pieces, there only when it is what the ledger says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from goldengrain.chaincode.protocol import stream
from goldengrain.cli.errors import CheckFailed, FileRefused
from goldengrain.gateway.store import ContentStore

Progress = Callable[[int, int], None]
"""Told how many bytes are fetched, and of how many."""


@dataclass(frozen=True)
class Ciphertext:
    """A blob, its key, and the SHA-256 that its plaintext must have; `size` and `chunk_size` where they are known."""

    what: str
    digest: bytes
    plaintext: bytes
    key: bytes = field(repr=False)
    size: int | None = None
    chunk_size: int | None = None


def decrypt(store: ContentStore, sealed: Ciphertext, out: Path, progress: Progress | None = None) -> int:
    """Decrypt a blob into a file, which appears only whole; returns its size in bytes. Memory: some chunks.

    Raises:
        BlobNotFound, BlobCorrupt, BlobTooLarge: what is wrong with the blob.
        StreamMalformed, StreamTruncated, StreamNotAuthentic: where the key doesn't open it.
        CheckFailed: where it opens to another text.
        FileRefused: where the file cannot be written.

    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise FileRefused(f"{out} cannot be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as sink,
            tempfile.TemporaryDirectory(dir=out.parent, prefix=".ciphertext.") as folder,
        ):
            ciphertext = Path(folder) / "ciphertext"
            size = store.size(sealed.digest)
            told: Callable[[int], None] | None = progress and (lambda done: progress(done, size))
            store.fetch(sealed.digest, ciphertext, sealed.size, progress=told)
            with ciphertext.open("rb") as source:
                written = stream.decrypt_file(sealed.key, source, sink, chunk_size=sealed.chunk_size)
            sink.flush()
            os.fsync(sink.fileno())
        if written.digest != sealed.plaintext:
            raise CheckFailed(f"{sealed.what} decrypts to something else than the ledger says; keep what you have")
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return written.size
