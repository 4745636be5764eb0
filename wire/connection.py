"""One HTTP/2 connection: what both sides of it have in common.

`h2` keeps HTTP/2's state and makes and reads its frames; this class carries the bytes, and hands each stream what is
its own. All that is to be sent in one turn of the event loop goes out in one write.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar, cast
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from goldengrain.wire.errors import Status, StreamFailed
from goldengrain.wire.stream import Stream

KEEPALIVE_S = 60.0
"""Seconds without a word from the other side after which it is asked whether it is there."""

KEEPALIVE_TIMEOUT_S = 20.0
"""Seconds that it has to answer."""

_WINDOW = 8 * 1024 * 1024
"""Bytes of a stream that the other side may send ahead; all of a connection's streams together get as many."""

_SETTINGS: dict[SettingCodes, int] = {
    SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
    SettingCodes.MAX_CONCURRENT_STREAMS: 100,
    SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
}

_Kind = TypeVar("_Kind", bound=Event)
_Handler = Callable[[Event], None]


class _States(H2ConnectionStateMachine):
    """HTTP/2's states as RFC 9113, 6.8 has them: after a GOAWAY, which h2 takes for the end, open streams go on."""

    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        """Process what was sent or received."""
        before = self.state
        events = super().process_input(input_)
        if input_ is ConnectionInputs.RECV_GOAWAY and before is not ConnectionState.IDLE:
            self.state = before
        return events


