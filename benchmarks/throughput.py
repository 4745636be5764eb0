"""get + put of 100 bytes: how many submits a second commit, and what a submit costs the client, network and chaincode.

Every submit is endorsed by a majority of three organisations, ordered, and waited for until it is committed as VALID.
Keys don't collide, so none loses a race. The embedded network and, where FABRIC_BIN is set, Fabric's own programs run
at the same time and take turns: same client, chaincode, topology, batch settings, policy, TLS, both on the same two
processors, both with every block on disk (fsync) before it is told. Afterwards the blocks of both are checked, and that
every transaction that was reported as committed is on the ledger once.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.blocks import check_blocks
from benchmarks.networks import NAME, Bench, cpu_seconds, keep_to_two_processors, open_network, runtimes
from benchmarks.report import Report, Value, busy, percentile
from goldengrain.gateway.network import Network

IN_FLIGHT = (1, 32, 64)
ROUNDS = 3
VALUE = "v" * 100
AIM = 1.0
"""The embedded network's throughput is at least as much of real Fabric's, in the median of all pairs of turns."""
_WARM_UP_S = 1.5


@dataclass(frozen=True)
class Measured:
    """One load: submits a second, latencies in seconds, CPU seconds a submit of each side."""

    rate: float
    latencies: list[float]
    client: float
    network: float
    chaincode: float


@dataclass
class Side:
    """A network that is measured, and what it did so far, by submits in flight."""

    runtime: str
    bench: Bench
    network: Network
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    committed: list[str] = field(default_factory=list)
    measured: dict[int, list[Measured]] = field(default_factory=dict)

    async def load(self, in_flight: int, seconds: float) -> Measured:
        """Keep `in_flight` submits going for some seconds."""
        latencies: list[float] = []
        contract = self.network.contract(NAME)
        end = time.monotonic() + seconds

        async def worker(name: int) -> None:
            while time.monotonic() < end:
                began = time.monotonic()
                result = await contract.submit("update", f"key/{name}/{next(self.numbers) % 1000}", VALUE)
                latencies.append(time.monotonic() - began)
                self.committed.append(result.transaction_id)

        before = self._now()
        await asyncio.gather(*(worker(name) for name in range(in_flight)))
        wall, *used = (now - then for now, then in zip(self._now(), before, strict=True))
        client, network, chaincode = (cpu / len(latencies) for cpu in used)
        return Measured(len(latencies) / wall, latencies, client, network, chaincode)

    def _now(self) -> tuple[float, float, float, float]:
        bench = self.bench
        used = cpu_seconds(bench.network_pids), cpu_seconds((bench.chaincode_pid,))
        return time.monotonic(), time.process_time(), *used

    def row(self, in_flight: int) -> dict[str, Value]:
        """The median turn."""
        turns = self.measured[in_flight]
        latencies = [one for turn in turns for one in turn.latencies]
        return {
            "runtime": self.runtime,
            "in_flight": in_flight,
            "submits_per_s": round(median(turn.rate for turn in turns), 1),
            "p50_ms": round(percentile(latencies, 0.5) * 1000, 1),
            "p95_ms": round(percentile(latencies, 0.95) * 1000, 1),
            "client_cpu_ms": round(median(turn.client for turn in turns) * 1000, 2),
            "network_cpu_ms": round(median(turn.network for turn in turns) * 1000, 2),
            "chaincode_cpu_ms": round(median(turn.chaincode for turn in turns) * 1000, 2),
        }


async def run(seconds: float) -> Report:
    """Measure; `seconds` is how long each turn of each network lasts."""
    keep_to_two_processors()
    report = Report("throughput")
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(_side(which)) for which in runtimes()]
        for in_flight in IN_FLIGHT:
            await _take_turns(sides, in_flight, seconds)
        report.rows += [side.row(in_flight) for side in sides for in_flight in IN_FLIGHT]
        if len(sides) == 2:
            _compare(report, *sides)
        for side in sides:
            count, wrong = await check_blocks(side.network, side.committed)
            report.notes.append(f"{side.runtime}: {count} blocks checked, {len(side.committed)} transactions")
            report.failures += [f"{side.runtime}: {one}" for one in wrong[:5]]
    return report


@asynccontextmanager
async def _side(which: str) -> AsyncIterator[Side]:
    async with open_network(which) as bench, bench.channel() as network:
        yield Side(which, bench, network)


async def _take_turns(sides: list[Side], in_flight: int, seconds: float) -> None:
    for side in sides:
        await side.load(in_flight, _WARM_UP_S)
    for number in range(ROUNDS):
        for side in sides[:: -1 if number % 2 else 1]:
            side.measured.setdefault(in_flight, []).append(await side.load(in_flight, seconds))


def _compare(report: Report, embedded: Side, fabric: Side) -> None:
    for in_flight in IN_FLIGHT:
        pairs = list(zip(embedded.measured[in_flight], fabric.measured[in_flight], strict=True))
        ratio = median(ours.rate / theirs.rate for ours, theirs in pairs)
        used = median(_used(theirs) / _used(ours) for ours, theirs in pairs)
        report.notes.append(f"embedded / Fabric at {in_flight} in flight: {ratio:.2f}; by processor time {used:.2f}")
        if (used if busy() else ratio) < AIM:
            report.failures.append(f"the embedded network is slower than Fabric at {in_flight} in flight")


def _used(turn: Measured) -> float:
    return turn.client + turn.network + turn.chaincode
