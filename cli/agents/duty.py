"""What a side owes, and what its agent says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.cli.timing import moment

SHOWN = 8
"""Digits of an id that a person is shown."""


@dataclass(frozen=True)
class Done:
    """What came of a duty: the transaction that did it, if there was one, and whatever is worth knowing besides.

    ``warning``: what somebody has to be told, though all went well.
    """

    transaction: str | None
    facts: dict[str, Any] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True)
class Duty:
    """A command that a side owes, about an offer, or ``what`` else: a task, an enclave.

    ``due`` is the first second of ledger time in which it may be sent, ``until`` the last one in which the contract
    takes it (None: no end); clients stop ``window`` (W) before. ``number`` is a claim's or a slot's. ``do`` does it; it
    returns None where it can't be done right now, and nothing is wrong. What is ``begun`` is ended before the agent
    stops. ``retry``: seconds after each failure in a row until it is tried again; empty: the agent's own.
    """

    command: str
    about: bytes
    do: Callable[[], Awaitable[Done | None]] = field(compare=False, repr=False)
    due: int = 0
    until: int | None = None
    window: int = 0
    number: int | None = None
    what: str = "offer"
    begun: bool = False
    retry: tuple[float, ...] = ()

    @property
    def key(self) -> tuple[str, bytes, int | None]:
        """What tells it from others."""
        return self.command, self.about, self.number

    def named(self) -> dict[str, Any]:
        """What it is about, as JSON values."""
        return {"command": self.command, self.what: self.about.hex(), "number": self.number}

    @property
    def last(self) -> int | None:
        """The last second in which it is sent: W before its end."""
        return None if self.until is None else self.until - self.window

    def is_missed(self, now: int) -> bool:
        """Whether it is too late to send it."""
        return self.last is not None and now > self.last

    def is_pressing(self, now: int) -> bool:
        """Whether less than a quarter of its time is left, or less than 2 W."""
        if self.last is None or now < self.due:
            return False
        return self.last - now < max(2 * self.window, (self.last - self.due) // 4 if self.due else 0)


class Kind(StrEnum):
    """Kinds of notices."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    """It will be tried again."""
    WARNING = "warning"
    """A deadline is near, and what is owed is not done."""
    MISSED = "missed"
    """The deadline is over, or so near that nothing is sent any more."""
    DRAINING = "draining"
    """It was told to stop: what has begun is ended, nothing else is taken."""
    STOPPED = "stopped"


@dataclass(frozen=True)
class Notice:
    """One line that an agent says. ``at`` is ledger time, ``left`` the seconds until the last moment to send."""

    kind: Kind
    at: int
    duty: Duty | None = None
    done: Done | None = None
    error: GoldenGrainError | None = None
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        value: dict[str, Any] = {"event": str(self.kind), "at": self.at}
        if self.text:
            value["message"] = self.text
        if self.duty is not None:
            value |= {**self.duty.named(), "until": self.duty.until, "left_s": self.left}
        if self.done is not None:
            told = {"transaction": self.done.transaction} if self.done.transaction else {}
            value |= {**told, **self.done.facts}
        if self.error is not None:
            value["error"] = {"code": self.error.code, "message": str(self.error)}
        return value

    @property
    def left(self) -> int | None:
        """Seconds left to send it."""
        return None if self.duty is None or self.duty.last is None else self.duty.last - self.at

    def __str__(self) -> str:
        parts = [f"{moment(self.at)} {self.kind}"]
        if self.duty is not None:
            number = "" if self.duty.number is None else f" number {self.duty.number}"
            parts.append(f"{self.duty.command} of {self.duty.what} {self.duty.about.hex()[:SHOWN]}{number}")
        if self.done is not None:
            told = [f"transaction {self.done.transaction[:SHOWN]}"] if self.done.transaction else []
            parts.append(", ".join([*told, *(f"{name} {value}" for name, value in self.done.facts.items())]))
        if self.error is not None:
            parts.append(f"{self.error.code}: {self.error}")
        if self.kind in (Kind.WARNING, Kind.MISSED) and self.left is not None and not self.text:
            parts.append(f"{self.left} s left" if self.left >= 0 else "too late")
        if self.text:
            parts.append(self.text)
        return ": ".join(parts)
