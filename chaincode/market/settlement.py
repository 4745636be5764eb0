"""Settlement: how a swap ends (protocol section 6). No policy is read here; a task has fixed what applies to it."""

from __future__ import annotations

from typing import Any

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.claims import free_slot, require_offers_task, wants_enclaves
from goldengrain.chaincode.market.credits import Till
from goldengrain.chaincode.market.guards import require
from goldengrain.chaincode.market.offers import free_seller, require_known
from goldengrain.chaincode.market.records import ClaimRecord, ClaimState, Lock, OfferRecord, SlotRecord, TaskRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.market.state import replace
from goldengrain.chaincode.protocol import digests, pricing
from goldengrain.chaincode.protocol.commands import Acknowledge, AwardOffer, Expire, Forfeit, Reveal
from goldengrain.chaincode.protocol.errors import (
    ClaimNotFound,
    OfferClosed,
    ProviderRequired,
    SecretMismatch,
    SlotNotFound,
)
from goldengrain.chaincode.protocol.tables import Deadline, OfferState, SlotState, require_offer


def expire(command: Expire, tx: Context) -> Rule:
    """End an offer that B overtook: open claims lapse, who reported is paid, the rest goes back to the developer."""
    found = yield Get([keys.offer(command.offer)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("Expire", offer.state)
    task_id = offer.order.task
    numbers = (*offer.open_claims, *offer.reported_claims)
    slot_keys = [] if offer.slot is None else [keys.slot(task_id, offer.slot)]
    wanted: list[Key[Any]] = [keys.task(task_id), keys.seller(task_id, offer.developer_msp)]
    more = yield Get([*wanted, *(keys.claim(offer.id, number) for number in numbers), *slot_keys])
    task = require_offers_task(more, offer).task
    lapsing, reported = _claims(more, offer, offer.open_claims), _claims(more, offer, offer.reported_claims)
    deadlines = {Deadline.B: task.last_report}
    if lapsing:
        deadlines[Deadline.EVERY_LEASE] = max(record.claim.lease_end for record in lapsing)
    row.window.require(tx.timestamp, task.terms.guard, deadlines)
    effects = Effects(tx, task.terms.window)
    till = Till(effects)
    till.pay(offer.order.developer, offer.held - _pay_reported(effects, till, offer, reported))
    for record in lapsing:
        till.pay(offer.order.developer, record.deposit)
        lapsed = replace(record, state=ClaimState.LAPSED, deposit=0)
        effects.put(keys.claim(offer.id, record.claim.number), lapsed)
    for slot_key in slot_keys:
        free_slot(effects, more, slot_key)
    if offer.state is not OfferState.OFFERED and wants_enclaves(offer):
        effects.delete(keys.job(offer.id))
    ended = replace(offer, state=OfferState.EXPIRED, bond=0, fee=0, open_claims=(), reported_claims=(), slot=None)
    effects.put(keys.offer(offer.id), ended)
    free_seller(effects, more, offer)
    till.close()
    _tell(effects, ended)
    return effects


def _claims(found: Found, offer: OfferRecord, numbers: tuple[int, ...]) -> list[ClaimRecord]:
    return [require(found, keys.claim(offer.id, one), ClaimNotFound, "a claim is gone") for one in numbers]


def _pay_reported(effects: Effects, till: Till, offer: OfferRecord, reported: list[ClaimRecord]) -> int:
    """Pay who reported in vain: deposit, and the share of the fee as if all had; returns the shares' sum."""
    paid = 0
    shares = pricing.split_evenly(offer.fee, offer.enclaves)
    for record, share in zip(reported, shares, strict=False):
        till.pay(record.claim.operator, record.deposit + share)
        effects.put(keys.claim(offer.id, record.claim.number), replace(record, deposit=0, locked=b""))
        paid += share
    return paid


def award_offer(command: AwardOffer, tx: Context) -> Rule:
    """Lock the price of an offer that leads a slot, once no better one can come: after B + G."""
    found = yield Get([keys.offer(command.offer)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("AwardOffer", offer.state)
    key = _slot_key(offer)
    more = yield Get([keys.task(offer.order.task), key])
    task = require_offers_task(more, offer).task
    row.window.require(tx.timestamp, task.terms.guard, {Deadline.B: task.last_report})
    lock = replace(_lock(offer), deadline=tx.timestamp + task.reveal, awarded=tx.tx_id)
    slot = require(more, key, SlotNotFound, "the offer's slot is gone")
    effects = Effects(tx, task.terms.window)
    effects.put(key, replace(slot, state=SlotState.LOCKED, amount=lock.price))
    till = Till(effects)
    till.pay(task.provider, slot.amount - lock.price)
    till.close()
    awarded = replace(offer, state=OfferState.LOCKED, lock=lock)
    effects.put(keys.offer(offer.id), awarded)
    _tell(effects, awarded)
    effects.tell(score=lock.score, price=lock.price, deadline=lock.deadline, simulated=lock.simulated)
    effects.result = {"offer": offer.id.hex(), "deadline": lock.deadline}
    return effects


def reveal(command: Reveal, tx: Context) -> Rule:
    """Publish r and pay in the same transaction; anyone who knows r."""
    found = yield Get([keys.offer(command.offer)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("Reveal", offer.state)
    lock = _lock(offer)
    more = yield Get([keys.task(offer.order.task), _slot_key(offer)])
    task = require_offers_task(more, offer).task
    row.window.require(tx.timestamp, task.terms.guard, {Deadline.D: _deadline(lock)})
    if digests.secret_hash(command.secret) != offer.order.secret_hash:
        raise SecretMismatch("this is not the secret that the offer committed to")
    effects = Effects(tx, task.terms.window)
    price = _spend_slot(effects, more, offer)
    market_fee = task.market_fee(price)
    till = Till(effects)
    till.pay(offer.order.payout, price - market_fee)
    till.pay(offer.order.developer, offer.bond)
    till.pay(digests.TREASURY, market_fee)
    till.close()
    revealed = replace(lock, secret=command.secret, revealed=tx.tx_id)
    settled = replace(offer, state=OfferState.SETTLED, bond=0, lock=revealed)
    effects.put(keys.offer(offer.id), settled)
    _tell(effects, settled)
    effects.tell(price=price, market_fee=market_fee, secret=command.secret.hex())
    effects.result = {"offer": offer.id.hex(), "price": price}
    return effects


def forfeit(command: Forfeit, tx: Context) -> Rule:
    """End a lock that was not revealed in time: price and half the bond to the provider, the rest to the treasury."""
    found = yield Get([keys.offer(command.offer)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("Forfeit", offer.state)
    more = yield Get([keys.task(offer.order.task), _slot_key(offer)])
    task = require_offers_task(more, offer).task
    row.window.require(tx.timestamp, task.terms.guard, {Deadline.D: _deadline(_lock(offer))})
    effects = Effects(tx, task.terms.window)
    price = _spend_slot(effects, more, offer)
    to_provider, to_treasury = pricing.split_forfeited(offer.bond)
    till = Till(effects)
    till.pay(task.provider, price + to_provider)
    till.pay(digests.TREASURY, to_treasury)
    till.close()
    ended = replace(offer, state=OfferState.FORFEITED, bond=0)
    effects.put(keys.offer(offer.id), ended)
    _tell(effects, ended)
    return effects


def acknowledge(command: Acknowledge, tx: Context) -> Rule:
    """Delete r and `locked` from the state, now that the provider holds the key."""
    found = yield Get([keys.offer(command.offer)])
    offer = require_known(found, command.offer)
    require_offer("Acknowledge", offer.state)
    lock = _lock(offer)
    more = yield Get([keys.task(offer.order.task)])
    task = _require_provider(require_offers_task(more, offer), tx)
    if lock.acknowledged:
        raise OfferClosed("the provider has acknowledged this key before")
    effects = Effects(tx, task.task.terms.window)
    done = replace(offer, lock=replace(lock, locked=b"", secret=b"", acknowledged=True))
    effects.put(keys.offer(offer.id), done)
    _tell(effects, done)
    return effects


def _slot_key(offer: OfferRecord) -> Key[SlotRecord]:
    return keys.slot(offer.order.task, offer.slot or 0)


def _spend_slot(effects: Effects, found: Found, offer: OfferRecord) -> int:
    """Take the price out of the slot; returns it."""
    key = _slot_key(offer)
    slot = require(found, key, SlotNotFound, "the offer's slot is gone")
    effects.put(key, replace(slot, state=SlotState.SPENT, amount=0))
    return slot.amount


def _lock(offer: OfferRecord) -> Lock:
    if offer.lock is None:
        raise AssertionError("an offer in this state has a lock")
    return offer.lock


def _deadline(lock: Lock) -> int:
    if lock.deadline is None:
        raise AssertionError("a locked offer has a deadline")
    return lock.deadline


def _require_provider(task: TaskRecord, tx: Context) -> TaskRecord:
    if tx.caller.account != task.task.provider:
        raise ProviderRequired("only the task's provider acknowledges the key")
    return task


def _tell(effects: Effects, offer: OfferRecord) -> None:
    effects.tell(offer=offer.id.hex(), task=offer.order.task.hex(), state=str(offer.state))
