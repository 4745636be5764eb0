"""The market client: the parts together, and what concerns all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from goldengrain.chaincode.protocol.coins import Coin
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.queries import ListCoins
from goldengrain.chaincode.protocol.requests import Command, Query
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.checkpoint import Checkpointer
from goldengrain.gateway.errors import MarketClientError
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.market.announcements import Announcement
from goldengrain.gateway.market.calls import PATIENCE_S, Caller, Committed
from goldengrain.gateway.market.coins import Purse
from goldengrain.gateway.market.consortium import Consortium
from goldengrain.gateway.market.credits import Credits, Supply
from goldengrain.gateway.market.enclaves import Enclaves
from goldengrain.gateway.market.handles import OfferHandle, TaskHandle
from goldengrain.gateway.market.offers import Offers
from goldengrain.gateway.market.tasks import Tasks
from goldengrain.gateway.market.views import read
from goldengrain.gateway.network import Network
from goldengrain.gateway.streams import EventStream

CONTRACT = "golden-grain"
_SUPPLY_ATTEMPTS = 5


class Market:
    """The market's contract on one channel, as one identity sees it."""

    def __init__(self, network: Network, contract: str = CONTRACT, patience_s: float = PATIENCE_S) -> None:
        """``patience_s``: for how long what is refused is tried again where a peer may only be behind (ADR 82)."""
        self._caller = Caller(network, network.identity, contract, patience_s)
        purse = Purse(self._caller)
        self.network = network
        self.consortium = Consortium(self._caller)
        self.credits = Credits(self._caller, purse)
        self.enclaves = Enclaves(self._caller)
        self.tasks = Tasks(self._caller, purse)
        self.offers = Offers(self._caller, purse, self.tasks)

    @property
    def account(self) -> bytes:
        """The caller's account on the ledger, 32 bytes."""
        return self._caller.account

    @property
    def contract(self) -> str:
        """The contract's name."""
        return self._caller.contract_name

    @property
    def block(self) -> int:
        """The newest block that this client was told of, for another one's ``catch_up``; -1 before there is any."""
        return self._caller.horizon.block

    async def catch_up(self, block: int) -> None:
        """Wait until the peer in use has a block, and from now on take no answer from a peer without it.

        For what another client has done: ``await mine.catch_up(theirs.block)``. Raises PeerBehind, DeliverError.
        """
        self._caller.horizon.require(block)
        await self._caller.horizon.reach()

    def task(self, task: bytes) -> TaskHandle:
        """Return a task by its id, to act on it; nothing is asked yet."""
        return TaskHandle(self.tasks, task)

    def offer(self, offer: bytes) -> OfferHandle:
        """Return an offer by its id, to act on it; nothing is asked yet."""
        return OfferHandle(self.offers, offer)

    async def send(self, command: Command) -> Committed:
        """Send any command as it stands; the parts' methods choose coins, slots and endorsers where that is needed."""
        return await self._caller.send(command)

    async def ask(self, query: Query) -> dict[str, Any]:
        """Evaluate any query and return its answer as it stands."""
        return await self._caller.ask(query)

    def events(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> EventStream[ChaincodeEvent]:
        """Return the contract's events from a block on (None: the next): name of the command, JSON payload.

        A ``checkpoint`` that has recorded something overrides ``start_block``.
        """
        stream = self.network.chaincode_events(self.contract, start_block, checkpoint)
        stream.listener = self._caller.horizon.heard
        return stream

    async def announcements(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> AsyncIterator[Announcement]:
        """Yield what the events say, typed. Raises EventsError, and EventUnreadable for an event of another version."""
        async with self.events(start_block, checkpoint) as events:
            async for event in events:
                yield Announcement.of(event)

    async def supply(self) -> Supply:
        """Sum everything up over all pages. Raises MarketClientError where the ledger never stands still meanwhile."""
        for _ in range(_SUPPLY_ATTEMPTS):
            height = await self.network.height()
            found = await self._supply()
            if await self.network.height() == height:
                return found
        raise MarketClientError("blocks keep coming while the supply is summed up; ask again when the market is quiet")

    async def _supply(self) -> Supply:
        minted = coins = escrow = treasury = 0
        async for proposal in self.consortium.proposals():
            minted += proposal.minted - proposal.burned
        async for item in self._caller.pages(lambda mark: ListCoins(None, bookmark=mark)):
            coin = read(Coin, item)
            if coin.owner == TREASURY:
                treasury += coin.amount
            else:
                coins += coin.amount
        async for task in self.tasks.listing():
            escrow += task.status.audit_bond + sum(slot.amount for slot in await self.tasks.slots(task.id))
        async for offer in self.offers.listing():
            full = await self.offers.get(offer.id) if offer.state is OfferState.CLAIMED else offer
            escrow += full.held
        return Supply(minted, coins, escrow, treasury)
