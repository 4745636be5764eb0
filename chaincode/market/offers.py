"""Offers: making one, taking it back, sealing it to more enclaves, and the receipt for its ciphertext (section 6)."""

from __future__ import annotations

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.credits import Till, coin_keys
from goldengrain.chaincode.market.enclaves import require_fit_enclaves
from goldengrain.chaincode.market.guards import (
    not_after,
    require,
    require_client,
    require_member,
    require_policy,
    require_unpaused,
)
from goldengrain.chaincode.market.records import (
    MAX_ENVELOPES,
    AttemptRecord,
    IndexRecord,
    OfferRecord,
    SellerRecord,
    TaskRecord,
    TaskStatusRecord,
)
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Rule
from goldengrain.chaincode.market.state import replace
from goldengrain.chaincode.market.tasks import require_task_records
from goldengrain.chaincode.protocol.accounts import Duty
from goldengrain.chaincode.protocol.commands import Receipt, Rewrap, SubmitOffer, WithdrawOffer
from goldengrain.chaincode.protocol.errors import (
    AlreadyStored,
    AttemptsExhausted,
    AttemptSpent,
    BondTooSmall,
    DeveloperRequired,
    EnvelopeExists,
    LiveOfferExists,
    OfferNotFound,
    ReserveTooHigh,
    RuleRefused,
    TaskNotFound,
    TaskShut,
)
from goldengrain.chaincode.protocol.tables import OfferState, require_offer
from goldengrain.chaincode.protocol.task import Task


def submit_offer(command: SubmitOffer, tx: Context) -> Rule:
    """Lock bond and benchmark fee; the caller is the developer. The attempt is spent, whatever comes of it."""
    require_client(tx.caller, Duty.DEVELOPER)
    me = tx.caller
    sealed_to = [one.enclave for one in command.envelopes]
    seller_key = keys.seller(command.task, me.msp_id)
    attempt_key = keys.attempt(command.task, me.msp_id, command.attempt)
    found = yield Get(
        [
            keys.POLICY,
            keys.task(command.task),
            keys.task_status(command.task),
            seller_key,
            attempt_key,
            *coin_keys(me.account, command.coins),
            *(keys.enclave(one) for one in sealed_to),
        ]
    )
    policy = require_policy(found)
    require_unpaused(policy)
    require_member(me, policy)
    record, status = require_task_records(found, command.task)
    _require_open(tx, record, status)
    seller = found.get(seller_key)
    _require_attempt(command, record.task, seller, spent=found.get(attempt_key) is not None)
    _require_amounts(command, record.task)
    require_fit_enclaves(found, sealed_to, policy, tx.timestamp)
    offer = _new_offer(command, record.task, tx)
    effects = Effects(tx, record.task.terms.window)
    effects.put(keys.offer(offer.id), offer)
    effects.put(keys.offer_of(command.task, offer.id), IndexRecord(offer.id))
    effects.put(keys.offer_by(me.account, offer.id), IndexRecord(offer.id))
    effects.put(attempt_key, AttemptRecord(offer.id))
    effects.put(seller_key, SellerRecord(offer.id, seller.best_passed if seller else None))
    till = Till(effects)
    till.take(found, me.account, command.coins, offer.bond + offer.fee)
    till.close()
    effects.tell(
        offer=offer.id.hex(),
        task=command.task.hex(),
        developer=me.account.hex(),
        attempt=command.attempt,
        bond=offer.bond,
        fee=offer.fee,
        **_state(offer),
    )
    effects.result = {"offer": offer.id.hex()}
    return effects


def withdraw_offer(command: WithdrawOffer, tx: Context) -> Rule:
    """Give bond and fee back to the developer; the attempt stays spent."""
    key = keys.offer(command.offer)
    found = yield Get([key])
    offer = require_known(found, command.offer)
    _require_developer(tx, offer)
    require_offer("WithdrawOffer", offer.state)
    seller_key = keys.seller(offer.order.task, offer.developer_msp)
    task_key = keys.task(offer.order.task)
    more = yield Get([seller_key, task_key])
    effects = Effects(tx, _task(more, offer).task.terms.window)
    gone = replace(offer, state=OfferState.WITHDRAWN, bond=0, fee=0)
    effects.put(key, gone)
    free_seller(effects, more, offer)
    till = Till(effects)
    till.pay(offer.order.developer, offer.held)
    till.close()
    effects.tell(offer=command.offer.hex(), **_state(gone))
    return effects


