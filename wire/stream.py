"""One bidirectional stream of messages, whichever side opened it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from goldengrain.wire.errors import Status, StreamFailed
from goldengrain.wire.framing import Deframer, frame

if TYPE_CHECKING:
    from goldengrain.wire.connection import Connection

MAX_MESSAGE_BYTES = 100 * 1024 * 1024
"""Greatest size of a message in bytes: what Fabric's peers take and send."""

HIGH_WATER_BYTES = 1024 * 1024
"""Bytes that wait to be sent above which `drain` waits."""


class Stream:
    """Messages in both directions. Sending never blocks; whoever sends much awaits `drain` in between."""

    def __init__(self, connection: Connection, number: int, path: str) -> None:
        self.path = path
        self.number = number
        self._connection = connection
        self._deframer = Deframer(MAX_MESSAGE_BYTES)
        self._inbox: deque[bytes] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._outbox: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._failure: StreamFailed | None = None
        self._ended = False
        self._closed = False

    @property
    def peer(self) -> str:
        """Address of the other side, as text."""
        return self._connection.peer

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closed

    def send(self, message: bytes) -> None:
        """Send a message; those of one turn of the event loop go out together.

        Raises:
            StreamFailed: the stream has ended, or the message is too large.

        """
        if self._closed:
            raise self._failure or StreamFailed(Status.UNAVAILABLE, "the stream has ended")
        if len(message) > MAX_MESSAGE_BYTES:
            raise StreamFailed(Status.RESOURCE_EXHAUSTED, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        framed = frame(message)
        self._outbox.append(framed)
        self._waiting_bytes += len(framed)
        self._connection.wants_to_send(self)

    async def drain(self, most: int = HIGH_WATER_BYTES) -> None:
        """Wait until at most so many bytes are left to be sent, or the stream has ended."""
        while self._waiting_bytes > most and not self._closed:
            if self._room is None or self._room.done():
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    async def receive(self) -> bytes | None:
        """Return the next message; None once the other side has ended the stream well. For one reader at a time.

        Raises:
            StreamFailed: the stream ended otherwise; what had arrived by then was returned before.

        """
        while not self._inbox:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return self._inbox.popleft()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    def cancel(self) -> None:
        """End the stream at once, from this side; nothing more is sent or received."""
        if not self._closed:
            self._connection.reset(self)
        self.fail(StreamFailed(Status.CANCELLED, "the stream was cancelled"))

    # What the connection calls.

    def arrived(self, data: bytes) -> None:
        """Take bytes off the wire. Raises StreamFailed for what is no message."""
        messages = self._deframer.feed(data)
        if messages and self._failure is None:
            self._inbox.extend(messages)
            self._wake()

    def finish(self) -> None:
        """Note that the other side sends no more, and all is well."""
        if self._deframer.empty:
            self._ended = True
            self._wake()
        else:
            self.fail(StreamFailed(Status.INTERNAL, "the stream ended within a message"))

    def close(self) -> None:
        """Note that nothing can be sent any more."""
        self._closed = True
        self._outbox.clear()
        self._waiting_bytes = 0
        self._make_room()

    def fail(self, failure: StreamFailed) -> None:
        """Note that the stream has come to a bad end."""
        if self._failure is None and not self._ended:
            self._failure = failure
        self.close()
        self._wake()

    def take(self, most: int) -> bytes:
        """Return up to `most` bytes of what waits to be sent."""
        if not self._outbox:
            return b""
        data = self._outbox.popleft() if len(self._outbox) == 1 else self._joined(most)
        if len(data) > most:
            self._outbox.appendleft(data[most:])
            data = data[:most]
        self._waiting_bytes -= len(data)
        self._make_room()
        return data

    def _joined(self, most: int) -> bytes:
        parts, size = [], 0
        while self._outbox and size < most:
            parts.append(self._outbox.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._outbox

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
