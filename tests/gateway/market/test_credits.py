"""Coins: chosen, joined, reserved while they are on their way, and never counted twice."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import grpc
import pytest

from goldengrain.chaincode.protocol.coins import Coin, Output
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.errors import CoinNotFound, PaymentShort
from goldengrain.gateway.errors import InsufficientCoins, MarketClientError, SubmitUnknown
from goldengrain.gateway.market import Market, reservations
from goldengrain.gateway.market.calls import READ_CONFLICT_ATTEMPTS
from goldengrain.gateway.market.coins import Purse
from goldengrain.gateway.market.reservations import UNKNOWN_S, Reservations
from tests.gateway.market.conftest import FUNDS, Stage
from tests.gateway.server_double import Fault


async def split(market: Market, parts: int, amount: int) -> None:
    """Make coins of one amount out of the caller's largest."""
    while parts:
        batch = min(parts, 15)
        await market.credits.transfer([Output(market.account, amount)] * batch)
        parts -= batch


async def test_paying_gives_change_back(stage: Stage) -> None:
    sent = await stage.provider.credits.pay(stage.developer.account, 300)
    assert (sent.command, sent.code) == ("Transfer", "VALID")
    assert await stage.provider.credits.balance() == FUNDS - 300
    assert await stage.provider.credits.balance(stage.developer.account) == FUNDS + 300
    coins = await stage.developer.credits.coins()
    small = next(one for one in coins if one.amount == 300)
    assert await stage.developer.credits.coin(stage.developer.account, small.id) == small


async def test_coins_beyond_a_page_are_all_seen(stage: Stage) -> None:
    await split(stage.provider, 130, 7)
    assert len(await stage.provider.credits.coins()) == 131
    assert await stage.provider.credits.balance() == FUNDS


async def test_many_small_coins_are_joined_before_they_pay(stage: Stage) -> None:
    await split(stage.provider, 45, 10)
    (rest,) = [one for one in await stage.provider.credits.coins() if one.amount != 10]
    await stage.provider.credits.pay(stage.developer.account, rest.amount)
    assert {one.amount for one in await stage.provider.credits.coins()} == {10}
    await stage.provider.credits.pay(stage.developer.account, 445)
    assert await stage.provider.credits.balance() == 5


async def test_too_little_is_said_before_anything_is_sent(stage: Stage) -> None:
    height = len(stage.ledger.blocks)
    with pytest.raises(InsufficientCoins, match="2,000,000 are due") as caught:
        await stage.provider.credits.pay(stage.developer.account, 2_000_000)
    assert isinstance(caught.value.__cause__, PaymentShort)
    assert len(stage.ledger.blocks) == height


async def test_payments_at_once_take_different_coins(stage: Stage) -> None:
    await split(stage.provider, 12, 100)
    before = len(stage.ledger.blocks)
    stage.server.calls.clear()
    await asyncio.gather(*(stage.provider.credits.pay(stage.developer.account, 90) for _ in range(10)))
    assert await stage.provider.credits.balance(stage.developer.account) == FUNDS + 900
    assert len(stage.ledger.blocks) == before + 10
    assert stage.server.calls.count("Submit") == 10


async def test_payments_at_once_from_one_coin_split_it_and_go_on_side_by_side(stage: Stage) -> None:
    """One transaction at a time would be ten blocks one after the other; so it is the split, and then all at once."""
    before = len(stage.ledger.blocks)
    await asyncio.gather(*(stage.provider.credits.pay(stage.developer.account, 90 + one) for one in range(10)))
    assert await stage.provider.credits.balance(stage.developer.account) == FUNDS + 945
    assert await stage.provider.credits.balance() == FUNDS - 945
    assert len(stage.ledger.blocks) == before + 11
    assert {code for one in stage.ledger.blocks[before:] for code in one.metadata.metadata[2]} == {0}


