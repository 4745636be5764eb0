"""A market whose nodes stop alone: the embedded network in this process, and every side's agent at work on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from goldengrain.chaincode.protocol.clock import LedgerClock, advance
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.task import PriceSchedule
from goldengrain.cli import buying, contract_process, selling
from goldengrain.cli.agents.agent import Agent, Side
from goldengrain.cli.agents.developer import Developer
from goldengrain.cli.agents.duty import Notice
from goldengrain.cli.agents.operator import Operator
from goldengrain.cli.agents.provider import Provider
from goldengrain.cli.contexts import CONTRACT
from goldengrain.cli.enclave_process import EnclaveKeeper
from goldengrain.cli.founding import market_up
from goldengrain.cli.stage.cast import Cast, open_cast
from goldengrain.cli.stores import Stores
from goldengrain.cli.testsets import load_test_set
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.market.views import OfferView, TaskView
from goldengrain.network.creation import create
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.home import Home
from goldengrain.network.topology import default_topology

COINS, AMOUNT = 8, 20_000
PATIENCE_S = 30.0
PEERS = tuple(f"peer0.org{number}.example.com" for number in (1, 2, 3))
ORDERER = "orderer.example.com"


@dataclass
class FaultyMarket:
    """The provider is of Org1, the developer of Org2, the operator of Org3; each goes through its own peer only.

    An operator of Org2 holds the test sets as well, since a market wants two; it may not run its own developer's model.
    """

    home: Home
    network: EmbeddedNetwork
    cast: Cast
    stores: Stores
    sides: tuple[Side, ...] = ()
    said: list[Notice] = field(default_factory=list)

    @property
    def clock(self) -> LedgerClock:
        return LedgerClock(self.home.clock_file)

    @property
    def developer(self) -> selling.Market:
        return self.cast.developers[1].market

    async def reachable(self) -> bool:
        """Whether everybody's gateway answers."""
        for actor in (self.cast.provider, *self.cast.developers, *self.cast.operators):
            await actor.market.consortium.policy()
        return True

    async def sell(self, model: Path, seed: int) -> bytes:
        """Open a task of one slot and send an offer for it; the rest is the agents'."""
        await self.until(self.reachable)
        schedule = PriceSchedule.of((500_000, 1_000), (950_000, 5_000))
        terms = buying.TaskTerms(schedule, slots=1, seed=seed, offers=600, reports=1_200)
        provider = self.cast.provider.market
        task = await buying.open_task(provider, self.home, self.stores, load_test_set("digits"), terms)
        sealed = await selling.seal_model(self.developer, self.home, self.stores, task.id, model)
        await selling.submit(self.developer, self.home, sealed.id)
        return sealed.id

    async def ask(self, offer: bytes) -> tuple[OfferView, TaskView]:
        """What the ledger says of an offer and its task, by whichever peer answers."""
        refusal: GatewayError | None = None
        for actor in (self.cast.provider, *self.cast.developers[1:]):
            try:
                view = await actor.market.offers.get(offer)
                return view, await actor.market.tasks.get(view.order.task)
            except GatewayError as error:
                refusal = error
        assert refusal is not None
        raise refusal

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something holds; a peer that is out of reach only means to look again."""
        until = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < until:
            with contextlib.suppress(GatewayError):
                if await condition():
                    return
            await asyncio.sleep(0.02)
        raise AssertionError("not in time; the agents said:\n" + "\n".join(map(str, self.said)))

    def advance_past(self, moment: int) -> None:
        """Move ledger time beyond a moment; not at all where it has passed."""
        advance(self.home.clock_file, max(0, moment + 1 - self.clock.now()))

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """All agents work until the block ends."""
        stop = asyncio.Event()
        works = [asyncio.create_task(Agent(side, self.clock, self.said.append).work(stop)) for side in self.sides]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*works)


@asynccontextmanager
async def faulty_market(path: Path) -> AsyncIterator[FaultyMarket]:
    """Found a market on an embedded network of this process; everybody has coins, the enclave is registered."""
    home = Home(path)
    create(home, default_topology())
    async with EmbeddedNetwork(home) as network, AsyncExitStack() as stack:
        stack.callback(contract_process.stop, home)
        await market_up(home)
        cast = await stack.enter_async_context(open_cast(home))
        for actor in (cast.provider, cast.developers[1], cast.operators[1]):
            outputs = [Output(actor.account, AMOUNT)] * COINS
            proposed = await cast.admins[0].market.consortium.propose_mint(outputs)
            await cast.admins[1].market.consortium.vote(proposed.transaction_id)
        market = FaultyMarket(home, network, cast, Stores(home))
        channel = home.load_topology().channel.name

        async def challenger() -> selling.Market:
            return cast.provider.market

        for actor, name in zip(cast.operators, ("org2", "org3"), strict=True):
            keeper = await stack.enter_async_context(EnclaveKeeper(home, name, channel=channel, contract=CONTRACT))
            operator = Operator(actor.market, home, market.stores, keeper, challenger, lease=120)
            await Agent(operator, market.clock, market.said.append).once()
        provider = Provider(cast.provider.market, home, market.stores, home.path / "bought")
        market.sides = (provider, Developer(market.developer, home, market.stores), operator)
        yield market
