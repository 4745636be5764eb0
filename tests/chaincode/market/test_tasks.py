"""Opening a task, and what becomes of its budget and its test set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.errors import (
    AttemptsRefused,
    AuditSlashed,
    ClientRequired,
    DatasetKeyMismatch,
    DatasetOpened,
    DeadlinesRefused,
    EnclaveCountRefused,
    EnclaveNotFound,
    KeyMalformed,
    MalformedInput,
    OperatorsTooFew,
    PaymentShort,
    SlotNotFound,
    SlotNotFree,
    SlotsRefused,
    TaskExists,
    TaskNotFound,
    TaskShut,
)
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.task import Award
from tests.chaincode.market.world import (
    DATASET_KEY,
    DEVELOPER,
    FUNDS,
    OPERATOR3,
    PEER,
    PROVIDER,
    START,
    STRANGER,
    World,
    enclave2,
    enclave3,
    provider_key,
    word,
)

REFUSED: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"last_offer": START}, DeadlinesRefused),
    ({"last_offer": START + 20_000}, DeadlinesRefused),
    ({"last_opening": START + 20_600}, DeadlinesRefused),
    ({"reveal": 600}, DeadlinesRefused),
    ({"reveal": 7_001}, DeadlinesRefused),
    ({"attempts": 6}, AttemptsRefused),
    ({"enclaves": 3}, EnclaveCountRefused),
    ({"award": Award.BEST, "slots": 17}, SlotsRefused),
    ({"slots": 0}, MalformedInput),
    ({"slots": 257}, MalformedInput),
    ({"eta": 0}, MalformedInput),
    ({"attempts": 0}, MalformedInput),
    ({"sealed_to": (enclave2(),)}, OperatorsTooFew),
    ({"dataset_envelopes": (EnvelopeDigest(word("nobody"), word("x")),)}, EnclaveNotFound),
    ({"coins": ()}, PaymentShort),
    ({"provider_key": provider_key()[:-32] + bytes(32)}, KeyMalformed),
]


@pytest.mark.parametrize(("changes", "error"), REFUSED, ids=range(len(REFUSED)))
def test_a_task_that_the_rules_do_not_admit_is_refused_by_name(
    world: World, changes: dict[str, Any], error: type[Exception]
) -> None:
    coins = world.coins(PROVIDER, FUNDS)
    before = dict(world.ledger.state)
    with pytest.raises(error):
        world.send(PROVIDER, world.terms(**{"coins": coins, **changes}))
    assert world.ledger.state == before


def test_deadlines_stand_at_their_very_edges(world: World) -> None:
    world.open_task(last_offer=START + 1, last_report=START + 2, last_opening=START + 603, reveal=700)
    world.open_task(last_offer=START + 1, last_report=START + 2, last_opening=START + 603, reveal=7_000)


def test_one_operator_is_enough_where_there_is_one(world: World) -> None:
    world.change_policy(operators=(OPERATOR3.account,))
    world.open_task(sealed_to=(enclave3(),))


def test_the_same_task_opens_once(world: World, task: bytes) -> None:
    with pytest.raises(TaskExists):
        world.open_task()
    assert world.open_task(slots=1) != task


def test_peers_open_no_tasks(world: World) -> None:
    with pytest.raises(ClientRequired):
        world.send(PEER, world.terms())


def test_shutting_moves_s_and_lets_existing_offers_go_on(world: World, task: bytes) -> None:
    offer = world.stored(task)
    late = world.offering(task, replace(DEVELOPER, msp_id="Org1MSP"), coins=())
    world.send(PROVIDER, c.ShutTask(task))
    with pytest.raises(TaskShut):
        world.send(PROVIDER, c.ShutTask(task))
    world.at(world.now + 1)
    with pytest.raises(TaskShut):
        world.send(replace(DEVELOPER, msp_id="Org1MSP"), late)
    world.claim(offer)
    world.reported(offer)
    assert world.ask(q.GetTask(task))["status"]["last_offer"] == START
    assert world.terms_of(task).last_offer == START + 10_000


def test_every_unit_comes_back_from_a_task_that_nobody_wanted(world: World, task: bytes) -> None:
    end = world.terms_of(task).last_report + 301
    world.at(end).send(STRANGER, c.RefundSlot(task, 0))
    world.send(PROVIDER, c.RefundSlot(task, 1))
    world.send(PROVIDER, c.OpenDataset(task, DATASET_KEY))
    assert world.balance(PROVIDER) == FUNDS
    with pytest.raises(SlotNotFree):
        world.send(PROVIDER, c.RefundSlot(task, 0))
    with pytest.raises(SlotNotFound):
        world.send(PROVIDER, c.RefundSlot(task, 2))
    with pytest.raises(DatasetOpened):
        world.send(PROVIDER, c.OpenDataset(task, DATASET_KEY))
    with pytest.raises(DatasetOpened):
        world.at(end + 100_000).send(STRANGER, c.SlashAudit(task))


def test_a_slot_that_holds_a_swap_is_not_refunded(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    world.at(world.terms_of(task).last_report + 301)
    with pytest.raises(SlotNotFree):
        world.send(PROVIDER, c.RefundSlot(task, 0))
    world.send(STRANGER, c.Expire(offer))
    world.send(PROVIDER, c.RefundSlot(task, 0))


def test_a_test_set_that_stays_hidden_costs_the_audit_bond(world: World, task: bytes) -> None:
    terms = world.terms_of(task)
    world.at(terms.last_opening + 301).send(STRANGER, c.SlashAudit(task))
    assert world.balance(TREASURY) == terms.audit_bond == 501
    with pytest.raises(AuditSlashed):
        world.send(STRANGER, c.SlashAudit(task))
    with pytest.raises(AuditSlashed):
        world.send(PROVIDER, c.OpenDataset(task, DATASET_KEY))


def test_the_test_sets_key_is_checked_against_its_digest_and_kept(world: World, task: bytes) -> None:
    world.at(world.terms_of(task).last_report + 301)
    with pytest.raises(DatasetKeyMismatch):
        world.send(PROVIDER, c.OpenDataset(task, word("another key")))
    world.send(PROVIDER, c.OpenDataset(task, DATASET_KEY))
    assert world.ask(q.GetTask(task))["status"]["dataset_key"] == DATASET_KEY.hex()


@pytest.mark.parametrize(
    "make",
    [
        c.ShutTask,
        c.SlashAudit,
        lambda one: c.RefundSlot(one, 0),
        lambda one: c.OpenDataset(one, DATASET_KEY),
        q.GetTask,
        q.GetSlots,
    ],
)
def test_an_unknown_task_is_refused_by_name(world: World, make: Any) -> None:
    with pytest.raises(TaskNotFound):
        world.send(PROVIDER, make(word("unknown")))
