"""What the event of a report says, what a report leaves behind, and how places among leading offers are chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.decisions import _place
from goldengrain.chaincode.market.records import SlotRecord
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.errors import EnclaveRevoked
from goldengrain.chaincode.protocol.report import LOCKED_SIZE, Outcome
from goldengrain.chaincode.protocol.sealing import lock_key
from goldengrain.chaincode.protocol.tables import OfferState, SlotState
from goldengrain.chaincode.protocol.task import Award
from tests.chaincode.market.world import OTHER_DEVELOPER, World, enclave2, enclave3, provider_key, word

BESIDES = {"v", "changes", "coins", "offer", "task"}
PRICE = 3_000
"""Of a score of 700,000."""


def told(world: World) -> dict[str, Any]:
    """The facts of the last report's event, without what every event has."""
    event = world.ledger.transactions[-1].event
    assert event is not None
    name, payload = event
    assert name == "SubmitReport"
    return {fact: value for fact, value in payload.items() if fact not in BESIDES}


def said(state: OfferState, outcome: Outcome = Outcome.PASS, claim: int = 1, **facts: Any) -> dict[str, Any]:
    """What an event says of a report of Org3's enclave."""
    enclave = facts.pop("enclave", enclave3()).id.hex()
    return {"claim": claim, "state": str(state), "outcome": str(outcome), "enclave": enclave, **facts}


def test_the_event_of_a_pass_says_score_price_and_deadline(world: World, task: bytes) -> None:
    offer = world.locked(task)
    event = world.ledger.transactions[-1].event
    assert event is not None
    assert (event[1]["offer"], event[1]["task"]) == (offer.hex(), task.hex())
    assert told(world) == said(
        OfferState.LOCKED, score=700_000, price=PRICE, simulated=True, deadline=world.now + world.terms_of(task).reveal
    )


@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.FAILED])
def test_the_event_of_another_outcome_says_that_alone(world: World, task: bytes, outcome: Outcome) -> None:
    world.reported(world.claimed(task), outcome)
    assert told(world) == said(OfferState(str(outcome)), outcome)


def test_the_event_of_a_report_that_is_held_says_no_score(world: World) -> None:
    first, second = members = world.team(2)
    offer = world.claimed_by_all(world.open_for(members), members)
    world.reported(offer, one=first)
    assert told(world) == said(OfferState.CLAIMED, enclave=first)
    world.reported(offer, one=second, claim=2)
    assert told(world)["claim"] == 2


def test_the_event_of_a_better_offer_names_the_one_that_it_displaces_and_no_deadline_yet(world: World) -> None:
    task = world.open_task(award=Award.BEST, slots=1)
    first = world.leading(task)
    assert told(world) == said(OfferState.LEADING, score=700_000, price=PRICE, simulated=True)
    world.leading(task, OTHER_DEVELOPER, score=800_000)
    assert told(world) == said(
        OfferState.LEADING,
        enclave=enclave2(),
        score=800_000,
        price=world.terms_of(task).schedule.price(800_000),
        simulated=True,
        displaced=first.hex(),
    )


def test_a_price_is_locked_in_the_slot_and_the_score_is_on_the_leaderboard(world: World, task: bytes) -> None:
    offer = world.locked(task)
    assert (world.slot(task).state, world.slot(task).amount) == (SlotState.LOCKED, PRICE)
    (leader,) = world.ask(q.Leaderboard(task))["items"]
    assert (leader["id"], leader["lock"]["score"]) == (offer.hex(), 700_000)


@pytest.mark.parametrize("simulated", [1, 2])
def test_one_simulated_enclave_among_several_makes_the_lock_simulated(world: World, simulated: int) -> None:
    members = world.team(2)
    offer = world.claimed_by_all(world.open_for(members), members)
    real = keys.enclave(members[2 - simulated].id)
    record = real.record.decode(world.ledger.state[real.name])
    world.ledger.state[real.name] = replace(record, simulated=False).encode()
    for number, one in enumerate(members, start=1):
        world.reported(offer, one=one, claim=number)
    locked = world.offer_record(offer).lock
    assert locked is not None
    assert locked.simulated


def test_a_revoked_enclave_reports_no_more(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    report = world.report(offer)
    world.vote_through(c.Propose(c.Action.REVOKE, revoke=enclave3().id))
    with pytest.raises(EnclaveRevoked):
        world.send(enclave3().operator, report)
    assert world.state_of(offer) is OfferState.CLAIMED


def leader(index: int, score: int, entry: int) -> SlotRecord:
    return SlotRecord(word("task"), index, SlotState.LEADING, 5_001, word(f"offer {index}"), score, entry)


def test_a_leading_score_of_nothing_is_lower_than_one() -> None:
    none, one = leader(0, 0, 1), leader(1, 1, 2)
    assert _place([none, one], 2) == none
    assert _place([none], 1) == none
    assert _place([none], 0) is None


def test_what_is_locked_has_the_size_that_reports_carry() -> None:
    locked = lock_key(provider_key(), word("K"), word("r"), word("order"), enclave3().id)
    assert len(locked) == LOCKED_SIZE == 1_184
