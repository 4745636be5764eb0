"""A channel's ledger: one SQLite file with blocks, transaction index, state and private data (API; being filled)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fabric_protos.common import common_pb2


class Version(NamedTuple):
    """The height of the last write of a key: block number and position of the transaction in it."""

    block: int
    transaction: int


class VersionedValue(NamedTuple):
    """A committed value. `metadata` is a serialised kvrwset.KVMetadataWrite with the entries only, empty for none."""

    value: bytes
    metadata: bytes
    version: Version


@dataclass(frozen=True)
class CommittedTransaction:
    """One transaction of a committed block: id (may be empty), position, header type and peer.TxValidationCode."""

    tx_id: str
    position: int
    header_type: int
    code: int


@dataclass(frozen=True)
class CommittedBlock:
    """A committed block, with the peers' metadata in it, and its transactions."""

    number: int
    block: common_pb2.Block
    transactions: tuple[CommittedTransaction, ...]


@dataclass(frozen=True)
class TransactionStatus:
    """Where a transaction id was first committed, and with which peer.TxValidationCode."""

    tx_id: str
    block_number: int
    position: int
    code: int


class ChannelLedger:
    """The ledger of one channel."""

    channel_id: str

    @property
    def height(self) -> int:
        """The number of committed blocks."""
        raise NotImplementedError

    @property
    def last_hash(self) -> bytes:
        """The hash of the newest block's header."""
        raise NotImplementedError

    # -- blocks and transactions
    def block(self, number: int) -> common_pb2.Block:
        """A committed block with the peers' metadata; raises BlockNotFoundError."""
        raise NotImplementedError

    def block_bytes(self, number: int) -> bytes:
        """The same, serialised."""
        raise NotImplementedError

    def block_by_hash(self, block_hash: bytes) -> common_pb2.Block:
        """The block with this header hash; raises BlockNotFoundError."""
        raise NotImplementedError

    def transaction_status(self, tx_id: str) -> TransactionStatus | None:
        """Where a transaction id was first committed (valid or not), None if never."""
        raise NotImplementedError

    def envelope(self, tx_id: str) -> common_pb2.Envelope:
        """The envelope of the first transaction with this id; raises BlockNotFoundError."""
        raise NotImplementedError

    # -- waiting; neither misses a block that is committed between the check and the wait
    async def wait_for_height(self, height: int) -> None:
        """Return once `height` blocks are committed."""
        raise NotImplementedError

    async def wait_for_transaction(self, tx_id: str) -> TransactionStatus:
        """Return the status of a transaction id once it is committed (at once if it is); cancel to give up."""
        raise NotImplementedError

    def blocks(self, start: int, stop: int | None = None) -> AsyncIterator[common_pb2.Block]:
        """Blocks from `start` through `stop` (forever without it), waiting for those that are not there yet."""
        raise NotImplementedError

    # -- state as last committed
    def get_state(self, namespace: str, key: str) -> VersionedValue | None:
        """The committed value of a key."""
        raise NotImplementedError
