"""Stand-ins for what a kernel or Gramine offers as files: a quote is made at the moment in which its file is read."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Quote = Callable[[bytes], bytes]


@contextmanager
def served(path: Path, content: Callable[[], bytes]) -> Iterator[None]:
    """A file that is made anew whenever somebody reads it (a named pipe)."""
    os.mkfifo(path)
    ended = threading.Event()

    def serve() -> None:
        while True:
            with path.open("wb") as file:  # waits for a reader
                if ended.is_set():
                    return
                file.write(content())
            threading.Event().wait(0.01)  # until that reader has closed it too

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    ended.set()
    with path.open("rb") as file:
        file.read()
    thread.join(10)


@contextmanager
def gramine_tree(folder: Path, quote: Quote, kind: bytes = b"dcap") -> Iterator[Path]:
    """Gramine's `/dev/attestation`."""
    folder.mkdir()
    (folder / "attestation_type").write_bytes(kind)
    (folder / "user_report_data").write_bytes(bytes(64))
    with served(folder / "quote", lambda: quote((folder / "user_report_data").read_bytes())):
        yield folder


class TsmTree:
    """The kernel's `/sys/kernel/config/tsm/report`: a folder made in it fills itself, and is removed with its files."""

    def __init__(self, folder: Path, quote: Quote, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.provider, self.strange_writes = folder, "tdx_guest\n", 0
        self.made: list[str] = []
        self._quote = quote
        folder.mkdir()
        make, remove = Path.mkdir, Path.rmdir

        def mkdir(path: Path, *arguments: object, **named: object) -> None:
            make(path, *arguments, **named)  # type: ignore[arg-type]
            if path.parent == folder:
                self._fill(path)

        def rmdir(path: Path) -> None:
            if path.parent == folder:
                shutil.rmtree(path)
            else:
                remove(path)

        monkeypatch.setattr(Path, "mkdir", mkdir)
        monkeypatch.setattr(Path, "rmdir", rmdir)
        monkeypatch.setattr(Path, "write_bytes", self._write(Path.write_bytes))
        monkeypatch.setattr(Path, "open", self._open(Path.open))

    def _fill(self, path: Path) -> None:
        self.made.append(path.name)
        (path / "provider").write_text(self.provider)
        (path / "generation").write_text("0\n")

    def _write(self, write: Callable[[Path, bytes], int]) -> Callable[[Path, bytes], int]:
        def written(path: Path, data: bytes) -> int:
            if path.name == "inblob":
                counter = path.with_name("generation")
                counter.write_text(f"{int(counter.read_text()) + 1 + self.strange_writes}\n")
            return write(path, data)

        return written

    def _open(self, opened: Callable[..., object]) -> Callable[..., object]:
        def reading(path: Path, *arguments: object, **named: object) -> object:
            if path.name == "outblob" and not path.exists():
                with opened(path, "wb") as file:  # type: ignore[attr-defined]
                    file.write(self._quote(path.with_name("inblob").read_bytes()))
            return opened(path, *arguments, **named)

        return reading
