"""What an organisation lets a certificate be used for, held at the commands that begin something."""

from __future__ import annotations

from dataclasses import replace

import pytest

from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.accounts import Duty
from goldengrain.chaincode.protocol.errors import DutyRefused
from goldengrain.chaincode.protocol.requests import Command
from tests.chaincode.market.world import (
    ADMINS,
    DEVELOPER,
    OPERATOR3,
    PROVIDER,
    STORE,
    STRANGER,
    World,
    enclave3,
)

CASES = ["admin", "provider", "developer", "operator", "registering", "storer"]


def wanted(case: str, world: World, task: bytes) -> tuple[Caller, Command, Duty]:
    """Somebody, a command that is theirs, and the duty that it is of."""
    if case == "admin":
        return ADMINS["Org1MSP"], c.Propose(c.Action.REVOKE, revoke=enclave3().id), Duty.ADMIN
    if case == "provider":
        terms = world.terms(slots=1)
        opened = terms.task(world.ledger.channel, world.ledger.contract, PROVIDER.account, world.policy)
        coins = world.coins(PROVIDER, opened.budget + opened.audit_bond)
        return PROVIDER, replace(terms, coins=coins), Duty.PROVIDER
    if case == "developer":
        return DEVELOPER, world.offering(task), Duty.DEVELOPER
    if case == "operator":
        return OPERATOR3, world.claiming(world.stored(task)), Duty.OPERATOR
    if case == "registering":
        return OPERATOR3, world.registration(enclave3()), Duty.OPERATOR
    return STORE, c.Receipt(world.offer(task)), Duty.STORER


@pytest.mark.parametrize("case", CASES)
def test_a_narrowed_certificate_does_what_it_is_for_and_nothing_else(world: World, task: bytes, case: str) -> None:
    who, command, duty = wanted(case, world, task)
    before = dict(world.ledger.state)
    with pytest.raises(DutyRefused):
        world.send(replace(who, duties=tuple(one for one in Duty if one is not duty)), command)
    with pytest.raises(DutyRefused):
        world.send(replace(who, duties=()), command)
    assert world.ledger.state == before
    world.send(replace(who, duties=(duty,)), command)


def test_ways_out_need_no_duty(world: World, task: bytes) -> None:
    offer = world.stored(task)
    world.at(world.terms_of(task).last_report + 301)
    world.send(replace(STRANGER, duties=()), c.Expire(offer))
    assert world.offer_record(offer).held == 0
