"""Scenario files: sequences of commands with accounts, times and what is expected after each, as people write them.

    title: The developer is paid when r is revealed
    steps:
    - {who: provider, does: OpenTask, task: T1, slots: 1}
    - {who: developer, does: SubmitOffer, task: T1, offer: A, at: T1.S}
    - {who: stranger, does: Reveal, offer: A, refused: OFFER_NOT_LOCKED}
    - who: store
      does: Receipt
      offer: A
      then: {state: {A: stored}, owns: {developer: -512}, held: 10713}

`who`, `does` and the command's arguments (`ledger.ARGUMENTS`); `at`, by default the time before; `refused`, the code of
a refusal; `then`, what holds afterwards: `state` and `price` of offers, `slot` (`T1/0`) and `dataset` of tasks, `owns`
(each account's change since the start) and `held` (everything in escrow). Deadlines of a task are by default 10,000,
20,000 and 30,000 seconds after it was opened.

A time is a sum of seconds and of names: `now` (the time before), `G`, `R` of the last task opened, `T1.S`, `T1.B`,
`T1.A`, `A.D`, and `A.lease` or `A.lease2`, the end of the lease of an offer's first or second claim. `S`, `B`, `A` and
`lease` are written so, too.

Whatever a file gets wrong is a `ScenarioError` with its file, the step's number and a code of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.report import Outcome as ReportOutcome
from goldengrain.chaincode.protocol.tables import DatasetState, OfferState, SlotState
from goldengrain.chaincode.protocol.task import Award
from tests.parity import differences
from tests.parity.compare import OWNERS
from tests.parity.ledger import ACCOUNTS, ARGUMENTS, ENCLAVES, NEEDED, POLICY, TAMPERINGS, VOTABLE, Step

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FOLDER = Path(__file__).parent / "scenarios"
DEADLINES = {"S": 10_000, "B": 20_000, "A": 30_000}
RESERVED = ("who", "does", "at", "refused", "then")
THEN = ("state", "price", "slot", "dataset", "owns", "held")
TIMES = ("S", "B", "A", "lease")
"""Arguments that are times or lengths of time."""


class ScenarioError(GoldenGrainError):
    """A scenario file that says something that can't be."""

    code: ClassVar[str] = "SCENARIO"

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}")


class ScenarioUnreadable(ScenarioError):
    """Not YAML, or not `title` and `steps`."""

    code = "SCENARIO_UNREADABLE"


class FieldUnknown(ScenarioError):
    """A field that a step, or what is expected of it, doesn't have."""

    code = "FIELD_UNKNOWN"


class FieldMissing(ScenarioError):
    """`who`, `does` or an argument without a default is missing."""

    code = "FIELD_MISSING"


class CommandUnknown(ScenarioError):
    """No command of this name."""

    code = "COMMAND_UNKNOWN"


class AccountUnknown(ScenarioError):
    """Nobody of this name."""

    code = "ACCOUNT_UNKNOWN"


class ValueRefused(ScenarioError):
    """A value that an argument, or an expectation, can't have."""

    code = "VALUE_REFUSED"


class CodeUnknown(ScenarioError):
    """No refusal has this code."""

    code = "CODE_UNKNOWN"


class TimeUnreadable(ScenarioError):
    """Not a sum of seconds and of known names."""

    code = "TIME_UNREADABLE"


class TimeGoesBack(ScenarioError):
    """A step before the one before it."""

    code = "TIME_GOES_BACK"


@dataclass(frozen=True)
class Expected:
    """What a scenario says of a step: the refusal's code, and what holds afterwards."""

    refused: str | None
    then: Mapping[str, Any]


@dataclass(frozen=True)
class Scenario:
    """A file, read: its name, its title, and its steps with what is expected."""

    name: str
    title: str
    steps: tuple[tuple[Step, Expected], ...]


