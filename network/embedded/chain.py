"""The chain of committed blocks of a channel, and the index of their transactions.

A block is on disk a moment before it belongs to the chain (see `ledger`): the chain's height decides what is seen.
"""

from __future__ import annotations

from collections import OrderedDict

from fabric_protos.common import common_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded import blocks as block_tools
from goldengrain.network.embedded.commits import TransactionStatus
from goldengrain.network.embedded.errors import BlockNotFoundError, BlockRefusedError, LedgerCorruptError
from goldengrain.network.embedded.state import PrivateWrite
from goldengrain.network.embedded.store import LedgerStore

__all__ = ["Chain"]

_RECENT_BLOCKS = 64


class Chain:
    """Committed blocks and transactions; what was used last is kept in memory."""

    def __init__(self, store: LedgerStore, channel_id: str, height: int, newest: common_pb2.Block) -> None:
        self.channel_id = channel_id
        self._store = store
        self._height = height
        self._newest = newest
        self._last_hash = block_tools.header_hash(newest.header)
        self._recent: OrderedDict[int, common_pb2.Block] = OrderedDict()

    @classmethod
    def open(cls, store: LedgerStore) -> Chain:
        """Take up the chain that is in a file and check its newest block; raises LedgerCorruptError."""
        height = store.height()
        newest = _checked(store, height - 1)
        if height > 1 and newest.header.previous_hash != store.block_hash(height - 2):
            raise LedgerCorruptError(f"block {height - 1} of {store.path.name} does not follow block {height - 2}")
        return cls(store, store.meta("channel").decode(), height, newest)

    def verify(self) -> None:
        """Recompute the whole hash chain and all data hashes; raises LedgerCorruptError at the first fault."""
        previous = b""
        for number in range(self._height):
            block = _checked(self._store, number)
            if block.header.previous_hash != previous:
                raise LedgerCorruptError(f"block {number} does not follow block {number - 1}")
            previous = block_tools.header_hash(block.header)

    # -- growing -----------------------------------------------------------------------------------------------------

    def check_next(self, block: common_pb2.Block) -> None:
        """Refuse a block that does not continue the chain, or has another data hash; raises BlockRefusedError."""
        header = block.header
        if header.number != self._height:
            raise BlockRefusedError(f"block {header.number} does not continue a chain of height {self._height}")
        if header.previous_hash != self._last_hash:
            raise BlockRefusedError(f"block {header.number} has another previous hash than block {self._height - 1}")
        if header.data_hash != block_tools.data_hash(block.data.data):
            raise BlockRefusedError(f"block {header.number} has another data hash than its data")

    def append(self, block: common_pb2.Block, block_hash: bytes) -> None:
        """Show the next block, which is on disk, by its header hash."""
        self._remember(self._height - 1, self._newest)
        self._newest, self._last_hash = block, block_hash
        self._height += 1

    # -- blocks ------------------------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """The number of committed blocks."""
        return self._height

    @property
    def last_hash(self) -> bytes:
        """The hash of the newest block's header."""
        return self._last_hash

    @property
    def newest(self) -> common_pb2.Block:
        """The newest block."""
        return self._newest

    def block(self, number: int) -> common_pb2.Block:
        """Return a committed block with the peers' metadata; shared, don't change it. Raises BlockNotFoundError."""
        if number == self._height - 1:
            return self._newest
        block = self._recent.get(number)
        if block is None:
            block = common_pb2.Block.FromString(self.block_bytes(number))
            self._remember(number, block)
        return block

    def block_bytes(self, number: int) -> bytes:
        """Return the same, serialised; raises BlockNotFoundError."""
        raw = self._store.block(number) if 0 <= number < self._height else None
        if raw is None:
            raise BlockNotFoundError(f"no block {number} in channel {self.channel_id}: its height is {self._height}")
        return raw

    def block_by_hash(self, block_hash: bytes) -> common_pb2.Block:
        """Return the block with this header hash; raises BlockNotFoundError."""
        number = self._store.number_of(block_hash)
        if number is None or number >= self._height:
            raise BlockNotFoundError(f"no block with hash {block_hash.hex()} in channel {self.channel_id}")
        return self.block(number)

    def private_writes(self, number: int) -> list[PrivateWrite]:
        """Return the clear private writes kept beside a block: none of expired keys, empty ones of purged keys."""
        return self._store.private_writes(number)

    def _remember(self, number: int, block: common_pb2.Block) -> None:
        self._recent[number] = block
        if len(self._recent) > _RECENT_BLOCKS:
            self._recent.popitem(last=False)

    # -- transactions ------------------------------------------------------------------------------------------------

    def transaction_status(self, tx_id: str) -> TransactionStatus | None:
        """Return where a transaction id was first committed (valid or not), None if never."""
        row = self._store.transaction(tx_id)
        if row is None or row.block >= self._height:
            return None
        return TransactionStatus(row.tx_id, row.block, row.position, row.code)

    def envelope(self, tx_id: str) -> common_pb2.Envelope:
        """Return the envelope of the first transaction with this id; raises BlockNotFoundError."""
        status = self.transaction_status(tx_id)
        if status is None:
            raise BlockNotFoundError(f"no transaction {tx_id} in channel {self.channel_id}")
        return common_pb2.Envelope.FromString(self.block(status.block_number).data.data[status.position])


def _checked(store: LedgerStore, number: int) -> common_pb2.Block:
    raw = store.block(number)
    try:
        block = common_pb2.Block.FromString(raw or b"")
    except DecodeError as error:
        raise LedgerCorruptError(f"block {number} of {store.path.name} cannot be decoded: restore the file") from error
    if raw is None or block.header.number != number:
        raise LedgerCorruptError(f"block {number} of {store.path.name} is missing: restore the file")
    header = block.header
    if store.block_hash(number) != block_tools.header_hash(header) or header.data_hash != block_tools.data_hash(
        block.data.data
    ):
        raise LedgerCorruptError(f"block {number} of {store.path.name} does not have its hash: restore the file")
    return block
