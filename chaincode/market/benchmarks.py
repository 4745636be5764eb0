"""Benchmarks: an operator claims an offer, gets a job ticket, and reports (protocol sections 5, 6 and 9).

A report brings only what the enclave found out. Everything else that its signature covers, task, order, ticket and
their digests, the contract rebuilds from its own state, so a report for another offer, another claim or an older state
of the ledger doesn't verify.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from goldengrain.chaincode.market.offers import free_seller, require_known
from goldengrain.chaincode.market.records import (
    ClaimRecord,
    ClaimState,
    EnclaveRecord,
    Envelopes,
    IndexRecord,
    Lock,
    OfferRecord,
    SlotRecord,
    TaskRecord,
)
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.protocol.commands import Claim as ClaimCommand
from goldengrain.chaincode.protocol.commands import Lapse, SubmitReport
from goldengrain.chaincode.protocol.errors import (
    AlreadyClaimed,
    AlreadyReported,
    ClaimNotFound,
    ClaimsFull,
    DeveloperOrganization,
    EnvelopeMissing,
    LeaseRefused,
    OperatorRequired,
    ProviderOrganization,
    SlotNotFound,
    SlotTaken,
    TaskNotFound,
)
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.queries import JobTicket
from goldengrain.chaincode.protocol.report import Outcome, Report, Result, check_score
from goldengrain.chaincode.protocol.tables import Deadline, OfferState, SlotState, require_offer
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.threshold import threshold
from goldengrain.chaincode.protocol.ticket import Claim, JobTicketPayload, Ticket


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
    _tell(effects, claimed, number, enclave=enclave.id.hex(), lease_end=record.claim.lease_end, slot=slot.index)
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
    _tell(effects, waiting, command.claim)
    return effects


def job_ticket(query: JobTicket, tx: Context) -> Rule:
    """State that an enclave is to run an offer. Endorsed by k organisations, never submitted; it writes nothing."""
    found = yield Get([keys.offer(query.offer), keys.claim(query.offer, query.claim), keys.enclave(query.enclave)])
    offer = require_known(found, query.offer)
    (row,) = require_offer("SubmitReport", offer.state)
    record = require_open_claim(found, offer, query.claim)
    if record.claim.enclave != query.enclave:
        raise ClaimNotFound(f"claim {query.claim} is another enclave's; ask for its own ticket")
    enclave = require_enclave(found, query.enclave)
    more = yield Get([keys.task(offer.order.task), keys.seller(offer.order.task, offer.developer_msp)])
    task = require_offers_task(more, offer)
    row.window.require(tx.timestamp, task.task.terms.guard, {Deadline.LEASE: record.claim.lease_end})
    effects = Effects(tx, task.task.terms.window)
    ticket = _ticket(more, task.task, offer, record.claim, enclave)
    effects.result = JobTicketPayload(task.task, offer.order, ticket).to_bytes()
    return effects


def submit_report(command: SubmitReport, tx: Context) -> Rule:
    """Check a report against the ledger's own state and let the money follow from its outcome."""
    claim_key = keys.claim(command.offer, command.claim)
    found = yield Get([keys.POLICY, keys.offer(command.offer), claim_key])
    offer = require_known(found, command.offer)
    (row,) = require_offer("SubmitReport", offer.state)
    record = require_open_claim(found, offer, command.claim)
    if tx.caller.account != record.claim.operator:
        raise OperatorRequired("only the operator that made this claim reports on it")
    task_id, slot_key = offer.order.task, keys.slot(offer.order.task, offer.slot or 0)
    enclave_key = keys.enclave(record.claim.enclave)
    more = yield Get([keys.task(task_id), enclave_key, slot_key, keys.seller(task_id, offer.developer_msp)])
    task = require_offers_task(more, offer)
    row.window.require(tx.timestamp, task.task.terms.guard, {Deadline.LEASE: record.claim.lease_end})
    enclave = require_enclave(more, record.claim.enclave)
    require_fit(enclave, require_policy(found), tx.timestamp)
    result = command.result()
    ticket = _ticket(more, task.task, offer, record.claim, enclave)
    Report.of(task.task, offer.order, ticket, result).verify(command.signature)
    check_score(result, task.task.eta, ticket.threshold)
    return _settle_report(_Job(tx, offer, record, task.task, enclave, result, slot_key), more)


@dataclass(frozen=True)
class _Job:
    tx: Context
    offer: OfferRecord
    record: ClaimRecord
    task: Task
    enclave: EnclaveRecord
    result: Result
    slot_key: Key[SlotRecord]


