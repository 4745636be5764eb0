"""Memory of an embedded network and of a chaincode on our shim over 10,000 transactions.

After a warm-up, 10,000 more transactions are submitted, 32 at a time, over and over to the same 2,000 keys, and the
memory of both processes is read every thousand. What is left on the ledger is checked afterwards.
"""

from __future__ import annotations

import asyncio
import itertools

from benchmarks.blocks import check_blocks
from benchmarks.networks import NAME, keep_to_two_processors, open_network, resident_bytes
from benchmarks.report import Report
from goldengrain.gateway.contract import Contract

TRANSACTIONS = 10_000
WARM_UP = 4_000
STEP = 1_000
KEYS = 2_000
MOST_GROWTH_MB = 2.0
IN_FLIGHT = 32
VALUE = "v" * 100


async def run(seconds: float) -> Report:
    """`seconds` does not matter here."""
    keep_to_two_processors()
    report = Report("memory")
    numbers, committed = itertools.count(), list[str]()
    async with open_network("embedded") as bench, bench.channel() as network:
        processes = {"network": bench.network_pids[0], "chaincode": bench.chaincode_pid}
        contract = network.contract(NAME)
        await _submit(contract, numbers, WARM_UP, committed)
        seen = {name: [resident_bytes(pid)] for name, pid in processes.items()}
        for _ in range(TRANSACTIONS // STEP):
            await _submit(contract, numbers, STEP, committed)
            for name, pid in processes.items():
                seen[name].append(resident_bytes(pid))
        for name, sizes in seen.items():
            _take_down(report, name, sizes)
        count, wrong = await check_blocks(network, committed)
        report.notes.append(f"{count} blocks checked, {len(committed)} transactions")
        report.failures += wrong[:5]
    return report


async def _submit(contract: Contract, numbers: itertools.count[int], count: int, committed: list[str]) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            result = await contract.submit("put", f"key/{next(numbers) % KEYS}", VALUE)
            committed.append(result.transaction_id)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


def _take_down(report: Report, name: str, sizes: list[int]) -> None:
    first, *rest = (size / 1e6 for size in sizes)
    growth = rest[-1] - first
    report.rows.append(
        {
            "process": name,
            "transactions": TRANSACTIONS,
            "before_MB": round(first, 1),
            "most_MB": round(max(rest), 1),
            "after_MB": round(rest[-1], 1),
            "growth_MB": round(growth, 1),
        }
    )
    if growth > MOST_GROWTH_MB:
        report.failures.append(f"the {name}'s memory grew by {growth:.1f} MB over {TRANSACTIONS} transactions")
