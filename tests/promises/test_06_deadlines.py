"""Promise 6: deadlines hold to the second, opposing actions never overlap, the guard is wider than clocks differ."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.errors import PolicyTiming, TimeRefused
from goldengrain.chaincode.protocol.requests import Command
from tests.chaincode.market.world import DATASET_KEY, DEVELOPER, OPERATOR3, PROVIDER, STRANGER, World, policy

GUARD = 300
Action = tuple[Caller, Command]
Pair = tuple[int, Action, Action]


def reveal_or_forfeit(world: World, task: bytes) -> Pair:
    offer = world.locked(task)
    lock = world.offer_record(offer).lock
    assert lock is not None
    assert lock.deadline is not None
    return lock.deadline, (DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER))), (STRANGER, c.Forfeit(offer))


def report_or_lapse(world: World, task: bytes) -> Pair:
    offer = world.claimed(task)
    return (
        world.claim_record(offer).claim.lease_end,
        (OPERATOR3, world.report(offer)),
        (STRANGER, c.Lapse(offer, 1)),
    )


def open_or_slash(world: World, task: bytes) -> Pair:
    opening, slashing = c.OpenDataset(task, DATASET_KEY), c.SlashAudit(task)
    return world.terms_of(task).last_opening, (PROVIDER, opening), (STRANGER, slashing)


@pytest.mark.parametrize("make", [reveal_or_forfeit, report_or_lapse, open_or_slash])
def test_one_side_acts_until_the_deadline_the_other_from_a_guard_after_it(
    world: World, make: Callable[[World, bytes], Pair]
) -> None:
    deadline, mine, theirs = make(world, world.open_task())
    for moment in (deadline, deadline + GUARD):
        with pytest.raises(TimeRefused):
            world.fork().at(moment).send(*theirs)
    for moment in (deadline + 1, deadline + GUARD, deadline + GUARD + 1):
        with pytest.raises(TimeRefused):
            world.fork().at(moment).send(*mine)
    world.fork().at(deadline).send(*mine)
    world.fork().at(deadline + GUARD + 1).send(*theirs)


def test_the_guard_is_wider_than_two_clocks_can_differ() -> None:
    with pytest.raises(PolicyTiming):
        policy(window=120, guard=239, test=True).validate()
    policy(window=120, guard=300).validate()
