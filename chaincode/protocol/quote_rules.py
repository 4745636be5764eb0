"""What may be demanded of a verified quote: rules that compose. Contract, gateway and command line use these alone.

    policy = AllOf((StatusIn(("UpToDate",)), NotDebug(), MeasurementIn((measurement,))))
    policy.check(verdict)                             # raises the first rule's refusal

`AllOf` refuses when one of its rules refuses, `AnyOf` when all do; without a rule both refuse always. `market_rules`
are those of a market's policy, the checks 4 to 6 of protocol section 4 in that order; `read_rules` reads a policy's
JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.errors import (
    ContractError,
    MalformedInput,
    QuoteDebug,
    QuoteKeysMismatch,
    QuoteMeasurementRefused,
    QuoteRefused,
    QuoteStatusRefused,
    QuoteTechnologyRefused,
)
from goldengrain.chaincode.protocol.evidence import QuoteVerdict, Tee
from goldengrain.chaincode.protocol.policy import Policy

_KNOWN = {"statuses", "measurements", "reject_advisories", "tees"}


class Rule(Protocol):
    """One demand on a verified quote."""

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise a refusal unless the quote meets it."""

    def describe(self) -> str:
        """Say in words what is demanded."""


@dataclass(frozen=True)
class TeeIn:
    """Made by one of these TEEs."""

    tees: tuple[Tee, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteTechnologyRefused` for another one."""
        if verdict.tee not in self.tees:
            raise QuoteTechnologyRefused(f"a quote of {verdict.tee}; accepted: {', '.join(self.tees) or 'none'}")

    def describe(self) -> str:
        """Say which."""
        return f"of {' or '.join(self.tees)}"


@dataclass(frozen=True)
class StatusIn:
    """The TCB status is one of these (check 4): dcap-qvl returns OutOfDate without a complaint."""

    statuses: tuple[str, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteStatusRefused` for another one."""
        if verdict.status not in self.statuses:
            raise QuoteStatusRefused(
                f"the platform's TCB is {verdict.status} ({', '.join(verdict.advisories) or 'no advisories'}); "
                f"accepted: {', '.join(self.statuses) or 'none'}. Update the platform, or have the status voted in"
            )

    def describe(self) -> str:
        """Say which."""
        return f"TCB status {' or '.join(self.statuses)}"


@dataclass(frozen=True)
class NotDebug:
    """Neither a debug enclave nor a debug guest (check 5)."""

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteDebug` for one."""
        if verdict.debug:
            raise QuoteDebug("the host can read a debug enclave's memory; start it in production mode")

    def describe(self) -> str:
        """Say so."""
        return "no debug"


@dataclass(frozen=True)
class MeasurementIn:
    """The measurement is one of these (check 6): MRENCLAVE, or a TDX guest's digest (`evidence`)."""

    measurements: tuple[bytes, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteMeasurementRefused` for another one."""
        if verdict.measurement not in self.measurements:
            raise QuoteMeasurementRefused(f"the measurement {verdict.measurement.hex()} is not voted in")

    def describe(self) -> str:
        """Say how many."""
        return f"one of {len(self.measurements)} measurements"


@dataclass(frozen=True)
class UnsafeAnyMeasurement:
    """Any measurement: whatever program runs there. It is a rule of its own so that a policy says it."""

    def check(self, verdict: QuoteVerdict) -> None:
        """Accept."""

    def describe(self) -> str:
        """Say so."""
        return "any measurement"


@dataclass(frozen=True)
class NoAdvisory:
    """None of these security advisories applies."""

    advisories: tuple[str, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteStatusRefused` where one applies."""
        found = sorted(set(self.advisories).intersection(verdict.advisories))
        if found:
            raise QuoteStatusRefused(f"the advisory {found[0]} applies to this platform")

    def describe(self) -> str:
        """Say which."""
        return f"none of {', '.join(self.advisories)}"


@dataclass(frozen=True)
class Binds:
    """The first bytes of the report data are these: keys, or a certificate's key."""

    data: bytes

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteKeysMismatch` for others."""
        if verdict.report_data[: len(self.data)] != self.data:
            raise QuoteKeysMismatch("the quote binds other keys than these")

    def describe(self) -> str:
        """Say so."""
        return "bound to the given keys"


@dataclass(frozen=True)
class AllOf:
    """Every rule; without a rule it refuses."""

    rules: tuple[Rule, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise the first refusal; `QuoteRefused` without a rule."""
        if not self.rules:
            raise QuoteRefused("an empty policy accepts nothing; name at least one rule")
        for rule in self.rules:
            rule.check(verdict)

    def describe(self) -> str:
        """Say all."""
        return ", ".join(rule.describe() for rule in self.rules) or "empty: accepts nothing"


@dataclass(frozen=True)
class AnyOf:
    """One of the rules; without a rule it refuses."""

    rules: tuple[Rule, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise the last rule's refusal when all refuse; `QuoteRefused` without a rule."""
        refusal: ContractError = QuoteRefused("an empty policy accepts nothing; name at least one rule")
        for rule in self.rules:
            try:
                rule.check(verdict)
            except ContractError as error:
                refusal = error
            else:
                return
        raise refusal

    def describe(self) -> str:
        """Say all."""
        return " or ".join(f"({rule.describe()})" for rule in self.rules) or "empty: accepts nothing"


DEFAULT = AllOf((StatusIn(("UpToDate",)), NotDebug(), UnsafeAnyMeasurement()))
"""Status UpToDate, no debug, any measurement."""


def market_rules(policy: Policy) -> AllOf:
    """Return the checks 4 to 6 that a market's policy demands, in that order."""
    return AllOf((StatusIn(policy.statuses), NotDebug(), MeasurementIn(policy.measurements)))


def read_rules(document: Json) -> AllOf:
    """Make rules of a policy's JSON; raises `MalformedInput`.

    Either a market's policy as `GetPolicy` gives it, or an object of any of `statuses`, `measurements` (hex),
    `reject_advisories` and `tees` (lists of text). Debug is always refused; without `statuses` only UpToDate is
    accepted; without `measurements` any is, and the description says so.
    """
    if not isinstance(document, dict):
        raise MalformedInput("a policy is a JSON object")
    if "organizations" not in document and set(document) - _KNOWN:
        raise MalformedInput(f"a policy has {', '.join(sorted(_KNOWN))}; not {min(set(document) - _KNOWN)!r}")
    if not _KNOWN.intersection(document):
        return AllOf(())
    rules: list[Rule] = [TeeIn(_tees(_texts(document, "tees")))] if "tees" in document else []
    rules.append(StatusIn(_texts(document, "statuses") if "statuses" in document else ("UpToDate",)))
    rules.append(NotDebug())
    if "measurements" in document:
        rules.append(MeasurementIn(_measurements(_texts(document, "measurements"))))
    else:
        rules.append(UnsafeAnyMeasurement())
    if "reject_advisories" in document:
        rules.append(NoAdvisory(_texts(document, "reject_advisories")))
    return AllOf(tuple(rules))


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    values = document[name]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise MalformedInput(f"{name} is a list of texts")
    return tuple(values)


def _tees(texts: Sequence[str]) -> tuple[Tee, ...]:
    try:
        return tuple(Tee(text) for text in texts)
    except ValueError as error:
        raise MalformedInput(f"tees are of {', '.join(Tee)}") from error


def _measurements(texts: Sequence[str]) -> tuple[bytes, ...]:
    try:
        return tuple(bytes.fromhex(text) for text in texts)
    except ValueError as error:
        raise MalformedInput("measurements are in hex") from error
