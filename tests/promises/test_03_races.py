"""Promise 3: N parties racing for one thing: one wins, the rest get a clean refusal; the sum of everything holds."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.market.memory import Committed
from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.errors import CoinNotFound, ContractError, SlotTaken
from goldengrain.chaincode.protocol.requests import Command
from tests.chaincode.market.world import (
    DEVELOPER,
    OPERATOR2,
    OPERATOR3,
    OTHER_DEVELOPER,
    PROVIDER,
    STORE,
    World,
    enclave2,
    enclave3,
)


def race(world: World, rivals: list[tuple[Caller, Command]]) -> list[Committed | ContractError]:
    """All are endorsed on the same state and then ordered: whoever read what an earlier one wrote is sent anew."""
    endorsed = [(who, command, world.ledger.evaluate(who, command)) for who, command in rivals]
    outcomes: list[Committed | ContractError] = []
    written: set[str] = set()
    for who, command, simulated in endorsed:
        stale = written & set(simulated.reads)
        assert stale or not written, "two rivals that Fabric would both let pass"
        try:
            committed = world.send(who, command)
        except ContractError as refusal:
            outcomes.append(refusal)
            continue
        written |= {name for name, _ in committed.writes}
        outcomes.append(committed)
    return outcomes


def test_two_claims_race_for_one_slot(world: World) -> None:
    task = world.open_task(slots=1)
    first, second = world.stored(task), world.stored(task, OTHER_DEVELOPER)
    rivals: list[tuple[Caller, Command]] = [
        (OPERATOR3, world.claiming(first, enclave3(), slot=0)),
        (OPERATOR2, world.claiming(second, enclave2(), slot=0)),
    ]
    won, lost = race(world, rivals)
    assert isinstance(won, Committed)
    assert isinstance(lost, SlotTaken)
    assert world.slot(task).offer == first
    assert world.ledger.held == world.ledger.minted


def test_one_coin_is_spent_once(world: World) -> None:
    coins = world.coins(PROVIDER, 100)
    payments: list[tuple[Caller, Command]] = [
        (PROVIDER, c.Transfer(coins, (c.Output(one.account, 100),))) for one in (DEVELOPER, STORE, OPERATOR2)
    ]
    won, *lost = race(world, payments)
    assert isinstance(won, Committed)
    assert all(isinstance(one, CoinNotFound) for one in lost)
    assert world.ledger.held == world.ledger.minted


@pytest.mark.parametrize("rivals", [2, 5])
def test_a_free_slot_is_refunded_once(world: World, task: bytes, rivals: int) -> None:
    world.at(world.terms_of(task).last_report + 301)
    before = world.balance(PROVIDER)
    outcomes = race(world, [(STORE, c.RefundSlot(task, 0))] * rivals)
    assert sum(isinstance(one, Committed) for one in outcomes) == 1
    assert world.balance(PROVIDER) == before + world.terms_of(task).schedule.top_price
