"""A channel as a client sees it: its contracts, its blocks, its events, the fate of its transactions."""

from __future__ import annotations

from fabric_protos.common import common_pb2
from fabric_protos.peer import events_pb2

from goldengrain.gateway.checkpoint import Checkpointer
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deliver import BlockAndPrivateData, Deliverer
from goldengrain.gateway.errors import DeliverError
from goldengrain.gateway.events import ChaincodeEvent, ChaincodeEventsRequest
from goldengrain.gateway.identity import Identity
from goldengrain.gateway.session import Session
from goldengrain.gateway.streams import EventStream
from goldengrain.gateway.transaction import Commit


class Network:
    """One channel, through one gateway peer. Made by ``Gateway.network``."""

    def __init__(self, session: Session, channel: str) -> None:
        self._session = session
        self._deliverer = Deliverer(session, channel)
        self.channel = channel

    @property
    def identity(self) -> Identity:
        """On whose behalf the gateway acts."""
        return self._session.identity

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
        return self._deliverer.blocks(_start(start_block, checkpoint), None, wait=True)

    def filtered_block_events(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> EventStream[events_pb2.FilteredBlock]:
        """Return the same, only transaction ids, validation codes and names of events."""
        return self._deliverer.filtered(_start(start_block, checkpoint), None, wait=True)

    def private_block_events(
        self, start_block: int | None = None, checkpoint: Checkpointer | None = None
    ) -> EventStream[BlockAndPrivateData]:
        """Return the same, whole, with the private data that this identity's organisation may see."""
        return self._deliverer.with_private_data(_start(start_block, checkpoint), None, wait=True)

    def fetch_blocks(self, first: int, last: int) -> EventStream[common_pb2.Block]:
        """Return the blocks ``first`` to ``last``, both included. Reading raises DeliverError where one is missing."""
        return self._deliverer.blocks(first, last, wait=False)

    async def fetch_block(self, number: int) -> common_pb2.Block:
        """One block. Raises DeliverError (``status`` NOT_FOUND) where it does not exist yet."""
        async with self.fetch_blocks(number, number) as blocks:
            async for block in blocks:
                return block
        raise DeliverError(f"the peer sent no block {number} of {self.channel}")

    async def height(self) -> int:
        """How many blocks the peer has; the newest block's number is one less."""
        async with self._deliverer.newest() as blocks:
            async for block in blocks:
                return int(block.number) + 1
        raise DeliverError(f"the peer sent no block of {self.channel}")


def _start(start_block: int | None, checkpoint: Checkpointer | None) -> int | None:
    return checkpoint.block if checkpoint is not None and checkpoint.block is not None else start_block
