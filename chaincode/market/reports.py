"""Job tickets and reports (protocol sections 5, 6 and 9).

A report brings only what the enclave found out. Everything else that its signature covers, task, order, ticket and
their digests, the contract rebuilds from its own state, so a report for another offer, another claim or an older state
of the ledger doesn't verify.

A report reads the policy, which settlement doesn't: what the policy accepts of an enclave is looked at again here. All
amounts and times are the task's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.claims import free_slot, require_offers_task, require_open_claim, tell
from goldengrain.chaincode.market.credits import Till
from goldengrain.chaincode.market.enclaves import require_enclave, require_fit
from goldengrain.chaincode.market.guards import require, require_policy
from goldengrain.chaincode.market.offers import free_seller, require_known
from goldengrain.chaincode.market.records import ClaimRecord, ClaimState, EnclaveRecord, Lock, OfferRecord, SlotRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.protocol.commands import SubmitReport
from goldengrain.chaincode.protocol.errors import ClaimNotFound, OperatorRequired, SlotNotFound
from goldengrain.chaincode.protocol.queries import JobTicket
from goldengrain.chaincode.protocol.report import Outcome, Report, Result, check_score
from goldengrain.chaincode.protocol.tables import Deadline, OfferState, SlotState, require_offer
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.threshold import threshold
from goldengrain.chaincode.protocol.ticket import Claim, JobTicketPayload, Ticket


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
    tell(effects, decided, job.record.claim.number, outcome=str(result.outcome), enclave=job.enclave.id.hex())
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


def _ticket(found: Found, task: Task, offer: OfferRecord, made: Claim, enclave: EnclaveRecord) -> Ticket:
    """Build the ticket of a claim from the ledger's state alone."""
    seller = found.get(keys.seller(offer.order.task, offer.developer_msp))
    best_passed = seller.best_passed if seller is not None else None
    lowest = threshold(task.schedule.pairs, task.eta, best_passed, offer.order.reserve)
    return Ticket.of(offer.order, made, enclave.bundle, lowest)
