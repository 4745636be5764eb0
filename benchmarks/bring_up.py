"""From nothing to a network, from its folder again, and a contract on it: seconds by the clock and of processor time.

`network up` and `chaincode deploy` are the command line's, each a process of its own, as a user runs them. `first
commit` is the Python API's, in this process, with everything imported: certificates, network, a chaincode deployed and
served, and its first transaction committed.

Must hold, in the median of the rounds: a market from nothing in under 2 s, the first commit in under 1 s. Where more
wants to run than there are processors, processor time decides.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.chaincode import GetAndPut
from benchmarks.networks import cpu_seconds, keep_to_two_processors, runtimes
from benchmarks.report import Report, Value, busy
from goldengrain.chaincode.shim import ChaincodeServer
from goldengrain.cli import contract_process
from goldengrain.network.clients import connect
from goldengrain.network.creation import create
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from goldengrain.network.native import NativeNetwork
from goldengrain.network.ports import free_port
from goldengrain.network.topology import default_topology

ROUNDS = 5
MARKET, FIRST_COMMIT = "network up --market", "first commit, in Python"
AIMS_S = {MARKET: 2.0, FIRST_COMMIT: 1.0}
_PROGRAM = (sys.executable, "-m", "goldengrain.cli.main")


class Taken(NamedTuple):
    """Seconds by the clock, and processor seconds of all that took part (None where that is not known)."""

    wall: float
    cpu: float | None = None


async def run(seconds: float) -> Report:
    """`seconds` does not matter here."""
    keep_to_two_processors()
    report = Report("bring_up")
    found: dict[str, list[Taken]] = {}
    for number in range(ROUNDS + 1):  # the first one warms up
        with tempfile.TemporaryDirectory() as folder:
            for what, taken in (await _embedded(Path(folder))).items():
                if number:
                    found.setdefault(what, []).append(taken)
    report.rows += [_row("embedded", what, taken) for what, taken in found.items()]
    report.failures += [f"{what} took {_middle(found[what]):.2f} s" for what in AIMS_S if not _holds(what, found[what])]
    if "fabric" in runtimes():
        report.rows += [_row("fabric", what, [taken]) for what, taken in (await _fabric()).items()]
    return report


async def _embedded(folder: Path) -> dict[str, Taken]:
    return {**await _commands(folder / "commands"), MARKET: await _market(folder / "market")} | {
        FIRST_COMMIT: await _first_commit(folder / "python")
    }


async def _commands(home: Path) -> dict[str, Taken]:
    try:
        first = await _timed(home, "network", "up")
        address = "localhost:9"  # nobody is going to call it
        deployment = await _timed(home, "chaincode", "deploy", "--name", "n", "--version", "1", "--address", address)
        await _timed(home, "network", "down")
        again = await _timed(home, "network", "up")
    finally:
        await _timed(home, "network", "down", "--purge")
    return {"network up, new": first, "chaincode deploy": deployment, "network up, again": again}


async def _market(home: Path) -> Taken:
    def processes() -> tuple[int, ...]:
        contract = contract_process.load(Home(home))
        return (Home(home).load_state().pid, contract.pid if contract else 0)

    try:
        return await _timed(home, "network", "up", "--market", left=processes)
    finally:
        await _timed(home, "network", "down", "--purge")


async def _timed(home: Path, *command: str, left: Callable[[], tuple[int, ...]] | None = None) -> Taken:
    """Run a command; `left` names the processes that it leaves running."""
    began, used = time.monotonic(), _children_cpu()
    process = await asyncio.create_subprocess_exec(
        *_PROGRAM, *command, "--home", str(home), "--json", stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    output, _ = await process.communicate()
    wall = time.monotonic() - began
    if process.returncode != 0:
        raise RuntimeError(f"goldengrain {' '.join(command)} ended with {process.returncode}: {output.decode()}")
    json.loads(output)
    return Taken(wall, None if left is None else _children_cpu() - used + cpu_seconds(left()))


def _children_cpu() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


async def _first_commit(folder: Path) -> Taken:
    began, used = time.monotonic(), time.process_time()
    home = Home(folder)
    create(home, default_topology())
    async with EmbeddedNetwork(home):
        address = f"127.0.0.1:{free_port()}"
        deployment = await deploy(home, "n", "1", address)
        server = ChaincodeServer(GetAndPut(), address, deployment.package_id)
        await server.start()
        async with connect(home, "Org1") as gateway:
            await gateway.network("market").contract("n").submit("put", "key", "value")
            taken = Taken(time.monotonic() - began, time.process_time() - used)
        await server.stop()
    return taken


async def _fabric() -> dict[str, Taken]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        began = time.monotonic()
        async with NativeNetwork(home, default_topology()):
            up = time.monotonic()
            await deploy(home, "n", "1", "localhost:9")
            return {"network up, new": Taken(up - began), "chaincode deploy": Taken(time.monotonic() - up)}


def _holds(what: str, taken: list[Taken]) -> bool:
    return _middle(taken) < AIMS_S[what]


def _middle(taken: list[Taken]) -> float:
    by_processor = busy() and all(one.cpu is not None for one in taken)
    return median((one.cpu or 0.0) if by_processor else one.wall for one in taken)


def _row(runtime: str, what: str, taken: list[Taken]) -> dict[str, Value]:
    used = [one.cpu for one in taken if one.cpu is not None]
    return {
        "runtime": runtime,
        "what": what,
        "fastest_s": round(min(one.wall for one in taken), 2),
        "median_s": round(median(one.wall for one in taken), 2),
        "median_cpu_s": round(median(used), 2) if used else None,
        "rounds": len(taken),
    }
