"""Run commands in this process as the shell would, and agents beside it."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldengrain.cli.main import main

COMMAND = [sys.executable, "-c", "from goldengrain.cli.main import main; main()"]


@dataclass(frozen=True)
class Result:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def error(self) -> str:
        """The named error's code, as --json has it on standard error."""
        return str(json.loads(self.err.strip().splitlines()[-1])["error"]["code"])


def run(*arguments: object) -> Result:
    """Run `goldengrain ARGUMENTS` in this process; a traceback is an error of the test."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(one) for one in arguments])
        except SystemExit as error:
            code = error.code
    assert isinstance(code, int)
    return Result(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Folder:
    """Runs commands in one home folder."""

    home: Path

    def __call__(self, *arguments: object) -> dict[str, Any]:
        """Run a command with --json that has to succeed; returns its object."""
        result = self.attempt(*arguments)
        assert result.code == 0, result.err
        return result.value

    def attempt(self, *arguments: object) -> Result:
        """Run a command with --json, whatever comes of it."""
        return run("--json", "--home", self.home, *arguments)

    def shown(self, *arguments: object) -> str:
        """Run a command as a person does; returns what it prints."""
        result = run("--home", self.home, *arguments)
        assert result.code == 0, result.err
        return result.out


@contextlib.contextmanager
def agents(home: Path, *lines: tuple[str, ...]) -> Iterator[None]:
    """Run `goldengrain enclave run` once for each line, as processes of their own; end them as Ctrl+C does."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_agent(home, line)) for line in lines]
        for process, log in started:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "works for" in line, line + log.read_text()
        yield
    assert [process.returncode for process, _ in started] == [0] * len(started)


@contextlib.contextmanager
def _agent(home: Path, arguments: tuple[str, ...]) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    command = [*COMMAND, "--home", str(home), "enclave", "run", *arguments]
    log = home / "logs" / f"agent-{arguments[0]}.err"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    with process:
        try:
            yield process, log
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
