"""get + put of 100 bytes: how many submits a second commit, and what a submit costs the client, network and chaincode.

Every submit is endorsed by a majority of three organisations, ordered, and waited for until it is committed as VALID.
Keys don't collide, so none loses a race.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

from benchmarks.networks import Bench, cpu_seconds, open_network, runtimes
from benchmarks.report import Report, percentile
from goldengrain.gateway.contract import Contract

IN_FLIGHT = (1, 32, 64)
VALUE = "v" * 100
_WARM_UP_S = 1.5


@dataclass(frozen=True)
class Measured:
    """One load: submits a second, latencies in seconds, CPU seconds a submit of each side."""

    rate: float
    latencies: list[float]
    client: float
    network: float
    chaincode: float


async def run(seconds: float) -> Report:
    report = Report("throughput")
    rates: dict[tuple[str, int], float] = {}
    for runtime in runtimes():
        async with open_network(runtime) as bench, bench.contract() as contract:
            for in_flight in IN_FLIGHT:
                await load(bench, contract, in_flight, _WARM_UP_S)
                found = await load(bench, contract, in_flight, seconds)
                rates[runtime, in_flight] = found.rate
                report.rows.append(_row(runtime, in_flight, found))
    for in_flight in IN_FLIGHT:
        if "fabric" in runtimes():
            ratio = rates["embedded", in_flight] / rates["fabric", in_flight]
            report.notes.append(f"embedded / Fabric at {in_flight} in flight: {ratio:.2f}")
    return report


async def load(bench: Bench, contract: Contract, in_flight: int, seconds: float) -> Measured:
    """Keep `in_flight` submits going for some seconds."""
    latencies: list[float] = []
    numbers = itertools.count()
    end = time.monotonic() + seconds

    async def worker(name: int) -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            await contract.submit("update", f"key/{name}/{next(numbers) % 1000}", VALUE)
            latencies.append(time.monotonic() - began)

    before = time.monotonic(), time.process_time(), *_cpu(bench)
    await asyncio.gather(*(worker(name) for name in range(in_flight)))
    after = time.monotonic(), time.process_time(), *_cpu(bench)
    wall, *used = (now - then for now, then in zip(after, before, strict=True))
    count = len(latencies)
    client, network, chaincode = (cpu / count for cpu in used)
    return Measured(count / wall, latencies, client, network, chaincode)


def _cpu(bench: Bench) -> tuple[float, float]:
    return cpu_seconds(bench.network_pids), cpu_seconds((bench.chaincode_pid,))


def _row(runtime: str, in_flight: int, found: Measured) -> dict[str, str | int | float | None]:
    return {
        "runtime": runtime,
        "in_flight": in_flight,
        "submits_per_s": round(found.rate, 1),
        "p50_ms": round(percentile(found.latencies, 0.5) * 1000, 1),
        "p95_ms": round(percentile(found.latencies, 0.95) * 1000, 1),
        "client_cpu_ms": round(found.client * 1000, 2),
        "network_cpu_ms": round(found.network * 1000, 2),
        "chaincode_cpu_ms": round(found.chaincode * 1000, 2),
    }
