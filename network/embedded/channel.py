"""A channel as all peers of this process see it: ledger, configuration, chaincode definitions, validation.

    channel = Channel.create(path, genesis_block)      # or Channel.open(path)
    channel.check_policy("/Channel/Application/Writers", [SignedData(...)])
    simulator = channel.simulator(tx_id, msp_id="Org1MSP")
    ...
    await channel.commit(block)
    await channel.close()

Everything runs on one asyncio event loop; only writing to disk happens on a thread of its own.

All peers of the process commit the same blocks by the same rules, so one validation and one state serve them all.
Private data alone differs: an organisation has the clear values of the collections it is a member of.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import transaction_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded import blocks as block_tools
from goldengrain.network.embedded.commits import Commit, CommittedBlock, CommittedTransaction
from goldengrain.network.embedded.config import ChannelConfig, is_config_block
from goldengrain.network.embedded.config_update import check_config_transaction
from goldengrain.network.embedded.definitions import ChaincodeDefinitions
from goldengrain.network.embedded.errors import ConfigError, LedgerCorruptError
from goldengrain.network.embedded.ledger import ChannelLedger
from goldengrain.network.embedded.mvcc import commit_hash
from goldengrain.network.embedded.policies import SignedData
from goldengrain.network.embedded.rwset import CollectionRwSet
from goldengrain.network.embedded.simulator import TxSimulator
from goldengrain.network.embedded.state import (
    BlockUpdates,
    Expiry,
    PrivateKey,
    PrivateWrite,
    PublicWrite,
    StateKey,
    Update,
    Version,
)
from goldengrain.network.embedded.validator import BlockValidator, ValidatedBlock, ValidatedTransaction

__all__ = ["Channel"]

_VALID = transaction_pb2.VALID


class Channel:
    """One channel; make it with `create` or `open`."""

    def __init__(self, ledger: ChannelLedger, config: ChannelConfig) -> None:
        self.ledger = ledger
        self.definitions = ChaincodeDefinitions(ledger.state)
        self._config = config
        self._validator = BlockValidator(ledger, self.definitions, check_config_transaction)
        self._committing = asyncio.Lock()

    @classmethod
    def create(cls, path: Path, genesis: common_pb2.Block) -> Channel:
        """Make the ledger's file with the genesis block in it; raises LedgerError, ConfigError."""
        config = ChannelConfig.from_block(genesis)
        if genesis.header.number != 0 or genesis.header.data_hash != block_tools.data_hash(genesis.data.data):
            raise ConfigError("a genesis block has number 0 and the hash of its data")
        block = common_pb2.Block()
        block.CopyFrom(genesis)
        block_tools.set_commit_metadata(block, bytes([_VALID]), b"")
        header = block_tools.channel_header_of(block.data.data[0])
        transaction = CommittedTransaction(header.tx_id if header else "", 0, common_pb2.CONFIG, _VALID)
        return cls(ChannelLedger.create(path, config.channel_id, Commit(block, (transaction,), BlockUpdates())), config)

    @classmethod
    def open(cls, path: Path, genesis: common_pb2.Block | None = None) -> Channel:
        """Open an existing ledger, of this genesis block if given.

        Raises LedgerError or one of its kinds: LedgerCorruptError, LedgerForeignError, LedgerBusyError.
        """
        expected = None if genesis is None else block_tools.header_hash(genesis.header)
        ledger = ChannelLedger.open(path, expected)
        try:
            return cls(ledger, ChannelConfig.from_block(_config_block(ledger)))
        except ConfigError as error:
            ledger.abandon()
            raise LedgerCorruptError(f"{path.name} has no readable configuration: restore it from a copy") from error

    @property
    def channel_id(self) -> str:
        """The channel's name."""
        return self.ledger.channel_id

    @property
    def config(self) -> ChannelConfig:
        """The configuration in force: that of the newest committed configuration block."""
        return self._config

    @property
    def height(self) -> int:
        """The number of committed blocks."""
        return self.ledger.chain.height

    def check_policy(self, path: str, signed: Sequence[SignedData]) -> None:
        """Evaluate signatures against a channel policy; raises PolicyError with Fabric's text."""
        self._config.policies.check(path, signed)

    def simulator(self, tx_id: str, msp_id: str) -> TxSimulator:
        """Open a simulator on the state as it is now, reading private data as a peer of organisation `msp_id`."""
        return TxSimulator(self.ledger.snapshot(), tx_id, msp_id)

    async def stage_private(self, tx_id: str, private: rwset_pb2.TxPvtReadWriteSet) -> None:
        """Keep a transaction's private writes until it commits; durable when this returns."""
        await self.ledger.staging.keep(tx_id, private.SerializeToString())

    async def validate(self, block: common_pb2.Block) -> ValidatedBlock:
        """Judge a block that follows the newest one, without committing it; nothing may commit meanwhile."""
        return await self._validator.validate(block, self._config)

    async def commit(self, block: common_pb2.Block, *, ordered_through: int | None = None) -> CommittedBlock:
        """Validate a block from the orderer and commit it durably; subscribers see it when it is on disk.

        `ordered_through` is the queue's sequence number up to which envelopes are in this block (or refused).
        `block` gets the peers' metadata and is kept: don't change it afterwards. Raises BlockRefusedError, LedgerError.
        """
        return await asyncio.shield(asyncio.create_task(self._commit(block, ordered_through)))

    async def _commit(self, block: common_pb2.Block, ordered_through: int | None) -> CommittedBlock:
        async with self._committing:
            result = await self.validate(block)
            previous = block_tools.commit_hash(self.ledger.chain.newest)
            flags = result.flags
            block_tools.set_commit_metadata(block, flags, commit_hash(flags, result.updates, previous))
            private = _PrivateEffects(self, block.header.number)
            for position, transaction in enumerate(result.transactions):
                if transaction.code == _VALID:
                    private.add(position, transaction)
            updates = private.block_updates(result.updates)
            updates.history = list(_public_writes(result.transactions))
            transactions = tuple(
                CommittedTransaction(t.tx_id, position, t.header_type, t.code)
                for position, t in enumerate(result.transactions)
            )

            def seen() -> None:
                self.definitions.committed(updates)
                if result.config is not None:
                    self._config = result.config

            return await self.ledger.commit(Commit(block, transactions, updates, ordered_through, seen))

    async def close(self) -> None:
        """Wait for what is being written and close the file."""
        async with self._committing:
            await self.ledger.close()


