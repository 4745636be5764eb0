"""Many random sequences on two ledgers: every accept and refuse, price, state and owner's total has to be equal.

    python -m tests.parity.differential --sequences 100000 --seed 7

plays a longer run than the tests do. A sequence on which the ledgers differ is shrunk and written as a scenario file
into a folder (`--write`, by default `build/parity`), whose expectations are the chaincode's.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from goldengrain.chaincode.protocol.tables import DISPLACEMENTS, OfferState
from tests.chaincode.market.game import Cell
from tests.parity.compare import Difference, Pair, shrunk
from tests.parity.ledger import FUNDED, FUNDS, Ledger, Outcome, Step
from tests.parity.memory import MemoryLedger
from tests.parity.play import player
from tests.parity.scenario_play import scenario_of


@dataclass
class Tally:
    """What happened in many sequences: accepted cells (command, state before, state after), refusals by code, ends."""

    cells: Counter[Cell] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    refused: int = 0
    sequences: int = 0
    settled: int = 0

    def add(self, step: Step, outcome: Outcome, before: dict[str, str | None], after: dict[str, str | None]) -> None:
        """Count a step by the states of all offers before and after."""
        if outcome.code is not None:
            self.refused += 1
            self.refusals[outcome.code] += 1
            return
        self.accepted += 1
        offer = step.arguments.get("offer")
        was, now = str(before.get(str(offer)) or "-"), str(after.get(str(offer)) or "-")
        name = step.command
        if name == "OpenTask":
            now = "open"
        if name == "Receipt":
            name = "Receipt of the provider's" if was != now else "Receipt of others"
        self.cells[name, was, now] += 1
        for other, state in before.items():
            if other != offer and state == OfferState.LEADING and after[other] == DISPLACEMENTS[OfferState.LEADING]:
                self.cells["SubmitReport of another", str(state), str(after[other])] += 1


def play(pair: Pair, seed: int, tally: Tally) -> Difference | None:
    """Play a seed's sequence to its end, or to the first difference."""
    pair.reset()
    first = pair.first
    assert isinstance(first, MemoryLedger), "players look at the production rules"
    before: dict[str, str | None] = {}
    for step in player(first, seed).steps():
        outcome, found = pair.run(step)
        if found is not None:
            return found
        after = {one: first.state(one) for one in pair.cast.offers} if outcome.accepted else before
        tally.add(step, outcome, before, after)
        before = after
    found = pair.look()
    if found is not None:
        return found
    tally.sequences += 1
    tally.settled += OfferState.SETTLED in before.values()
    owned = sum(first.total(one) for one in (*FUNDED, "stranger", "store", "treasury"))
    for one in (first, pair.second):
        assert one.held() == 0, f"seed {seed}: {one.held()} stranded on {one.name}"
    assert owned == FUNDS * len(FUNDED), f"seed {seed}: {owned} owned"
    return None


def differences(pair: Pair, seeds: range, tally: Tally) -> Iterator[tuple[int, Difference]]:
    """Yield each seed on which the ledgers differ."""
    for seed in seeds:
        found = play(pair, seed, tally)
        if found is not None:
            yield seed, found


def write_shrunk(pair: Pair, seed: int, folder: Path) -> Path:
    """Shrink the sequence that was just played up to a difference, and write it as a scenario."""
    steps = shrunk(pair, pair.steps)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"differs-{seed}.yaml"
    path.write_text(scenario_of(MemoryLedger(), steps, f"A sequence on which the ledgers differed (seed {seed})"))
    return path


def shown(tally: Tally) -> str:
    """The tally as a table."""
    lines = [f"{hits:>8}  {cell[0]}: {cell[1]} -> {cell[2]}" for cell, hits in sorted(tally.cells.items())]
    lines += [f"{hits:>8}  {code}" for code, hits in sorted(tally.refusals.items())]
    total = tally.accepted + tally.refused
    lines.append(f"{tally.sequences} sequences, {total} commands, {tally.accepted / total:.0%} accepted")
    lines.append(f"{tally.settled / tally.sequences:.0%} of the sequences settle a swap")
    return "\n".join(lines)


def evm() -> Ledger:
    """The EVM's ledger."""
    from tests.parity.evm import EvmLedger

    return EvmLedger()


def main() -> int:
    """Play; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0, help="the first sequence's; the others follow")
    parser.add_argument("--write", type=Path, default=Path("build/parity"))
    parser.add_argument(
        "--memory", action="store_true", help="the production rules against themselves, to see the tally"
    )
    chosen = parser.parse_args()
    tally, pair = Tally(), Pair(MemoryLedger(), MemoryLedger() if chosen.memory else evm())
    for seed, found in differences(pair, range(chosen.seed, chosen.seed + chosen.sequences), tally):
        print(f"seed {seed}: {found}")
        print(f"shrunk: {write_shrunk(pair, seed, chosen.write)}")
        return 1
    print(shown(tally))
    return 0


if __name__ == "__main__":
    sys.exit(main())
