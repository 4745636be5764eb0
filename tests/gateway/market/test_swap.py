"""A swap through the market client: every party's calls, the money after each step, every way out."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.protocol.commands import SubmitReport
from goldengrain.chaincode.protocol.errors import (
    ContractError,
    OfferNotFound,
    OfferNotStored,
    SecretMismatch,
    SlotTaken,
    TooEarly,
)
from goldengrain.chaincode.protocol.report import LOCKED_SIZE, Outcome, Report, Result
from goldengrain.chaincode.protocol.tables import DatasetState, OfferState, SlotState
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.gateway.errors import EndorseError, EvaluateError, TransactionError
from goldengrain.gateway.market.offers import Offers
from goldengrain.gateway.market.refusals import refusal_of
from tests.gateway.market.conftest import FUNDS, SECRET, Stage

NONCE = b"n" * 32


async def claimed(stage: Stage, offer: bytes) -> int:
    sent = await stage.operator.offers.claim(offer, stage.enclaves[0], 600)
    return int(sent.answer["claim"])


async def reported(stage: Stage, offer: bytes, outcome: Outcome = Outcome.PASS, score: int = 750_000) -> SubmitReport:
    """Claim, get the ticket, and make the report that the enclave would sign."""
    claim = await claimed(stage, offer)
    ticket = await stage.operator.offers.job_ticket(offer, claim, stage.enclaves[0], NONCE)
    payload = JobTicketPayload.from_bytes(ticket.result)
    result = Result(outcome, score, b"l" * LOCKED_SIZE, b"p" * 32) if outcome is Outcome.PASS else Result(outcome)
    signature = Report.of(payload.task, payload.order, payload.ticket, result).sign(stage.enclave_keys[0])
    return SubmitReport(
        offer=offer,
        claim=claim,
        outcome=outcome,
        signature=signature,
        score=result.score,
        locked=result.locked,
        model=result.model,
    )


async def test_a_whole_swap(stage: Stage) -> None:
    before = {name: await market.credits.balance() for name, market in stage.markets.items()}
    assert set(before.values()) == {FUNDS}
    offer = await stage.stored_offer()
    view = await stage.developer.offers.get(offer)
    assert (view.state, view.receipts, view.order.developer) == (
        OfferState.STORED,
        ("Org1MSP",),
        stage.developer.account,
    )
    assert [one.id async for one in stage.operator.offers.open_jobs()] == [offer]
    report = await reported(stage, offer)
    assert [one.id async for one in stage.operator.offers.open_jobs()] == []
    locked = await stage.operator.offers.report(report)
    assert locked.answer["state"] == "locked"
    view = await stage.provider.offers.get(offer)
    assert view.lock is not None
    assert (view.lock.score, view.lock.price, view.lock.simulated) == (750_000, 5500, True)
    revealed = await stage.developer.offers.reveal(offer, SECRET)
    assert (revealed.code, revealed.answer["price"]) == ("VALID", 5500)
    view = await stage.provider.offers.wait(offer, {OfferState.SETTLED}, timeout=5)
    assert view.lock is not None
    assert view.lock.secret == SECRET
    await stage.provider.offers.acknowledge(offer)
    after = {name: await market.credits.balance() for name, market in stage.markets.items()}
    treasury = await stage.provider.credits.treasury()
    assert treasury == 5500 * 250 // 10_000
    assert after["Org2MSP"] - before["Org2MSP"] == 5500 - treasury - 100
    assert after["Org3MSP"] - before["Org3MSP"] == 100
    supply = await stage.provider.supply()
    assert supply.conserved
    assert (supply.minted, supply.held, supply.treasury) == (3 * FUNDS, 3 * FUNDS, treasury)
    assert supply.escrow == 3 * 10_000 + 2000


async def test_money_is_conserved_at_every_step(stage: Stage) -> None:
    offer = await stage.stored_offer()
    assert (await stage.provider.supply()).conserved
    report = await reported(stage, offer)
    assert (await stage.provider.supply()).conserved
    await stage.operator.offers.report(report)
    assert (await stage.provider.supply()).conserved


async def test_the_job_ticket_is_endorsed_by_k_organisations_and_never_submitted(stage: Stage) -> None:
    offer = await stage.stored_offer()
    claim = await claimed(stage, offer)
    height = len(stage.ledger.blocks)
    ticket = await stage.operator.offers.job_ticket(offer, claim, stage.enclaves[0], NONCE)
    organizations = {one.msp_id for one in ticket.endorsements}
    assert len(organizations) == 2
    assert "Org3MSP" in organizations
    payload = JobTicketPayload.from_bytes(ticket.result)
    assert payload.ticket.offer == offer
    assert payload.ticket.enclave == stage.enclaves[0]
    assert len(stage.ledger.blocks) == height
    exact = await stage.operator.offers.job_ticket(
        offer, claim, stage.enclaves[0], NONCE, ["Org1MSP", "Org2MSP", "Org3MSP"]
    )
    assert len(exact.endorsements) == 3


async def test_the_secret_is_not_shown_to_the_providers_peer(stage: Stage) -> None:
    offer = await stage.stored_offer()
    await stage.operator.offers.report(await reported(stage, offer))
    await stage.developer.offers.reveal(offer, SECRET)
    asked = [
        list(one.endorsing_organizations)
        for one in stage.server.requests
        if SECRET.hex().encode() in one.proposed_transaction.proposal_bytes
    ]
    assert asked == [["Org2MSP", "Org3MSP"]]


@pytest.mark.parametrize(
    ("outcome", "state"), [(Outcome.DECLINED, "declined"), (Outcome.FAILED, "failed"), (Outcome.UNUSABLE, "void")]
)
async def test_reports_without_a_price(stage: Stage, outcome: Outcome, state: str) -> None:
    offer = await stage.stored_offer()
    sent = await stage.operator.offers.report(await reported(stage, offer, outcome))
    assert sent.answer["state"] == state
    assert (await stage.provider.supply()).conserved


async def test_a_lock_that_is_not_revealed_is_forfeited(stage: Stage) -> None:
    offer = await stage.stored_offer()
    await stage.operator.offers.report(await reported(stage, offer))
    with pytest.raises(TooEarly):
        await stage.provider.offers.forfeit(offer)
    stage.clock.now += 700
    await stage.provider.offers.forfeit(offer)
    assert (await stage.provider.offers.get(offer)).state is OfferState.FORFEITED
    assert (await stage.provider.supply()).conserved


async def test_a_lease_that_goes_by_lapses_and_the_offer_expires(stage: Stage) -> None:
    offer = await stage.stored_offer()
    claim = await claimed(stage, offer)
    stage.clock.now += 700
    await stage.developer.offers.lapse(offer, claim)
    assert (await stage.provider.offers.get(offer)).state is OfferState.STORED
    stage.clock.now += 2000
    await stage.developer.offers.expire(offer)
    assert (await stage.provider.offers.get(offer)).state is OfferState.EXPIRED
    supply = await stage.provider.supply()
    assert supply.conserved


async def test_an_offer_is_withdrawn_before_its_receipt(stage: Stage) -> None:
    opened = await stage.provider.tasks.open(stage.opening())
    task = opened.id
    sent = await stage.developer.offers.submit(stage.offering(task, stage.developer))
    await stage.developer.offers.withdraw(sent.id)
    assert await stage.developer.credits.balance() == FUNDS
    assert [one.state async for one in stage.developer.offers.listing(task)] == [OfferState.WITHDRAWN]


async def test_what_becomes_of_a_task(stage: Stage) -> None:
    opening = stage.opening(slots=2)
    preview = await stage.provider.tasks.preview(opening)
    opened = await stage.provider.tasks.open(opening)
    assert opened.id == preview.id
    tasks = stage.provider.tasks
    assert [one.id async for one in tasks.listing()] == [preview.id]
    view = await tasks.get(preview.id)
    assert view.task == preview
    assert (view.provider_msp, view.status.dataset, view.status.shut) == ("Org1MSP", DatasetState.HIDDEN, False)
    assert await tasks.free_slots(preview.id) == [0, 1]
    await tasks.shut(preview.id)
    assert (await tasks.get(preview.id)).status.shut
    stage.clock.now += 2500
    await tasks.refund_slot(preview.id, 0)
    assert [one.state for one in await tasks.slots(preview.id)] == [SlotState.SPENT, SlotState.FREE]
    with pytest.raises(ContractError) as caught:
        await tasks.open_dataset(preview.id, b"w" * 32)
    assert caught.value.code == "DATASET_KEY_MISMATCH"
    stage.clock.now += 2500
    await stage.developer.tasks.slash_audit(preview.id)
    assert (await tasks.get(preview.id)).status.dataset is DatasetState.SLASHED
    assert await stage.provider.credits.treasury() == 1000


async def test_refusals_are_raised_under_their_own_names(stage: Stage) -> None:
    opened = await stage.provider.tasks.open(stage.opening())
    task = opened.id
    sent = await stage.developer.offers.submit(stage.offering(task, stage.developer))
    offer = sent.id
    with pytest.raises(OfferNotStored) as refused:
        await claimed(stage, offer)
    cause = refused.value.__cause__
    assert isinstance(cause, EndorseError)
    assert cause.transaction_id
    assert cause.details
    with pytest.raises(OfferNotFound) as missing:
        await stage.developer.offers.get(b"?" * 32)
    assert isinstance(missing.value.__cause__, EvaluateError)
    await stage.provider.offers.receipt(offer)
    await stage.operator.offers.report(await reported(stage, offer))
    with pytest.raises(SecretMismatch):
        await stage.developer.offers.reveal(offer, b"?" * 32)


def test_only_named_refusals_are_translated() -> None:
    assert refusal_of(TransactionError("chaincode response 500, out of memory")) is None
    assert refusal_of(TransactionError("connection refused")) is None
    later = refusal_of(TransactionError("chaincode response 409, FROM_A_NEWER_CONTRACT: no"))
    assert isinstance(later, ContractError)
    assert "FROM_A_NEWER_CONTRACT" in str(later)


async def test_a_slot_taken_meanwhile_is_picked_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = await stage.provider.tasks.open(stage.opening(slots=2))
    task = opened.id
    first = await stage.stored_offer(task)
    other = await stage.provider.offers.submit(stage.offering(task, stage.provider))
    second = other.id
    await stage.provider.offers.receipt(second)
    await claimed(stage, first)
    taken = (await stage.provider.offers.get(first)).slot
    assert taken is not None
    slots = iter([taken, taken, 1 - taken])

    async def picked(self: Offers, offer: object) -> int:
        return next(slots)

    monkeypatch.setattr(Offers, "_slot", picked)
    await stage.operator.offers.claim(second, stage.enclaves[1], 600)
    assert (await stage.provider.offers.get(second)).slot == 1 - taken
    assert list(slots) == []


async def test_no_free_slot_is_said_at_once(stage: Stage) -> None:
    opened = await stage.provider.tasks.open(stage.opening(slots=1))
    task = opened.id
    first = await stage.stored_offer(task)
    await claimed(stage, first)
    other = await stage.provider.offers.submit(stage.offering(task, stage.provider))
    second = other.id
    await stage.provider.offers.receipt(second)
    with pytest.raises(SlotTaken, match="no free slot"):
        await stage.operator.offers.claim(second, stage.enclaves[1], 600)
