"""The market rebuilt from its events alone: every key of the contract's state, without asking a peer.

Each command's event carries `changes`: of a new key its whole record, of an older one the fields that changed, null of
one that is gone. Applied in the ledger's order from the first block on, they are the state, byte for byte::

    mirror = Mirror()
    async with market.events(start_block=0) as events:
        async for event in events:
            mirror.apply(event.payload)
            for offer in mirror.offers(): ...

The mirror is as trustworthy as the peer that sends the events; whoever needs more verifies the blocks
(`goldengrain.gateway.audit`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.coins import Coin, coin_id
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.market.announcements import read_payload
from goldengrain.gateway.market.views import EnclaveView, OfferView, PolicyView, SlotView, TaskView, read


class MirrorGap(GatewayError):
    """An event that doesn't follow on what was applied: begin anew with the contract's first block."""

    code = "MIRROR_GAP"


class Mirror:
    """The contract's state: records by the names of their keys (`offer/ID`, `coin/OWNER/ID`, ...), in their order."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[str, Any]] = {}

    def apply(self, payload: bytes) -> tuple[str, ...]:
        """Apply a command's event; returns the names of the keys that changed.

        Raises EventUnreadable for an event of another version or kind, and MirrorGap where it changes what was never
        there; nothing is applied then.
        """
        changes: Mapping[str, dict[str, Any] | None] = read_payload(payload)["changes"]
        for name, change in changes.items():
            if name not in self._documents and (change is None or "v" not in change):
                raise MirrorGap(f"{name} changes, but was never written: events before this one are missing")
        for name, change in changes.items():
            if change is None:
                del self._documents[name]
            elif "v" in change:
                self._documents[name] = change
            else:
                self._documents[name] = {**self._documents[name], **change}
        return tuple(changes)

    def state(self) -> Iterator[tuple[str, bytes]]:
        """Yield every key with the bytes that the ledger holds, in the order of the keys."""
        for name in sorted(self._documents):
            yield name, canonical.dumps(self._documents[name])

    def policy(self) -> PolicyView | None:
        """Return the policy in force, None before the market is founded."""
        document = self._documents.get("policy")
        return None if document is None else read(PolicyView, document)

    def coins(self, owner: bytes | None = None) -> list[Coin]:
        """Return the unspent coins of an account, or all."""
        prefix = "coin/" if owner is None else f"coin/{owner.hex()}/"
        return [_coin(name, one) for name, one in self._under(prefix)]

    def enclaves(self) -> list[EnclaveView]:
        """Return the registered enclaves."""
        return [read(EnclaveView, one) for _, one in self._under("enclave/")]

    def tasks(self) -> list[TaskView]:
        """Return the tasks with their status."""
        return [self._task(name.rpartition("/")[2], one) for name, one in self._under("task/")]

    def slots(self, task: bytes) -> list[SlotView]:
        """Return the slots of a task."""
        return [read(SlotView, one) for _, one in self._under(f"slot/{task.hex()}/")]

    def offers(self, task: bytes | None = None) -> list[OfferView]:
        """Return the offers of a task, or all, each with all its claims."""
        found = [self._offer(one) for _, one in self._under("offer/")]
        return [one for one in found if task is None or one.order.task == task]

    def _task(self, task: str, document: dict[str, Any]) -> TaskView:
        return read(TaskView, {**document, "id": task, "status": self._documents[f"task-status/{task}"]})

    def _offer(self, document: dict[str, Any]) -> OfferView:
        claims = [one for _, one in self._under(f"claim/{document['id']}/")]
        return read(OfferView, {**document, "claims": claims})

    def _under(self, prefix: str) -> list[tuple[str, dict[str, Any]]]:
        return [(name, self._documents[name]) for name in sorted(self._documents) if name.startswith(prefix)]


def _coin(key: str, document: dict[str, Any]) -> Coin:
    transaction, _, index = key.rpartition("/")[2].partition(":")
    return Coin(coin_id(transaction, int(index)), bytes.fromhex(document["owner"]), document["amount"])
