"""Waiting for blocks and transactions that are not committed yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from fabric_protos.common import common_pb2

from goldengrain.network.embedded.chain import Chain
from goldengrain.network.embedded.commits import CommittedTransaction, TransactionStatus

__all__ = ["Arrivals"]


class Arrivals:
    """Those who wait for what comes into a chain; whoever makes it longer wakes them."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._height_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._tx_waiters: dict[str, list[asyncio.Future[TransactionStatus]]] = {}

    async def wait_for_height(self, height: int) -> None:
        """Return once `height` blocks are committed."""
        if self._chain.height >= height:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._height_waiters.append((height, waiter))
        try:
            await waiter
        finally:
            self._height_waiters = [entry for entry in self._height_waiters if entry[1] is not waiter]

    async def wait_for_transaction(self, tx_id: str) -> TransactionStatus:
        """Return the status of a transaction id once it is committed (at once if it is); cancel to give up."""
        status = self._chain.transaction_status(tx_id)
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
            yield self._chain.block(number)
            number += 1

    def wake(self, transactions: Sequence[CommittedTransaction]) -> None:
        """Let go on who waits for the newest block or one of its transactions."""
        for height, waiter in self._height_waiters:
            if height <= self._chain.height and not waiter.done():
                waiter.set_result(None)
        for transaction in transactions:
            if transaction.tx_id not in self._tx_waiters:
                continue
            status = self._chain.transaction_status(transaction.tx_id)
            for waiting in self._tx_waiters[transaction.tx_id]:
                if status is not None and not waiting.done():
                    waiting.set_result(status)
