"""Unary calls of gRPC over one HTTP/2 connection that knows nothing else, for clients that make many of them.

A call's processor time is what is saved here (ADR 80 has the figures): the request's headers are bytes made once per
method, headers that were read once are recognised by their bytes, and all that is sent in one turn of the event loop
is one write. Frames are RFC 9113's, headers are read by the `hpack` library, what gRPC adds is its specification's
("gRPC over HTTP2").

    caller = Caller("127.0.0.1", 7051, "peer0.org1.example.com:7051", tls)
    answer = await caller.call("/gateway.Gateway/Evaluate", b"…", seconds=10)

Messages are bytes: whoever calls knows their types.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from goldengrain.wire.call_connection import KEEPALIVE_TIMEOUT_S, CallConnection, Target
from goldengrain.wire.connection import KEEPALIVE_S
from goldengrain.wire.dialing import dial
from goldengrain.wire.errors import CallFailed, Status

CONNECT_S = 10.0
"""Seconds that one attempt to connect may take, TLS handshake included."""

_PAUSES_S = (0.005, 0.01, 0.02, 0.04, 0.08)


class Caller:
    """Makes calls to one server. It connects at the first call, and anew at the next one after a loss."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: Callable[[], ssl.SSLContext] | None = None,
        *,
        server_name: str | None = None,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        """`tls` makes the context (`wire.tls`) when it is first needed; None: no TLS.

        `server_name` is what the server's certificate has to say, where that isn't `host`. `keepalive_s`: seconds of
        silence, with a call open, after which the server is asked whether it is there.
        """
        self._host = host
        self._port = port
        self._make_context = tls
        self._context: ssl.SSLContext | None = None
        self._server_name = server_name or host
        authority = server_name or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._target = Target("http" if tls is None else "https", authority)
        self._keepalive_s = keepalive_s
        self._connection: CallConnection | None = None
        self._connecting: asyncio.Task[CallConnection | CallFailed] | None = None
        self._closed = False

    async def call(self, path: str, message: bytes, seconds: float) -> bytes:
        """Send a message to a method (`/package.Service/Method`) and return its answer.

        A call that the server surely has not begun with (it goes away, or has too many) is made again, some times.

        Raises:
            CallFailed: the server's status or, with UNAVAILABLE, DEADLINE_EXCEEDED or CANCELLED, what became of it.

        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        for pause in _PAUSES_S:
            try:
                return await self._once(path, message, end)
            except CallFailed as failed:
                if not failed.unprocessed or loop.time() + pause >= end:
                    raise
            await asyncio.sleep(pause)
        return await self._once(path, message, end)

    async def close(self) -> None:
        """End the connection; running calls fail with CANCELLED, and so does every later one."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._connection is not None:
            self._connection.abort(_closed())
            await self._connection.lost

    async def _once(self, path: str, message: bytes, end: float) -> bytes:
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._connected(end - asyncio.get_running_loop().time())
        return await connection.call(path, message, end)

    async def _connected(self, seconds: float) -> CallConnection:
        if self._closed:
            raise _closed()
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        connecting = self._connecting
        await asyncio.wait([connecting], timeout=max(seconds, 0))
        if not connecting.done():
            raise CallFailed(Status.DEADLINE_EXCEEDED, f"no connection to {self._target.authority} in time")
        if connecting.cancelled():
            raise _closed()
        made = connecting.result()
        if isinstance(made, CallFailed):
            raise CallFailed(made.status, made.message)
        return made

    async def _connect(self) -> CallConnection | CallFailed:
        loop = asyncio.get_running_loop()
        try:
            context = self._tls()
            async with asyncio.timeout(CONNECT_S):
                transport, connection = await loop.create_connection(
                    lambda: CallConnection(self._target, self._keepalive_s),
                    sock=await dial(self._host, self._port),
                    ssl=context,
                    server_hostname=self._server_name if context else None,
                )
        except (OSError, ValueError) as error:
            reason = f"no answer within {CONNECT_S:.0f} s" if isinstance(error, TimeoutError) else error
            return CallFailed(Status.UNAVAILABLE, f"cannot connect to {self._host}:{self._port}: {reason}")
        session = transport.get_extra_info("ssl_object")
        if session is not None and session.selected_alpn_protocol() != "h2":
            connection.abort(_closed())
            return CallFailed(Status.UNAVAILABLE, f"{self._host}:{self._port} does not speak HTTP/2")
        _give_up_unacknowledged(transport.get_extra_info("socket"))
        self._connection = connection
        return connection

    def _tls(self) -> ssl.SSLContext | None:
        if self._context is None and self._make_context is not None:
            self._context = self._make_context()
        return self._context


def _closed() -> CallFailed:
    return CallFailed(Status.CANCELLED, "the connection was closed on this side")


def _give_up_unacknowledged(connected: socket.socket) -> None:
    """Have the system end a connection whose other side acknowledges nothing, where it can (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(KEEPALIVE_TIMEOUT_S * 1000))
