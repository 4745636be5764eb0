"""Streams of events and blocks that go on by themselves where they broke, with neither a gap nor a repeat.

A stream knows its position: the number of the next block or, for chaincode events, the block and transaction of the
last event handed out. When a call to a peer breaks, it is opened again there, at the next peer where there are
several, after pauses of bounded length. "From the next block on" is made a number before the first call, so that
nothing is missed between a break and the call after it.

Not opened again: what the peer refuses (``PERMISSION_DENIED``, ``FORBIDDEN``, a malformed request), what was never
connected in the first place, and requests signed elsewhere, since a new position needs a new signature.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Protocol, TypeVar

import grpc

from goldengrain.gateway.errors import DeliverError, EventsError
from goldengrain.gateway.peers import Peer
from goldengrain.gateway.session import Session
from goldengrain.gateway.stream_call import StreamCall

T = TypeVar("T")

_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_STATUS_REFUSALS = frozenset({"FORBIDDEN", "BAD_REQUEST"})


class Source(Protocol[T]):
    """What a stream is of: opens a call at its position, and moves the position on. Internal to the package."""

    async def prepare(self) -> None:
        """Make the position a number, where that takes asking a peer."""
        ...

    def open(self, peer: Peer) -> StreamCall[T]:
        """Return a call from the position on, not yet sent."""
        ...

    def passed(self, item: T) -> None:
        """Move the position behind an item."""
        ...

    @property
    def complete(self) -> bool:
        """Whether nothing is to come any more."""
        ...

    def resumes(self, error: EventsError | DeliverError) -> bool:
        """Whether it can be opened again at its position, after this error."""
        ...


class EventStream(Generic[T]):
    """An asynchronous iterator over what peers send, resumed where it broke.

    The request goes out when ``async with`` is entered, or at the first item. Leaving ``async with``, or ``close``,
    ends it; a stream is used up then. A timeout around the wait for an item loses nothing. Example::

        async with network.chaincode_events("golden-grain", start_block=7) as events:
            async for event in events: …

    Raises EventsError or DeliverError where it can't go on; the gateway's ``reconnect`` says how long it tries.
    """

    def __init__(self, session: Session, source: Source[T]) -> None:
        self._session = session
        self._source = source
        self._policy = session.reconnect
        self._backoff = self._policy.backoff()
        self._call: StreamCall[T] | None = None
        self._peer: Peer | None = None
        self._prepared = self._connected = self._delivered = False
        self._breaks = 0
        self._opened_at = 0.0
        self._broken_at: float | None = None
        self._next_try = 0.0
        self._closed = asyncio.Event()
        self.listener: Callable[[str, T], None] | None = None
        """Told the sending peer's address and each item before it is handed out. Internal to the package."""

    async def open(self) -> None:
        """Send the request, if it has not been sent. Raises EventsError, DeliverError."""
        while self._call is None and not self._closed.is_set():
            try:
                await self._open()
            except (EventsError, DeliverError) as error:
                self._broke(error)

    def close(self) -> None:
        """Stop the stream; whoever waits for an item sees its end."""
        self._closed.set()
        if self._call is not None:
            self._call.close()

    def __aiter__(self) -> EventStream[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            await self.open()
            if self._call is None or self._closed.is_set():
                raise StopAsyncIteration
            try:
                item = await anext(self._call)
            except StopAsyncIteration:
                self.close()
                raise
            except (EventsError, DeliverError) as error:
                self._broke(error)
                continue
            if self._closed.is_set():
                raise StopAsyncIteration
            self._source.passed(item)
            self._delivered = True
            self._works()
            if self.listener is not None and self._peer is not None:
                self.listener(self._peer.target, item)
            return item

    async def _open(self) -> None:
        if not self._prepared:
            await self._source.prepare()
            self._prepared = True
        await self._pause()
        if self._closed.is_set():
            return
        self._peer = self._session.peers.current
        self._connected = await self._peer.reachable() or self._connected
        call = self._source.open(self._peer)
        try:
            await call.open()
        except BaseException:
            call.close()
            raise
        self._call, self._opened_at = call, asyncio.get_running_loop().time()

    async def _pause(self) -> None:
        wait = self._next_try - asyncio.get_running_loop().time()
        if wait > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), wait)

    def _broke(self, error: EventsError | DeliverError) -> None:
        """Note a break and when to try again; raise the error where there is nothing to hope for."""
        now = asyncio.get_running_loop().time()
        if self._call is not None and now - self._opened_at >= self._policy.most:
            self._works()
        self._call = None
        if self._peer is not None:
            self._session.peers.failed(self._peer)
        if self._source.complete or not self._goes_on(error, now):
            self.close()
            if not self._source.complete:
                raise error
        self._breaks += 1
        if self._connected:
            self._next_try = now + self._backoff.pause()

    def _goes_on(self, error: EventsError | DeliverError, now: float) -> bool:
        if self._session.closed or error.grpc_code in _REFUSALS or getattr(error, "status", "") in _STATUS_REFUSALS:
            return False
        if not self._connected:
            return self._breaks + 1 < len(self._session.peers)
        if getattr(error, "status", "") == "NOT_FOUND" and not self._breaks and not self._delivered:
            return False  # later it only means that this peer is behind the one before it
        if self._broken_at is None:
            self._broken_at = now
        return now - self._broken_at < self._policy.patience and self._source.resumes(error)

    def _works(self) -> None:
        self._broken_at = None
        self._backoff.reset()

    async def __aenter__(self) -> EventStream[T]:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
