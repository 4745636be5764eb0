"""A whole swap's commands against as many no-op writes: same network, same client, same settings, taken in turns.

The no-op is a chaincode of a dozen lines on the same shim that writes 100 bytes under a new key. A swap is six commands
(offer, receipt, claim, report, reveal, acknowledge); each waits for its commit before the next. Both have the same
number of submits in flight. The ratio is of committed transactions a second.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median

from benchmarks.networks import cpu_seconds
from benchmarks.report import Report
from benchmarks.swaps import COMMANDS_OF_A_SWAP, MarketBench, Swap, open_market
from goldengrain.network.lifecycle import deploy
from goldengrain.network.ports import free_port

IN_FLIGHT = 32
ROUNDS = 3
SWAPS = 128
NO_OP = "no-op"


async def run(seconds: float) -> Report:
    """Measure `ROUNDS` rounds of both, in turns; `seconds` is how long the no-op's load lasts."""
    report = Report("market")
    coins = 2 * SWAPS * (ROUNDS + 1)
    async with open_market(coins) as bench, _no_op(bench) as no_op_pid:
        await _no_ops(bench, 2.0)
        await _swaps(bench)
        rounds = [(await _no_ops(bench, seconds), await _swaps(bench)) for _ in range(ROUNDS)]
        cpu = _cpu(bench, no_op_pid)
        await _no_ops(bench, seconds)
        mid = _cpu(bench, no_op_pid)
        await _swaps(bench)
        end = _cpu(bench, no_op_pid)
    for number, (no_ops, swaps) in enumerate(rounds, start=1):
        report.rows.append(
            {"round": number, "no_ops_per_s": no_ops, "commands_per_s": swaps, "ratio": round(swaps / no_ops, 2)}
        )
    report.notes.append(f"median ratio {median(swaps / no_ops for no_ops, swaps in rounds):.2f}; aim 0.7")
    report.notes.append(f"CPU s of network, contract: no-ops {_less(mid, cpu)}, {SWAPS} swaps {_less(end, mid)}")
    return report


async def _no_ops(bench: MarketBench, seconds: float) -> float:
    contract = bench.users[0].network.contract(NO_OP)
    numbers, end = itertools.count(), time.monotonic() + seconds
    prefix = time.monotonic_ns()

    async def one() -> bool:
        if time.monotonic() > end:
            return False
        await contract.submit("put", f"{prefix}/{next(numbers)}", "v" * 100)
        return True

    began = time.monotonic()
    count = await _in_flight(one)
    return count / (time.monotonic() - began)


async def _swaps(bench: MarketBench) -> float:
    tasks = await asyncio.gather(*(bench.open_task(slots=2) for _ in range(SWAPS // 2)))
    waiting = [Swap(bench, task, organization, organization - 1) for task in tasks for organization in (1, 2)]

    async def one() -> bool:
        if not waiting:
            return False
        await waiting.pop().play()
        return True

    began = time.monotonic()
    count = await _in_flight(one)
    return COMMANDS_OF_A_SWAP * count / (time.monotonic() - began)


async def _in_flight(one: Callable[[], Awaitable[bool]]) -> int:
    async def worker() -> int:
        done = 0
        while await one():
            done += 1
        return done

    return sum(await asyncio.gather(*(worker() for _ in range(IN_FLIGHT))))


@asynccontextmanager
async def _no_op(bench: MarketBench) -> AsyncIterator[int]:
    """Deploy the benchmarks' chaincode beside the contract; yields its process id."""
    address = f"127.0.0.1:{free_port()}"
    deployment = await deploy(bench.home, NO_OP, "1", address)
    environment = os.environ | {"CHAINCODE_SERVER_ADDRESS": address, "CHAINCODE_ID": deployment.package_id}
    program = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.chaincode", env=environment)
    try:
        contract = bench.users[0].network.contract(NO_OP)
        for attempt in itertools.count():
            try:
                await contract.submit("put", "ready", "1")
                break
            except Exception:
                if attempt > 100:
                    raise
                await asyncio.sleep(0.1)
        yield program.pid
    finally:
        program.terminate()
        await program.wait()


def _cpu(bench: MarketBench, no_op: int) -> tuple[float, float]:
    return cpu_seconds((bench.network_pid,)), cpu_seconds((bench.contract_pid, no_op))


def _less(after: tuple[float, float], before: tuple[float, float]) -> str:
    return ", ".join(f"{now - then:.2f}" for now, then in zip(after, before, strict=True))
