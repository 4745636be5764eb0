"""Does anything grow with the state? Every command and every page of a query, in states of 10³ to 10⁶ offers.

The states are copies of a script that real commands played (`story`, `recipe`, `copies`), loaded into the embedded
network's store (`ledger`) and measured there with the real contract. Enforced, so that the program ends with exit code
1 otherwise: each call touches equally many keys in all states, and takes at most 1.2 times as long in the largest as in
the smallest, in the median. The rounds go through the states in turns.

Of a page of offers the keys of claims that it happens to show are not counted.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from statistics import median

from benchmarks.progress import bar
from benchmarks.report import Report
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
    return report(found)


def report(found: Measured) -> Report:
    """Compare the states."""
    made, sizes = Report("scale"), sorted(found.samples)
    made.failures += key_failures(found)
    for what, times in _times(found).items():
        medians = {size: median(one for one, _ in times[size]) for size in sizes}
        ratio = medians[sizes[-1]] / medians[sizes[0]]
        if ratio > MOST:
            made.failures.append(f"{what}: {ratio:.2f} times as long with {sizes[-1]} offers as with {sizes[0]}")
        row: dict[str, str | int | float | None] = {"call": what}
        keys = [one.keys for one in found.samples[sizes[0]] if one.what == what]
        row["keys"] = median(keys) if keys else None
        row |= {f"ms_{size}": round(1000 * medians[size], 2) for size in sizes}
        for size in (sizes[0], sizes[-1]):
            row[f"file_{size}"] = round(1000 * median(store for _, store in times[size]), 2) if what != COMMIT else None
        made.rows.append(row | {"ratio": round(ratio, 2)})
    loads = (f"{size} offers in {found.load_s[size]:.0f} s, {found.file_bytes[size] / 1e6:.0f} MB" for size in sizes)
    made.notes.append(f"loaded: {'; '.join(loads)}")
    made.notes.append("ms_N: median with N offers; ratio: largest to smallest, at most 1.2; file_N: of it in the file")
    return made


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


def _times(found: Measured) -> dict[str, dict[int, list[tuple[float, float]]]]:
    """By call and size: seconds of each, and of that in the store."""
    times: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for size, samples in found.samples.items():
        for one in samples:
            times[one.what][size].append((one.simulate_s, one.store_s))
            if one.commit_s is not None:
                times[COMMIT][size].append((one.commit_s, 0.0))
    return times
