"""Streams from a peer as asynchronous iterators that are opened once and closed in any case."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc.aio

from goldengrain.gateway.errors import GatewayError

T = TypeVar("T")


class EventStream(Generic[T]):
    """An asynchronous iterator over what a peer sends.

    The request goes out when ``async with`` is entered, or at the first item. Leaving ``async with``, or ``close``,
    cancels it; a stream is used up then. Example::

        async with network.chaincode_events("golden-grain", start_block=7) as events:
            async for event in events: …
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
        self._items: deque[T] = deque()
        self._done = False

    async def open(self) -> None:
        """Send the request, if it has not been sent."""
        if self._call is None:
            self._call = self._start()
            if self._request is not None:
                try:
                    await self._call.write(self._request)
                except grpc.aio.AioRpcError as error:
                    raise self._failure(error) from error

    def close(self) -> None:
        """Stop the stream."""
        self._done = True
        self._items.clear()
        if self._call is not None:
            self._call.cancel()

    def __aiter__(self) -> EventStream[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._done:
                raise StopAsyncIteration
            await self._more()
        return self._items.popleft()

    async def _more(self) -> None:
        try:
            await self.open()
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            self.close()
            raise self._failure(error) from error
        except BaseException:
            self.close()
            raise
        if message is grpc.aio.EOF:
            self.close()
            raise self._ended()
        items = self._translate(message)
        if items is None:
            self.close()
        else:
            self._items.extend(items)

    async def __aenter__(self) -> EventStream[T]:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
