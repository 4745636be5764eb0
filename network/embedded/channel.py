"""A channel as all peers of this process see it: ledger, configuration, chaincode definitions, validation.

    channel = Channel.create(path, genesis_block)      # or Channel.open(path)
    channel.check_policy("/Channel/Application/Writers", [SignedData(...)])
    simulator = channel.simulator(tx_id, msp_id="Org1MSP")
    ...
    await channel.commit(block, ordered_through=17)
    await channel.close()

Everything runs on one asyncio event loop; only writing to disk happens on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fabric_protos.common import common_pb2
    from fabric_protos.ledger.rwset import rwset_pb2

    from goldengrain.network.embedded.config import ChannelConfig
    from goldengrain.network.embedded.definitions import ChaincodeDefinitions
    from goldengrain.network.embedded.ledger import ChannelLedger, CommittedBlock
    from goldengrain.network.embedded.policies import SignedData
    from goldengrain.network.embedded.simulator import TxSimulator


class Channel:
    """One channel; make it with `create` or `open`."""

    ledger: ChannelLedger
    definitions: ChaincodeDefinitions

    @property
    def channel_id(self) -> str:
        """The channel's name."""
        raise NotImplementedError

    @property
    def config(self) -> ChannelConfig:
        """The configuration in force: that of the newest committed configuration block."""
        raise NotImplementedError

    @property
    def height(self) -> int:
        """The number of committed blocks."""
        raise NotImplementedError

    @classmethod
    def create(cls, path: Path, genesis: common_pb2.Block) -> Channel:
        """Make the ledger's file with the genesis block in it; raises LedgerError, ConfigError."""
        raise NotImplementedError

    @classmethod
    def open(cls, path: Path, genesis: common_pb2.Block | None = None) -> Channel:
        """Open an existing ledger, of this genesis block if given; raises LedgerCorruptError, LedgerForeignError, LedgerBusyError."""
        raise NotImplementedError

    def check_policy(self, path: str, signed: Sequence[SignedData]) -> None:
        """Evaluate signatures against a channel policy; raises PolicyError with Fabric's text."""
        raise NotImplementedError

    def simulator(self, tx_id: str, msp_id: str) -> TxSimulator:
        """A simulator on a snapshot of the committed state, reading private data as a peer of organisation `msp_id`."""
        raise NotImplementedError

    async def stage_private(self, tx_id: str, private: rwset_pb2.TxPvtReadWriteSet) -> None:
        """Keep a transaction's private writes until it commits; durable when this returns."""
        raise NotImplementedError

    async def commit(self, block: common_pb2.Block, *, ordered_through: int | None = None) -> CommittedBlock:
        """Validate a block from the orderer, commit it durably, tell the subscribers; raises BlockRefusedError, LedgerError."""
        raise NotImplementedError

    async def close(self) -> None:
        """Wait for what is being written and close the file."""
        raise NotImplementedError
