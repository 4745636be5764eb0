"""A channel as a client sees it: its contracts, its blocks, its events, the fate of its transactions."""

from __future__ import annotations

import asyncio

from fabric_protos.common import common_pb2
from fabric_protos.peer import events_pb2

from goldengrain.gateway.checkpoint import Checkpointer
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deliver import FILTERED, PRIVATE, WHOLE, BlockAndPrivateData, BlocksRequest
from goldengrain.gateway.errors import DeliverError, PeerBehind
from goldengrain.gateway.events import ChaincodeEvent, ChaincodeEventsRequest
from goldengrain.gateway.identity import Identity
from goldengrain.gateway.positions import newest_number
from goldengrain.gateway.session import Session
from goldengrain.gateway.streams import EventStream
from goldengrain.gateway.transaction import Commit


class Network:
    """One channel, through the gateway peers. Made by ``Gateway.network``."""

    def __init__(self, session: Session, channel: str) -> None:
        self._session = session
        self.channel = channel

    @property
    def identity(self) -> Identity:
        """On whose behalf the gateway acts."""
        return self._session.identity

    @property
    def target(self) -> str:
        """The address of the gateway peer in use."""
        return self._session.peers.current.target

    def contract(self, chaincode: str, name: str = "") -> Contract:
        """Return a chaincode; ``name`` picks one of several contracts in it (its functions are ``name:function``)."""
        return Contract(self._session, self.channel, chaincode, name)

    def commit(self, transaction_id: str) -> Commit:
        """Ask for the fate of a transaction submitted earlier, by whomever."""
        return Commit(self._session, self.channel, transaction_id)

    def chaincode_events(
        self, chaincode: str, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> EventStream[ChaincodeEvent]:
        """Events of a chaincode's valid transactions, from ``start_block`` on (None: from the next block).

        A ``checkpoint`` that has recorded something overrides ``start_block``.
        """
        return self.chaincode_events_request(chaincode, start_block, checkpoint).stream()

    def chaincode_events_request(
        self, chaincode: str, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> ChaincodeEventsRequest:
        """Return the same as a request that can be signed elsewhere."""
        return ChaincodeEventsRequest(self._session, self.channel, chaincode, start_block, checkpoint)

    def block_events(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> EventStream[common_pb2.Block]:
        """Blocks as they are committed, from ``start_block`` on (None: the next), without end."""
        return self.block_events_request(start_block, checkpoint).stream()

    def block_events_request(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> BlocksRequest[common_pb2.Block]:
        """Return the same as a request that can be signed elsewhere."""
        return BlocksRequest(self._session, self.channel, WHOLE, start_block, checkpoint)

    def filtered_block_events(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> EventStream[events_pb2.FilteredBlock]:
        """Return blocks as they come, only transaction ids, validation codes and names of events."""
        return self.filtered_block_events_request(start_block, checkpoint).stream()

    def filtered_block_events_request(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> BlocksRequest[events_pb2.FilteredBlock]:
        """Return the same as a request that can be signed elsewhere."""
        return BlocksRequest(self._session, self.channel, FILTERED, start_block, checkpoint)

    def private_block_events(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> EventStream[BlockAndPrivateData]:
        """Return whole blocks as they come, with the private data that this identity's organisation may see."""
        return self.private_block_events_request(start_block, checkpoint).stream()

    def private_block_events_request(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> BlocksRequest[BlockAndPrivateData]:
        """Return the same as a request that can be signed elsewhere."""
        return BlocksRequest(self._session, self.channel, PRIVATE, start_block, checkpoint)

    def fetch_blocks(self, first: int, last: int) -> EventStream[common_pb2.Block]:
        """Return the blocks ``first`` to ``last``, both included. Reading raises DeliverError where one is missing."""
        return BlocksRequest(self._session, self.channel, WHOLE, first, last=last).stream()

    async def fetch_block(self, number: int) -> common_pb2.Block:
        """One block. Raises DeliverError (``status`` NOT_FOUND) where it does not exist yet."""
        async with self.fetch_blocks(number, number) as blocks:
            async for block in blocks:
                return block
        raise DeliverError(f"the peer sent no block {number} of {self.channel}")

    async def reach(self, block: int, deadline: float | None = None) -> None:
        """Wait until the peer in use has a block, such as one that another client was told of (``result.block``).

        From then on it answers from a state with all that the block wrote. ``deadline`` is in seconds (None: the
        gateway's for ``deliver``). Raises PeerBehind when it passes, and DeliverError.
        """
        seconds = self._session.deadlines.deliver if deadline is None else deadline
        try:
            async with asyncio.timeout(seconds), self.filtered_block_events(block) as blocks:
                await anext(blocks)
        except TimeoutError as error:
            raise PeerBehind(
                f"the peer at {self.target} has no block {block} of {self.channel} after {seconds:g} s; ask again "
                "later, or another peer"
            ) from error

    async def height(self) -> int:
        """How many blocks the peer has; the newest block's number is one less. Raises DeliverError."""
        return await newest_number(self._session, self.channel) + 1
