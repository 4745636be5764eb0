"""Two ledgers under the same steps: what is looked at after each, and the first thing in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.parity.ledger import ACCOUNTS, TREASURY, Ledger, Outcome, Step

OWNERS = (*ACCOUNTS, TREASURY)


@dataclass(frozen=True)
class View:
    """What a ledger shows: by name, states and prices of offers, states of slots and of test sets, what owners own."""

    states: dict[str, str | None]
    prices: dict[str, int | None]
    slots: dict[str, str | None]
    datasets: dict[str, str | None]
    totals: dict[str, int]

    def differences(self, other: View) -> list[str]:
        """Say in what two views differ; nothing where they don't."""
        found: list[str] = []
        for name in ("states", "prices", "slots", "datasets", "totals"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                found += [f"{name} {one}: {mine[one]} and {theirs[one]}" for one in mine if mine[one] != theirs[one]]
        return found


@dataclass
class Cast:
    """Names that steps have made so far: what there is to look at."""

    tasks: dict[str, int] = field(default_factory=dict)
    """Each with its number of slots."""
    offers: list[str] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Note what an accepted step has made."""
        if step.command == "OpenTask":
            self.tasks[step["task"]] = step["slots"]
        elif step.command == "SubmitOffer" and step["offer"] not in self.offers:
            self.offers.append(step["offer"])


def view(ledger: Ledger, cast: Cast) -> View:
    """Look at a ledger."""
    return View(
        states={one: ledger.state(one) for one in cast.offers},
        prices={one: ledger.price(one) for one in cast.offers},
        slots={f"{one}/{i}": ledger.slot(one, i) for one, count in cast.tasks.items() for i in range(min(count, 16))},
        datasets={one: ledger.dataset(one) for one in cast.tasks},
        totals={one: ledger.total(one) for one in OWNERS},
    )


@dataclass(frozen=True)
class Difference:
    """Where two ledgers parted: the index of the step, and what they said."""

    index: int
    step: Step
    outcomes: tuple[Outcome, Outcome]
    views: tuple[str, ...]

    def __str__(self) -> str:
        said = f"{self.outcomes[0]} and {self.outcomes[1]}" if self.outcomes[0] != self.outcomes[1] else ""
        return f"step {self.index + 1}, {self.step}: " + "; ".join(filter(None, (said, *self.views)))


@dataclass
class Pair:
    """Two ledgers that are told the same. `first` is the one whose word counts."""

    first: Ledger
    second: Ledger
    cast: Cast = field(default_factory=Cast)
    steps: list[Step] = field(default_factory=list)

    def reset(self) -> None:
        """Put both back to the start."""
        self.first.reset()
        self.second.reset()
        self.cast, self.steps = Cast(), []

    def run(self, step: Step, look: bool = True) -> tuple[Outcome, Difference | None]:
        """Give both a step, and look at what they show once they have accepted it; returns what the first said.

        What a refused step should not have changed shows at the next look.
        """
        self.steps.append(step)
        outcomes = self.first.run(step), self.second.run(step)
        if outcomes[0].accepted:
            self.cast.add(step)
        if outcomes[0] != outcomes[1]:
            return outcomes[0], Difference(len(self.steps) - 1, step, outcomes, ())
        return outcomes[0], self.look() if look and outcomes[0].accepted else None

    def look(self) -> Difference | None:
        """Compare what both show, after the last step."""
        views = view(self.first, self.cast).differences(view(self.second, self.cast))
        if not views:
            return None
        return Difference(len(self.steps) - 1, self.steps[-1], (Outcome(), Outcome()), tuple(views))


def first_difference(pair: Pair, steps: Sequence[Step]) -> Difference | None:
    """Play steps from the start until the ledgers say different things, or show them at the end."""
    pair.reset()
    for step in steps:
        _, found = pair.run(step, look=False)
        if found is not None:
            return found
    return pair.look() if steps else None


def shrunk(pair: Pair, steps: Sequence[Step]) -> list[Step]:
    """Leave out of steps, of their arguments and of the time between them whatever isn't needed for a difference."""
    left: list[Step] = list(steps)
    while True:
        before = left
        left = _simpler(pair, _fewer(pair, left))
        if left == before:
            return left


def _fewer(pair: Pair, steps: list[Step]) -> list[Step]:
    """Leave out ever smaller pieces, until no single step can go."""
    left, size = steps, max(1, len(steps) // 2)
    while True:
        before = len(left)
        for start in range(len(left) - size, -1, -size):
            fewer = left[:start] + left[start + size :]
            found = first_difference(pair, fewer)
            if found is not None:
                left = fewer[: found.index + 1]
        if len(left) == before:
            if size == 1:
                return left
            size = max(1, size // 2)


def _simpler(pair: Pair, steps: list[Step]) -> list[Step]:
    """Take for arguments their defaults, and for times the ones before, where that does as well."""
    left = list(steps)
    for index in range(len(left)):
        for name in (None, *left[index].arguments):
            simpler = _simplified(left, index, name)
            if simpler == left:
                continue
            try:
                found = first_difference(pair, simpler)
            except KeyError:  # the argument is needed
                continue
            if found is not None and found.index == len(left) - 1:
                left = simpler
    return left


def _simplified(steps: list[Step], index: int, name: str | None) -> list[Step]:
    """Leave out an argument of a step, or (None) the time since the one before."""
    step = steps[index]
    at = step.at if name is not None else (steps[index - 1].at if index else 0)
    arguments = {one: value for one, value in step.arguments.items() if one != name}
    return [*steps[:index], Step(step.command, step.sender, at, arguments), *steps[index + 1 :]]
