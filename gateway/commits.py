"""The outcome of many transactions over one stream of filtered blocks, instead of one call each.

A transaction is expected *before* it is submitted, and the stream begins at the block that was next when the first was
expected, so that its block can't have passed. From there on the stream has no gap (``streams``), whatever breaks.
What the stream can't tell is asked with a call: a transaction that it saw as DUPLICATE_TXID, since the first of the
two lies before it; one of an earlier run; and all of them where the channel's blocks may not be read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any
from weakref import WeakValueDictionary

from fabric_protos.peer import events_pb2, transaction_pb2

from goldengrain.gateway.deliver import FILTERED, BlocksRequest
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.positions import newest_number
from goldengrain.gateway.session import Session
from goldengrain.gateway.status import Status, code_name
from goldengrain.gateway.streams import EventStream

_AGAIN_S = 30.0
"""Seconds until a stream that could not be had is tried again."""


class Watch:
    """A transaction that is expected on the stream; forgotten when nobody holds it any more."""

    __slots__ = ("__weakref__", "_seen")

    def __init__(self) -> None:
        self._seen: asyncio.Future[Status | None] = asyncio.get_running_loop().create_future()

    def tell(self, status: Status | None) -> None:
        """Say what the stream saw; None where it can't say. Only the first word counts."""
        if not self._seen.done():
            self._seen.set_result(status)

    async def wait(self, seconds: float) -> Status | None:
        """Return the status, or None where the stream can't say, or has not in time."""
        await asyncio.wait([self._seen], timeout=seconds)
        return self._seen.result() if self._seen.done() else None

    async def or_else(self, asking: Coroutine[None, None, Status]) -> Status:
        """Return what the stream or a call says, whichever is first. Raises what the call does."""
        asked = asyncio.ensure_future(asking)
        try:
            either: list[asyncio.Future[Any]] = [self._seen, asked]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            seen = self._seen.result() if self._seen.done() else None
            return await asked if seen is None else seen
        finally:
            asked.cancel()


class CommitWatcher:
    """One channel's stream of filtered blocks, and who waits for what on it. Internal to the package."""

    def __init__(self, session: Session, channel: str) -> None:
        self._session = session
        self._channel = channel
        self._expected: WeakValueDictionary[str, Watch] = WeakValueDictionary()
        self._starting: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._not_before = 0.0

    @classmethod
    def of(cls, session: Session, channel: str) -> CommitWatcher:
        """Return the session's watcher of a channel."""
        if channel not in session.watchers:
            session.watchers[channel] = cls(session, channel)
        return session.watchers[channel]

    async def expect(self, transaction_id: str, seconds: float) -> Watch | None:
        """Return a watch for a transaction that is not submitted yet.

        None where the stream can't be had within some seconds: then its status is asked with a call.
        """
        if self._reading is None and not await self._started(seconds):
            return None
        watch = self._expected.get(transaction_id)
        if watch is None:
            self._expected[transaction_id] = watch = Watch()
        return watch

    async def _started(self, seconds: float) -> bool:
        if asyncio.get_running_loop().time() < self._not_before:
            return False
        starting = self._starting = self._starting or asyncio.create_task(self._start())
        await asyncio.wait([starting], timeout=seconds)
        return self._reading is not None

    async def _start(self) -> None:
        try:
            first = await newest_number(self._session, self._channel) + 1
            self._reading = asyncio.create_task(self._read(first))
        except GatewayError:
            self._not_before = asyncio.get_running_loop().time() + _AGAIN_S
        finally:
            self._starting = None

    async def _read(self, first: int) -> None:
        stream = BlocksRequest(self._session, self._channel, FILTERED, first).stream()
        try:
            await self._follow(stream)
        except GatewayError:
            self._not_before = asyncio.get_running_loop().time() + _AGAIN_S
        finally:
            stream.close()
            self._reading = None
            for watch in list(self._expected.values()):
                watch.tell(None)
            self._expected.clear()

    async def _follow(self, stream: EventStream[events_pb2.FilteredBlock]) -> None:
        async for block in stream:
            for one in block.filtered_transactions:
                watch = self._expected.pop(one.txid, None)
                if watch is None:
                    continue
                code = one.tx_validation_code
                known = code != transaction_pb2.DUPLICATE_TXID
                watch.tell(Status(one.txid, code, code_name(code), block.number) if known else None)

    async def close(self) -> None:
        """End the stream."""
        tasks = [task for task in (self._starting, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
