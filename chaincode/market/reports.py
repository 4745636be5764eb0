"""Job tickets and reports (protocol sections 5, 6 and 9).

A report brings only what the enclave found out. Everything else that its signature covers, task, order, ticket and
their digests, the contract rebuilds from its own state, so a report for another offer, another claim or an older state
of the ledger doesn't verify.

A report reads the policy, which settlement doesn't: what the policy accepts of an enclave is looked at again here. All
amounts and times are the task's own.
"""

from __future__ import annotations

from typing import Any

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.claims import require_offers_task, require_open_claim, tell
from goldengrain.chaincode.market.decisions import Case, decide, deciding_keys
from goldengrain.chaincode.market.enclaves import require_enclave, require_fit
from goldengrain.chaincode.market.guards import require_policy
from goldengrain.chaincode.market.offers import require_known
from goldengrain.chaincode.market.records import ClaimRecord, ClaimState, EnclaveRecord, OfferRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.market.state import replace
from goldengrain.chaincode.protocol.commands import SubmitReport
from goldengrain.chaincode.protocol.errors import ClaimNotFound, OperatorRequired
from goldengrain.chaincode.protocol.queries import JobTicket
from goldengrain.chaincode.protocol.report import Report, Result, check_score
from goldengrain.chaincode.protocol.tables import Deadline, require_offer
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
    """Check a report against the ledger's own state; the last one wanted decides the offer."""
    found = yield Get([keys.POLICY, keys.offer(command.offer), keys.claim(command.offer, command.claim)])
    offer = require_known(found, command.offer)
    (row,) = require_offer("SubmitReport", offer.state)
    record = require_open_claim(found, offer, command.claim)
    if tx.caller.account != record.claim.operator:
        raise OperatorRequired("only the operator that made this claim reports on it")
    last = len(offer.reported_claims) + 1 == offer.enclaves
    task_id, enclave_key = offer.order.task, keys.enclave(record.claim.enclave)
    own: list[Key[Any]] = [keys.task(task_id), enclave_key, keys.seller(task_id, offer.developer_msp)]
    more = yield Get([*own, *(deciding_keys(offer, command.outcome) if last else [])])
    task = require_offers_task(more, offer)
    row.window.require(tx.timestamp, task.task.terms.guard, {Deadline.LEASE: record.claim.lease_end})
    enclave = require_enclave(more, record.claim.enclave)
    require_fit(enclave, require_policy(found), tx.timestamp)
    result = command.result()
    ticket = _ticket(more, task.task, offer, record.claim, enclave)
    Report.of(task.task, offer.order, ticket, result).verify(command.signature)
    check_score(result, task.task.eta, ticket.threshold)
    reported = _reported(record, result, enclave, ticket, tx)
    if last:
        return (yield from decide(Case(tx, offer, task.task, reported), more))
    return _hold(Case(tx, offer, task.task, reported))


def _hold(case: Case) -> Effects:
    """Keep a report until the others are in: no money moves."""
    number = case.last.claim.number
    effects = Effects(case.tx, case.task.terms.window)
    waiting = replace(
        case.offer,
        open_claims=tuple(one for one in case.offer.open_claims if one != number),
        reported_claims=(*case.offer.reported_claims, number),
    )
    effects.put(keys.offer(case.offer.id), waiting)
    effects.put(keys.claim(case.offer.id, number), case.last)
    effects.tell(outcome=str(case.last.outcome), enclave=case.last.claim.enclave.hex())
    tell(effects, waiting, number)
    effects.result = {"offer": case.offer.id.hex(), "state": str(waiting.state)}
    return effects


def _reported(record: ClaimRecord, result: Result, enclave: EnclaveRecord, ticket: Ticket, tx: Context) -> ClaimRecord:
    return replace(
        record,
        state=ClaimState.REPORTED,
        outcome=result.outcome,
        reported=tx.timestamp,
        score=result.score,
        locked=result.locked,
        model=result.model,
        threshold=ticket.threshold,
        report=tx.tx_id,
        simulated=enclave.simulated,
        registration=enclave.transaction,
    )


def _ticket(found: Found, task: Task, offer: OfferRecord, made: Claim, enclave: EnclaveRecord) -> Ticket:
    """Build the ticket of a claim from the ledger's state alone."""
    seller = found.get(keys.seller(offer.order.task, offer.developer_msp))
    best_passed = seller.best_passed if seller is not None else None
    lowest = threshold(task.schedule.pairs, task.eta, best_passed, offer.order.reserve)
    return Ticket.of(offer.order, made, enclave.bundle, lowest)