def _config_block(ledger: ChannelLedger) -> common_pb2.Block:
    """Find the newest configuration block that was valid."""
    number = ledger.chain.height - 1
    while True:
        block = ledger.chain.block(number)
        if number == 0 or (is_config_block(block) and block_tools.transaction_flags(block) == bytes([_VALID])):
            return block
        number = min(number - 1, block_tools.last_config(block))


class _PrivateEffects:
    """What a block does to private data: new clear values for members, deletions, purges, and what expires."""

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel = channel
        self._number = number
        self._clear: dict[StateKey, dict[PrivateKey, bytes]] = {}
        self._expiries: list[Expiry] = []
        self._written: list[PrivateWrite] = []
        self._forgotten: list[StateKey] = []
        self._purged: list[tuple[int, StateKey]] = []

    def add(self, position: int, transaction: ValidatedTransaction) -> None:
        """Take in a valid transaction, in the order of the block."""
        touched = [(e, p) for e in transaction.rwsets for p in e.collections if p.hashed.hashed_writes]
        if not touched:
            return
        staged = dict(_clear_writes(self._channel.ledger.staging.of(transaction.tx_id)))
        for entry, part in touched:
            self._schedule(position, entry.namespace, part)
            secret = staged.get((entry.namespace, part.name, part.private_hash))
            if secret is not None:
                self._keep(position, entry.namespace, part.name, kv_rwset_pb2.KVRWSet.FromString(secret))

    def _schedule(self, position: int, namespace: str, part: CollectionRwSet) -> None:
        version = Version(self._number, position)
        collection = self._channel.definitions.collection(self._channel.config, namespace, part.name)
        for write in part.hashed.hashed_writes:
            key = StateKey(namespace, part.name, write.key_hash)
            if write.is_purge:
                self._purged.append((position, key))
            elif collection is not None and collection.block_to_live:
                self._expiries.append(Expiry(self._number + collection.block_to_live + 1, key, version))

    def _keep(self, position: int, namespace: str, name: str, secret: kv_rwset_pb2.KVRWSet) -> None:
        collection = self._channel.definitions.collection(self._channel.config, namespace, name)
        members = collection.members if collection is not None else frozenset[str]()
        for write in secret.writes:
            raw = write.key.encode()
            key = StateKey(namespace, name, hashlib.sha256(raw).digest())
            self._written.append(PrivateWrite(position, key, write.SerializeToString()))
            for msp_id in members:
                self._clear.setdefault(key, {})[PrivateKey(msp_id, namespace, name, raw)] = write.value

    def block_updates(self, state: Mapping[StateKey, Update]) -> BlockUpdates:
        """Everything the block changes; a clear value stays only while its hash is the public one."""
        merged = dict(state)
        for expiry in self._channel.ledger.state.expiring(self._number):
            current = self._channel.ledger.state.get(expiry.key)
            if expiry.key not in merged and current is not None and current.version == expiry.version:
                merged[expiry.key] = Update(None, b"", Version(self._number, 0))
                self._forgotten.append(expiry.key)
        private: dict[PrivateKey, Update] = {}
        for key, update in merged.items():
            if not key.collection:
                continue
            owners = {owner: value.value for owner, value in self._channel.ledger.state.private_keys(key)}
            for owner, value in (owners | self._clear.get(key, {})).items():
                fits = update.value is not None and hashlib.sha256(value).digest() == update.value
                private[owner] = Update(value if fits else None, b"", update.version)
        return BlockUpdates(merged, private, self._expiries, self._written, self._forgotten, self._purged)


def _public_writes(transactions: Sequence[ValidatedTransaction]) -> Iterator[PublicWrite]:
    """Every public write of the valid transactions."""
    for position, transaction in enumerate(transactions):
        if transaction.code == transaction_pb2.VALID:
            for entry in transaction.rwsets:
                for write in entry.public.writes:
                    yield PublicWrite(position, entry.namespace, write.key.encode())


def _clear_writes(staged: Sequence[bytes]) -> Iterator[tuple[tuple[str, str, bytes], bytes]]:
    """((namespace, collection, hash of the write set), write set) of what endorsers kept for a transaction."""
    for raw in staged:
        try:
            message = rwset_pb2.TxPvtReadWriteSet.FromString(raw)
        except DecodeError:
            continue
        for entry in message.ns_pvt_rwset:
            for part in entry.collection_pvt_rwset:
                yield (entry.namespace, part.collection_name, hashlib.sha256(part.rwset).digest()), part.rwset
