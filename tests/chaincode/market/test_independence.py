"""Swaps that have nothing to do with each other share no key that either writes (design, "Keys on the ledger")."""

from __future__ import annotations

from itertools import combinations

from goldengrain.chaincode.market.memory import Committed
from goldengrain.chaincode.market.rules import MAX_READS
from goldengrain.chaincode.protocol import commands as c
from tests.chaincode.market.world import (
    DEVELOPER,
    OTHER_DEVELOPER,
    PROVIDER,
    STORE,
    World,
    enclave2,
    enclave3,
)


def _swap(world: World, task: bytes, who, one, slot: int) -> list[Committed]:  # type: ignore[no-untyped-def]
    first = len(world.ledger.transactions)
    offer = world.claimed(task, who, one, slot=slot)
    world.reported(offer, one=one)
    world.send(who, c.Reveal(offer, world.secret(who)))
    world.send(PROVIDER, c.Acknowledge(offer))
    return world.ledger.transactions[first:]


def test_swaps_in_one_task_share_no_written_key(world: World) -> None:
    task = world.open_task()
    swaps = [
        _swap(world, task, DEVELOPER, enclave3(), 0),
        _swap(world, task, OTHER_DEVELOPER, enclave2(), 1),
    ]
    written = [{name for tx in swap for name, _ in tx.writes} for swap in swaps]
    read = [{name for tx in swap for name in tx.reads} for swap in swaps]
    assert not written[0] & (written[1] | read[1])
    assert not written[1] & (written[0] | read[0])


def test_what_settles_a_swap_reads_no_policy_and_nothing_that_a_task_may_change(world: World, task: bytes) -> None:
    for name, offer in _endings(world, task):
        read = world.ledger.transactions[-1].reads
        assert "policy" not in read, name
        assert f"task-status/{task.hex()}" not in read, name
        assert offer


def _endings(world: World, task: bytes):  # type: ignore[no-untyped-def]
    offer = world.locked(task)
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    yield "reveal", offer
    world.send(PROVIDER, c.Acknowledge(offer))
    yield "acknowledge", offer
    offer = _locked_by_other(world, task)
    world.at(world.now + 2_000).send(STORE, c.Forfeit(offer))
    yield "forfeit", offer
    second = world.open_task()
    offer = world.claimed(second)
    world.at(world.now + 1_000).send(STORE, c.Lapse(offer, 1))
    yield "lapse", offer
    world.at(world.terms_of(second).last_report + 301).send(STORE, c.Expire(offer))
    yield "expire", offer
    world.send(STORE, c.RefundSlot(second, 0))
    yield "refund", offer


def _locked_by_other(world: World, task: bytes) -> bytes:
    offer = world.claimed(task, OTHER_DEVELOPER, enclave2(), slot=1)
    world.reported(offer, one=enclave2())
    return offer


def test_no_transaction_reads_a_key_twice_or_more_often_than_allowed(world: World, task: bytes) -> None:
    _swap(world, task, DEVELOPER, enclave3(), 0)
    for tx in world.ledger.transactions:
        assert len(tx.reads) == len(set(tx.reads))
        assert tx.round_trips <= MAX_READS


def test_coins_of_one_transaction_have_keys_of_their_own(world: World, task: bytes) -> None:
    _swap(world, task, DEVELOPER, enclave3(), 0)
    made = [
        {name for name, value in tx.writes if name.startswith("coin/") and value is not None}
        for tx in world.ledger.transactions
    ]
    assert all(not one & other for one, other in combinations(made, 2))
