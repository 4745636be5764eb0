"""What the last report wanted decides (protocol section 6, the rows of `report`).

The enclaves agree or they don't; their operators are paid; and an offer that passed is locked at once (`each`) or takes
its place among the leading ones (`best`).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.claims import free_slot, tell
from goldengrain.chaincode.market.credits import Till
from goldengrain.chaincode.market.guards import require
from goldengrain.chaincode.market.offers import free_seller, require_known
from goldengrain.chaincode.market.records import ClaimRecord, IndexRecord, Lock, OfferRecord, SlotRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.market.state import replace
from goldengrain.chaincode.protocol import pricing
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.errors import ClaimNotFound, SlotNotFound
from goldengrain.chaincode.protocol.report import Outcome, agreed
from goldengrain.chaincode.protocol.tables import OfferState, SlotState
from goldengrain.chaincode.protocol.task import MAX_SLOTS_BEST, Task

ENDS = {
    Outcome.DECLINED: OfferState.DECLINED,
    Outcome.FAILED: OfferState.FAILED,
    Outcome.UNUSABLE: OfferState.VOID,
}
"""What an offer becomes when its enclaves agree on something other than `pass`."""


@dataclass(frozen=True)
class Case:
    """An offer with the report that came in: `last`, the claim as reported."""

    tx: Context
    offer: OfferRecord
    task: Task
    last: ClaimRecord


def deciding_keys(offer: OfferRecord, outcome: Outcome) -> list[Key[Any]]:
    """Return what is read besides when a report is the last one: earlier reports, and the slots that it may change.

    An offer of a task with award `each` has its slot since the first claim. With `best`, a pass looks at all slots.
    """
    earlier = [keys.claim(offer.id, number) for number in offer.reported_claims]
    if offer.slot is not None:
        return [*earlier, keys.slot(offer.order.task, offer.slot)]
    if outcome is not Outcome.PASS:
        return [*earlier]
    return [*earlier, *(keys.slot(offer.order.task, index) for index in range(MAX_SLOTS_BEST))]


def decide(case: Case, found: Found) -> Rule:
    """Write what follows from the reports; one more read where an offer is displaced."""
    offer, task = case.offer, case.task
    earlier = [keys.claim(offer.id, number) for number in offer.reported_claims]
    claims = [*(require(found, key, ClaimNotFound, "a report is gone") for key in earlier), case.last]
    effects = Effects(case.tx, task.terms.window)
    till = Till(effects)
    result = agreed([one.result for one in claims], task.eta)
    _pay_operators(effects, till, case, claims, result.outcome if result is not None else None)
    if result is not None and result.outcome is Outcome.PASS:
        decided = yield from _pass(effects, till, case, claims, found)
    else:
        decided = replace(offer, state=OfferState.VOID if result is None else ENDS[result.outcome], bond=0, slot=None)
        till.pay(offer.order.developer, offer.bond)
        if offer.slot is not None:
            free_slot(effects, found, keys.slot(offer.order.task, offer.slot))
    decided = replace(decided, fee=0, open_claims=(), reported_claims=())
    effects.put(keys.offer(offer.id), decided)
    free_seller(effects, found, offer, decided.lock.score if decided.lock is not None else None)
    till.close()
    _tell(effects, decided, case.last)
    return effects


def _pay_operators(
    effects: Effects, till: Till, case: Case, claims: list[ClaimRecord], outcome: Outcome | None
) -> None:
    """Give deposits back and the fee to whom it is due; what was held of the reports leaves the claims.

    The fee's shares are equal, odd units to the first to report. Of `unusable` it is the developer's, of a disagreement
    (`outcome` None) the treasury's.
    """
    for one in claims:
        till.pay(one.claim.operator, one.deposit)
        effects.put(keys.claim(case.offer.id, one.claim.number), replace(one, deposit=0, locked=b""))
    if outcome is None:
        till.pay(TREASURY, case.offer.fee)
    elif outcome is Outcome.UNUSABLE:
        till.pay(case.offer.order.developer, case.offer.fee)
    else:
        for one, share in zip(claims, pricing.split_evenly(case.offer.fee, len(claims)), strict=True):
            till.pay(one.claim.operator, share)


def _pass(
    effects: Effects, till: Till, case: Case, claims: list[ClaimRecord], found: Found
) -> Generator[Get, Found, OfferRecord]:
    lock = _lock(case, claims)
    effects.put(keys.passed(case.offer.order.task, lock.score, case.offer.id), IndexRecord(case.offer.id))
    if case.offer.slot is None:
        return (yield from _compete(effects, till, case, lock, found))
    key = keys.slot(case.offer.order.task, case.offer.slot)
    slot = require(found, key, SlotNotFound, "the offer's slot is gone")
    effects.put(key, replace(slot, state=SlotState.LOCKED, amount=lock.price))
    till.pay(case.task.provider, slot.amount - lock.price)
    lock = replace(lock, deadline=case.tx.timestamp + case.task.reveal)
    return replace(case.offer, state=OfferState.LOCKED, lock=lock)


def _lock(case: Case, claims: list[ClaimRecord]) -> Lock:
    """Make the lock of the lowest score, the first reported of equals; it has no deadline yet."""
    counting = min(claims, key=lambda one: one.score)
    if counting.model is None:
        raise AssertionError("a pass without the model's digest")
    return Lock(
        score=counting.score,
        price=case.task.schedule.price(counting.score),
        enclave=counting.claim.enclave,
        model=counting.model,
        deadline=None,
        simulated=any(one.simulated for one in claims),
        locked=counting.locked,
        reported=case.tx.tx_id,
    )


def _compete(effects: Effects, till: Till, case: Case, lock: Lock, found: Found) -> Generator[Get, Found, OfferRecord]:
    """Take a free slot, or the lowest leading one's if that is strictly lower; else the offer is outbid."""
    offer = case.offer
    some = (found.get(keys.slot(offer.order.task, index)) for index in range(case.task.slots))
    slots = [slot for slot in some if slot is not None]
    taken = _place(slots, lock.score)
    if taken is None:
        till.pay(offer.order.developer, offer.bond)
        return replace(offer, state=OfferState.OUTBID, bond=0, lock=replace(lock, locked=b""))
    entry = 1 + max(slot.entry for slot in slots)
    slot = replace(taken, state=SlotState.LEADING, offer=offer.id, score=lock.score, entry=entry)
    effects.put(keys.slot(offer.order.task, taken.index), slot)
    if taken.offer is not None:
        other = require_known((yield Get([keys.offer(taken.offer)])), taken.offer)
        _displace(effects, till, other)
    return replace(offer, state=OfferState.LEADING, slot=taken.index, lock=lock)


