"""Does anything grow with the state? Every command and every page of a query, in states of 10³ to 10⁶ offers.

The states are copies of a script that real commands played (`story`, `recipe`, `copies`), loaded into the embedded
network's store (`ledger`) and measured there with the real contract. Enforced, so that the program ends with exit code
1 otherwise: each call touches equally many keys in all states, and takes at most 1.2 times as long in the largest as in
the smallest, in the median, by the clock and in processor time. The rounds go through the states in turns.

Where more wants to run than there are processors, the clock measures the others; then processor time alone decides.
Of a page of offers the keys of claims that it happens to show are not counted.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from benchmarks.progress import bar
from benchmarks.report import Report, Value
from benchmarks.report import busy as busy_machine
from benchmarks.scale.measure import Measured, Sample, measure

SIZES = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS = 24
MOST = 1.2
COMMIT = "any command's commit"


async def run(seconds: float, largest: int = SIZES[-1], rounds: int = ROUNDS) -> Report:
    """`seconds` does not matter here; `largest` leaves larger states out."""
    sizes = tuple(size for size in SIZES if size <= largest)
    with bar() as shown:
        found = await asyncio.to_thread(measure, sizes, rounds, shown)
    return report(found, busy=busy_machine())


def report(found: Measured, *, busy: bool = False) -> Report:
    """Compare the states; `busy` says that the clock is worth nothing."""
    made, sizes = Report("scale"), sorted(found.samples)
    made.failures += key_failures(found)
    for call in _calls(found):
        small, large = (call.medians[size] for size in (sizes[0], sizes[-1]))
        by_clock, by_cpu = large.seconds / small.seconds, large.cpu / small.cpu if small.cpu else None
        made.rows.append(_row(call, sizes, by_clock, by_cpu))
        worst = max(by_clock if by_cpu is None or not busy else 0.0, by_cpu or 0.0)
        if worst > MOST:
            more = f"{worst:.2f} times as long with {sizes[-1]} offers as with {sizes[0]}"
            made.failures.append(f"{call.what}: {more}")
    loads = (f"{size} offers in {found.load_s[size]:.0f} s, {found.file_bytes[size] / 1e6:.0f} MB" for size in sizes)
    made.notes.append(f"loaded: {'; '.join(loads)}")
    made.notes.append("ms_N: median with N offers, file_N: of it in the file; ratio: largest to smallest, at most 1.2")
    if busy:
        made.notes.append("more wanted to run than there are processors: the clock's ratios are worth nothing")
    return made


@dataclass(frozen=True)
class _Median:
    seconds: float
    cpu: float
    store: float


@dataclass(frozen=True)
class _Called:
    what: str
    keys: float | None
    medians: dict[int, _Median]


def _row(call: _Called, sizes: list[int], by_clock: float, by_cpu: float | None) -> dict[str, Value]:
    row: dict[str, Value] = {"call": call.what, "keys": call.keys}
    row |= {f"ms_{size}": round(1000 * call.medians[size].seconds, 2) for size in sizes}
    for size in (sizes[0], sizes[-1]):
        row[f"file_{size}"] = None if by_cpu is None else round(1000 * call.medians[size].store, 2)
    return row | {"ratio": round(by_clock, 2), "cpu_ratio": None if by_cpu is None else round(by_cpu, 2)}


def _calls(found: Measured) -> list[_Called]:
    """Medians by call; one more line for the commits of all commands, whose processor time is another thread's."""
    by_what: dict[str, dict[int, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for size, samples in found.samples.items():
        for one in samples:
            by_what[one.what][size].append(one)
    calls = [
        _Called(
            what,
            median(one.keys for one in next(iter(sizes.values()))),
            {size: _medians(samples) for size, samples in sizes.items()},
        )
        for what, sizes in by_what.items()
    ]
    commits = {
        size: [one.commit_s for one in samples if one.commit_s is not None] for size, samples in found.samples.items()
    }
    if all(commits.values()):
        calls.append(_Called(COMMIT, None, {size: _Median(median(each), 0, 0) for size, each in commits.items()}))
    return calls


def _medians(samples: list[Sample]) -> _Median:
    return _Median(
        median(one.simulate_s for one in samples),
        median(one.cpu_s for one in samples),
        median(one.store_s for one in samples),
    )


def key_failures(found: Measured) -> list[str]:
    """Calls that touch more keys, or read more rows, in one state than in another."""
    by_place: dict[tuple[int, int], dict[int, Sample]] = defaultdict(dict)
    for size, samples in found.samples.items():
        for one in samples:
            by_place[one.place][size] = one
    failures = {}
    for samples_of in by_place.values():
        keys = {size: one.keys for size, one in samples_of.items()}
        rows = {size: one.rows for size, one in samples_of.items()}
        what = next(iter(samples_of.values())).what
        if len(set(keys.values())) > 1:
            failures[what] = f"{what} touches keys by the number of offers: {keys}"
        elif len(set(rows.values())) > 1:
            failures[what] = f"{what} reads rows by the number of offers: {rows}"
    return list(failures.values())
