"""Tasks that want several enclaves: they agree or the offer is void, and everything is held until the last report."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.market.rules import MAX_READS
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.errors import AlreadyReported, ClaimsFull, SlotTaken, TooEarly
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.tables import OfferState, SlotState
from goldengrain.chaincode.protocol.task import Award
from tests.chaincode.market.world import (
    DEVELOPER,
    OPERATOR3,
    PROVIDER,
    STRANGER,
    TestEnclave,
    World,
)

GUARD = 300
FEE, DEPOSIT = 11, 70
Team = tuple[TestEnclave, ...]


@pytest.fixture(params=[2, 3])
def members(world: World, request: pytest.FixtureRequest) -> Team:
    """Two or three enclaves."""
    return world.team(int(request.param))


@pytest.fixture
def wanting(world: World, members: Team) -> bytes:
    """A task that wants a report of each."""
    return world.open_for(members)


def report_all(world: World, offer: bytes, members: Team, scores: list[int]) -> None:
    for number, (one, score) in enumerate(zip(members, scores, strict=True), start=1):
        world.reported(offer, score=score, one=one, claim=number)


def test_the_first_claim_reserves_the_slot_and_the_others_share_it(world: World, wanting: bytes, members: Team) -> None:
    offer = world.stored(wanting, sealed_to=members)
    world.claim(offer, members[0], slot=1)
    with pytest.raises(SlotTaken):
        world.send(OPERATOR3, world.claiming(offer, members[1], slot=0))
    for one in members[1:]:
        assert f"job/{offer.hex()}" in world.ledger.state
        world.claim(offer, one, slot=None)
    assert f"job/{offer.hex()}" not in world.ledger.state
    assert world.offer_record(offer).slot == 1
    assert world.slot(wanting, 0).state is SlotState.FREE
    further = world.team(4)[-1]
    with pytest.raises(ClaimsFull):
        world.send(OPERATOR3, world.claiming(offer, further))


def test_everything_is_held_until_the_last_report(world: World, wanting: bytes, members: Team) -> None:
    offer = world.claimed_by_all(wanting, members)
    before = world.ledger.balances()
    for number, one in enumerate(members[:-1], start=1):
        world.reported(offer, one=one, claim=number)
        assert world.state_of(offer) is OfferState.CLAIMED
        assert world.claim_record(offer, number).deposit == DEPOSIT
        with pytest.raises(AlreadyReported):
            world.report(offer, one=one, claim=number)
    assert world.ledger.balances() == before
    world.reported(offer, one=members[-1], claim=len(members))
    assert world.state_of(offer) is OfferState.LOCKED
    assert world.ledger.transactions[-1].round_trips <= MAX_READS


def test_the_lowest_score_counts_and_the_operators_share_the_fee(world: World, wanting: bytes, members: Team) -> None:
    before = world.balance(OPERATOR3)
    offer = world.claimed_by_all(wanting, members)
    scores = [700_100, 700_000, 700_100][: len(members)]
    report_all(world, offer, members, scores)
    lock = world.offer_record(offer).lock
    assert lock is not None
    assert (lock.score, lock.enclave) == (700_000, members[1].id)
    assert world.balance(OPERATOR3) == before + FEE * len(members)
    for number in range(1, len(members) + 1):
        claim = world.claim_record(offer, number)
        assert (claim.deposit, claim.locked, claim.report is not None) == (0, b"", True)


def test_scores_further_apart_than_eta_are_void_and_the_fee_goes_to_the_treasury(
    world: World, wanting: bytes, members: Team
) -> None:
    mine, operators = world.balance(DEVELOPER), world.balance(OPERATOR3)
    offer = world.claimed_by_all(wanting, members)
    report_all(world, offer, members, [700_200, *([700_000] * (len(members) - 1))])
    assert world.state_of(offer) is OfferState.VOID
    assert world.balance(DEVELOPER) == mine - FEE * len(members)
    assert world.balance(OPERATOR3) == operators
    assert world.balance(TREASURY) == FEE * len(members)
    assert world.slot(wanting).state is SlotState.FREE


def test_different_outcomes_are_void(world: World, wanting: bytes, members: Team) -> None:
    offer = world.claimed_by_all(wanting, members)
    world.reported(offer, Outcome.DECLINED, one=members[0], claim=1)
    for number, one in enumerate(members[1:], start=2):
        world.reported(offer, one=one, claim=number)
    assert world.state_of(offer) is OfferState.VOID


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.DECLINED, OfferState.DECLINED),
        (Outcome.FAILED, OfferState.FAILED),
        (Outcome.UNUSABLE, OfferState.VOID),
    ],
)
def test_agreed_outcomes(world: World, wanting: bytes, members: Team, outcome: Outcome, state: OfferState) -> None:
    mine, operators = world.balance(DEVELOPER), world.balance(OPERATOR3)
    offer = world.claimed_by_all(wanting, members)
    for number, one in enumerate(members, start=1):
        world.reported(offer, outcome, one=one, claim=number)
    assert world.state_of(offer) is state
    fee = 0 if outcome is Outcome.UNUSABLE else FEE * len(members)
    assert world.balance(DEVELOPER) == mine - fee
    assert world.balance(OPERATOR3) == operators + fee


def test_one_lease_lapses_and_another_enclave_takes_its_place(world: World, wanting: bytes, members: Team) -> None:
    offer = world.claimed_by_all(wanting, members)
    world.reported(offer, one=members[0], claim=1)
    world.at(world.claim_record(offer, 2).claim.lease_end + GUARD)
    with pytest.raises(TooEarly):
        world.send(STRANGER, c.Lapse(offer, 2))
    world.at(world.now + 1).send(STRANGER, c.Lapse(offer, 2))
    record = world.offer_record(offer)
    assert (record.state, record.reported_claims, record.slot) == (OfferState.CLAIMED, (1,), 0)
    assert f"job/{offer.hex()}" in world.ledger.state


def test_without_claim_or_report_the_slot_is_free_again(world: World, wanting: bytes, members: Team) -> None:
    offer = world.claimed_by_all(wanting, members)
    world.at(world.now + 600 + GUARD + 1)
    for number in range(1, len(members) + 1):
        assert world.slot(wanting).state is SlotState.RESERVED
        world.send(STRANGER, c.Lapse(offer, number))
        assert f"job/{offer.hex()}" in world.ledger.state
    assert world.state_of(offer) is OfferState.STORED
    assert world.slot(wanting).state is SlotState.FREE


@pytest.mark.parametrize("award", list(Award))
def test_who_reported_in_vain_is_paid_when_the_offer_expires(world: World, members: Team, award: Award) -> None:
    task = world.open_for(members, award=award)
    mine, operators = world.balance(DEVELOPER), world.balance(OPERATOR3)
    offer = world.claimed_by_all(task, members)
    world.reported(offer, one=members[0], claim=1)
    world.at(world.terms_of(task).last_report + GUARD + 1).send(STRANGER, c.Expire(offer))
    silent = len(members) - 1
    assert world.balance(OPERATOR3) == operators - silent * DEPOSIT + FEE
    assert world.balance(DEVELOPER) == mine + silent * DEPOSIT - FEE
    assert world.claim_record(offer, 1).locked == b""
    world.send(STRANGER, c.RefundSlot(task, 0))


def test_several_enclaves_and_best(world: World, members: Team) -> None:
    task = world.open_for(members, award=Award.BEST, slots=1)
    offer = world.claimed_by_all(task, members)
    report_all(world, offer, members, [700_000] * len(members))
    assert world.state_of(offer) is OfferState.LEADING
    world.at(world.terms_of(task).last_report + GUARD + 1).send(PROVIDER, c.AwardOffer(offer))
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    assert world.state_of(offer) is OfferState.SETTLED


def test_odd_units_of_the_fee_go_to_the_first_to_report(world: World) -> None:
    members = world.team(2)
    world.change_policy(benchmark_fee=7)
    task = world.open_for(members)
    offer = world.claimed_by_all(task, members)
    before = world.balance(OPERATOR3)
    report_all(world, offer, members, [700_000, 700_000])
    assert world.balance(OPERATOR3) == before + 14 + 2 * DEPOSIT