def _place(slots: list[SlotRecord], score: int) -> SlotRecord | None:
    """Return the slot that a score takes. Among equals the latest entrant is the lowest, a newcomer lower still."""
    free = [slot for slot in slots if slot.state is SlotState.FREE]
    if free:
        return free[0]
    leading = [slot for slot in slots if slot.state is SlotState.LEADING]
    lowest = min(leading, key=lambda slot: (slot.score or 0, -slot.entry), default=None)
    return lowest if lowest is not None and score > (lowest.score or 0) else None


def _displace(effects: Effects, till: Till, other: OfferRecord) -> None:
    if other.lock is None:
        raise AssertionError("a leading offer has a lock")
    till.pay(other.order.developer, other.bond)
    gone = replace(other, state=OfferState.DISPLACED, bond=0, slot=None, lock=replace(other.lock, locked=b""))
    effects.put(keys.offer(other.id), gone)
    effects.tell(displaced=other.id.hex())


def _tell(effects: Effects, decided: OfferRecord, last: ClaimRecord) -> None:
    tell(effects, decided, last.claim.number, outcome=str(last.outcome), enclave=last.claim.enclave.hex())
    if decided.lock is not None:
        lock = decided.lock
        effects.tell(score=lock.score, price=lock.price, simulated=lock.simulated)
        if lock.deadline is not None:
            effects.tell(deadline=lock.deadline)
    effects.result = {"offer": decided.id.hex(), "state": str(decided.state)}
