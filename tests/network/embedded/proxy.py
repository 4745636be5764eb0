"""A TCP proxy on 127.0.0.1 that can be slow, silent, or gone: what networks do to connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK = 16 * 1024


class Proxy:
    """Passes bytes on between its own port and a target's.

    Attributes:
        port: where it listens.
        frozen: True holds everything back: both ends have a connection on which nothing comes any more.
        bytes_per_s: 0 for as fast as it goes.
        delay_s: how long every chunk takes.
        passed: bytes that were passed on, in both directions together.

    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.bytes_per_s = 0
        self.delay_s = 0.0
        self.passed = 0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def frozen(self) -> bool:
        """See above."""
        return not self._thawed.is_set()

    @frozen.setter
    def frozen(self, value: bool) -> None:
        if value:
            self._thawed.clear()
        else:
            self._thawed.set()

    async def cut(self) -> None:
        """Reset every connection, as a router does that has forgotten them."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writers.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(min(_CHUNK, self.bytes_per_s // 10) if self.bytes_per_s else _CHUNK):
                await asyncio.sleep(self.delay_s + (len(data) / self.bytes_per_s if self.bytes_per_s else 0))
                await self._thawed.wait()
                sink.write(data)
                await sink.drain()
                self.passed += len(data)
        except OSError:
            pass
        finally:
            sink.close()


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """Run a proxy before a port of 127.0.0.1."""
    found = Proxy(target)
    server = await asyncio.start_server(found.accept, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await found.cut()
        await server.wait_closed()
