"""The content store: whole or not at all, verified while streaming, no way out of its folder."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from goldengrain.gateway.errors import BlobCorrupt, BlobNotFound, BlobTooLarge, StoreError
from goldengrain.gateway.store import CHUNK, FolderStore

CONTENT = bytes(range(256)) * 9000  # more than two chunks
DIGEST = sha256(CONTENT).digest()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_blob_comes_back_as_it_was(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(CONTENT)
    seen: list[int] = []
    blob = store.put_file(tmp_path / "in", progress=seen.append)
    assert (blob.digest, blob.size) == (DIGEST, len(CONTENT))
    assert seen == [CHUNK, 2 * CHUNK, len(CONTENT)]
    assert files(store.folder) == [DIGEST.hex()]
    assert store.read(DIGEST) == store.read(DIGEST.hex()) == CONTENT
    assert store.fetch(DIGEST, tmp_path / "out" / "copy", progress=seen.append) == len(CONTENT)
    assert (tmp_path / "out" / "copy").read_bytes() == CONTENT
    assert files(tmp_path / "out") == ["copy"]
    assert store.size(DIGEST) == len(CONTENT)
    assert list(store) == [DIGEST]


def test_the_empty_blob_and_the_same_blob_twice(store: FolderStore) -> None:
    assert list(store) == []
    assert store.read(store.put_bytes(b"").digest) == b""
    assert store.put_bytes(CONTENT) == store.put_bytes(CONTENT)
    assert len(list(store)) == 2


def test_a_reader_streams_chunks(store: FolderStore) -> None:
    store.put_bytes(CONTENT)
    with store.open(DIGEST) as reader:
        assert reader.size == len(CONTENT)
        assert [len(chunk) for chunk in reader] == [CHUNK, CHUNK, len(CONTENT) - 2 * CHUNK]


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT + b"x", b"x" + CONTENT[1:], b""])
def test_damage_is_found_while_streaming_and_leaves_no_file(store: FolderStore, tmp_path: Path, damage: bytes) -> None:
    store.put_bytes(CONTENT)
    (store.folder / DIGEST.hex()).write_bytes(damage)
    with pytest.raises(BlobCorrupt, match="another organisation"):
        store.read(DIGEST)
    with pytest.raises(BlobCorrupt):
        store.fetch(DIGEST, tmp_path / "out" / "copy")
    assert files(tmp_path / "out") == []
    store.put_bytes(CONTENT)
    assert store.read(DIGEST) == CONTENT


def test_bytes_of_another_digest_are_not_kept(store: FolderStore) -> None:
    with pytest.raises(BlobCorrupt, match=DIGEST.hex()):
        store.put((b"other",), expected=DIGEST)
    assert files(store.folder) == []
    assert store.put((CONTENT,), expected=DIGEST.hex()).digest == DIGEST


def test_a_source_that_fails_half_way_leaves_nothing(store: FolderStore) -> None:
    def source() -> Iterator[bytes]:
        yield CONTENT
        raise ConnectionResetError

    with pytest.raises(StoreError):
        store.put(source())
    assert files(store.folder) == []


def test_sizes_are_bounded(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(BlobTooLarge):
        store.put((CONTENT, CONTENT), max_size=len(CONTENT))
    assert files(store.folder) == []
    store.put((CONTENT,), max_size=len(CONTENT))
    for call in (store.open, store.read):
        with pytest.raises(BlobTooLarge):
            call(DIGEST, len(CONTENT) - 1)
    with pytest.raises(BlobTooLarge):
        store.fetch(DIGEST, tmp_path / "copy", max_size=1)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    "name", ["", "../secret", "/etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n", b"", b"x" * 31, ".incoming"]
)
def test_only_digests_are_names(store: FolderStore, tmp_path: Path, name: bytes | str) -> None:
    for call in (store.open, store.read, store.has, store.remove, store.size):
        with pytest.raises(StoreError, match="not a SHA-256"):
            call(name)
    with pytest.raises(StoreError, match="not a SHA-256"):
        store.fetch(name, tmp_path / "copy")


def test_what_is_not_there_is_not_found(store: FolderStore, tmp_path: Path) -> None:
    assert not store.has(DIGEST)
    for call in (store.open, store.read, store.size, store.remove):
        with pytest.raises(BlobNotFound, match=DIGEST.hex()):
            call(DIGEST)
    with pytest.raises(BlobNotFound):
        store.fetch(DIGEST, tmp_path / "copy")
    with pytest.raises(StoreError, match="cannot store"):
        store.put_file(tmp_path / "missing")


def test_removing(store: FolderStore) -> None:
    store.put_bytes(CONTENT)
    assert store.has(DIGEST)
    store.remove(DIGEST)
    assert not store.has(DIGEST)


def test_foreign_files_in_the_folder_are_not_blobs(store: FolderStore) -> None:
    store.put_bytes(CONTENT)
    (store.folder / "README").write_text("hello")
    assert list(store) == [DIGEST]


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        FolderStore(tmp_path / "file").put_bytes(CONTENT)


def test_an_upload_that_was_killed_is_swept_later(tmp_path: Path) -> None:
    """SIGKILL in the middle leaves no blob; a store opened a day later removes the remains."""
    folder = tmp_path / "store"
    script = (
        "import os, signal, sys\n"
        "from goldengrain.gateway.store import FolderStore\n"
        "def source():\n"
        "    yield b'x' * 100\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "FolderStore(sys.argv[1]).put(source())\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(folder)], check=False).returncode == -9
    assert list(FolderStore(folder)) == []
    (left,) = files(folder)
    past = time.time() - 48 * 3600
    os.utime(folder / left, (past, past))
    FolderStore(folder)
    assert files(folder) == []


def test_a_blob_is_never_held_in_memory(store: FolderStore, tmp_path: Path) -> None:
    def source() -> Iterator[bytes]:
        chunk = bytes(CHUNK)
        for _ in range(200):
            yield chunk

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    blob = store.put(source())
    store.fetch(blob.digest, tmp_path / "copy")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert blob.size == 200 * CHUNK
    assert grown < 50 * 1024
