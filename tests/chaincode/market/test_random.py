"""Random games: money is conserved after every command, comes home from wherever a game ends, and as the tables say.

`game` says what happens and what is checked. Over all games of the second tier every accepting cell of the tables is
hit often enough to mean something; the tally is printed (`pytest -s`). A longer run:

    GOLDENGRAIN_RANDOM_GAMES=20000 pytest -m check tests/chaincode/market/test_random.py --hypothesis-seed=7 -s
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from goldengrain.chaincode.protocol.tables import DISPLACEMENTS, OFFER_RULES, TASK_RULES, Party, Rule
from tests.chaincode.market.game import WEIGHTED, Cell, Game, Step, Tally

LONGER = os.environ.get("GOLDENGRAIN_RANDOM_GAMES")
GAMES = int(LONGER or 2000)
HITS = 50
"""Times that every accepting cell has to be hit in 2,000 games."""
ACCEPTED, SETTLED = 0.30, 0.20
"""Shares of steps accepted, and of games that settle a swap."""
PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]

steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(st.sampled_from(WEIGHTED), st.integers(0, 2**40)), min_size=30, max_size=59
)


def play(sequence: list[Step], tally: Tally) -> None:
    """Open a task, take the steps, and see all money home."""
    game = Game(tally)
    game.step("open", sequence[0][1])
    for name, number in sequence:
        game.step(name, number)
    game.end()


def cells() -> list[Cell]:
    """Every accepting cell of both tables."""
    found: list[Cell] = [
        (_name(rule), str(before), str(after))
        for rule in OFFER_RULES
        for before in rule.states or ("-",)
        for after in rule.next
        if rule.next == (after,) or rule.command not in ("Rewrap", "Receipt") or before == after
    ]
    found += [("SubmitReport of another", str(before), str(after)) for before, after in DISPLACEMENTS.items()]
    found += [("OpenTask", "-", "open"), *((name, "-", "-") for name in TASK_RULES if name != "OpenTask")]
    return found


def _name(rule: Rule) -> str:
    if rule.command != "Receipt":
        return rule.command
    return "Receipt of the provider's" if rule.party is Party.PROVIDER_ORGANIZATION else "Receipt of others"


def shown(tally: Tally) -> str:
    """The tally as a table."""
    lines = [f"{tally.cells[cell]:>7}  {cell[0]}: {cell[1]} -> {cell[2]}" for cell in cells()]
    total = tally.accepted + tally.refused
    lines.append(f"{tally.games} games, {total} commands, {tally.accepted / total:.0%} accepted")
    lines.append(f"{tally.settled / tally.games:.0%} of the games settle a swap")
    return "\n".join(lines)


@settings(max_examples=40, deadline=None, suppress_health_check=PATIENT)
@given(steps)
def test_no_sequence_of_commands_makes_loses_or_strands_money(sequence: list[Step]) -> None:
    play(sequence, Tally())


@pytest.mark.check
@pytest.mark.timeout(1_500)
def test_thousands_of_games_reach_every_accepting_cell_and_nobody_gets_more_or_less_than_the_tables_say() -> None:
    tally = Tally()

    phases = (Phase.generate, Phase.shrink)

    @settings(
        max_examples=GAMES, deadline=None, suppress_health_check=PATIENT, phases=phases, derandomize=LONGER is None
    )
    @given(steps)
    def games(sequence: list[Step]) -> None:
        play(sequence, tally)

    games()
    print(f"\n{shown(tally)}")
    seldom = {cell: tally.cells[cell] for cell in cells() if tally.cells[cell] < HITS * GAMES // 2000}
    assert not seldom, f"hit less than {HITS} times in 2,000 games: {seldom}"
    assert tally.accepted >= ACCEPTED * (tally.accepted + tally.refused)
    assert tally.settled >= SETTLED * tally.games


def test_every_cell_counted_is_one_of_the_tables() -> None:
    """The other way round: what games count is what the tables have."""
    tally = Tally()
    for seed in range(30):
        game = Game(tally)
        game.step("open", seed)
        for number in range(50):
            name = WEIGHTED[(seed * 31 + number * 17) % len(WEIGHTED)]
            game.step(name, (seed + 1) * 1_000_003 * (number + 7) % 2**40)
        game.end()
    assert set(tally.cells) <= set(cells())
    assert tally.settled
