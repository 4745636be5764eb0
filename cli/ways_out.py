"""The ways out of a swap that has come to a stop: what the protocol's tables let anybody send now (sections 6 and 7).

Each is one transaction; none needs the other side's help. Which one is due follows from the offer's state and ledger
time, by the very rules that the contract consults.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from goldengrain.chaincode.protocol.errors import TooEarly, TooLate
from goldengrain.chaincode.protocol.tables import (
    TASK_RULES,
    Deadline,
    OfferState,
    SlotState,
    Window,
    offer_rules,
)
from goldengrain.gateway.market import Committed, Market
from goldengrain.gateway.market.views import OfferView, SlotView, TaskView

OFFER_WAYS = ("Forfeit", "AwardOffer", "Expire", "Lapse")
"""In this order: an offer that may expire needn't lapse first."""


@dataclass(frozen=True)
class WayOut:
    """A command about an offer or a slot of a task; ``wait`` is how many seconds are left until it may be sent."""

    command: str
    wait: int
    offer: bytes | None = None
    claim: int | None = None
    task: bytes | None = None
    slot: int | None = None

    def __str__(self) -> str:
        about = f" of claim {self.claim}" if self.claim is not None else ""
        about = f" of slot {self.slot}" if self.slot is not None else about
        return f"{self.command}{about}"


def ways_out_of(offer: OfferView, task: TaskView, now: int) -> list[WayOut]:
    """The ways out of an offer in its state, due now (``wait`` 0) or later; none where it has ended."""
    found: list[WayOut] = []
    for command in OFFER_WAYS:
        for rule in offer_rules(command, offer.state)[:1]:
            for claim, deadlines in _deadlines(command, offer, task):
                wait = _wait(rule.window, now, task, deadlines)
                found.append(WayOut(command, wait, offer=offer.id, claim=claim))
    due = [one for one in found if not one.wait]
    expiring = any(one.command == "Expire" for one in due)
    return [one for one in found if not (expiring and one.command == "Lapse")]


def ways_out_of_slots(task: TaskView, slots: list[SlotView], now: int) -> list[WayOut]:
    """The refunds of a task's free slots, due now or later."""
    wait = _wait(TASK_RULES["RefundSlot"].window, now, task, {Deadline.B: task.task.last_report})
    return [WayOut("RefundSlot", wait, task=task.id, slot=one.index) for one in slots if one.state is SlotState.FREE]


async def take(market: Market, way: WayOut) -> Committed:
    """Send a way out."""
    if way.task is not None and way.slot is not None:
        return await market.tasks.refund_slot(way.task, way.slot)
    if way.offer is None:
        raise ValueError("a way out is one of an offer or of a slot")
    if way.command == "Lapse" and way.claim is not None:
        return await market.offers.lapse(way.offer, way.claim)
    sends = {"Forfeit": market.offers.forfeit, "AwardOffer": market.offers.award, "Expire": market.offers.expire}
    return await sends[way.command](way.offer)


def _deadlines(command: str, offer: OfferView, task: TaskView) -> Iterator[tuple[int | None, dict[Deadline, int]]]:
    """The deadlines that a command's window refers to; for ``Lapse`` once for each open claim."""
    leases = {one.claim.number: one.claim.lease_end for one in offer.claims if one.state == "open"}
    if command == "Lapse":
        yield from ((number, {Deadline.LEASE: end}) for number, end in leases.items())
        return
    known = {Deadline.B: task.task.last_report}
    if leases:
        known[Deadline.EVERY_LEASE] = max(leases.values())
    if offer.lock is not None and offer.lock.deadline is not None and offer.state is OfferState.LOCKED:
        known[Deadline.D] = offer.lock.deadline
    yield None, known


def _wait(window: Window, now: int, task: TaskView, deadlines: dict[Deadline, int]) -> int:
    """Seconds until a window opens; 0 inside it."""
    guard = task.task.terms.guard
    try:
        window.require(now, guard, deadlines)
    except TooEarly:
        return max(deadlines[one] for one in window.after if one in deadlines) + guard + 1 - now
    except TooLate as error:  # no way out has a last moment
        raise AssertionError(window) from error
    return 0
