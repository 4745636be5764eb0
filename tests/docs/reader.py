"""A reader who follows a document: saves its files, types its commands into one shell, runs its Python, in order."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.docs.markdown import ROOT, Block, blocks

PATIENCE_S = 180.0
_SERVER = re.compile(r"(?:CHAINCODE_SERVER_ADDRESS=|--address )(\S+) .*&$", re.MULTILINE)
_OF_THE_MACHINE = re.compile(r"(?:\w+=\S+ )*make |export FABRIC_BIN=")
"""The gate's own steps, and where this machine's programs are: not the document's to say."""


def _with_free_ports(text: str) -> str:
    """The text with this machine for all that it names, and a free port for each one that a server is to listen on."""
    text = re.sub(r"\b10\.0\.0\.\d+", "127.0.0.1", text)
    for address in sorted(set(re.findall(r"127\.0\.0\.1:\d+", text))):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            text = text.replace(address, f"127.0.0.1:{probe.getsockname()[1]}")
    return text


def _wait_for(address: str) -> None:
    """Wait for a server started in the background, as somebody who types does without noticing."""
    host, _, port = address.partition(":")
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on {address}")


class Reader:
    """A shell in a folder of its own, which lives as long as the document."""

    def __init__(self, folder: Path, able: frozenset[str] = frozenset()) -> None:
        """Prepare to read; `able` is what the machine has, such as `fabric`: blocks that need more are left out."""
        self.folder = folder
        self.able = able
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GOLDENGRAIN_")}
        self._shell = subprocess.Popen(
            ["bash", "-euo", "pipefail"],
            cwd=folder,
            env=environment | {"PATH": path, "COLUMNS": "120"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._blocks = 0

    def follow(self, document: Path) -> list[str]:
        """Do what a document says; returns what its console blocks printed."""
        printed = []
        for block in blocks(_with_free_ports(document.read_text())):
            place = f"{document.relative_to(ROOT)}:{block.line}"
            if block.on is not None and block.on not in self.able:
                continue
            if block.file is not None:
                (self.folder / block.file).write_text(block.code)
            elif block.language == "python":
                self._python(block, place)
            elif block.language == "console":
                printed.append(self._console(block, place))
        return printed

    def _python(self, block: Block, place: str) -> None:
        source = "\n" * (block.line - 1) + block.code
        exec(compile(source, place, "exec"), self._names)

    def _console(self, block: Block, place: str) -> str:
        """Run a block, but for lines that are not the document's to say."""
        lines = [line for line in block.code.splitlines() if not _OF_THE_MACHINE.match(line)]
        self._blocks += 1
        mark = f"--- end of block {self._blocks} ---"
        opening, closing = "{", "}"
        if block.at is not None:
            opening, closing = f"( cd {self._machine(block)}; unset GOLDENGRAIN_HOME", ")"
        script = f"{opening}\n:\n" + "\n".join(lines) + f"\n{closing} </dev/null\necho '{mark}'\n"
        assert self._shell.stdin is not None
        self._shell.stdin.write(script.encode())
        self._shell.stdin.flush()
        printed, ended = self._read_until(mark)
        assert ended, f"{place}: the shell ended or took over {PATIENCE_S} s\n{block.code}\n{printed}"
        for address in _SERVER.findall(block.code):
            _wait_for(address)
        return printed

    def _machine(self, block: Block) -> Path:
        """The folder that stands for a block's machine, with the files that were brought there."""
        folder = self.folder / str(block.at)
        folder.mkdir(exist_ok=True)
        for name in block.brings:
            shutil.copy(self.folder / name, folder)
        return folder

    def _read_until(self, mark: str) -> tuple[str, bool]:
        output = self._shell.stdout
        assert output is not None
        seen, until = b"", time.monotonic() + PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while (left := until - time.monotonic()) > 0:
                if not selector.select(left):
                    break
                piece = os.read(output.fileno(), 65_536)
                if not piece:
                    break
                seen += piece
                if mark.encode() in seen:
                    return seen.decode(errors="replace").partition(mark)[0], True
        return seen.decode(errors="replace"), False

    def close(self) -> None:
        """End the shell and whatever it started in the background."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGTERM)
        self._shell.wait(20)
        for pipe in (self._shell.stdin, self._shell.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
