"""From nothing to the first swap command that is VALID under the majority policy, phase by phase, on Fabric's programs.

The topology is the one that `network init` writes (three organisations, three Raft orderers, TLS), and the same with
four SmartBFT orderers; beside them plain scripts with one orderer (`plain_scripts`). The clock starts where `network
up` does; needs FABRIC_BIN.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.plain_scripts import plain_network
from benchmarks.report import Report, busy
from benchmarks.swaps import CONTRACT, found, start_contract, stop_contract
from goldengrain.network import lifecycle, runtime
from goldengrain.network.home import Home
from goldengrain.network.packaging import ccaas_package
from goldengrain.network.ports import free_port
from goldengrain.network.topology import Topology, default_topology

AIMS_S = {"raft 3": 10.0, "smartbft 4": 15.0}
ROUNDS = 3
_TOTAL = "first swap command VALID, from the start"


class Phases:
    """Seconds of each phase, and of all."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        begun = time.perf_counter()
        yield
        self.seconds[name.lstrip("0123456789 ")] = time.perf_counter() - begun

    def end(self) -> None:
        """Take the time of the whole."""
        self.seconds[_TOTAL] = time.perf_counter() - self.begun


async def run(seconds: float) -> Report:
    """Measure `ROUNDS` times each of ours, plain scripts once; the middle counts. `seconds` is not used."""
    del seconds
    report = Report("network")
    folder = os.environ.get("FABRIC_BIN")
    if not folder:
        report.failures.append("FABRIC_BIN names no folder with Fabric's peer and orderer")
        return report
    shapes = {
        "raft 3": default_topology(orderers=3),
        "smartbft 4": default_topology(orderers=4, consensus="smartbft"),
    }
    taken = {name: [await _ours(topology) for _ in range(ROUNDS)] for name, topology in shapes.items()}
    columns = {name: sorted(rounds, key=lambda one: one[_TOTAL])[ROUNDS // 2] for name, rounds in taken.items()}
    columns["plain scripts, raft 1"] = await _plain(Path(folder))
    phases = dict.fromkeys(phase for column in columns.values() for phase in column if phase != _TOTAL)
    for phase in (*phases, _TOTAL):
        report.rows.append({"seconds": phase} | {name: _shown(column.get(phase)) for name, column in columns.items()})
    for name, aim in AIMS_S.items():
        report.notes.append(f"{name}: under {aim:g} s is the aim; {len(taken[name])} rounds, their middle")
        if columns[name][_TOTAL] >= aim and not busy():
            report.failures.append(f"{name}: {columns[name][_TOTAL]:.1f} s")
    return report


def _shown(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.2f}"


async def _ours(topology: Topology) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        home, phases = Home(Path(folder) / "home"), Phases()
        try:
            await asyncio.to_thread(partial(runtime.up, home, topology, runtime="native", steps=phases.phase))
            address = f"127.0.0.1:{free_port()}"
            with phases.phase("contract through the lifecycle"):
                package_id = (await lifecycle.deploy(home, CONTRACT, "1", address)).package_id
            await _market(home, address, package_id, phases)
        finally:
            await asyncio.to_thread(partial(runtime.down, home, purge=True))
    return phases.seconds


async def _plain(fabric_bin: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        home, phases = Home(Path(folder) / "home"), Phases()
        with ExitStack() as stack:
            with phases.phase("certificates, genesis block"):
                network = stack.enter_context(plain_network(home, fabric_bin))
            with phases.phase("nodes started, channels joined"):
                await asyncio.to_thread(network.up)
            address = f"127.0.0.1:{free_port()}"
            package = ccaas_package(f"{CONTRACT}_1", address)
            with phases.phase("contract through the lifecycle"):
                await asyncio.to_thread(network.deploy, CONTRACT, package)
            await _market(home, address, package.package_id, phases)
    return phases.seconds


async def _market(home: Home, address: str, package_id: str, phases: Phases) -> None:
    """Found the market and open a task on it."""
    with phases.phase("contract's process"):
        server = await asyncio.to_thread(start_contract, home, address, package_id)
    try:
        async with AsyncExitStack() as stack:
            with phases.phase("market founded: the first majority endorsement"):
                bench = await found(home, stack, home.path, server.pid, 0)
                bench.wait_for_peers = True
            with phases.phase("credits minted, enclaves known: the first swap command"):
                await bench.mint(2)
                await bench.open_task()
            phases.end()
    finally:
        stop_contract(server)
