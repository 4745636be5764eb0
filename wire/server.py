"""Serving streams: for each that a client opens, a task that runs the handler of its path."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import cast
from urllib.parse import quote

from h2.events import RequestReceived

from goldengrain.wire.connection import KEEPALIVE_S, Connection
from goldengrain.wire.errors import Status, StreamFailed, WireError
from goldengrain.wire.stream import Stream

logger = logging.getLogger(__name__)

Handler = Callable[[Stream], Awaitable[None]]
"""Serves a stream. When it returns, the stream ends well; a `StreamFailed` that it raises is the status."""

_CONTENT_TYPE = "application/grpc"


class StreamServer:
    """Listens on one address and serves the streams of all clients."""

    def __init__(
        self, handlers: Mapping[str, Handler], tls: ssl.SSLContext | None = None, *, keepalive_s: float = KEEPALIVE_S
    ) -> None:
        """`handlers`: by path, `/package.Service/Method`. `tls` says whether clients need a certificate too."""
        self._handlers = dict(handlers)
        self._tls = tls
        self._keepalive_s = keepalive_s
        self._server: asyncio.Server | None = None
        self._connections: set[_Accepted] = set()
        self._stopped = asyncio.Event()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port (chosen by the system for 0).

        Raises:
            WireError: the address can't be had.

        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Accepted(self), host, port, ssl=self._tls)
        except OSError as error:
            raise WireError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        return int(self._server.sockets[0].getsockname()[1])

    async def wait(self) -> None:
        """Until the server has been stopped."""
        await self._stopped.wait()

    async def stop(self, grace_s: float = 1.0) -> None:
        """Take no more connections; give the streams `grace_s` seconds to end, then cut them."""
        if self._server is None:
            return
        self._server.close()
        running = {task for connection in self._connections for task in connection.tasks}
        if running:
            await asyncio.wait(running, timeout=grace_s)
        leaving = list(self._connections)
        for connection in leaving:
            connection.cancel_tasks()
            connection.close()
        if leaving:
            await asyncio.wait([connection.lost for connection in leaving], timeout=grace_s)
        for connection in leaving:
            connection.abort(StreamFailed(Status.UNAVAILABLE, "the server has stopped"))
        self._stopped.set()

    def handler(self, path: str) -> Handler | None:
        """Who serves a path."""
        return self._handlers.get(path)

    @property
    def keepalive_s(self) -> float:
        """See `Connection`."""
        return self._keepalive_s

    @property
    def connections(self) -> set[_Accepted]:
        """The clients that are connected."""
        return self._connections


class _Accepted(Connection):
    """A client's connection."""

    def __init__(self, server: StreamServer) -> None:
        super().__init__(client=False, keepalive_s=server.keepalive_s)
        self._owner = server
        self.tasks: set[asyncio.Task[None]] = set()
        self.on(RequestReceived, self._request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._owner.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """End every stream; their handlers are cancelled."""
        self._owner.connections.discard(self)
        super().connection_lost(error)
        self.cancel_tasks()

    def cancel_tasks(self) -> None:
        """Cancel what serves this client's streams."""
        for task in self.tasks:
            task.cancel()

    def _request(self, event: RequestReceived) -> None:
        number = event.stream_id or 0
        stated = dict(cast("list[tuple[str, str]]", event.headers or []))
        path = stated.get(":path", "")
        handler = self._owner.handler(path)
        if stated.get(":method") != "POST" or not stated.get("content-type", "").startswith(_CONTENT_TYPE):
            self.headers(number, [(":status", "415")], end=True)
        elif handler is None:
            self.headers(number, _answer() + _ending(Status.UNIMPLEMENTED, f"unknown method {path}"), end=True)
        else:
            stream = self.add(number, path)
            self.headers(number, _answer())
            task = self._loop.create_task(self._serve(handler, stream), name=f"stream {path} of {self.peer}")
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _serve(self, handler: Handler, stream: Stream) -> None:
        status: int = Status.OK
        text = ""
        try:
            await handler(stream)
            await stream.drain(0)
        except StreamFailed as failure:
            status, text = failure.status, failure.message
        except asyncio.CancelledError:
            status, text = Status.UNAVAILABLE, "the server is stopping"
            raise
        except Exception as error:
            logger.exception("serving %s failed", stream.path)
            status, text = Status.UNKNOWN, type(error).__name__
        finally:
            if not stream.closed:
                self.headers(stream.number, _ending(status, text), end=True)
                stream.close()
            self.remove(stream)


def _answer() -> list[tuple[str, str]]:
    return [(":status", "200"), ("content-type", _CONTENT_TYPE)]


def _ending(status: int, message: str) -> list[tuple[str, str]]:
    ending = [("grpc-status", str(int(status)))]
    return [*ending, ("grpc-message", quote(message, safe=" "))] if message else ending
