"""Claims: an operator promises to run an offer on an enclave until its lease ends (protocol sections 5 and 6)."""

from __future__ import annotations

from dataclasses import replace

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.credits import Till, coin_keys
from goldengrain.chaincode.market.enclaves import require_enclave, require_fit
from goldengrain.chaincode.market.guards import (
    require,
    require_client,
    require_member,
    require_operator,
    require_policy,
    require_unpaused,
)
from goldengrain.chaincode.market.offers import require_known
from goldengrain.chaincode.market.records import (
    ClaimRecord,
    ClaimState,
    EnclaveRecord,
    Envelopes,
    IndexRecord,
    OfferRecord,
    SlotRecord,
    TaskRecord,
)
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.protocol.commands import Claim as ClaimCommand
from goldengrain.chaincode.protocol.commands import Lapse
from goldengrain.chaincode.protocol.errors import (
    AlreadyClaimed,
    AlreadyReported,
    ClaimNotFound,
    ClaimsFull,
    DeveloperOrganization,
    EnvelopeMissing,
    LeaseRefused,
    ProviderOrganization,
    SlotNotFound,
    SlotTaken,
    TaskNotFound,
)
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.tables import Deadline, OfferState, SlotState, require_offer
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.ticket import Claim


def claim(command: ClaimCommand, tx: Context) -> Rule:
    """Lock the operator's deposit and reserve a slot; from now on the lease runs."""
    require_client(tx.caller)
    found = yield Get(
        [
            keys.POLICY,
            keys.offer(command.offer),
            keys.enclave(command.enclave),
            *coin_keys(tx.caller.account, command.coins),
        ]
    )
    policy = require_policy(found)
    require_unpaused(policy)
    require_member(tx.caller, policy)
    offer = require_known(found, command.offer)
    enclave = require_enclave(found, command.enclave)
    require_operator(tx, enclave.operator, policy)
    require_fit(enclave, policy, tx.timestamp)
    require_offer("Claim", offer.state)
    slot_key = keys.slot(offer.order.task, command.slot or 0)
    more = yield Get([keys.task(offer.order.task), slot_key])
    task = require_offers_task(more, offer)
    _require_room(offer, enclave, task)
    _require_lease(command.lease, tx, policy, task.task)
    slot = _require_free_slot(command, more.get(slot_key), task.task)
    effects = Effects(tx, task.task.terms.window)
    record = _new_claim(command, tx, offer, enclave, task)
    number = record.claim.number
    claimed = replace(
        offer,
        state=OfferState.CLAIMED,
        claim_count=number,
        open_claims=(*offer.open_claims, number),
        claimed_by=(*offer.claimed_by, enclave.id),
        slot=slot.index,
    )
    effects.put(keys.offer(offer.id), claimed)
    effects.put(keys.claim(offer.id, number), record)
    effects.put(slot_key, replace(slot, state=SlotState.RESERVED, offer=offer.id))
    effects.delete(keys.job(offer.id))
    till = Till(effects)
    till.take(found, tx.caller.account, command.coins, record.deposit)
    till.close()
    tell(effects, claimed, number, enclave=enclave.id.hex(), lease_end=record.claim.lease_end, slot=slot.index)
    effects.result = {"claim": number, "lease_end": record.claim.lease_end}
    return effects


