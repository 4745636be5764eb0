"""A TCP proxy on 127.0.0.1 between client and peer that can be cut, fall silent, be slow, or refuse."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from goldengrain.gateway.connection import Endpoint


class Proxy:
    """Forwards bytes to ``target`` as long as nothing is wrong.

    ``silent``: what is sent in either direction is kept until it is not silent any more (a half-open connection).
    ``delay``: seconds that each piece of data takes.
    """

    def __init__(self, target: Endpoint) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self.delay = 0.0

    async def __aenter__(self) -> Proxy:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    @property
    def endpoint(self) -> Endpoint:
        """The peer as a client sees it through the proxy."""
        name = self._target.server_name or self._target.address.rpartition(":")[0]
        return replace(self._target, address=f"127.0.0.1:{self._port}", server_name=name)

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Cut all connections and take no new ones."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    @property
    def silent(self) -> bool:
        """Whether nothing gets through."""
        return not self._flowing.is_set()

    @silent.setter
    def silent(self, silent: bool) -> None:
        if silent:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.address.rpartition(":")
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        if writer.transport.is_closing():  # cut in the meantime
            back.transport.abort()
            return
        self._writers.add(back)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                await asyncio.sleep(self.delay)
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
