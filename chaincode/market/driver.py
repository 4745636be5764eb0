"""Between a rule and whoever reads and writes for it: the same few steps on a peer and in memory.

A rule asks for records and is sent them decoded; its driver sees names of keys and bytes. The loop around `Steps` is in
`adapter`, where a peer answers, and in `memory`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from goldengrain.chaincode.market.rules import MAX_READS, Effects, Found, Get, Rule, Scan
from goldengrain.chaincode.market.state import StateRecord
from goldengrain.chaincode.protocol import canonical

Request = Get | Scan[Any]

EVENT_VERSION = 1


class Steps:
    """A rule, one read after another: `request` is what it asks for, None once it has returned its `effects`."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.reads = 0
        self.known: dict[str, StateRecord | None] = {}
        self.effects: Effects | None = None
        self.request: Request | None = None
        self._advance(None)

    def send(self, found: Found) -> None:
        """Send the rule what was read and let it go on to its next request or its end."""
        self.known.update(found.records)
        self._advance(found)

    def _advance(self, found: Found | None) -> None:
        try:
            self.request = next(self._rule) if found is None else self._rule.send(found)
            self.reads += 1
        except StopIteration as stop:
            self.request, self.effects = None, stop.value
        if self.reads > MAX_READS:
            raise AssertionError(f"a rule that reads more than {MAX_READS} times")

    @property
    def done(self) -> Effects:
        """The effects of a rule that has ended."""
        if self.effects is None:
            raise AssertionError("the rule has not ended")
        return self.effects


def found_keys(request: Get, values: Sequence[bytes | None]) -> Found:
    """Decode what was read of single keys, in the order in which the request names them."""
    pairs = zip(request.keys, values, strict=True)
    return Found({key.name: None if value is None else key.record.decode(value) for key, value in pairs})


def found_page(request: Scan[Any], rows: Sequence[tuple[str, bytes]], bookmark: str) -> Found:
    """Decode a page of a range."""
    return Found({name: request.record.decode(value) for name, value in rows}, bookmark)


def encode_writes(effects: Effects) -> list[tuple[str, bytes | None]]:
    """Return the writes in the order of their keys; None deletes."""
    return [(name, None if record is None else record.encode()) for name, record in sorted(effects.writes.items())]


def encode_event(steps: Steps, writes: Sequence[tuple[str, bytes | None]]) -> bytes:
    """Return the event's payload: what the rule tells, and `changes`, what becomes of each key (ADR 31).

    `writes` are the encoded ones: what is written anew, the event holds as it is written.
    """
    effects = steps.done
    changes = {name: _change(steps.known.get(name), effects.writes[name], written) for name, written in writes}
    told = {name: canonical.dumps_plain(value) for name, value in {"v": EVENT_VERSION, **effects.event}.items()}
    return canonical.join(told | {"changes": canonical.join(changes)})


def _change(before: StateRecord | None, record: StateRecord | None, written: bytes | None) -> bytes:
    """Return null of a deleted key, the fields that differ of one that was read, else all of the record."""
    if record is None or written is None:
        return b"null"
    return written if before is None else canonical.dumps_plain(record.changes_from(before))


def encode_result(effects: Effects) -> bytes:
    """Return the answer to the client: bytes as they are, else canonical JSON; empty where there is nothing to say."""
    if isinstance(effects.result, bytes):
        return effects.result
    return b"" if effects.result is None else canonical.dumps(effects.result)
