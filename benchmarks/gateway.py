"""What a submit and an evaluation cost through our Gateway client and through others: Go's, Node's, moe-fabric-gateway.

One network, one chaincode on our shim, the same load, a process each, in turns. Processor time is each client's own, of
all its threads; start-up and warm-up are left out. Ratios are medians over the rounds, each to Go's client in the same
round. `ours, stream` learns the outcome of transactions from one stream of blocks, all others make three calls.

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
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.networks import NAME, Bench, open_network, runtimes
from benchmarks.report import Report
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.network.home import Home

HERE = Path(__file__).resolve().parent / "gateway_clients"
IN_FLIGHT = 32
ROUNDS = 3
STREAM, CALLS, GO = "ours, stream", "ours, calls", "Go"
AIMS = {STREAM: 1.1, CALLS: 1.6}
EVALUATE_AIM = 1.1

Figures = dict[str, float]


@dataclass
class Client:
    """A client: its name, how it is started, what its rounds measured."""

    name: str
    command: list[str]
    rounds: list[Figures] = field(default_factory=list)

    def of(self, figure: str, count: str | None = None) -> list[float]:
        """A figure of each round, divided by another one."""
        return [one[figure] / (one[count] if count else 1) for one in self.rounds]


async def run(seconds: float) -> Report:
    """Measure; `seconds` is how long each client's submits last."""
    report = Report("gateway")
    with tempfile.TemporaryDirectory() as folder:
        built = await asyncio.to_thread(_build, Path(folder), report)
        for runtime in runtimes():
            clients = [Client(name, command) for name, command in built.items()]
            async with open_network(runtime) as bench:
                for number in range(ROUNDS):
                    for client in clients if number % 2 else reversed(clients):
                        client.rounds.append(await _load(client, bench, seconds, number))
            _take_down(report, runtime, clients)
    return report


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


async def _load(client: Client, bench: Bench, seconds: float, number: int) -> Figures:
    environment = _environment(bench.home) | {
        "IN_FLIGHT": str(IN_FLIGHT),
        "SECONDS": str(seconds),
        "PREFIX": f"{client.name}/{number}",
    }
    process = await asyncio.create_subprocess_exec(
        *client.command, env=os.environ | environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{client.name}'s client ended with {process.returncode}")
    figures: Figures = json.loads(output.splitlines()[-1])
    return figures


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
            "submits_per_s": round(median(client.of("submits", "wall_s")), 1),
            "submit_cpu_ms": round(1000 * median(client.of("cpu_s", "submits")), 3),
            "cpu_to_go": _ratio(client, go, "cpu_s", "submits"),
            "submit_p50_ms": round(median(client.of("submit_p50_ms")), 1),
            "evaluate_p50_ms": round(median(client.of("evaluate_p50_ms")), 2),
            "evaluate_to_go": _ratio(client, go, "evaluate_p50_ms"),
            "evaluate_cpu_ms": round(1000 * median(client.of("evaluate_cpu_s", "evaluates")), 3),
        }
        report.rows.append(row)
        _check(report, runtime, client.name, row)


def _ratio(client: Client, go: Client | None, figure: str, count: str | None = None) -> float | None:
    if go is None:
        return None
    pairs = zip(client.of(figure, count), go.of(figure, count), strict=True)
    return round(median(ours / theirs for ours, theirs in pairs), 2)


def _check(report: Report, runtime: str, name: str, row: dict[str, str | int | float | None]) -> None:
    for column, aim in (("cpu_to_go", AIMS.get(name)), ("evaluate_to_go", EVALUATE_AIM if name in AIMS else None)):
        value = row[column]
        if aim is not None and isinstance(value, float) and value > aim:
            report.failures.append(f"{runtime}, {name}: {column} is {value}, to be at most {aim}")
