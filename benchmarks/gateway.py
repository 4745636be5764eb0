"""What a submit and an evaluation cost through our Gateway client and through others: Go's, Node's, moe-fabric-gateway.

One network, one chaincode on our shim, the same load, a process each that lives through all rounds; within a round
they have their turns close to each other, and the order changes from round to round. Processor time is each client's
own, of all its threads; start-up and warm-up are left out. Ratios are medians over the rounds, each to Go's client in
the same round, so that what the machine does meanwhile weighs on both. `ours, stream` learns the outcome of
transactions from one stream of blocks, all others make three calls.

What can't be built here (no Go, no Node, no network for a package) is left out and said so.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.networks import NAME, Bench, open_network, runtimes
from benchmarks.report import Report
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.network.home import Home

HERE = Path(__file__).resolve().parent / "gateway_clients"
IN_FLIGHT = 32
ROUNDS = 8
STREAM, CALLS, GO = "ours, stream", "ours, calls", "Go"
AIMS = {STREAM: 1.1, CALLS: 1.6}
EVALUATE_AIM = 1.1

SETTLE_S = 0.5
"""Seconds for what the turns before have left to do, on the network and in whoever reads its blocks."""
WARM_UP_S = 1.0

Figures = dict[str, float]


@dataclass
class Client:
    """A client: its name, how it is started, what its turns measured, by what it did."""

    name: str
    command: list[str]
    turns: dict[str, list[Figures]] = field(default_factory=lambda: {"submit": [], "evaluate": []})

    def of(self, kind: str, figure: str, count: str | None = None) -> list[float]:
        """A figure of each round, divided by another one."""
        return [one[figure] / (one[count] if count else 1) for one in self.turns[kind]]


class Turns:
    """A client's process."""

    def __init__(self, client: Client, process: asyncio.subprocess.Process) -> None:
        self.client = client
        self._process = process

    async def take(self, kind: str, seconds: float) -> Figures:
        """Have it submit or evaluate for a while."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{kind} {seconds}\n".encode())
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.client.name}'s client ended with {await self._process.wait()}")
        figures: Figures = json.loads(line)
        return figures


@asynccontextmanager
async def _started(client: Client, bench: Bench) -> AsyncIterator[Turns]:
    environment = _environment(bench.home) | {"IN_FLIGHT": str(IN_FLIGHT), "PREFIX": client.name}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *client.command, env=os.environ | environment, stdin=pipe, stdout=pipe
    )
    try:
        yield Turns(client, process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def run(seconds: float) -> Report:
    """Measure; `seconds` is how long each client's submits last in all."""
    report = Report("gateway")
    with tempfile.TemporaryDirectory() as folder:
        built = await asyncio.to_thread(_build, Path(folder), report)
        for runtime in runtimes():
            clients = [Client(name, command) for name, command in built.items()]
            async with open_network(runtime) as bench, AsyncExitStack() as stack:
                started = [await stack.enter_async_context(_started(client, bench)) for client in clients]
                await _measure(started, seconds)
            _take_down(report, runtime, clients)
    return report


async def _measure(started: list[Turns], seconds: float) -> None:
    for turns in started:
        await turns.take("submit", WARM_UP_S)
        await turns.take("evaluate", WARM_UP_S / 2)
    for number in range(ROUNDS):
        order = started if number % 2 else started[::-1]
        for kind, share in (("submit", seconds / ROUNDS), ("evaluate", seconds / ROUNDS)):
            await asyncio.sleep(SETTLE_S)
            for turns in order:
                turns.client.turns[kind].append(await turns.take(kind, share))


def _build(folder: Path, report: Report) -> dict[str, list[str]]:
    ours = [sys.executable, "-m", "benchmarks.gateway_clients.ours"]
    built = {STREAM: [*ours, "--shared"], CALLS: ours}
    for name, build in ((GO, _build_go), ("Node", _build_node), ("moe", _build_moe)):
        try:
            built[name] = build(folder / name)
        except (OSError, subprocess.CalledProcessError) as error:
            report.notes.append(f"{name}'s client is left out: {error}")
    return built


def _build_go(folder: Path) -> list[str]:
    subprocess.run(["go", "build", "-o", folder, "."], cwd=HERE / "go", check=True)
    return [str(folder)]


def _build_node(folder: Path) -> list[str]:
    shutil.copytree(HERE / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True)
    return ["node", str(folder / "main.mjs")]


def _build_moe(folder: Path) -> list[str]:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-r", HERE / "moe-requirements.txt"], check=True)
    return [python, str(HERE / "moe.py")]


def _environment(home: Home) -> dict[str, str]:
    topology = home.load_topology()
    organization = topology.organizations[0]
    endpoint = ConnectionProfile.load(home.connection_profile(organization)).gateway()
    root = home.path / "tls-root.pem"
    root.write_bytes(endpoint.tls_root or b"")
    msp = home.user(organization, "User1") / "msp"
    (certificate,) = (msp / "signcerts").iterdir()
    (key,) = (msp / "keystore").iterdir()
    return {
        "ENDPOINT": endpoint.address,
        "TLS_ROOT": str(root),
        "MSP_ID": organization.msp_id,
        "CERTIFICATE": str(certificate),
        "PRIVATE_KEY": str(key),
        "CHANNEL": topology.channel.name,
        "CHAINCODE": NAME,
    }


def _take_down(report: Report, runtime: str, clients: list[Client]) -> None:
    go = next((client for client in clients if client.name == GO), None)
    for client in clients:
        row: dict[str, str | int | float | None] = {
            "runtime": runtime,
            "client": client.name,
            "submits_per_s": round(median(client.of("submit", "calls", "wall_s")), 1),
            "submit_cpu_ms": round(1000 * median(client.of("submit", "cpu_s", "calls")), 3),
            "cpu_to_go": _ratio(client, go, "submit", "cpu_s", "calls"),
            "submit_p50_ms": round(median(client.of("submit", "p50_ms")), 1),
            "evaluate_p50_ms": round(median(client.of("evaluate", "p50_ms")), 2),
            "evaluate_to_go": _ratio(client, go, "evaluate", "p50_ms"),
            "evaluate_cpu_ms": round(1000 * median(client.of("evaluate", "cpu_s", "calls")), 3),
        }
        report.rows.append(row)
        _check(report, runtime, client.name, row)


def _ratio(client: Client, go: Client | None, kind: str, figure: str, count: str | None = None) -> float | None:
    if go is None:
        return None
    pairs = zip(client.of(kind, figure, count), go.of(kind, figure, count), strict=True)
    return round(median(ours / theirs for ours, theirs in pairs), 2)


def _check(report: Report, runtime: str, name: str, row: dict[str, str | int | float | None]) -> None:
    for column, aim in (("cpu_to_go", AIMS.get(name)), ("evaluate_to_go", EVALUATE_AIM if name in AIMS else None)):
        value = row[column]
        if aim is not None and isinstance(value, float) and value > aim:
            report.failures.append(f"{runtime}, {name}: {column} is {value}, to be at most {aim}")
