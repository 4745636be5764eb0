"""Offers, receipts, claims and their refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.errors import (
    AlreadyClaimed,
    AttemptsExhausted,
    AttemptSpent,
    BondTooSmall,
    ClaimNotFound,
    ClaimsFull,
    ClientRequired,
    DeveloperOrganization,
    EnclaveNotFound,
    EnvelopeExists,
    EnvelopeMissing,
    LeaseRefused,
    LiveOfferExists,
    MalformedInput,
    OfferNotClaimed,
    OfferNotFound,
    OperatorNotVotedIn,
    PaymentShort,
    ProviderOrganization,
    ReserveTooHigh,
    RuleRefused,
    SlotNotFound,
    SlotTaken,
    TaskNotFound,
    TooEarly,
    TooLate,
)
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.tables import OfferState, SlotState
from tests.chaincode.market.world import (
    DEVELOPER,
    FUNDS,
    OPERATOR2,
    OPERATOR3,
    OTHER_DEVELOPER,
    PEER,
    STORE,
    STRANGER,
    World,
    caller,
    enclave,
    enclave2,
    enclave3,
    word,
)

REFUSED: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"task": word("unknown")}, TaskNotFound),
    ({"attempt": 4}, AttemptsExhausted),
    ({"attempt": 0}, MalformedInput),
    ({"bond": 500}, BondTooSmall),
    ({"reserve": 5_002}, ReserveTooHigh),
    ({"coins": ()}, PaymentShort),
    ({"envelopes": (EnvelopeDigest(word("nobody"), word("x")),)}, EnclaveNotFound),
    ({"chunk_size": 0}, MalformedInput),
    ({"size": 0}, MalformedInput),
]


@pytest.mark.parametrize(("changes", "error"), REFUSED, ids=range(len(REFUSED)))
def test_an_offer_that_the_rules_do_not_admit_is_refused_by_name(
    world: World, task: bytes, changes: dict[str, Any], error: type[Exception]
) -> None:
    good = world.offering(task)
    before = dict(world.ledger.state)
    with pytest.raises(error):
        world.send(DEVELOPER, replace(good, **changes))
    assert world.ledger.state == before
    world.send(DEVELOPER, good)


def test_the_reserve_and_the_bond_stand_at_their_edges(world: World, task: bytes) -> None:
    world.offer(task, reserve=5_001, bond=501)
    world.offer(task, OTHER_DEVELOPER, bond=600)
    assert world.balance(OTHER_DEVELOPER) == FUNDS - 600 - 11


def test_an_attempt_is_spent_for_good_and_one_offer_lives_at_a_time(world: World, task: bytes) -> None:
    colleague = caller("colleague", DEVELOPER.msp_id)
    world.mint(colleague)
    offer = world.offer(task)
    with pytest.raises(LiveOfferExists):
        world.offer(task, attempt=2)
    with pytest.raises(LiveOfferExists):
        world.offer(task, colleague, attempt=2)
    world.send(DEVELOPER, c.WithdrawOffer(offer))
    assert world.balance(DEVELOPER) == FUNDS
    with pytest.raises(AttemptSpent):
        world.offer(task)
    with pytest.raises(AttemptSpent):
        world.offer(task, colleague)
    world.offer(task, OTHER_DEVELOPER)
    world.offer(task, colleague, attempt=3)


def test_a_copied_offer_is_another_offer(world: World, task: bytes) -> None:
    original = world.offering(task)
    offer = world.send(DEVELOPER, original).result["offer"]
    copy = replace(original, payout=OTHER_DEVELOPER.account, coins=world.coins(OTHER_DEVELOPER, 600))
    assert world.send(OTHER_DEVELOPER, copy).result["offer"] != offer


def test_peers_offer_nothing(world: World, task: bytes) -> None:
    with pytest.raises(ClientRequired):
        world.send(PEER, replace(world.offering(task), coins=()))


def test_rewrap_adds_envelopes_once_each_up_to_a_limit(world: World, task: bytes) -> None:
    offer = world.offer(task, sealed_to=(enclave2(),))
    more = EnvelopeDigest(enclave3().id, word("envelope"))
    with pytest.raises(EnvelopeExists):
        world.send(DEVELOPER, c.Rewrap(offer, (EnvelopeDigest(enclave2().id, word("other")),)))
    with pytest.raises(EnclaveNotFound):
        world.send(DEVELOPER, c.Rewrap(offer, (EnvelopeDigest(word("nobody"), word("other")),)))
    many = tuple(EnvelopeDigest(word(f"enclave {index}"), word("x")) for index in range(64))
    with pytest.raises(RuleRefused):
        world.send(DEVELOPER, c.Rewrap(offer, many))
    world.send(DEVELOPER, c.Rewrap(offer, (more,)))
    assert world.state_of(offer) is OfferState.OFFERED
    assert more in world.offer_record(offer).envelopes


def test_only_the_providers_receipt_makes_an_offer_claimable(world: World, task: bytes) -> None:
    offer = world.offer(task)
    world.send(OTHER_DEVELOPER, c.Receipt(offer))
    assert world.state_of(offer) is OfferState.OFFERED
    assert world.ask(q.ListOpenJobs())["items"] == []
    world.send(STORE, c.Receipt(offer))
    assert world.state_of(offer) is OfferState.STORED
    assert [one["id"] for one in world.ask(q.ListOpenJobs())["items"]] == [offer.hex()]
    assert world.offer_record(offer).receipts == ("Org3MSP", "Org1MSP")


CLAIMS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"offer": word("unknown")}, OfferNotFound),
    ({"enclave": word("unknown")}, EnclaveNotFound),
    ({"lease": 59}, LeaseRefused),
    ({"lease": 3_601}, LeaseRefused),
    ({"slot": None}, SlotNotFound),
    ({"slot": 2}, SlotNotFound),
    ({"coins": ()}, PaymentShort),
]


@pytest.mark.parametrize(("changes", "error"), CLAIMS, ids=range(len(CLAIMS)))
def test_a_claim_that_the_rules_do_not_admit_is_refused_by_name(
    world: World, task: bytes, changes: dict[str, Any], error: type[Exception]
) -> None:
    offer = world.stored(task)
    good = world.claiming(offer)
    before = dict(world.ledger.state)
    with pytest.raises(error):
        world.send(OPERATOR3, replace(good, **changes))
    assert world.ledger.state == before
    world.send(OPERATOR3, good)


def test_a_lease_ends_at_b_at_the_latest(world: World, task: bytes) -> None:
    offer = world.stored(task)
    world.at(world.terms_of(task).last_report - 600)
    with pytest.raises(LeaseRefused):
        world.claim(offer, lease=601)
    world.claim(offer, lease=600)


def test_no_enclave_runs_a_model_of_its_operators_organisation(world: World, task: bytes) -> None:
    offer = world.stored(task)
    with pytest.raises(DeveloperOrganization):
        world.claim(offer, enclave2())
    world.claim(offer, enclave3())


@pytest.mark.parametrize("allowed", [False, True])
def test_the_providers_organisation_runs_it_only_if_the_developer_allows(world: World, allowed: bool) -> None:
    world.mint(OPERATOR3)
    task = world.open_task(OPERATOR3)  # an operator of Org3 is the provider
    offer = world.offer(task, provider_may_operate=allowed)
    world.send(OTHER_DEVELOPER, c.Receipt(offer))
    if allowed:
        world.claim(offer)
        return
    with pytest.raises(ProviderOrganization):
        world.claim(offer)


def test_a_claim_needs_envelopes_of_model_and_test_set(world: World, task: bytes) -> None:
    offer = world.stored(task, sealed_to=(enclave2(),))
    with pytest.raises(EnvelopeMissing):
        world.claim(offer)
    late = enclave("a late enclave", OPERATOR3)
    world.register(late)
    world.send(DEVELOPER, c.Rewrap(offer, (EnvelopeDigest(late.id, word("x")),)))
    with pytest.raises(EnvelopeMissing):
        world.claim(offer, late)


def test_a_slot_serves_one_swap(world: World, task: bytes) -> None:
    first, second = world.stored(task), world.stored(task, OTHER_DEVELOPER)
    world.claim(first, slot=1)
    with pytest.raises(SlotTaken):
        world.claim(second, enclave2(), slot=1)
    world.claim(second, enclave2(), slot=0)
    assert [world.slot(task, index).state for index in (0, 1)] == [SlotState.RESERVED] * 2


def test_an_operator_that_was_voted_out_claims_nothing_more(world: World, task: bytes) -> None:
    offer = world.stored(task)
    claim = world.claiming(offer)
    world.change_policy(operators=(OPERATOR2.account,))
    with pytest.raises(OperatorNotVotedIn):
        world.send(OPERATOR3, claim)


def test_a_lapsed_claim_pays_the_developer_and_leaves_the_offer_to_another_enclave(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    with pytest.raises(ClaimsFull):
        world.claim(offer, slot=1)
    end = world.claim_record(offer).claim.lease_end
    old = world.report(offer)
    with pytest.raises(TooEarly):
        world.at(end + 300).send(STRANGER, c.Lapse(offer, 1))
    with pytest.raises(ClaimNotFound):
        world.send(STRANGER, c.Lapse(offer, 2))
    world.at(end + 301).send(STRANGER, c.Lapse(offer, 1))
    assert (world.state_of(offer), world.slot(task).state) == (OfferState.STORED, SlotState.FREE)
    assert world.balance(DEVELOPER) == FUNDS - 512 + 70
    with pytest.raises(AlreadyClaimed):
        world.claim(offer)
    another = enclave("another of Org3", OPERATOR3)
    world.register(another)
    world.send(DEVELOPER, c.Rewrap(offer, (EnvelopeDigest(another.id, word("x")),)))
    with pytest.raises(EnvelopeMissing):  # of the test set: it was sealed before this enclave was there
        world.claim(offer, another)
    with pytest.raises(OfferNotClaimed):
        world.send(OPERATOR3, old)


def test_a_further_enclaves_claim_has_the_next_number(world: World) -> None:
    another = enclave("a third", OPERATOR3)
    world.register(another)
    everybody = (enclave2(), enclave3(), another)
    task = world.open_task(sealed_to=everybody)
    offer = world.stored(task, sealed_to=everybody)
    world.claim(offer)
    world.at(world.now + 901).send(STRANGER, c.Lapse(offer, 1))
    assert world.claim(offer, another) == 2
    with pytest.raises(ClaimNotFound):
        world.send(STRANGER, c.Lapse(offer, 1))
    world.send(OPERATOR3, world.report(offer, one=another, claim=2))
    claims = world.ask(q.GetOffer(offer))["claims"]
    assert [(one["claim"]["number"], one["state"]) for one in claims] == [(1, "lapsed"), (2, "reported")]


def test_an_expired_offer_gives_everything_to_the_developer(world: World, task: bytes) -> None:
    end = world.terms_of(task).last_report
    offer = world.stored(task)
    world.at(end - 600).claim(offer)
    with pytest.raises(TooLate):
        world.fork().at(end + 1).send(OPERATOR3, world.report(offer, Outcome.DECLINED))
    world.at(end + 301).send(STRANGER, c.Expire(offer))
    assert world.balance(DEVELOPER) == FUNDS + 70
    assert world.balance(OPERATOR3) == FUNDS - 70
    assert world.slot(task).state is SlotState.FREE
