"""Opening a stream: a connection of its own, one request on it."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from h2.errors import ErrorCodes
from h2.events import ResponseReceived, StreamEnded, StreamReset

from goldengrain.wire.connection import KEEPALIVE_S, Connection, end_of
from goldengrain.wire.errors import Status, StreamFailed
from goldengrain.wire.stream import Stream


class _Dialled(Connection):
    def __init__(self, keepalive_s: float) -> None:
        super().__init__(client=True, keepalive_s=keepalive_s)
        self.on(ResponseReceived, self._response)
        self.on(StreamEnded, self._stream_ended)
        self.on(StreamReset, self._stream_reset)

    def reset(self, stream: Stream, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """Tell the other side that the stream is over, and the connection with it."""
        super().reset(stream, code)
        self.close()

    def _response(self, event: ResponseReceived) -> None:
        headers = cast("list[tuple[str, str]]", event.headers or [])
        stated = dict(headers)
        if stated.get(":status") != "200":
            text = f"{self.peer} answers with HTTP status {stated.get(':status')}"
            self._of(event.stream_id, lambda stream: stream.fail(StreamFailed(Status.UNKNOWN, text)))
        elif "grpc-status" in stated:  # a response that is nothing but its end
            self._of(event.stream_id, lambda stream: end_of(stream, headers))

    def _stream_ended(self, event: StreamEnded) -> None:
        self._of(event.stream_id, Stream.finish)
        self.close()

    def _stream_reset(self, event: StreamReset) -> None:
        self._was_reset(event)
        self.close()


async def open_stream(
    host: str, port: int, path: str, tls: ssl.SSLContext | None = None, *, keepalive_s: float = KEEPALIVE_S
) -> Stream:
    """Connect and open a stream; its end is the connection's.

    `path` is the method's (`/package.Service/Method`). With `tls` (`wire.tls`), the host's name is checked against the
    certificate.

    Raises:
        OSError: nobody answers there (`ssl.SSLError` is one).

    """
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: _Dialled(keepalive_s), host, port, ssl=tls)
    number = connection.next_number()
    stream = connection.add(number, path)
    scheme = "http" if tls is None else "https"
    request = [(":method", "POST"), (":scheme", scheme), (":path", path), (":authority", f"{host}:{port}")]
    connection.headers(number, [*request, ("te", "trailers"), ("content-type", "application/grpc")])
    return stream
