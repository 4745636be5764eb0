"""Settlement: how a swap ends (protocol section 6). No policy is read here; a task has fixed what applies to it."""

from __future__ import annotations

from dataclasses import replace

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.claims import free_slot, require_offers_task
from goldengrain.chaincode.market.credits import Till
from goldengrain.chaincode.market.guards import require
from goldengrain.chaincode.market.offers import free_seller, require_known
from goldengrain.chaincode.market.records import ClaimState, Lock, OfferRecord, SlotRecord, TaskRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.protocol import digests, pricing
from goldengrain.chaincode.protocol.commands import Acknowledge, AwardOffer, Expire, Forfeit, Reveal
from goldengrain.chaincode.protocol.errors import (
    ClaimNotFound,
    OfferClosed,
    ProviderRequired,
    SecretMismatch,
    SlotNotFound,
)
from goldengrain.chaincode.protocol.tables import Deadline, OfferState, SlotState, offer_refusal, require_offer


def expire(command: Expire, tx: Context) -> Rule:
    """End an offer that B overtook: claims lapse, and everything goes back to the developer."""
    found = yield Get([keys.offer(command.offer)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("Expire", offer.state)
    task_id = offer.order.task
    claim_keys = [keys.claim(offer.id, number) for number in offer.open_claims]
    slot_keys = [] if offer.slot is None else [keys.slot(task_id, offer.slot)]
    more = yield Get([keys.task(task_id), keys.seller(task_id, offer.developer_msp), *claim_keys, *slot_keys])
    task = require_offers_task(more, offer).task
    claims = [(key, require(more, key, ClaimNotFound, "an open claim is gone")) for key in claim_keys]
    deadlines = {Deadline.B: task.last_report}
    if claims:
        deadlines[Deadline.EVERY_LEASE] = max(record.claim.lease_end for _, record in claims)
    row.window.require(tx.timestamp, task.terms.guard, deadlines)
    effects = Effects(tx, task.terms.window)
    till = Till(effects)
    till.pay(offer.order.developer, offer.held)
    for key, record in claims:
        till.pay(offer.order.developer, record.deposit)
        effects.put(key, replace(record, state=ClaimState.LAPSED, deposit=0))
    for slot_key in slot_keys:
        free_slot(effects, more, slot_key)
    if offer.state is OfferState.STORED:
        effects.delete(keys.job(offer.id))
    ended = replace(offer, state=OfferState.EXPIRED, bond=0, fee=0, open_claims=(), slot=None)
    effects.put(keys.offer(offer.id), ended)
    free_seller(effects, more, offer)
    till.close()
    _tell(effects, ended)
    return effects


def award_offer(command: AwardOffer, tx: Context) -> Rule:
    """Refused: only an offer that leads a slot of a `best` task is awarded, and this version opens none."""
    found = yield Get([keys.offer(command.offer)])
    offer = require_known(found, command.offer)
    raise offer_refusal("AwardOffer", offer.state)


def reveal(command: Reveal, tx: Context) -> Rule:
    """Publish r and pay in the same transaction; anyone who knows r."""
    found = yield Get([keys.offer(command.offer)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("Reveal", offer.state)
    lock = _lock(offer)
    more = yield Get([keys.task(offer.order.task), _slot_key(offer)])
    task = require_offers_task(more, offer).task
    row.window.require(tx.timestamp, task.terms.guard, {Deadline.D: lock.deadline})
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
    settled = replace(offer, state=OfferState.SETTLED, bond=0, lock=replace(lock, secret=command.secret))
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
    row.window.require(tx.timestamp, task.terms.guard, {Deadline.D: _lock(offer).deadline})
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


def _require_provider(task: TaskRecord, tx: Context) -> TaskRecord:
    if tx.caller.account != task.task.provider:
        raise ProviderRequired("only the task's provider acknowledges the key")
    return task


def _tell(effects: Effects, offer: OfferRecord) -> None:
    effects.tell(offer=offer.id.hex(), task=offer.order.task.hex(), state=str(offer.state))