async def test_a_payment_waits_for_the_change_of_another_where_that_suffices(stage: Stage) -> None:
    dues = [FUNDS // 3] * 3
    await asyncio.gather(*(stage.provider.credits.pay(stage.developer.account, one) for one in dues))
    assert await stage.provider.credits.balance(stage.developer.account) == FUNDS + 3 * (FUNDS // 3)
    (left,) = await stage.provider.credits.coins()
    outcomes = await asyncio.gather(
        *(stage.developer.credits.pay(stage.provider.account, FUNDS) for _ in range(3)), return_exceptions=True
    )
    assert [type(one).__name__ for one in outcomes].count("InsufficientCoins") == 2
    assert left.amount == FUNDS % 3


async def test_two_clients_of_one_wallet_in_one_process_see_each_others_reservations(stage: Stage) -> None:
    await split(stage.provider, 8, 100)
    other = Market(stage.provider.network)
    stage.server.calls.clear()
    payments = [one.credits.pay(stage.developer.account, 90) for one in (stage.provider, other) * 4]
    await asyncio.gather(*payments)
    assert await stage.provider.credits.balance(stage.developer.account) == FUNDS + 720
    assert stage.server.calls.count("Submit") == 8


async def test_clients_that_know_nothing_of_each_other_choose_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes of one wallet: the loser of each race sees its coin gone, and takes another one."""
    await split(stage.provider, 8, 100)
    strangers = [Market(stage.provider.network) for _ in range(3)]
    for one in strangers:
        one.credits._purse._reserved = Reservations()
    payments = [one.credits.pay(stage.developer.account, 90) for one in strangers * 2]
    await asyncio.gather(*payments)
    assert await stage.provider.credits.balance(stage.developer.account) == FUNDS + 540
    assert await stage.provider.credits.balance() == FUNDS - 540


async def test_coins_stay_reserved_while_a_payment_is_unknown(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.provider.credits.transfer([Output(stage.provider.account, 400)])
    gone = Fault(grpc.StatusCode.UNAVAILABLE, "gone", after_work=False)
    stage.server.faults["Submit"] = [gone] * READ_CONFLICT_ATTEMPTS
    with pytest.raises(SubmitUnknown):
        await stage.provider.credits.pay(stage.developer.account, 500_000)
    with pytest.raises(InsufficientCoins, match="400 in 1 coins"):
        await stage.provider.credits.pay(stage.developer.account, 500_000)
    await stage.provider.credits.pay(stage.developer.account, 400)
    monkeypatch.setattr(reservations, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + UNKNOWN_S))
    await stage.provider.credits.pay(stage.developer.account, 500_000)  # a lost payment keeps its coins no longer


async def test_a_coin_spent_elsewhere_is_replaced_by_another(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    coins = await stage.provider.credits.coins()
    await stage.provider.credits.transfer([Output(stage.provider.account, 400)])
    real, stale = Purse.coins, [coins]

    async def listed(self: Purse, owner: bytes | None) -> list[Coin]:
        return stale.pop() if stale else await real(self, owner)

    monkeypatch.setattr(Purse, "coins", listed)
    await stage.provider.credits.pay(stage.developer.account, 50)
    assert await stage.provider.credits.balance(stage.developer.account) == FUNDS + 50


async def test_a_coin_that_never_comes_back_is_the_contracts_refusal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Coin("0" * 64 + ":0", stage.provider.account, 1000)

    async def listed(self: Purse, owner: bytes | None) -> list[Coin]:
        return [gone]

    monkeypatch.setattr(Purse, "coins", listed)
    with pytest.raises(CoinNotFound):
        await stage.provider.credits.pay(stage.developer.account, 50)


async def test_minting_and_burning_move_the_supply(stage: Stage) -> None:
    assert (await stage.provider.supply()).minted == 3 * FUNDS
    admin = stage.admins["Org1MSP"]
    minted = await admin.consortium.propose_mint([Output(TREASURY, 500)])
    proposal = await admin.consortium.proposal(minted.answer["proposal"])
    assert (proposal.state, proposal.votes, proposal.minted) == ("open", ("Org1MSP",), 0)
    vote = await stage.admins["Org3MSP"].consortium.vote(proposal.id)
    assert vote.answer["carried"] is True
    supply = await stage.provider.supply()
    assert (supply.minted, supply.treasury, supply.conserved) == (3 * FUNDS + 500, 500, True)
    (coin,) = await stage.provider.credits.coins(TREASURY)
    burn = await admin.consortium.propose_burn([coin.id])
    await stage.admins["Org2MSP"].consortium.vote(burn.answer["proposal"])
    supply = await stage.provider.supply()
    assert (supply.minted, supply.treasury, supply.conserved) == (3 * FUNDS, 0, True)
    assert [one.state async for one in admin.consortium.proposals()] == ["carried"] * 3


async def test_a_supply_is_summed_up_at_one_height(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    heights = iter([5, 6, 6, 6])

    async def height() -> int:
        return next(heights)

    monkeypatch.setattr(stage.provider.network, "height", height)
    assert (await stage.provider.supply()).conserved
    assert list(heights) == []
    rising = iter(range(100))

    async def higher() -> int:
        return next(rising)

    monkeypatch.setattr(stage.provider.network, "height", higher)
    with pytest.raises(MarketClientError, match="when the market is quiet"):
        await stage.provider.supply()
