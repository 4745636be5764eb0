"""Promise 9: malformed, oversized, wrong-organisation or replayed input is refused by name, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.accounts import Role
from goldengrain.chaincode.protocol.errors import (
    AttemptSpent,
    ChallengeUsed,
    ClientRequired,
    CoinNotFound,
    ContractError,
    MalformedInput,
    NotAMember,
    UnknownCommand,
)
from tests.chaincode.market.world import DEVELOPER, OPERATOR3, PROVIDER, STORE, World, caller, enclave3

OUTSIDER = caller("provider", "Org9MSP")
Attack = Callable[[World, bytes], tuple[Caller, list[bytes]]]


def raw(*args: bytes, who: Caller = PROVIDER) -> Attack:
    return lambda world, task: (who, list(args))


def as_outsider(world: World, task: bytes) -> tuple[Caller, list[bytes]]:
    coins = world.coins(PROVIDER, 20_000)
    return OUTSIDER, replace(world.terms(slots=1), coins=coins).to_args()


def challenge_of_an_outsider(world: World, task: bytes) -> tuple[Caller, list[bytes]]:
    return OUTSIDER, c.Challenge(OPERATOR3.account).to_args()


def as_peer(world: World, task: bytes) -> tuple[Caller, list[bytes]]:
    return replace(STORE, role=Role.PEER), c.Receipt(world.offer(task)).to_args()


def replayed_offer(world: World, task: bytes) -> tuple[Caller, list[bytes]]:
    offering = world.offering(task)
    offer = bytes.fromhex(world.send(DEVELOPER, offering).result["offer"])
    world.send(DEVELOPER, c.WithdrawOffer(offer))
    return DEVELOPER, replace(offering, coins=world.coins(DEVELOPER, 1_000)).to_args()


def replayed_challenge(world: World, task: bytes) -> tuple[Caller, list[bytes]]:
    registration = world.registration(enclave3())
    world.send(OPERATOR3, registration)
    return OPERATOR3, registration.to_args()


def replayed_coin(world: World, task: bytes) -> tuple[Caller, list[bytes]]:
    payment = c.Transfer(world.coins(PROVIDER, 1), (c.Output(DEVELOPER.account, 1),))
    world.send(PROVIDER, payment)
    return PROVIDER, payment.to_args()


ATTACKS: list[tuple[str, Attack, type[ContractError]]] = [
    ("no such function", raw(b"Steal", b"{}"), UnknownCommand),
    ("no arguments", raw(), UnknownCommand),
    ("bytes that are no text", raw(b"Receipt", b"\xff\xfe"), MalformedInput),
    ("not an object", raw(b"Receipt", b"[]"), MalformedInput),
    ("a field too many", raw(b"Receipt", b'{"offer":"' + b"00" * 32 + b'","x":1}'), MalformedInput),
    ("a float", raw(b"Challenge", b'{"operator":1.5}'), MalformedInput),
    ("a repeated key", raw(b"Receipt", b'{"offer":"","offer":""}'), MalformedInput),
    ("too deep", raw(b"Receipt", b"[" * 500 + b"]" * 500), MalformedInput),
    ("too large", raw(b"Receipt", b'{"offer":"' + b"0" * (5 << 20) + b'"}'), MalformedInput),
    ("a task of another organisation's", as_outsider, NotAMember),
    ("a challenge of another organisation's", challenge_of_an_outsider, NotAMember),
    ("a receipt signed by a peer", as_peer, ClientRequired),
    ("an attempt again", replayed_offer, AttemptSpent),
    ("a challenge again", replayed_challenge, ChallengeUsed),
    ("a coin again", replayed_coin, CoinNotFound),
]


@pytest.mark.parametrize(("attack", "error"), [one[1:] for one in ATTACKS], ids=[one[0] for one in ATTACKS])
def test_it_is_refused_by_name_and_nothing_changes(
    world: World, task: bytes, attack: Attack, error: type[ContractError]
) -> None:
    who, args = attack(world, task)
    before = dict(world.ledger.state)
    with pytest.raises(error) as refusal:
        world.ledger.submit_args(who, args)
    assert type(refusal.value) is not ContractError
    assert world.ledger.state == before
