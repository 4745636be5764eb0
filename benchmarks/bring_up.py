"""From nothing to a network, from its folder again, and a contract on it: wall-clock seconds.

`network up` and `chaincode deploy` are the command line's, each a process of its own, as a user runs them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.networks import runtimes
from benchmarks.report import Report
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from goldengrain.network.native import NativeNetwork
from goldengrain.network.topology import default_topology

_ROUNDS = 5
_CHAINCODE = ("--name", "n", "--version", "1", "--address", "localhost:9")
_PROGRAM = (sys.executable, "-m", "goldengrain.cli.main")


async def run(seconds: float) -> Report:
    """`seconds` does not matter here."""
    report = Report("bring_up")
    found: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            for what, taken in (await _embedded(Path(folder) / "home")).items():
                found.setdefault(what, []).append(taken)
    report.rows += [_row("embedded", what, taken) for what, taken in found.items()]
    if "fabric" in runtimes():
        report.rows += [_row("fabric", what, [taken]) for what, taken in (await _fabric()).items()]
    return report


async def _embedded(home: Path) -> dict[str, float]:
    try:
        first = await _timed(home, "network", "up")
        deployment = await _timed(
            home, "chaincode", "deploy", "--name", "n", "--version", "1", "--address", "localhost:9"
        )
        await _timed(home, "network", "down")
        again = await _timed(home, "network", "up")
    finally:
        await _timed(home, "network", "down", "--purge")
    whole = await _market(home)
    return {"network up, new": first, "chaincode deploy": deployment, "network up, again": again, "with market": whole}


async def _market(home: Path) -> float:
    try:
        return await _timed(home, "network", "up", "--market")
    finally:
        await _timed(home, "network", "down", "--purge")


async def _timed(home: Path, *command: str) -> float:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *_PROGRAM, *command, "--home", str(home), "--json", stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    output, _ = await process.communicate()
    taken = time.monotonic() - began
    if process.returncode != 0:
        raise RuntimeError(f"goldengrain {' '.join(command)} ended with {process.returncode}: {output.decode()}")
    json.loads(output)
    return taken


async def _fabric() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        began = time.monotonic()
        async with NativeNetwork(home, default_topology()):
            up = time.monotonic()
            await deploy(home, "n", "1", "localhost:9")
            return {"network up, new": up - began, "chaincode deploy": time.monotonic() - up}


def _row(runtime: str, what: str, taken: list[float]) -> dict[str, str | int | float | None]:
    return {
        "runtime": runtime,
        "what": what,
        "fastest_s": round(min(taken), 2),
        "median_s": round(sorted(taken)[len(taken) // 2], 2),
        "rounds": len(taken),
    }
