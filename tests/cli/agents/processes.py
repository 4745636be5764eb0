"""Agents as processes that can be killed: quick to start, since they are forked from one that has imported all."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.cli.agents.preloaded"])


def _run(log: str, arguments: list[str]) -> None:
    from goldengrain.cli.main import main

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(out, number)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    main(arguments)


@dataclass
class AgentProcess:
    """One side's agent in a home folder, started and killed as often as one likes; its lines go to a file."""

    home: Path
    log: Path
    arguments: tuple[str, ...]
    process: BaseProcess | None = None
    kills: int = 0

    def start(self) -> None:
        """Start it."""
        words = ["--json", "--home", str(self.home), "agent", *self.arguments]
        self.process = _CONTEXT.Process(target=_run, args=(str(self.log), words), daemon=True)
        self.process.start()

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self.process is not None and self.process.is_alive():
            self.process.kill()
            self.process.join()
            self.kills += 1

    def stop(self) -> int | None:
        """End it as SIGTERM does; returns its exit code."""
        if self.process is None:
            return None
        self.process.terminate()
        self.process.join(30)
        return self.process.exitcode

    def notices(self) -> list[dict[str, Any]]:
        """What it has said; a last line that was cut off by a kill is left out."""
        found = []
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found
