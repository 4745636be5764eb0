"""The award `best`: passing offers compete for the slots until B, and what they lose when they are beaten."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.market.rules import MAX_READS
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.errors import OfferNotLeading, SlotNotFree, TooEarly
from goldengrain.chaincode.protocol.tables import OfferState, SlotState
from goldengrain.chaincode.protocol.task import Award
from tests.chaincode.market.world import (
    DEVELOPER,
    FUNDS,
    OPERATOR3,
    OTHER_DEVELOPER,
    PROVIDER,
    STRANGER,
    World,
    enclave3,
)

GUARD = 300
TOP = 5_001


@pytest.fixture
def best(world: World) -> bytes:
    """A task with one slot for the best offer."""
    return world.open_task(award=Award.BEST, slots=1)


def test_a_pass_takes_a_free_slot_and_keeps_its_bond_and_the_budget_in_escrow(world: World, best: bytes) -> None:
    offer = world.leading(best)
    record, slot = world.offer_record(offer), world.slot(best)
    assert record.state is OfferState.LEADING
    assert record.lock is not None
    assert (record.lock.deadline, record.slot, record.bond > 0) == (None, 0, True)
    assert (slot.state, slot.amount, slot.offer, slot.score, slot.entry) == (
        SlotState.LEADING, TOP, offer, 700_000, 1
    )  # fmt: skip


def test_a_claim_for_best_reserves_no_slot(world: World, best: bytes) -> None:
    offer = world.stored(best)
    with pytest.raises(SlotNotFree):
        world.send(OPERATOR3, world.claiming(offer, slot=0))
    world.claim(offer)
    assert world.slot(best).state is SlotState.FREE


def test_a_better_one_displaces_the_leading_one_whose_bond_goes_back(world: World, best: bytes) -> None:
    first = world.leading(best, score=700_000)
    bond, before = world.offer_record(first).bond, world.balance(DEVELOPER)
    second = world.leading(best, OTHER_DEVELOPER, score=700_100)
    assert world.ledger.transactions[-1].round_trips <= MAX_READS
    assert world.state_of(first) is OfferState.DISPLACED
    assert world.balance(DEVELOPER) == before + bond
    lost = world.offer_record(first)
    assert lost.lock is not None
    assert (lost.held, lost.lock.locked, lost.slot) == (0, b"", None)
    assert (world.slot(best).offer, world.slot(best).entry) == (second, 2)


def test_an_equal_newcomer_is_outbid_and_pays_the_benchmark_fee_alone(world: World, best: bytes) -> None:
    first = world.leading(best, score=700_000)
    before = world.balance(OTHER_DEVELOPER)
    second = world.leading(best, OTHER_DEVELOPER, score=700_000)
    assert (world.state_of(first), world.state_of(second)) == (OfferState.LEADING, OfferState.OUTBID)
    assert world.balance(OTHER_DEVELOPER) == before - world.terms_of(best).benchmark_fee
    assert world.slot(best).offer == first


def test_among_equals_the_latest_entrant_is_displaced(world: World) -> None:
    task = world.open_task(award=Award.BEST, slots=2)
    first = world.leading(task, score=700_000)
    second = world.leading(task, OTHER_DEVELOPER, score=700_000)
    third = world.leading(task, score=800_000, attempt=2)
    assert [world.state_of(one) for one in (first, second, third)] == [
        OfferState.LEADING, OfferState.DISPLACED, OfferState.LEADING
    ]  # fmt: skip
    fourth = world.leading(task, OTHER_DEVELOPER, score=700_100, attempt=2)
    assert world.state_of(first) is OfferState.DISPLACED
    assert world.state_of(fourth) is OfferState.LEADING
    assert world.slot(task, 0).entry == 4


def test_a_further_offer_has_to_be_better_than_the_organisations_own_best(world: World, best: bytes) -> None:
    world.leading(best, score=700_000)
    offer = world.claimed(best, attempt=2)
    assert world.ticket(offer).ticket.threshold == 700_100


@pytest.mark.parametrize("early", [True, False])
def test_an_award_stands_after_b_and_the_guard(world: World, best: bytes, early: bool) -> None:
    offer = world.leading(best)
    edge = world.terms_of(best).last_report + GUARD
    if early:
        with pytest.raises(TooEarly):
            world.at(edge).send(STRANGER, c.AwardOffer(offer))
        return
    before = world.balance(PROVIDER)
    world.at(edge + 1).send(STRANGER, c.AwardOffer(offer))
    lock, slot = world.offer_record(offer).lock, world.slot(best)
    assert lock is not None
    assert lock.deadline == edge + 1 + world.terms_of(best).reveal
    assert (slot.state, slot.amount) == (SlotState.LOCKED, lock.price)
    assert world.balance(PROVIDER) == before + TOP - lock.price


def test_a_swap_for_best_settles_and_pays_as_for_each(world: World, best: bytes) -> None:
    offer = world.leading(best)
    world.at(world.terms_of(best).last_report + GUARD + 1).send(STRANGER, c.AwardOffer(offer))
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    world.send(PROVIDER, c.Acknowledge(offer))
    price = 3_000
    assert world.balance(DEVELOPER) == FUNDS - 11 + price - world.terms_of(best).market_fee(price)
    assert world.slot(best).state is SlotState.SPENT
    lock = world.offer_record(offer).lock
    assert lock is not None
    assert None not in (lock.reported, lock.awarded, lock.revealed)


def test_an_awarded_offer_that_is_not_revealed_is_forfeited(world: World, best: bytes) -> None:
    offer = world.leading(best)
    world.at(world.terms_of(best).last_report + GUARD + 1).send(STRANGER, c.AwardOffer(offer))
    lock = world.offer_record(offer).lock
    assert lock is not None
    assert lock.deadline is not None
    world.at(lock.deadline + GUARD + 1).send(STRANGER, c.Forfeit(offer))
    assert world.state_of(offer) is OfferState.FORFEITED


def test_a_slot_that_an_offer_leads_is_not_refunded_and_an_empty_one_is(world: World) -> None:
    task = world.open_task(award=Award.BEST, slots=2)
    world.leading(task)
    world.at(world.terms_of(task).last_report + GUARD + 1)
    with pytest.raises(SlotNotFree):
        world.send(STRANGER, c.RefundSlot(task, 0))
    world.send(STRANGER, c.RefundSlot(task, 1))
    assert world.slot(task, 1).state is SlotState.SPENT


def test_only_what_leads_is_awarded(world: World, best: bytes) -> None:
    first = world.leading(best)
    outbid = world.leading(best, OTHER_DEVELOPER, score=650_000)
    assert world.state_of(outbid) is OfferState.OUTBID
    offer = world.claimed(best, one=enclave3(), attempt=2)
    with pytest.raises(OfferNotLeading):
        world.send(STRANGER, c.AwardOffer(offer))
    assert world.state_of(first) is OfferState.LEADING
