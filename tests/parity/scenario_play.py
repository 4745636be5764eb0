"""Scenarios on a ledger: playing one, and writing one of what a ledger does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tests.parity.compare import OWNERS, Cast, view
from tests.parity.ledger import Ledger, Step
from tests.parity.scenario import Scenario


class Disappointed(AssertionError):
    """A ledger did something else than a scenario says."""


def play(scenario: Scenario, ledger: Ledger) -> Iterator[Step]:
    """Play a scenario on a ledger; yields each step once it went as expected, raises `Disappointed` where it didn't."""
    ledger.reset()
    start = {one: ledger.total(one) for one in OWNERS}
    for number, (step, expected) in enumerate(scenario.steps, 1):
        place = f"{scenario.name} on {ledger.name}, step {number} ({step.sender}: {step.command})"
        outcome = ledger.run(step)
        if outcome.code != expected.refused:
            raise Disappointed(f"{place}: {outcome}, expected {expected.refused or 'accepted'}")
        for name, some in expected.then.items():
            wrong = _wrong(ledger, name, some, start)
            if wrong:
                raise Disappointed(f"{place}: {wrong}")
        yield step


def _wrong(ledger: Ledger, name: str, some: Any, start: Mapping[str, int]) -> str:
    """Say what isn't as expected; nothing where all is."""
    if name == "held":
        return "" if ledger.held() == some else f"{ledger.held()} held, expected {some}"
    for one, value in some.items():
        found = _fact(ledger, name, one, start)
        if found != value:
            return f"{name} {one} is {found}, expected {value}"
    return ""


def _fact(ledger: Ledger, name: str, one: str, start: Mapping[str, int]) -> str | int | None:
    if name == "owns":
        return ledger.total(one) - start[one]
    if name == "slot":
        task, _, index = one.rpartition("/")
        return ledger.slot(task, int(index))
    questions = {"state": ledger.state, "price": ledger.price, "dataset": ledger.dataset}
    return questions[name](one)


def scenario_of(ledger: Ledger, steps: Sequence[Step], title: str) -> str:
    """Write steps as a scenario that expects what a ledger does."""
    ledger.reset()
    start, cast, written = {one: ledger.total(one) for one in OWNERS}, Cast(), []
    for step in steps:
        outcome = ledger.run(step)
        one = {"who": step.sender, "does": step.command, "at": step.at, **_plain(dict(step.arguments))}
        if outcome.code is not None:
            one["refused"] = outcome.code
        else:
            cast.add(step)
            now = view(ledger, cast)
            owns = {who: total - start[who] for who, total in now.totals.items() if total != start[who]}
            one["then"] = {"state": now.states, "price": now.prices, "owns": owns, "held": ledger.held()}
        written.append(one)
    return yaml.safe_dump({"title": title, "steps": written}, sort_keys=False, width=110)


def _plain(value: Any) -> Any:
    """Return a value as YAML has it: lists for tuples."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
