"""Random sequences on both markets: every accept and refuse, price, state and owner's total is equal.

The second tier's run is long enough that every accepting cell of the tables is hit often. A longer one, from another
seed on, whose first difference is shrunk and written as a scenario file:

    GOLDENGRAIN_PARITY_SEQUENCES=50000 GOLDENGRAIN_PARITY_SEED=7000 pytest -m check tests/parity/test_differential.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol.errors import OfferStateRefuses
from tests.chaincode.market.test_random import ACCEPTED, HITS, SETTLED, cells
from tests.parity.compare import Pair, first_difference
from tests.parity.differential import Tally, differences, evm, shown, write_shrunk
from tests.parity.ledger import Outcome, Step
from tests.parity.memory import MemoryLedger
from tests.parity.play import player
from tests.parity.scenario import read
from tests.parity.scenario_play import Disappointed, play

SEQUENCES = int(os.environ.get("GOLDENGRAIN_PARITY_SEQUENCES", "5000"))
SEED = int(os.environ.get("GOLDENGRAIN_PARITY_SEED", "0"))


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair(MemoryLedger(), evm())


def agree(pair: Pair, seeds: range, tally: Tally, folder: Path) -> None:
    """Play, and fail at the first difference with the file that tells it shortest."""
    for seed, found in differences(pair, seeds, tally):
        path = write_shrunk(pair, seed, folder)
        pytest.fail(f"seed {seed} differs: {found}\nshrunk: {path}\n{path.read_text()}")


def test_both_markets_agree_on_random_sequences(pair: Pair, tmp_path: Path) -> None:
    tally = Tally()
    agree(pair, range(1_000_000, 1_000_010), tally, tmp_path)
    assert tally.sequences == 10
    assert tally.settled


@pytest.mark.check
@pytest.mark.timeout(3_600)
def test_both_markets_agree_on_thousands_of_sequences_that_reach_every_accepting_cell(
    pair: Pair, tmp_path: Path
) -> None:
    tally = Tally()
    agree(pair, range(SEED, SEED + SEQUENCES), tally, tmp_path)
    print(f"\n{shown(tally)}")
    seldom = {cell: tally.cells[cell] for cell in cells() if tally.cells[cell] < HITS * min(SEQUENCES, 5000) // 5000}
    assert not seldom, f"hit less than {HITS} times in 5,000 sequences: {seldom}"
    assert tally.accepted >= ACCEPTED * (tally.accepted + tally.refused)
    assert tally.settled >= SETTLED * tally.sequences


class Careless(MemoryLedger):
    """The production rules, but a second receipt is refused with another code."""

    name = "careless"

    def run(self, step: Step) -> Outcome:
        outcome = super().run(step)
        return Outcome(OfferStateRefuses.code) if outcome.code == "ALREADY_STORED" else outcome


class Generous(MemoryLedger):
    """The production rules, but the stranger is told to own more once there is a settled offer."""

    name = "generous"

    def total(self, account: str) -> int:
        settled = any(self.state(one) == "settled" for one in self.names.orders)
        return super().total(account) + (settled and account == "stranger")


@pytest.mark.parametrize("wrong", [Careless, pytest.param(Generous, marks=pytest.mark.check)])
def test_a_difference_is_found_shrunk_and_written_as_a_scenario(wrong: type[MemoryLedger], tmp_path: Path) -> None:
    pair = Pair(MemoryLedger(), wrong())
    seed, _ = next(differences(pair, range(500), Tally()))
    found = read(write_shrunk(pair, seed, tmp_path))
    steps = [step for step, _ in found.steps]
    assert steps[-1].command == ("Receipt" if wrong is Careless else "Reveal")
    assert len(steps) <= 12
    assert len(list(play(found, MemoryLedger()))) == len(steps), "it tells what the chaincode does"
    assert first_difference(pair, steps) is not None
    for index in range(len(steps)):
        assert first_difference(pair, [*steps[:index], *steps[index + 1 :]]) is None, "each step is needed"
    if wrong is Careless:
        with pytest.raises(Disappointed):
            list(play(found, wrong()))


def test_a_seed_says_all_of_a_sequence() -> None:
    ledger = MemoryLedger()
    sequences = []
    for seed in (7, 7, 8):
        ledger.reset()
        steps = []
        for step in player(ledger, seed).steps():
            ledger.run(step)
            steps.append(step)
        sequences.append(steps)
    assert sequences[0] == sequences[1]
    assert sequences[0] != sequences[2]