@dataclass
class Times:
    """Names of times, as far as the steps before have made them."""

    now: int = 0
    marks: dict[str, int] = field(default_factory=lambda: {"G": POLICY["guard"]})
    claims: dict[str, int] = field(default_factory=dict)
    reveals: dict[str, int] = field(default_factory=dict)
    """R of each offer's task, by offer, and by task."""

    def value(self, place: str, expression: object) -> int:
        """Compute a time; raises `TimeUnreadable`."""
        total = 0
        text = str(expression)
        parts = re.findall(r"([+-]?)\s*([A-Za-z0-9_.']+)\s*", text)
        if (
            isinstance(expression, bool)
            or "".join("".join(one) for one in parts) != re.sub(r"\s", "", text)
            or not parts
        ):
            raise TimeUnreadable(place, f"{expression!r} is no sum of seconds and names")
        for sign, name in parts:
            total += (-1 if sign == "-" else 1) * self._term(place, name)
        return total

    def _term(self, place: str, name: str) -> int:
        if re.fullmatch(r"[0-9_]+", name):
            return int(name)
        if name == "now":
            return self.now
        if name not in self.marks:
            raise TimeUnreadable(place, f"no time is called {name!r} here; known are now, {', '.join(self.marks)}")
        return self.marks[name]

    def learn(self, step: Step) -> None:
        """Note the times that an accepted step fixes."""
        self.now = step.at
        if step.command == "OpenTask":
            task = step["task"]
            for name in DEADLINES:
                self.marks[f"{task}.{name}"] = step[name]
            self.marks["R"] = self.reveals[task] = step["reveal"]
        if step.command == "SubmitOffer":
            self.reveals[step["offer"]] = self.reveals.get(step["task"], 0)
            self.claims[step["offer"]] = 0
        if step.command == "Claim":
            offer = step["offer"]
            self.claims[offer] = self.claims.get(offer, 0) + 1
            number = "" if self.claims[offer] == 1 else str(self.claims[offer])
            self.marks[f"{offer}.lease{number}"] = step.at + step["lease"]
        if step.command in ("SubmitReport", "AwardOffer"):
            offer = step["offer"]
            self.marks[f"{offer}.D"] = step.at + self.reveals.get(offer, 0)


def read(path: Path) -> Scenario:
    """Read a file; raises a `ScenarioError`."""
    return parse(path.stem, path.read_text())


def parse(name: str, text: str) -> Scenario:
    """Read a scenario from YAML; raises a `ScenarioError`."""
    try:
        document = yaml.load(text, Loader=_Loader)  # both load plain values alone
    except yaml.YAMLError as error:
        raise ScenarioUnreadable(name, f"not YAML: {error}") from error
    if not isinstance(document, dict) or set(document) != {"title", "steps"} or not isinstance(document["steps"], list):
        raise ScenarioUnreadable(name, "a scenario has a title and a list of steps, and nothing else")
    if not document["steps"]:
        raise ScenarioUnreadable(name, "a scenario without steps says nothing")
    times = Times()
    steps = tuple(_step(f"{name}, step {number}", one, times) for number, one in enumerate(document["steps"], 1))
    return Scenario(name, str(document["title"]), steps)


@cache
def scenarios() -> tuple[Scenario, ...]:
    """Read all files of the folder, in the order of their names."""
    return tuple(read(path) for path in sorted(FOLDER.glob("*.yaml")))


def _step(place: str, document: object, times: Times) -> tuple[Step, Expected]:
    if not isinstance(document, dict):
        raise ScenarioUnreadable(place, "a step is a mapping")
    for name in ("who", "does"):
        if name not in document:
            raise FieldMissing(place, f"say {name!r}")
    command, sender = document["does"], document["who"]
    if command not in ARGUMENTS:
        raise CommandUnknown(place, f"there is no command {command!r}; there are {', '.join(ARGUMENTS)}")
    _require_account(place, sender)
    at = times.value(place, document.get("at", "now"))
    if at < times.now:
        raise TimeGoesBack(place, f"{document.get('at')!r} is {at}, the step before was at {times.now}")
    step = Step(command, sender, at, _arguments(place, command, document, times, at))
    expected = Expected(document.get("refused"), document.get("then", {}))
    _check_expected(place, expected)
    times.now = at
    if expected.refused is None:
        times.learn(step)
    return step, expected


def _arguments(place: str, command: str, document: dict[str, Any], times: Times, at: int) -> dict[str, Any]:
    known = ARGUMENTS[command]
    given = {name: value for name, value in document.items() if name not in RESERVED}
    for name in given:
        if name not in known:
            raise FieldUnknown(place, f"{command} has no {name!r}; it has {', '.join(known)}")
    if command == "OpenTask":
        given = {**{name: at + seconds for name, seconds in DEADLINES.items()}, **given}
    for name, default in known.items():
        if default is NEEDED and name not in given:
            raise FieldMissing(place, f"{command} needs {name!r}")
    before, times.now = times.now, at
    arguments = {
        name: times.value(place, value) if name in TIMES else _value(place, name, value)
        for name, value in given.items()
    }
    times.now = before
    return arguments


