"""A channel's ledger: blocks, transaction index, state and private data, in one file (see `store`).

Reads are synchronous and quick (a cache holds what was used last). Writes go to a thread of the ledger's own and are
awaited; several envelopes queued at once share one disk write. Until a block is on disk its changes are invisible;
then they become visible at once, and a `Snapshot` taken before still sees the state as it was (see `state.History`).

All peers of the process share this ledger, since they would all compute the same one. Private data alone is kept per
organisation.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fabric_protos.common import common_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded import blocks as block_tools
from goldengrain.network.embedded.errors import (
    BlockNotFoundError,
    BlockRefusedError,
    LedgerCorruptError,
    LedgerError,
    LedgerForeignError,
)
from goldengrain.network.embedded.state import (
    BlockUpdates,
    Expiry,
    History,
    PrivateKey,
    PrivateWrite,
    StateKey,
    Update,
    Version,
    VersionedValue,
    prefix_end,
)
from goldengrain.network.embedded.store import BlockRow, LedgerStore, QueuedRow, TransactionRow

__all__ = [
    "ChannelLedger",
    "CommittedBlock",
    "CommittedTransaction",
    "Snapshot",
    "TransactionStatus",
    "Version",
    "VersionedValue",
]

_CACHE_BYTES = 32 << 20
_CACHE_ENTRY = 200
_RECENT_BLOCKS = 64
_RANGE_CHUNK = 128
_STAGED_BLOCKS = 1000
_Result = TypeVar("_Result")


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


class ChannelLedger:
    """The ledger of one channel; make it with `create` or `open`, end it with `close`."""

    def __init__(self, store: LedgerStore, channel_id: str, height: int, newest: common_pb2.Block) -> None:
        self.channel_id = channel_id
        self._store = store
        self._height = height
        self._newest = newest
        self._last_hash = block_tools.header_hash(newest.header)
        self._history = History()
        self._cache = _StateCache()
        self._recent: OrderedDict[int, common_pb2.Block] = OrderedDict()
        self._staged: dict[str, _Staged] = {}
        for tx_id, at, private in store.staged():
            self._staged.setdefault(tx_id, _Staged(at)).private.append(private)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"ledger-{channel_id}")
        self._committing = asyncio.Lock()
        self._height_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._tx_waiters: dict[str, list[asyncio.Future[TransactionStatus]]] = {}

    # -- opening and closing -----------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, path: Path, channel_id: str, commit: Commit, state: Iterable[tuple[StateKey, VersionedValue]] = ()
    ) -> ChannelLedger:
        """Make the file with the genesis block in it; raises LedgerError when there is one already.

        `state` is what stands on the ledger from the start (see `LedgerStore.create`).
        """
        row = _row(commit, [])
        store = LedgerStore.create(path, {"channel": channel_id.encode(), "genesis": row.hash}, row, state)
        return cls(store, channel_id, 1, commit.block)

    @classmethod
    def open(cls, path: Path, genesis_hash: bytes | None = None) -> ChannelLedger:
        """Open a ledger and check its newest block; raises LedgerError and its kinds.

        With `genesis_hash` (header hash of block 0) another channel's file is refused.
        """
        store = LedgerStore.open(path)
        try:
            found = store.meta("genesis")
            if genesis_hash is not None and found != genesis_hash:
                raise LedgerForeignError(f"{path.name} begins with another genesis block: it is another network's")
            height = store.height()
            newest = _checked(store, height - 1)
            if height > 1 and newest.header.previous_hash != store.block_hash(height - 2):
                raise LedgerCorruptError(f"block {height - 1} of {path.name} does not follow block {height - 2}")
            return cls(store, store.meta("channel").decode(), height, newest)
        except BaseException:
            store.close()
            raise

    async def close(self) -> None:
        """Wait for what is being written and close the file."""
        async with self._committing:
            await asyncio.get_running_loop().run_in_executor(None, self._writer.shutdown)
            self._store.close()

    def abandon(self) -> None:
        """Close the file at once, where nothing was written yet."""
        self._writer.shutdown()
        self._store.close()

    def verify(self) -> None:
        """Recompute the whole hash chain and all data hashes; raises LedgerCorruptError at the first fault."""
        previous = b""
        for number in range(self._height):
            block = _checked(self._store, number)
            if block.header.previous_hash != previous:
                raise LedgerCorruptError(f"block {number} does not follow block {number - 1}")
            previous = block_tools.header_hash(block.header)

    # -- blocks and transactions -------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The ledger's file."""
        return self._store.path

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

    def private_writes(self, number: int) -> list[PrivateWrite]:
        """Return the clear private writes kept beside a block: none of expired keys, empty ones of purged keys."""
        return self._store.private_writes(number)

    def _remember(self, number: int, block: common_pb2.Block) -> None:
        self._recent[number] = block
        if len(self._recent) > _RECENT_BLOCKS:
            self._recent.popitem(last=False)

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def wait_for_height(self, height: int) -> None:
        """Return once `height` blocks are committed."""
        if self._height >= height:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._height_waiters.append((height, waiter))
        try:
            await waiter
        finally:
            self._height_waiters = [entry for entry in self._height_waiters if entry[1] is not waiter]

    async def wait_for_transaction(self, tx_id: str) -> TransactionStatus:
        """Return the status of a transaction id once it is committed (at once if it is); cancel to give up."""
        status = self.transaction_status(tx_id)
        if status is not None:
            return status
        waiter: asyncio.Future[TransactionStatus] = asyncio.get_running_loop().create_future()
        self._tx_waiters.setdefault(tx_id, []).append(waiter)
        try:
            return await waiter
        finally:
            left = [entry for entry in self._tx_waiters.get(tx_id, []) if entry is not waiter]
            self._tx_waiters[tx_id] = left
            if not left:
                del self._tx_waiters[tx_id]

    async def blocks(self, start: int, stop: int | None = None) -> AsyncIterator[common_pb2.Block]:
        """Blocks from `start` through `stop` (forever without it), waiting for those that are not there yet."""
        number = start
        while stop is None or number <= stop:
            await self.wait_for_height(number + 1)
            yield self.block(number)
            number += 1

    def _wake(self, transactions: Sequence[CommittedTransaction]) -> None:
        for height, waiter in self._height_waiters:
            if height <= self._height and not waiter.done():
                waiter.set_result(None)
        for transaction in transactions:
            if transaction.tx_id not in self._tx_waiters:
                continue
            status = self.transaction_status(transaction.tx_id)
            for waiting in self._tx_waiters[transaction.tx_id]:
                if status is not None and not waiting.done():
                    waiting.set_result(status)

    # -- state -------------------------------------------------------------------------------------------------------

    def forget_cached(self) -> None:
        """Empty the cache: what is asked for next is read from the file."""
        self._cache = _StateCache()

    def snapshot(self) -> Snapshot:
        """Freeze the state as it is now for reading; `close` the snapshot after use."""
        return Snapshot(self, self._history)

    def get(self, key: StateKey) -> VersionedValue | None:
        """Return the committed value of a public or hashed key."""
        return self.get_at(self._height, key)

    def get_state(self, namespace: str, key: str) -> VersionedValue | None:
        """Return the committed value of a public key."""
        return self.get_at(self._height, StateKey(namespace, "", key.encode()))

    def get_at(self, height: int, key: StateKey) -> VersionedValue | None:
        """Return the value of a key as it was at `height` blocks: the newest, or one that a snapshot holds."""
        changed, value = self._history.find(height, key)
        if changed:
            return value
        known, value = self._cache.get(key)
        if not known:
            value = self._store.state(key)
            self._cache.put(key, value)
        return value

    def metadata(self, key: StateKey) -> bytes:
        """Return the committed metadata of a public or hashed key; empty without any or without the key."""
        return self.metadata_at(self._height, key)

    def metadata_at(self, height: int, key: StateKey) -> bytes:
        """Return a key's metadata as it was at `height` blocks; empty without any or without the key."""
        changed, value = self._history.find(height, key)
        known = changed
        if not changed:
            known, value = self._cache.get(key)
        if not known:
            return self._store.metadata(key)
        return b"" if value is None else value.metadata

    def range_at(
        self, height: int, namespace: str, start: bytes, end: bytes | None, wanted: int | None = None
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        """Public keys in [start, end) as they were at `height` blocks, read in chunks as they are asked for.

        Whoever knows that it will read no more than `wanted` says so: no more are fetched from the file at a time.
        """
        chunk = min(wanted or _RANGE_CHUNK, _RANGE_CHUNK)
        return self._merged(
            lambda at: self._store.state_range(namespace, at, end, chunk),
            lambda: self._history.changed(height, namespace),
            start,
            end,
            chunk,
        )

    def writers_at(self, height: int, namespace: str, key: bytes) -> Iterator[tuple[int, int]]:
        """(block, position) of the valid transactions below `height` that wrote a public key, the newest first."""
        before = (height, 0)
        while rows := self._store.writers(namespace, key, before, _RANGE_CHUNK):
            yield from rows
            before = rows[-1]

    def get_private_at(self, height: int, key: PrivateKey) -> VersionedValue | None:
        """Return the clear private value as one organisation has it."""
        changed, value = self._history.find_private(height, key)
        return value if changed else self._store.private(key)

    def private_range_at(
        self, height: int, owner: tuple[str, str, str], start: bytes, end: bytes | None
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        """As `range_at`, for the private keys of (MSP id, namespace, collection)."""
        return self._merged(
            lambda at: self._store.private_range(owner, at, end, _RANGE_CHUNK),
            lambda: self._history.changed_private(height, *owner),
            start,
            end,
            _RANGE_CHUNK,
        )

    @staticmethod
    def _merged(
        read: Callable[[bytes], list[tuple[bytes, VersionedValue]]],
        changed: Callable[[], Iterator[tuple[bytes, VersionedValue | None]]],
        start: bytes,
        end: bytes | None,
        chunk: int,
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        at = start
        while end is None or at < end:
            rows = read(at)
            full = len(rows) == chunk
            then = {
                key: value
                for key, value in changed()
                if at <= key and (end is None or key < end) and (not full or key <= rows[-1][0])
            }
            if then:
                merged: dict[bytes, VersionedValue | None] = {**dict(rows), **then}
                yield from ((key, value) for key, value in sorted(merged.items()) if value is not None)
            else:
                yield from rows
            if not full:
                return
            at = prefix_end(rows[-1][0])

    def private_keys(self, key: StateKey) -> list[tuple[PrivateKey, VersionedValue]]:
        """Who holds the clear key and value behind a hashed key."""
        return self._store.private_keys(key)

    def expiring(self, at: int) -> list[Expiry]:
        """What is to vanish when block `at` commits."""
        return self._store.expiring(at)

    # -- writing -----------------------------------------------------------------------------------------------------

    def staged(self, tx_id: str) -> list[bytes]:
        """Return the serialised TxPvtReadWriteSets that wait for a transaction."""
        return self._staged[tx_id].private if tx_id in self._staged else []

    async def stage(self, tx_id: str, private: bytes) -> None:
        """Keep a transaction's clear private writes until it commits; durable when this returns."""
        known = self._staged.setdefault(tx_id, _Staged(self._height))
        if private in known.private:
            return
        known.private.append(private)
        try:
            await self._write(lambda: self._store.write_staged(tx_id, known.height, private))
        except BaseException:  # not on disk: whoever brings it again has to be told the same
            known.private.remove(private)
            raise

    def queue(self) -> list[QueuedRow]:
        """All envelopes that are acknowledged but not in a block, in order."""
        return self._store.queue()

    async def enqueue(self, envelopes: Sequence[tuple[bytes, int]]) -> list[int]:
        """Append (envelope, configuration sequence) to the orderer's queue; durable when this returns their numbers."""
        return await self._write(lambda: self._store.write_queue(envelopes))

    async def dequeue(self, sequences: Sequence[int]) -> None:
        """Remove envelopes from the queue that are refused after all."""
        await self._write(lambda: self._store.drop_queue(sequences))

    async def commit(self, commit: Commit) -> CommittedBlock:
        """Write a block and its changes, all or nothing, then show them; raises BlockRefusedError, LedgerError.

        A caller that is cancelled meanwhile doesn't stop it halfway.
        """
        task = asyncio.create_task(self._commit(commit))
        return await asyncio.shield(task)

    async def _commit(self, commit: Commit) -> CommittedBlock:
        async with self._committing:
            header = commit.block.header
            if header.number != self._height:
                raise BlockRefusedError(f"block {header.number} does not continue a chain of height {self._height}")
            if header.previous_hash != self._last_hash:
                raise BlockRefusedError(
                    f"block {header.number} has another previous hash than block {self._height - 1}"
                )
            if header.data_hash != block_tools.data_hash(commit.block.data.data):
                raise BlockRefusedError(f"block {header.number} has another data hash than its data")
            done = [t.tx_id for t in commit.transactions if t.tx_id in self._staged]
            done += [tx_id for tx_id, entry in self._staged.items() if entry.height < header.number - _STAGED_BLOCKS]
            row = _row(commit, done)
            self._history.record(
                header.number,
                {key: self.get(key) for key in commit.updates.state},
                {key: self.get_private_at(self._height, key) for key in commit.updates.private},
            )
            try:
                await self._write(lambda: self._store.write_block(row))
            except BaseException:
                self._history.cancel(header.number)
                raise
            return self._publish(commit, row, done)

    def _publish(self, commit: Commit, row: BlockRow, done: Sequence[str]) -> CommittedBlock:
        for tx_id in done:
            self._staged.pop(tx_id, None)
        self._cache.apply(commit.updates.state)
        self._remember(self._height - 1, self._newest)
        self._newest, self._last_hash = commit.block, row.hash
        self._height += 1
        self._history.forget(self._height)
        commit.seen()
        self._wake(commit.transactions)
        return CommittedBlock(row.number, commit.block, commit.transactions)

    async def _write(self, action: Callable[[], _Result]) -> _Result:
        try:
            writing = asyncio.get_running_loop().run_in_executor(self._writer, action)
        except RuntimeError as error:
            raise LedgerError(f"the ledger of channel {self.channel_id} is closed") from error
        return await writing


class Snapshot:
    """The state at one height, for reading while later blocks commit."""

    def __init__(self, ledger: ChannelLedger, history: History) -> None:
        self._ledger = ledger
        self._history: History | None = history
        self.height = ledger.height
        history.enter(self.height)

    def get(self, key: StateKey) -> VersionedValue | None:
        """Return the value of a public or hashed key."""
        return self._ledger.get_at(self.height, key)

    def metadata(self, key: StateKey) -> bytes:
        """Return the metadata of a public or hashed key; empty without any or without the key."""
        return self._ledger.metadata_at(self.height, key)

    def range(
        self, namespace: str, start: bytes, end: bytes | None, wanted: int | None = None
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        """Public keys in [start, end); `wanted` is how many will be read at most, where that is known."""
        return self._ledger.range_at(self.height, namespace, start, end, wanted)

    def writers(self, namespace: str, key: bytes) -> Iterator[tuple[int, int]]:
        """(block, position) of the valid transactions that wrote a public key, the newest first."""
        return self._ledger.writers_at(self.height, namespace, key)

    def block(self, number: int) -> common_pb2.Block:
        """Return a committed block; shared, don't change it. Raises BlockNotFoundError."""
        return self._ledger.block(number)

    def get_private(self, key: PrivateKey) -> VersionedValue | None:
        """Return the clear private value as one organisation has it."""
        return self._ledger.get_private_at(self.height, key)

    def private_range(
        self, owner: tuple[str, str, str], start: bytes, end: bytes | None
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        """Private keys in [start, end) of (MSP id, namespace, collection)."""
        return self._ledger.private_range_at(self.height, owner, start, end)

    def close(self) -> None:
        """Release it; safe to call twice."""
        if self._history is not None:
            self._history.leave(self.height)
            self._history = None


@dataclass
class _Staged:
    """Clear private writes of a transaction that is not committed yet, and the height at which they came."""

    height: int
    private: list[bytes] = field(default_factory=list)


class _StateCache:
    """What was read or written last, missing keys included, up to a number of bytes."""

    def __init__(self) -> None:
        self._entries: OrderedDict[StateKey, VersionedValue | None] = OrderedDict()
        self._bytes = 0

    def get(self, key: StateKey) -> tuple[bool, VersionedValue | None]:
        if key not in self._entries:
            return False, None
        self._entries.move_to_end(key)
        return True, self._entries[key]

    def put(self, key: StateKey, value: VersionedValue | None) -> None:
        if key in self._entries:
            self._bytes -= _cost(key, self._entries.pop(key))
        self._entries[key] = value
        self._bytes += _cost(key, value)
        while self._bytes > _CACHE_BYTES and len(self._entries) > 1:
            self._bytes -= _cost(*self._entries.popitem(last=False))

    def apply(self, updates: Mapping[StateKey, Update]) -> None:
        for key, (value, metadata, version) in updates.items():
            self.put(key, None if value is None else VersionedValue(value, metadata, version))


def _cost(key: StateKey, value: VersionedValue | None) -> int:
    return _CACHE_ENTRY + len(key.key) + (len(value.value) + len(value.metadata) if value else 0)


def _row(commit: Commit, staged_done: Sequence[str]) -> BlockRow:
    number = commit.block.header.number
    return BlockRow(
        number=number,
        hash=block_tools.header_hash(commit.block.header),
        block=commit.block.SerializeToString(),
        transactions=[TransactionRow(t.tx_id, number, t.position, t.code) for t in commit.transactions if t.tx_id],
        updates=commit.updates,
        staged_done=staged_done,
        ordered_through=commit.ordered_through,
    )


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
