"""Claims: an operator promises to run an offer on an enclave until its lease ends (protocol sections 5 and 6)."""

from __future__ import annotations

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
from goldengrain.chaincode.market.state import replace
from goldengrain.chaincode.protocol.accounts import Duty
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
    SlotNotFree,
    SlotTaken,
    TaskNotFound,
)
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.tables import Deadline, OfferState, SlotState, require_offer
from goldengrain.chaincode.protocol.task import Award, Task
from goldengrain.chaincode.protocol.ticket import Claim


def claim(command: ClaimCommand, tx: Context) -> Rule:
    """Lock the operator's deposit; the first claim for `each` reserves a slot. From now on the lease runs."""
    require_client(tx.caller, Duty.OPERATOR)
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
    takes = command.slot is not None and offer.slot is None
    slot_keys = [keys.slot(offer.order.task, command.slot)] if takes and command.slot is not None else []
    more = yield Get([keys.task(offer.order.task), *slot_keys])
    task = require_offers_task(more, offer)
    _require_room(offer, enclave, task)
    _require_lease(command.lease, tx, policy, task.task)
    effects = Effects(tx, task.task.terms.window)
    slot = _take_slot(effects, command, more, offer, task.task)
    record = _new_claim(command, tx, offer, enclave, task, slot)
    number = record.claim.number
    claimed = replace(
        offer,
        state=OfferState.CLAIMED,
        claim_count=number,
        open_claims=(*offer.open_claims, number),
        claimed_by=(*offer.claimed_by, enclave.id),
        slot=slot,
    )
    effects.put(keys.offer(offer.id), claimed)
    effects.put(keys.claim(offer.id, number), record)
    if not wants_enclaves(claimed):
        effects.delete(keys.job(offer.id))
    till = Till(effects)
    till.take(found, tx.caller.account, command.coins, record.deposit)
    till.close()
    tell(effects, claimed, number, enclave=enclave.id.hex(), lease_end=record.claim.lease_end, slot=slot)
    effects.result = {"claim": number, "lease_end": record.claim.lease_end}
    return effects


def lapse(command: Lapse, tx: Context) -> Rule:
    """End a claim whose lease went by: its deposit goes to the developer, and the offer waits for another enclave."""
    found = yield Get([keys.offer(command.offer), keys.claim(command.offer, command.claim)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("Lapse", offer.state)
    record = require_open_claim(found, offer, command.claim)
    remaining = tuple(number for number in offer.open_claims if number != command.claim)
    empty = not remaining and not offer.reported_claims
    slot_keys = [keys.slot(offer.order.task, offer.slot)] if empty and offer.slot is not None else []
    more = yield Get([keys.task(offer.order.task), *slot_keys])
    task = require_offers_task(more, offer)
    row.window.require(tx.timestamp, task.task.terms.guard, {Deadline.LEASE: record.claim.lease_end})
    effects = Effects(tx, task.task.terms.window)
    waiting = replace(offer, open_claims=remaining)
    if empty:
        waiting = replace(waiting, state=OfferState.STORED, slot=None)
    effects.put(keys.offer(offer.id), waiting)
    effects.put(keys.claim(offer.id, command.claim), replace(record, state=ClaimState.LAPSED, deposit=0))
    for slot_key in slot_keys:
        free_slot(effects, more, slot_key)
    if not wants_enclaves(offer):
        effects.put(keys.job(offer.id), IndexRecord(offer.id))
    till = Till(effects)
    till.pay(offer.order.developer, record.deposit)
    till.close()
    tell(effects, waiting, command.claim)
    return effects


def wants_enclaves(offer: OfferRecord) -> bool:
    """Tell whether fewer enclaves run it, or have reported, than the task wants."""
    return len(offer.open_claims) + len(offer.reported_claims) < offer.enclaves


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
    if not wants_enclaves(offer):
        raise ClaimsFull("as many enclaves as the task wants have claimed the offer")
    if enclave.id in offer.claimed_by:
        raise AlreadyClaimed("this enclave has claimed the offer before; leave it to another one")


def _require_lease(lease: int, tx: Context, policy: Policy, task: Task) -> None:
    if not policy.lease_min <= lease <= policy.lease_max:
        raise LeaseRefused(f"a lease lasts {policy.lease_min} to {policy.lease_max} s")
    if tx.timestamp + lease > task.last_report:
        raise LeaseRefused(f"the lease would end after B = {task.last_report}, the last reports")


def _take_slot(effects: Effects, command: ClaimCommand, found: Found, offer: OfferRecord, task: Task) -> int | None:
    """Reserve the slot that the first claim of an offer names; a further claim is for the same one."""
    if task.award is Award.BEST:
        if command.slot is not None:
            raise SlotNotFree("award `best` reserves no slot; claim without naming one")
        return None
    if offer.slot is not None:
        if command.slot not in (None, offer.slot):
            raise SlotTaken(f"the offer holds slot {offer.slot}; name that one or none")
        return offer.slot
    key = None if command.slot is None else keys.slot(offer.order.task, command.slot)
    slot = None if key is None else found.get(key)
    if key is None or slot is None:
        raise SlotNotFound(f"name one of the task's slots 0 to {task.slots - 1}, a free one picked at random")
    if slot.state is not SlotState.FREE:
        raise SlotTaken(f"slot {slot.index} is {slot.state}; pick another one at random")
    effects.put(key, replace(slot, state=SlotState.RESERVED, offer=offer.id))
    return slot.index


def _new_claim(
    command: ClaimCommand, tx: Context, offer: OfferRecord, enclave: EnclaveRecord, task: TaskRecord, slot: int | None
) -> ClaimRecord:
    made = Claim(
        number=offer.claim_count + 1,
        enclave=enclave.id,
        operator=tx.caller.account,
        operator_msp=tx.caller.msp_id,
        lease_end=tx.timestamp + command.lease,
        slot=slot,
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
