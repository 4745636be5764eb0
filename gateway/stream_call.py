"""One streaming call to one peer, as an asynchronous iterator that is opened once and closed in any case."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import grpc.aio

from goldengrain.gateway.channel import closed_error
from goldengrain.gateway.errors import GatewayError

T = TypeVar("T")


class StreamCall(Generic[T]):
    """An asynchronous iterator over what a peer sends, until the call ends; ``streams`` opens it again where it broke.

    The request goes out at ``open``, or at the first item. ``close`` cancels the call; it is used up then. A timeout
    around the wait for an item loses nothing.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        request: Any,
        translate: Callable[[Any], Iterable[T] | None],
        failure: Callable[[grpc.aio.AioRpcError], GatewayError],
        ended: Callable[[], GatewayError],
    ) -> None:
        """``start`` opens the call, ``request`` is written to it (None: it already has it).

        ``translate`` makes items of a message, None meaning the regular end. ``failure`` translates an error of gRPC,
        ``ended`` makes the error for a stream that the server closed without saying that it is complete.
        """
        self._start = start
        self._request = request
        self._translate = translate
        self._failure = failure
        self._ended = ended
        self._call: Any = None
        self._reading: asyncio.Future[Any] | None = None
        self._items: deque[T] = deque()
        self._done = False

    async def open(self) -> None:
        """Send the request, if that has not been done. Raises what ``failure`` makes of gRPC's error."""
        if self._call is None:
            try:
                self._call = self._start()
                if self._request is not None:
                    await self._call.write(self._request)
            except grpc.aio.AioRpcError as error:
                raise self._failure(error) from error
            except grpc.aio.UsageError as error:
                raise self._failure(closed_error()) from error

    def close(self) -> None:
        """Stop the stream; whoever waits for an item sees its end."""
        self._done = True
        self._items.clear()
        if self._call is not None:
            self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()

    def __aiter__(self) -> StreamCall[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._done:
                raise StopAsyncIteration
            await self._more()
        return self._items.popleft()

    async def _more(self) -> None:
        try:
            message = await self._message()
        except grpc.aio.AioRpcError as error:
            self.close()
            raise self._failure(error) from error
        if self._done:
            return
        if message is grpc.aio.EOF:
            self.close()
            raise self._ended()
        items = self._translated(message)
        if items is None:
            self.close()
        else:
            self._items.extend(items)

    async def _message(self) -> Any:
        """Return the next message; one whose reader gave up waiting (a timeout) is there for the next reader."""
        await self.open()
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        try:
            await asyncio.wait([self._reading])
            reading, self._reading = self._reading, None
            if reading.cancelled() and not self._done:
                raise closed_error()
            return None if reading.cancelled() else reading.result()
        except asyncio.CancelledError:
            if self._done:
                return None
            raise

    def _translated(self, message: Any) -> Iterable[T] | None:
        try:
            return self._translate(message)
        except GatewayError:
            self.close()
            raise
