"""Coins: paying, splitting, joining."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.errors import (
    AmountTooLarge,
    ClientRequired,
    CoinNotFound,
    CoinsRefused,
    MalformedInput,
    PaymentShort,
)
from tests.chaincode.market.world import DEVELOPER, FUNDS, PEER, PROVIDER, STORE, World


def test_a_transfer_pays_splits_and_gives_the_rest_back(world: World) -> None:
    (coin,) = world.coins(PROVIDER, 1)
    outputs = (Output(DEVELOPER.account, 5), Output(DEVELOPER.account, 6), Output(STORE.account, 7))
    paid = world.send(PROVIDER, c.Transfer((coin,), outputs))
    assert [one["amount"] for one in paid.event[1]["coins"]["made"]] == [5, 6, 7, FUNDS - 18]  # type: ignore[index]
    assert world.balance(DEVELOPER) == FUNDS + 11
    assert world.balance(PROVIDER) == FUNDS - 18
    join = tuple(item["id"] for item in world.ask(q.ListCoins(DEVELOPER.account))["items"])
    world.send(DEVELOPER, c.Transfer(join, ()))
    assert [item["amount"] for item in world.ask(q.ListCoins(DEVELOPER.account))["items"]] == [FUNDS + 11]


def test_a_coin_is_spent_once_and_by_its_owner(world: World) -> None:
    (coin,) = world.coins(PROVIDER, 1)
    with pytest.raises(CoinNotFound):
        world.send(DEVELOPER, c.Transfer((coin,), ()))
    world.send(PROVIDER, c.Transfer((coin,), (Output(STORE.account, FUNDS),)))
    with pytest.raises(CoinNotFound):
        world.send(PROVIDER, c.Transfer((coin,), ()))
    with pytest.raises(ClientRequired):
        world.send(PEER, c.Transfer((coin,), ()))


def test_a_transfer_of_more_than_the_coins_hold_is_refused(world: World) -> None:
    (coin,) = world.coins(PROVIDER, 1)
    with pytest.raises(PaymentShort):
        world.send(PROVIDER, c.Transfer((coin,), (Output(STORE.account, FUNDS + 1),)))
    huge = (Output(STORE.account, 2**63 - 1), Output(STORE.account, 2**63 - 1))
    with pytest.raises(AmountTooLarge):
        world.send(PROVIDER, c.Transfer((coin,), huge))


def test_at_most_sixteen_coins_come_out_the_change_among_them(world: World) -> None:
    (coin,) = world.coins(PROVIDER, 1)
    with pytest.raises(CoinsRefused):
        world.send(PROVIDER, c.Transfer((coin,), tuple(Output(STORE.account, 1) for _ in range(16))))
    world.send(PROVIDER, c.Transfer((coin,), (*(Output(STORE.account, 1) for _ in range(15)),)))
    mine = world.ask(q.ListCoins(STORE.account))["items"]
    assert len(mine) == 15
    assert {one["id"].partition(":")[2] for one in mine} == {str(index) for index in range(15)}


@pytest.mark.parametrize(
    "arguments",
    [
        b'{"coins":[],"outputs":[]}',
        b'{"coins":["x"],"outputs":[]}',
        b'{"coins":["%b:0","%b:0"],"outputs":[]}' % (b"0" * 64, b"0" * 64),
        b'{"coins":["%b:0"],"outputs":[{"owner":"00","amount":1}]}' % (b"0" * 64),
        b'{"coins":["%b:0"],"outputs":[{"owner":"%b","amount":0}]}' % (b"0" * 64, b"0" * 64),
        b'{"coins":["%b:0"],"outputs":[{"owner":"%b","amount":-1}]}' % (b"0" * 64, b"0" * 64),
        b'{"coins":["%b:0"],"outputs":[{"owner":"%b","amount":1.5}]}' % (b"0" * 64, b"0" * 64),
        b'{"coins":["%b:0"],"outputs":[],"more":1}' % (b"0" * 64),
        b"[]",
        b"{",
        b"\xff",
    ],
)
def test_malformed_arguments_are_refused_by_name(world: World, arguments: bytes) -> None:
    before = dict(world.ledger.state)
    with pytest.raises(MalformedInput):
        world.ledger.submit_args(PROVIDER, [b"Transfer", arguments])
    assert world.ledger.state == before
