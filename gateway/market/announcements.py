"""What the contract's events say, typed: the command, its facts, and what became of each key (docs/events.md).

::

    async for said in market.announcements(start_block=0):
        if said.command == "SubmitReport" and said.facts["outcome"] == "pass":
            print(said.offer.hex(), said.facts["price"])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.events import ChaincodeEvent

EVENT_VERSIONS = (1,)
MAX_EVENT = 16 * 1024 * 1024
"""Greatest size in bytes of an event's payload; collateral makes the largest."""


class EventUnreadable(GatewayError):
    """An event that this client can't read; use a newer one."""

    code = "EVENT_UNREADABLE"


@dataclass(frozen=True, slots=True)
class Announcement:
    """An accepted command: ``event`` is where it stands on the ledger.

    ``facts`` are those of docs/events.md, ids in hex; ``changes`` is, for each key, the new record, the changed fields,
    or None.
    """

    event: ChaincodeEvent
    facts: Mapping[str, Any]
    changes: Mapping[str, dict[str, Any] | None]

    @classmethod
    def of(cls, event: ChaincodeEvent) -> Announcement:
        """Read an event. Raises EventUnreadable for one of another version or kind."""
        document = read_payload(event.payload)
        facts = {name: value for name, value in document.items() if name not in ("v", "changes")}
        return cls(event, facts, document["changes"])

    @property
    def command(self) -> str:
        """The command's name."""
        return self.event.name

    @property
    def offer(self) -> bytes | None:
        """The offer that it is about, if any."""
        return self._id("offer")

    @property
    def task(self) -> bytes | None:
        """The task that it is about, where the event names it."""
        return self._id("task")

    def _id(self, name: str) -> bytes | None:
        return bytes.fromhex(self.facts[name]) if name in self.facts else None


def read_payload(payload: bytes) -> dict[str, Any]:
    """Return an event's document. Raises EventUnreadable for one of another version or kind."""
    try:
        document = canonical.loads(payload, MAX_EVENT)
    except MalformedInput as error:
        raise EventUnreadable(f"not an event of the market's contract: {error}") from error
    if not isinstance(document, dict) or document.get("v") not in EVENT_VERSIONS or "changes" not in document:
        raise EventUnreadable("not an event of the market's contract in a version that this client knows")
    return document
