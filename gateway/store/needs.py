"""What the market still needs of a content store, so that everything else may go.

| blob | needed |
| --- | --- |
| test set | until A + G, and as long again as developers may take to check its labels |
| its envelopes | while an enclave may still claim: until B + G |
| a model's ciphertext | while the offer is live, leads or is locked; once settled until the provider acknowledges |
| its envelopes | while the offer is live |

What no task and no offer names may be about to be named, so young blobs are kept, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from goldengrain.chaincode.protocol.tables import LIVE, OfferState
from goldengrain.gateway.errors import StoreRefused
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import OfferView, TaskView
from goldengrain.gateway.store.base import ContentStore, Entry

DAY = 24 * 3600  # seconds
LABELS_S = 30 * DAY
"""How long after its opening was due a test set is kept for those who check its labels."""
YOUNG_S = DAY
"""Blobs younger than this are kept although nothing names them."""
_AWAITED = (*LIVE, OfferState.LEADING, OfferState.LOCKED)


async def needed(market: Market, now: int, labels_s: int = LABELS_S) -> dict[bytes, str]:
    """Return the digests that the market needs at a ledger time, and what for."""
    return await _named(market.tasks.listing(), market.offers.listing(), now, labels_s)


async def _named(
    tasks: AsyncIterator[TaskView], offers: AsyncIterator[OfferView], now: int, labels_s: int
) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    async for task in tasks:
        found |= needs_of_task(task, now, labels_s)
    async for offer in offers:
        found |= needs_of_offer(offer)
    return found


def needs_of_task(view: TaskView, now: int, labels_s: int = LABELS_S) -> dict[bytes, str]:
    """Return what one task needs."""
    task, found = view.task, {}
    if now <= task.last_opening + task.terms.guard + labels_s:
        found[task.dataset.ciphertext] = f"test set of task {view.id.hex()}"
    if now <= task.last_report + task.terms.guard:
        found |= {one.digest: f"test set's key of task {view.id.hex()}" for one in view.envelopes}
    return found


def needs_of_offer(view: OfferView) -> dict[bytes, str]:
    """Return what one offer needs."""
    found, name = {}, view.id.hex()
    unread = view.state is OfferState.SETTLED and not (view.lock and view.lock.acknowledged)
    if view.state in _AWAITED or unread:
        found[view.order.ciphertext] = f"model of offer {name}, {view.state}"
    if view.state in LIVE:
        found |= {one.digest: f"model's key of offer {name}" for one in view.envelopes}
    return found


@dataclass
class Collected:
    """What a collection removed, and what it kept and why."""

    removed: list[Entry] = field(default_factory=list)
    kept: list[tuple[Entry, str]] = field(default_factory=list)


def collect(
    store: ContentStore,
    needs: Mapping[bytes, str],
    now: float,
    young_s: int = YOUNG_S,
    remove: Callable[[bytes], None] | None = None,
) -> Collected:
    """Remove what is neither needed nor young; ``now`` in seconds since 1970, by the store's clock.

    What a server doesn't let the caller remove is kept, too. ``remove`` is the store's own unless another is given (a
    trial).
    """
    done, removing = Collected(), remove or store.remove
    for entry in list(store.entries()):
        if entry.digest in needs:
            done.kept.append((entry, needs[entry.digest]))
        elif now - entry.stored < young_s:
            done.kept.append((entry, "young"))
        else:
            try:
                removing(entry.digest)
                done.removed.append(entry)
            except StoreRefused as refusal:
                done.kept.append((entry, str(refusal)))
    return done
