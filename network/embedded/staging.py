"""Clear private writes that endorsers keep until their transaction commits, or for a thousand blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from goldengrain.network.embedded.chain import Chain
from goldengrain.network.embedded.commits import Commit
from goldengrain.network.embedded.store import LedgerStore
from goldengrain.network.embedded.writer import Writer

__all__ = ["Staging"]

_STAGED_BLOCKS = 1000


@dataclass
class _Staged:
    """What is kept for one transaction, and the height at which its first came."""

    height: int
    private: list[bytes] = field(default_factory=list)


class Staging:
    """The private writes that wait, in memory as in the file."""

    def __init__(self, store: LedgerStore, writer: Writer, chain: Chain) -> None:
        self._store = store
        self._writer = writer
        self._chain = chain
        self._staged: dict[str, _Staged] = {}
        for tx_id, at, private in store.staged():
            self._staged.setdefault(tx_id, _Staged(at)).private.append(private)

    def of(self, tx_id: str) -> list[bytes]:
        """Return the serialised TxPvtReadWriteSets that wait for a transaction."""
        return self._staged[tx_id].private if tx_id in self._staged else []

    async def keep(self, tx_id: str, private: bytes) -> None:
        """Keep a transaction's clear private writes until it commits; durable when this returns."""
        known = self._staged.setdefault(tx_id, _Staged(self._chain.height))
        if private in known.private:
            return
        known.private.append(private)
        try:
            await self._writer.write(lambda: self._store.write_staged(tx_id, known.height, private))
        except BaseException:  # not on disk: whoever brings it again has to be told the same
            known.private.remove(private)
            raise

    def done_with(self, commit: Commit) -> list[str]:
        """Return the transactions of which nothing needs to be kept after this commit: its own, and those too old."""
        oldest = commit.block.header.number - _STAGED_BLOCKS
        done = [t.tx_id for t in commit.transactions if t.tx_id in self._staged]
        return done + [tx_id for tx_id, entry in self._staged.items() if entry.height < oldest]

    def forget(self, done: Iterable[str]) -> None:
        """Drop what the file has dropped."""
        for tx_id in done:
            self._staged.pop(tx_id, None)
