"""What a ledger commits, and what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fabric_protos.common import common_pb2

from goldengrain.network.embedded import blocks as block_tools
from goldengrain.network.embedded.state import BlockUpdates
from goldengrain.network.embedded.store import BlockRow, TransactionRow

__all__ = ["Commit", "CommittedBlock", "CommittedTransaction", "TransactionStatus"]


@dataclass(frozen=True)
class CommittedTransaction:
    """One transaction of a committed block: id (may be empty), position, header type and peer.TxValidationCode."""

    tx_id: str
    position: int
    header_type: int
    code: int


@dataclass(frozen=True)
class CommittedBlock:
    """A committed block with the peers' metadata, and its transactions. Shared by all readers: don't change it."""

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


@dataclass(frozen=True)
class Commit:
    """What is to be committed: a block with the peers' metadata, and everything that goes with it."""

    block: common_pb2.Block
    transactions: tuple[CommittedTransaction, ...]
    updates: BlockUpdates
    ordered_through: int | None = None
    seen: Callable[[], None] = lambda: None
    """Called once it is on disk, before anyone who waits for it goes on."""

    def row(self, staged_done: Sequence[str] = ()) -> BlockRow:
        """Return it as the file takes it; of the transactions `staged_done` no staged private data are kept."""
        number = self.block.header.number
        return BlockRow(
            number=number,
            hash=block_tools.header_hash(self.block.header),
            block=self.block.SerializeToString(),
            transactions=[TransactionRow(t.tx_id, number, t.position, t.code) for t in self.transactions if t.tx_id],
            updates=self.updates,
            staged_done=staged_done,
            ordered_through=self.ordered_through,
        )