def _settle_report(job: _Job, found: Found) -> Effects:
    """Write what follows from the last report wanted (section 6, the rows of `report`)."""
    effects = Effects(job.tx, job.task.terms.window)
    till = Till(effects)
    offer, result, passed = job.offer, job.result, job.result.outcome is Outcome.PASS
    till.pay(job.record.claim.operator, job.record.deposit)
    if result.outcome is Outcome.UNUSABLE:
        till.pay(offer.order.developer, offer.fee)
    else:
        till.pay(job.record.claim.operator, offer.fee)
    if passed:
        price = job.task.schedule.price(result.score)
        decided = replace(offer, state=OfferState.LOCKED, fee=0, open_claims=(), lock=_lock(job, price))
        till.pay(job.task.provider, _lock_slot(effects, found, job, price))
    else:
        decided = replace(offer, state=_ENDS[result.outcome], fee=0, bond=0, open_claims=(), slot=None)
        till.pay(offer.order.developer, offer.bond)
        free_slot(effects, found, job.slot_key)
    effects.put(keys.offer(offer.id), decided)
    effects.put(keys.claim(offer.id, job.record.claim.number), _reported(job))
    free_seller(effects, found, offer, result.score if passed else None)
    till.close()
    _tell(effects, decided, job.record.claim.number, outcome=str(result.outcome), enclave=job.enclave.id.hex())
    if decided.lock is not None:
        lock = decided.lock
        effects.tell(score=lock.score, price=lock.price, deadline=lock.deadline, simulated=lock.simulated)
    effects.result = {"offer": offer.id.hex(), "state": str(decided.state)}
    return effects


_ENDS = {
    Outcome.DECLINED: OfferState.DECLINED,
    Outcome.FAILED: OfferState.FAILED,
    Outcome.UNUSABLE: OfferState.VOID,
}


def _lock(job: _Job, price: int) -> Lock:
    if job.result.model is None:
        raise AssertionError("a pass without the model's digest")
    return Lock(
        score=job.result.score,
        price=price,
        enclave=job.enclave.id,
        model=job.result.model,
        deadline=job.tx.timestamp + job.task.reveal,
        simulated=job.enclave.simulated,
        locked=job.result.locked,
    )


def _lock_slot(effects: Effects, found: Found, job: _Job, price: int) -> int:
    """Leave the price in the slot; returns the surplus."""
    slot = require(found, job.slot_key, SlotNotFound, "the offer's slot is gone")
    effects.put(job.slot_key, replace(slot, state=SlotState.LOCKED, amount=price))
    return slot.amount - price


def _reported(job: _Job) -> ClaimRecord:
    return replace(
        job.record,
        state=ClaimState.REPORTED,
        deposit=0,
        outcome=job.result.outcome,
        reported=job.tx.timestamp,
    )


def free_slot(effects: Effects, found: Found, key: Key[SlotRecord]) -> None:
    """Let others take the slot again."""
    slot = require(found, key, SlotNotFound, "the offer's slot is gone")
    effects.put(key, replace(slot, state=SlotState.FREE, offer=None))


def require_offers_task(found: Found, offer: OfferRecord) -> TaskRecord:
    """Return the task of an offer."""
    return require(found, keys.task(offer.order.task), TaskNotFound, "the offer's task is gone")


def require_open_claim(found: Found, offer: OfferRecord, number: int) -> ClaimRecord:
    """Return a claim that is open; raises `ClaimNotFound`, `AlreadyReported`."""
    missing = f"the offer has no open claim {number}; open are {list(offer.open_claims)}"
    record = require(found, keys.claim(offer.id, number), ClaimNotFound, missing)
    if record.state is ClaimState.REPORTED:
        raise AlreadyReported(f"a report on claim {number} is in")
    if record.state is ClaimState.LAPSED:
        raise ClaimNotFound(missing)
    return record


def _ticket(found: Found, task: Task, offer: OfferRecord, made: Claim, enclave: EnclaveRecord) -> Ticket:
    """Build the ticket of a claim from the ledger's state alone."""
    seller = found.get(keys.seller(offer.order.task, offer.developer_msp))
    best_passed = seller.best_passed if seller is not None else None
    lowest = threshold(task.schedule.pairs, task.eta, best_passed, offer.order.reserve)
    return Ticket.of(offer.order, made, enclave.bundle, lowest)


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


def _tell(effects: Effects, offer: OfferRecord, number: int, **facts: object) -> None:
    effects.tell(offer=offer.id.hex(), task=offer.order.task.hex(), claim=number, state=str(offer.state), **facts)