def lapse(command: Lapse, tx: Context) -> Rule:
    """End a claim whose lease went by: its deposit goes to the developer, and the offer waits for another enclave."""
    found = yield Get([keys.offer(command.offer), keys.claim(command.offer, command.claim)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("Lapse", offer.state)
    record = require_open_claim(found, offer, command.claim)
    slot_key = keys.slot(offer.order.task, offer.slot or 0)
    more = yield Get([keys.task(offer.order.task), slot_key])
    task = require_offers_task(more, offer)
    row.window.require(tx.timestamp, task.task.terms.guard, {Deadline.LEASE: record.claim.lease_end})
    effects = Effects(tx, task.task.terms.window)
    waiting = replace(offer, state=OfferState.STORED, open_claims=(), slot=None)
    effects.put(keys.offer(offer.id), waiting)
    effects.put(keys.claim(offer.id, command.claim), replace(record, state=ClaimState.LAPSED, deposit=0))
    free_slot(effects, more, slot_key)
    effects.put(keys.job(offer.id), IndexRecord(offer.id))
    till = Till(effects)
    till.pay(offer.order.developer, record.deposit)
    till.close()
    tell(effects, waiting, command.claim)
    return effects


def require_open_claim(found: Found, offer: OfferRecord, number: int) -> ClaimRecord:
    """Return a claim that is open; raises `ClaimNotFound`, `AlreadyReported`."""
    missing = f"the offer has no open claim {number}; open are {list(offer.open_claims)}"
    record = require(found, keys.claim(offer.id, number), ClaimNotFound, missing)
    if record.state is ClaimState.REPORTED:
        raise AlreadyReported(f"a report on claim {number} is in")
    if record.state is ClaimState.LAPSED:
        raise ClaimNotFound(missing)
    return record


def require_offers_task(found: Found, offer: OfferRecord) -> TaskRecord:
    """Return the task of an offer."""
    return require(found, keys.task(offer.order.task), TaskNotFound, "the offer's task is gone")


def free_slot(effects: Effects, found: Found, key: Key[SlotRecord]) -> None:
    """Let others take the slot again."""
    slot = require(found, key, SlotNotFound, "the offer's slot is gone")
    effects.put(key, replace(slot, state=SlotState.FREE, offer=None))


def tell(effects: Effects, offer: OfferRecord, number: int, **facts: object) -> None:
    """Tell in the event which offer, task and claim it is about, and the offer's state."""
    effects.tell(offer=offer.id.hex(), task=offer.order.task.hex(), claim=number, state=str(offer.state), **facts)


def _require_room(offer: OfferRecord, enclave: EnclaveRecord, task: TaskRecord) -> None:
    if enclave.operator_msp == offer.developer_msp:
        raise DeveloperOrganization("an enclave doesn't run models of its own operator's organisation")
    if enclave.operator_msp == task.provider_msp and not offer.provider_may_operate:
        raise ProviderOrganization("the developer doesn't let the provider's organisation run this model")
    if len(offer.open_claims) >= task.task.enclaves:
        raise ClaimsFull("as many enclaves as the task wants have claimed the offer")
    if enclave.id in offer.claimed_by:
        raise AlreadyClaimed("this enclave has claimed the offer before; leave it to another one")


def _require_lease(lease: int, tx: Context, policy: Policy, task: Task) -> None:
    if not policy.lease_min <= lease <= policy.lease_max:
        raise LeaseRefused(f"a lease lasts {policy.lease_min} to {policy.lease_max} s")
    if tx.timestamp + lease > task.last_report:
        raise LeaseRefused(f"the lease would end after B = {task.last_report}, the last reports")


def _require_free_slot(command: ClaimCommand, slot: SlotRecord | None, task: Task) -> SlotRecord:
    if command.slot is None or slot is None:
        raise SlotNotFound(f"name one of the task's slots 0 to {task.slots - 1}, a free one picked at random")
    if slot.state is not SlotState.FREE:
        raise SlotTaken(f"slot {slot.index} is {slot.state}; pick another one at random")
    return slot


def _new_claim(
    command: ClaimCommand, tx: Context, offer: OfferRecord, enclave: EnclaveRecord, task: TaskRecord
) -> ClaimRecord:
    made = Claim(
        number=offer.claim_count + 1,
        enclave=enclave.id,
        operator=tx.caller.account,
        operator_msp=tx.caller.msp_id,
        lease_end=tx.timestamp + command.lease,
        slot=command.slot,
        model_envelope=_envelope(offer.envelopes, enclave.id, "the model's key; the developer may `Rewrap`"),
        dataset_envelope=_envelope(task.envelopes, enclave.id, "the test set's key; claim with another enclave"),
    )
    return ClaimRecord(
        offer=offer.id,
        claim=made,
        state=ClaimState.OPEN,
        deposit=task.task.terms.deposit,
        claimed=tx.timestamp,
        transaction=tx.tx_id,
    )


def _envelope(envelopes: Envelopes, enclave: bytes, what: str) -> bytes:
    for one in envelopes:
        if one.enclave == enclave:
            return one.digest
    raise EnvelopeMissing(f"this enclave has no envelope with {what}")