WORDS: Mapping[str, Sequence[str | None]] = {
    "award": tuple(map(str, Award)),
    "outcome": tuple(map(str, ReportOutcome)),
    "pay": ("due", "nothing"),
    "key": ("right", "wrong"),
    "secret": ("right", "wrong"),
    "tamper": (None, *TAMPERINGS),
    "enclave": tuple(ENCLAVES),
    "revoke": tuple(ENCLAVES),
    "payout": ("sender", *ACCOUNTS),
}
NUMBERS = ("slots", "reveal", "eta", "attempts", "enclaves", "seed", "attempt", "reserve", "claim", "score")


def _value(place: str, name: str, value: Any) -> Any:
    """Check an argument that is no time."""
    if name in WORDS and value not in WORDS[name]:
        raise ValueRefused(place, f"{name} is one of {', '.join(map(str, WORDS[name]))}; got {value!r}")
    if name in NUMBERS and not _is_number(value):
        raise ValueRefused(place, f"{name} is a number of 0 or more; got {value!r}")
    if name == "slot" and value is not None and not _is_number(value):
        raise ValueRefused(place, f"slot is a number of 0 or more, or null; got {value!r}")
    if name == "bond" and value != "least" and not _is_number(value):
        raise ValueRefused(place, f"bond is `least` or an amount; got {value!r}")
    if name == "provider_may_operate" and not isinstance(value, bool):
        raise ValueRefused(place, f"{name} is true or false; got {value!r}")
    if name in ("task", "offer", "proposal") and not isinstance(value, str):
        raise ValueRefused(place, f"{name} is a name; got {value!r}")
    if name == "sealed_to" and not (isinstance(value, list) and value and set(value) <= set(ENCLAVES)):
        raise ValueRefused(place, f"sealed_to is a list of {', '.join(ENCLAVES)}; got {value!r}")
    if name == "schedule" and not (isinstance(value, list) and all(_is_pair(one) for one in value)):
        raise ValueRefused(place, f"a schedule is a list of pairs of score and price; got {value!r}")
    if name == "policy" and not (isinstance(value, dict) and value and set(value) <= set(VOTABLE)):
        raise ValueRefused(place, f"a policy changes some of {', '.join(VOTABLE)}; got {value!r}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(one) for one in value)


def _check_expected(place: str, expected: Expected) -> None:
    if expected.refused is not None and expected.refused not in differences.codes():
        raise CodeUnknown(place, f"no refusal has the code {expected.refused!r}")
    if not isinstance(expected.then, dict):
        raise ValueRefused(place, "`then` is a mapping")
    for name, some in expected.then.items():
        if name not in THEN:
            raise FieldUnknown(place, f"`then` has no {name!r}; it has {', '.join(THEN)}")
        if name == "held":
            if not _is_number(some):
                raise ValueRefused(place, f"held is an amount; got {some!r}")
            continue
        if not isinstance(some, dict):
            raise ValueRefused(place, f"{name} is a mapping of names; got {some!r}")
        for one, value in some.items():
            _check_fact(place, name, one, value)


STATES = {"state": tuple(OfferState), "slot": tuple(SlotState), "dataset": tuple(DatasetState)}


def _check_fact(place: str, name: str, one: str, value: object) -> None:
    if name == "owns":
        _require_account(place, one, OWNERS)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueRefused(place, f"what {one} owns has changed by an integer; got {value!r}")
    elif name == "price":
        if value is not None and not _is_number(value):
            raise ValueRefused(place, f"a price is an amount or null; got {value!r}")
    elif value is not None and value not in [str(word) for word in STATES[name]]:
        raise ValueRefused(place, f"{name} {one} is one of {', '.join(STATES[name])} or null; got {value!r}")
    if name == "slot" and not re.fullmatch(r".+/\d+", one):
        raise ValueRefused(place, f"a slot is written T1/0; got {one!r}")


def _require_account(place: str, name: object, known: Sequence[str] = tuple(ACCOUNTS)) -> None:
    if name not in known:
        raise AccountUnknown(place, f"there is no {name!r}; there are {', '.join(known)}")