def rewrap(command: Rewrap, tx: Context) -> Rule:
    """Add envelopes for further enclaves, before a claim."""
    key = keys.offer(command.offer)
    sealed_to = [one.enclave for one in command.envelopes]
    found = yield Get([key, keys.POLICY, *(keys.enclave(one) for one in sealed_to)])
    offer = require_known(found, command.offer)
    _require_developer(tx, offer)
    require_offer("Rewrap", offer.state)
    policy = require_policy(found)
    known = [one.enclave for one in offer.envelopes]
    if any(one in known for one in sealed_to):
        raise EnvelopeExists("an envelope to one of these enclaves is there; seal to others")
    if len(known) + len(sealed_to) > MAX_ENVELOPES:
        raise RuleRefused(f"an offer has at most {MAX_ENVELOPES} envelopes")
    require_fit_enclaves(found, sealed_to, policy, tx.timestamp)
    effects = Effects(tx, policy.window)
    effects.put(key, replace(offer, envelopes=(*offer.envelopes, *command.envelopes)))
    effects.tell(offer=command.offer.hex(), enclaves=[one.hex() for one in sealed_to], **_state(offer))
    return effects


def receipt(command: Receipt, tx: Context) -> Rule:
    """State that the caller's organisation stores the ciphertext; the provider's makes the offer claimable."""
    require_client(tx.caller, Duty.STORER)
    key = keys.offer(command.offer)
    found = yield Get([key])
    offer = require_known(found, command.offer)
    require_offer("Receipt", offer.state)
    if tx.caller.msp_id in offer.receipts:
        raise AlreadyStored(f"{tx.caller.msp_id} has given its receipt for this offer")
    more = yield Get([keys.task(offer.order.task)])
    task = _task(more, offer)
    stored = replace(offer, receipts=(*offer.receipts, tx.caller.msp_id))
    effects = Effects(tx, task.task.terms.window)
    if tx.caller.msp_id == task.provider_msp:
        stored = replace(stored, state=OfferState.STORED)
        effects.put(keys.job(offer.id), IndexRecord(offer.id))
    effects.put(key, stored)
    effects.tell(offer=command.offer.hex(), organization=tx.caller.msp_id, **_state(stored))
    return effects


def require_known(found: Found, offer: bytes) -> OfferRecord:
    """Return an offer; raises `OfferNotFound`."""
    return require(found, keys.offer(offer), OfferNotFound, f"there is no offer {offer.hex()}")


def free_seller(effects: Effects, found: Found, offer: OfferRecord, passed: int | None = None) -> None:
    """Let the developer's organisation offer again, and keep its best score that passed."""
    key = keys.seller(offer.order.task, offer.developer_msp)
    before = found.get(key)
    scores = [score for score in (before.best_passed if before else None, passed) if score is not None]
    effects.put(key, SellerRecord(None, max(scores) if scores else None))


def _task(found: Found, offer: OfferRecord) -> TaskRecord:
    return require(found, keys.task(offer.order.task), TaskNotFound, "the offer's task is gone")


def _state(offer: OfferRecord) -> dict[str, str]:
    return {"state": str(offer.state)}


def _require_open(tx: Context, record: TaskRecord, status: TaskStatusRecord) -> None:
    if status.shut and tx.timestamp > status.last_offer:
        raise TaskShut("the provider takes no more offers for this task")
    not_after(tx, status.last_offer, "S, the last offers,")


def _require_attempt(command: SubmitOffer, task: Task, seller: SellerRecord | None, spent: bool) -> None:
    if command.attempt > task.attempts:
        raise AttemptsExhausted(f"the task grants an organisation {task.attempts} attempts")
    if spent:
        raise AttemptSpent(f"attempt {command.attempt} of your organisation is spent; take the next number")
    if seller is not None and seller.live is not None:
        raise LiveOfferExists(f"your organisation's offer {seller.live.hex()} is not decided yet")


def _require_amounts(command: SubmitOffer, task: Task) -> None:
    if command.reserve > task.schedule.top_price:
        raise ReserveTooHigh(f"the reserve is above the top price {task.schedule.top_price}")
    if command.bond < task.minimum_bond:
        raise BondTooSmall(f"the bond must be at least {task.minimum_bond}")


def _require_developer(tx: Context, offer: OfferRecord) -> None:
    if tx.caller.account != offer.order.developer:
        raise DeveloperRequired("only the offer's developer may do this")


def _new_offer(command: SubmitOffer, task: Task, tx: Context) -> OfferRecord:
    order = command.order(task, tx.caller.account)
    return OfferRecord(
        id=order.offer_id,
        order=order,
        developer_msp=tx.caller.msp_id,
        provider_may_operate=command.provider_may_operate,
        state=OfferState.OFFERED,
        bond=command.bond,
        fee=task.benchmark_fee,
        offered=tx.timestamp,
        transaction=tx.tx_id,
        envelopes=command.envelopes,
        enclaves=task.enclaves,
    )
