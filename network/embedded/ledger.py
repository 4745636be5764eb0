"""A channel's ledger: blocks, transaction index, state and private data, in one file (see `store`).

    ledger = ChannelLedger.open(path)
    ledger.chain.block(7)                              # blocks and transactions
    ledger.state.get_public("basic", "asset1")         # the newest state; `ledger.snapshot()` to go on reading it
    await ledger.commit(Commit(block, transactions, updates))
    await ledger.arrivals.wait_for_transaction(tx_id)
    await ledger.close()

Reads are synchronous and quick (a cache holds what was used last). Writes go to a thread of the ledger's own and are
awaited; several envelopes queued at once share one disk write. Until a block is on disk its changes are invisible;
then they become visible at once, and a `Snapshot` taken before still sees the state as it was (see `recent_past`).

All peers of the process share this ledger, since they would all compute the same one. Private data alone is kept per
organisation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from goldengrain.network.embedded.arrivals import Arrivals
from goldengrain.network.embedded.chain import Chain
from goldengrain.network.embedded.commits import Commit, CommittedBlock
from goldengrain.network.embedded.errors import LedgerForeignError
from goldengrain.network.embedded.snapshot import Snapshot
from goldengrain.network.embedded.staging import Staging
from goldengrain.network.embedded.state import StateKey, VersionedValue
from goldengrain.network.embedded.store import BlockRow, LedgerStore, QueuedRow
from goldengrain.network.embedded.world_state import WorldState
from goldengrain.network.embedded.writer import Writer

__all__ = ["ChannelLedger"]


class ChannelLedger:
    """The ledger of one channel; make it with `create` or `open`, end it with `close`."""

    def __init__(self, store: LedgerStore, chain: Chain) -> None:
        self.channel_id = chain.channel_id
        self.chain = chain
        self.arrivals = Arrivals(chain)
        self.state = WorldState(store, chain.height)
        self._store = store
        self._writer = Writer(chain.channel_id)
        self.staging = Staging(store, self._writer, chain)
        self._committing = asyncio.Lock()

    # -- opening and closing -----------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, path: Path, channel_id: str, commit: Commit, state: Iterable[tuple[StateKey, VersionedValue]] = ()
    ) -> ChannelLedger:
        """Make the file with the genesis block in it; raises LedgerError when there is one already.

        `state` is what stands on the ledger from the start (see `LedgerStore.create`).
        """
        row = commit.row()
        store = LedgerStore.create(path, {"channel": channel_id.encode(), "genesis": row.hash}, row, state)
        return cls(store, Chain(store, channel_id, 1, commit.block))

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
            return cls(store, Chain.open(store))
        except BaseException:
            store.close()
            raise

    async def close(self) -> None:
        """Wait for what is being written and close the file."""
        async with self._committing:
            await asyncio.get_running_loop().run_in_executor(None, self._writer.stop)
            self._store.close()

    def abandon(self) -> None:
        """Close the file at once, where nothing was written yet."""
        self._writer.stop()
        self._store.close()

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The ledger's file."""
        return self._store.path

    def snapshot(self) -> Snapshot:
        """Freeze the ledger as it is now for reading; `close` the snapshot after use."""
        return Snapshot(self.state, self.chain)

    # -- the orderer's queue -----------------------------------------------------------------------------------------

    def queue(self) -> list[QueuedRow]:
        """All envelopes that are acknowledged but not in a block, in order."""
        return self._store.queue()

    async def enqueue(self, envelopes: Sequence[tuple[bytes, int]]) -> list[int]:
        """Append (envelope, configuration sequence) to the orderer's queue; durable when this returns their numbers."""
        return await self._writer.write(lambda: self._store.write_queue(envelopes))

    async def dequeue(self, sequences: Sequence[int]) -> None:
        """Remove envelopes from the queue that are refused after all."""
        await self._writer.write(lambda: self._store.drop_queue(sequences))

    # -- committing --------------------------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> CommittedBlock:
        """Write a block and its changes, all or nothing, then show them; raises BlockRefusedError, LedgerError.

        A caller that is cancelled meanwhile doesn't stop it halfway.
        """
        task = asyncio.create_task(self._commit(commit))
        return await asyncio.shield(task)

    async def _commit(self, commit: Commit) -> CommittedBlock:
        async with self._committing:
            self.chain.check_next(commit.block)
            row = commit.row(self.staging.done_with(commit))
            self.state.begin(commit.updates)
            try:
                await self._writer.write(lambda: self._store.write_block(row))
            except BaseException:
                self.state.cancel()
                raise
            return self._publish(commit, row)

    def _publish(self, commit: Commit, row: BlockRow) -> CommittedBlock:
        self.staging.forget(row.staged_done)
        self.state.apply(commit.updates)
        self.chain.append(commit.block, row.hash)
        commit.seen()
        self.arrivals.wake(commit.transactions)
        return CommittedBlock(row.number, commit.block, commit.transactions)
