"""The market client where organisations' own peers get their blocks one after the other: Fabric's own programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.commands import Transfer
from goldengrain.cli import contract_process
from goldengrain.cli.founding import market_up
from goldengrain.cli.stage.cast import Cast, open_cast
from goldengrain.gateway.market import Market
from goldengrain.network.home import Home
from goldengrain.network.native import NativeNetwork
from goldengrain.network.topology import default_topology
from tests.conformance.deployed import patiently

pytestmark = [pytest.mark.check, pytest.mark.fabric, pytest.mark.asyncio(loop_scope="module")]

ROUNDS = 10
THIRD = "peer0.org3.example.com"


@dataclass
class RealMarket:
    network: NativeNetwork
    cast: Cast

    async def minted(self, owner: Market, amount: int) -> Market:
        """Have two organisations mint for somebody, without a pause between them; the client that knows of it."""
        first, second, _ = (one.market for one in self.cast.admins)
        proposed = await first.consortium.propose_mint([Output(owner.account, amount)])
        await second.consortium.vote(proposed.transaction_id)
        return second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market(fabric_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealMarket]:
    home = Home(tmp_path_factory.mktemp("market") / "home")
    async with NativeNetwork(home, default_topology(), fabric_bin) as network, AsyncExitStack() as stack:
        stack.callback(contract_process.stop, home)
        await market_up(home)
        yield RealMarket(network, await stack.enter_async_context(open_cast(home)))


async def test_what_one_organisation_has_done_another_goes_on_with_at_once(market: RealMarket) -> None:
    third = market.cast.developers[2].market
    for number in range(1, ROUNDS + 1):
        knowing = await market.minted(third, 100)
        await third.catch_up(knowing.block)
        assert await third.credits.balance() == 100 * number


async def test_a_peer_that_was_away_is_waited_for(market: RealMarket) -> None:
    provider, third = market.cast.provider.market, market.cast.operators[1].market
    await market.minted(provider, 1_000)
    await provider.catch_up(market.cast.admins[1].market.block)
    await market.network.stop_node(THIRD, kill=True)
    for _ in range(5):
        await patiently(lambda: provider.credits.pay(third.account, 10))
    await market.network.start_node(THIRD)
    await patiently(lambda: third.catch_up(provider.block))
    assert await third.credits.balance() == 50


async def test_an_endorser_that_is_behind_is_asked_again(market: RealMarket) -> None:
    provider = Market(market.cast.provider.market.network, patience_s=30.0)
    minted = await market.minted(provider, 500)
    await provider.catch_up(minted.block)
    (coin,) = [one for one in await provider.credits.coins() if one.amount == 500]
    await market.network.stop_node(THIRD, kill=True)
    spend = Transfer((coin.id,), (Output(provider.account, 500),))
    moved = await patiently(lambda: provider.send(spend))
    starting = asyncio.create_task(market.network.start_node(THIRD))
    spend = Transfer((f"{moved.transaction_id}:0",), (Output(provider.account, 500),))
    again = await patiently(lambda: provider._caller.send(spend, ("Org1MSP", "Org3MSP")))
    assert again.code == "VALID"
    await starting