class Connection(asyncio.Protocol):
    """A connection and its streams."""

    def __init__(self, *, client: bool, keepalive_s: float = KEEPALIVE_S) -> None:
        self._http = H2Connection(H2Configuration(client_side=client, header_encoding="utf-8"))
        self._http.state_machine = _States()
        settings = _SETTINGS | ({SettingCodes.ENABLE_PUSH: 0} if client else {})
        self._http.local_settings = Settings(client=client, initial_values=settings)
        self._streams: dict[int, Stream] = {}
        self._eager: dict[int, Stream] = {}
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._paused = self._flushing = False
        self._keepalive_s = keepalive_s
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.lost = self._loop.create_future()
        self._handlers: dict[type[Event], _Handler] = {}
        self.on(DataReceived, self._data)
        self.on(TrailersReceived, self._trailers)
        self.on(StreamEnded, lambda event: self._of(event.stream_id, Stream.finish))
        self.on(StreamReset, self._was_reset)
        self.on(ConnectionTerminated, self._going_away)
        self.on(PingAckReceived, lambda _: None)
        self.peer = "?"

    def on(self, kind: type[_Kind], handler: Callable[[_Kind], None]) -> None:
        """Have a kind of event handled."""
        self._handlers[kind] = cast("_Handler", handler)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: settings, and a window for the whole connection."""
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_WINDOW)
        self._flush()
        self._timer = self._loop.call_later(self._keepalive_s, self._ask)

    def data_received(self, data: bytes) -> None:
        """Let h2 read; hand on what it found."""
        self._heard = self._loop.time()
        try:
            events = self._http.receive_data(data)
        except (ProtocolError, ValueError) as error:  # ValueError: headers that are no text
            self._flush()  # h2 has made a GOAWAY that says why
            self.abort(StreamFailed(Status.INTERNAL, f"the other side breaks HTTP/2: {error}"))
            return
        for event in events:
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """End every stream."""
        if self._timer is not None:
            self._timer.cancel()
        text = f"the connection to {self.peer} was lost" + (f": {error}" if error else "")
        self._fail_all(StreamFailed(Status.UNAVAILABLE, text))
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        """Send no more for now: the other side reads too slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._paused = False
        self._flush()

    # What streams call.

    def wants_to_send(self, stream: Stream) -> None:
        """Send what the stream has, once this turn of the event loop is over."""
        self._eager[stream.number] = stream
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def reset(self, stream: Stream, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """Tell the other side that the stream is over."""
        if self._streams.pop(stream.number, None) is not None:
            try:
                self._http.reset_stream(stream.number, code)
            except ProtocolError:  # it has ended by itself
                return
            self._flush()

    # What the two sides call.

    @property
    def open_streams(self) -> int:
        """Streams that have not ended."""
        return len(self._streams)

    def add(self, number: int, path: str) -> Stream:
        """Return a new stream."""
        stream = self._streams[number] = Stream(self, number, path)
        return stream

    def remove(self, stream: Stream) -> None:
        """Forget a stream that has ended on both sides."""
        self._streams.pop(stream.number, None)
        self._eager.pop(stream.number, None)

    def headers(self, number: int, headers: list[tuple[str, str]], *, end: bool = False) -> None:
        """Send headers or trailers; what the stream had to send before goes first, as far as it may."""
        self._flush()
        try:
            self._http.send_headers(number, headers, end_stream=end)
        except ProtocolError:  # reset by the other side meanwhile
            return
        self._flush()

    def next_number(self) -> int:
        """Number of the next stream that this side opens."""
        return self._http.get_next_available_stream_id()

    def close(self) -> None:
        """Say goodbye and end the connection once what was to be sent is sent."""
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(ProtocolError):  # said before
            self._http.close_connection()
        self._flush()
        self._transport.close()

    def abort(self, failure: StreamFailed) -> None:
        """End the connection at once."""
        self._fail_all(failure)
        if self._transport is not None:
            self._transport.abort()

    # Events.

    def _of(self, number: int | None, action: Callable[[Stream], None]) -> None:
        stream = self._streams.get(number or 0)
        if stream is not None:
            action(stream)

    def _data(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id or 0)
        if event.flow_controlled_length:
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        if stream is None:
            return
        try:
            stream.arrived(event.data or b"")
        except StreamFailed as failure:
            self.reset(stream)
            stream.fail(failure)

    def _trailers(self, event: TrailersReceived) -> None:
        headers = cast("list[tuple[str, str]]", event.headers or [])
        self._of(event.stream_id, lambda stream: end_of(stream, headers))

    def _was_reset(self, event: StreamReset) -> None:
        stream = self._streams.pop(event.stream_id or 0, None)
        if stream is not None:
            stream.fail(StreamFailed(Status.CANCELLED, f"{self.peer} reset the stream (code {event.error_code})"))

    def _going_away(self, event: ConnectionTerminated) -> None:
        if event.error_code:
            text = f"{self.peer} ends the connection (HTTP/2 code {event.error_code})"
            self.abort(StreamFailed(Status.UNAVAILABLE, text))

    def _fail_all(self, failure: StreamFailed) -> None:
        streams, self._streams = self._streams, {}
        self._eager.clear()
        for stream in streams.values():
            stream.fail(failure)

    # Sending.

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None:
            return
        if not self._paused:
            for stream in list(self._eager.values()):
                self._send_some(stream)
        data = self._http.data_to_send()
        if data:
            self._transport.write(data)

    def _send_some(self, stream: Stream) -> None:
        number = stream.number
        try:
            while not stream.idle:
                room = min(self._http.local_flow_control_window(number), self._http.max_outbound_frame_size)
                if room <= 0:
                    return  # a WINDOW_UPDATE brings us back: every arrival ends in `_flush`
                self._http.send_data(number, stream.take(room))
        except ProtocolError:
            stream.fail(StreamFailed(Status.UNAVAILABLE, "the stream has ended"))
        del self._eager[number]

    def _ask(self) -> None:
        silent = self._loop.time() - self._heard
        if silent >= self._keepalive_s + KEEPALIVE_TIMEOUT_S:
            self.abort(StreamFailed(Status.UNAVAILABLE, f"{self.peer} has not answered for {silent:.0f} s"))
            return
        if silent >= self._keepalive_s:
            self._http.ping(b"are you?")
            self._flush()
            pause = KEEPALIVE_TIMEOUT_S
        else:
            pause = self._keepalive_s - silent
        self._timer = self._loop.call_later(pause, self._ask)


def end_of(stream: Stream, headers: list[tuple[str, str]]) -> None:
    """End a stream with the status that its last headers state."""
    stated = dict(headers)
    said = stated.get("grpc-status", "")
    status = int(said) if said.isdecimal() and len(said) < 4 else Status.UNKNOWN
    if status != Status.OK:
        stream.fail(StreamFailed(status, unquote(stated.get("grpc-message", ""))))
