"""The connection beneath `calls`: HTTP/2 as a client of unary calls needs it (RFC 9113; sections in brackets).

Nothing is pushed to us and no header is kept in a table for us, because our settings say so. Whole answers are kept
until they are complete, so that flow control (5.2) has nothing to protect on this side: windows are as large as an
answer may become. On the other side's behalf it is kept.
"""

from __future__ import annotations

import asyncio
import struct
from base64 import b64decode
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote

import hpack

from goldengrain.wire.errors import CallFailed, Status
from goldengrain.wire.framing import PREFIX_BYTES, frame
from goldengrain.wire.stream import MAX_MESSAGE_BYTES

KEEPALIVE_TIMEOUT_S = 20.0
"""Seconds that the server has to answer when it is asked whether it is there."""

_PING_ANSWER_S = 0.05
"""Seconds that the answer to a ping may wait for something to be sent together with."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = struct.Struct(">BHBBI")
_HEAD_BYTES = 9
_DATA, _HEADERS, _RESET, _SETTINGS, _PUSH, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY, _ACK = 0x1, 0x4, 0x8, 0x20, 0x1
_TABLE_SIZE, _ENABLE_PUSH, _MOST_STREAMS, _FIRST_WINDOW, _FRAME_SIZE, _LIST_SIZE = 1, 2, 3, 4, 5, 6
_REFUSED_STREAM, _CANCEL = 7, 8

_OUR_FRAME = 16_384
"""Bytes of a frame's payload, at most, as long as nothing else is agreed (6.5.2)."""
_OUR_WINDOW = 1 << 30
"""More than the longest message; half of it, once used by all calls together, is given back."""
_LONGEST_HEADERS = 64 * 1024
_KNOWN_HEADERS = 256
_LAST_NUMBER = (1 << 31) - 1
_LONGEST_TIMEOUT_MS = 99_999_999
_TIMEOUT = b"\x10\x0cgrpc-timeout"
"""A literal that is never indexed, with a new name of twelve letters (RFC 7541, 6.2.3)."""

_BY_RESET = {7: Status.UNAVAILABLE, 8: Status.CANCELLED, 11: Status.RESOURCE_EXHAUSTED, 12: Status.PERMISSION_DENIED}
_BY_HTTP = {
    "400": Status.INTERNAL,
    "401": Status.UNAUTHENTICATED,
    "403": Status.PERMISSION_DENIED,
    "404": Status.UNIMPLEMENTED,
    "429": Status.UNAVAILABLE,
    "502": Status.UNAVAILABLE,
    "503": Status.UNAVAILABLE,
    "504": Status.UNAVAILABLE,
}

Headers = list[tuple[str, str]]


class _Violation(Exception):
    """What arrived is not HTTP/2."""


@dataclass(frozen=True, slots=True)
class Target:
    """What every request says of where it goes: `http` or `https`, and the server's name."""

    scheme: str
    authority: str

    def headers(self, path: str) -> bytes:
        """Return the header block of a method's requests, its deadline still missing."""
        stated = [(":method", "POST"), (":scheme", self.scheme), (":path", path), (":authority", self.authority)]
        stated += [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "goldengrain")]
        return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*one) for one in stated])


@dataclass(slots=True, eq=False)
class _Call:
    """A call: what is left to be sent of it, what has arrived."""

    block: bytes
    left: bytes
    answer: asyncio.Future[bytes]
    number: int = 0
    window: int = 0
    body: list[bytes] = field(default_factory=list)
    body_bytes: int = 0
    headers: Headers = field(default_factory=list)

    def fail(self, failure: CallFailed) -> None:
        if not self.answer.done():
            self.answer.set_exception(failure)


class CallConnection(asyncio.Protocol):
    """A connection and the calls on it. `usable` until it is lost, or the server takes no more calls."""

    def __init__(self, target: Target, keepalive_s: float) -> None:
        self._target = target
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._blocks: dict[str, bytes] = {}
        self._calls: dict[int, _Call] = {}
        self._waiting: deque[_Call] = deque()
        self._unsent: deque[_Call] = deque()
        self._next_number = 1
        self._most_calls = _LAST_NUMBER
        self._window = self._first_window = 65_535
        self._frame_bytes = _OUR_FRAME
        self._used_window = 0
        self._decoder = hpack.Decoder(_LONGEST_HEADERS)
        self._known: dict[bytes, Headers] = {}
        self._unfinished: tuple[int, int, bytes] | None = None
        self._kept = b""
        self._out: list[bytes] = []
        self._paused = self._flushing = self._pinged = False
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.lost = self._loop.create_future()
        self.usable = True
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            _DATA: self._data,
            _HEADERS: self._headers,
            _RESET: self._was_reset,
            _SETTINGS: self._settings,
            _PUSH: self._unexpected,
            _PING: self._ping,
            _GOAWAY: self._going_away,
            _WINDOW: self._more_room,
            _CONTINUATION: self._continued,
        }

    async def call(self, path: str, message: bytes, end: float) -> bytes:
        """Make a call that is over at `end` (the event loop's time). Raises CallFailed."""
        if len(message) > MAX_MESSAGE_BYTES:
            raise CallFailed(Status.RESOURCE_EXHAUSTED, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        call = _Call(self._block(path, end - self._loop.time()), frame(message), self._loop.create_future())
        if len(self._calls) >= self._most_calls:
            self._waiting.append(call)
        elif self._calls or self._flushing:
            self._start(call)
        else:  # alone: nothing to wait for that could go out together with it
            self._flushing = True
            self._start(call)
            self._flush()
        timer = self._loop.call_at(end, self._overdue, call)
        try:
            return await call.answer
        except asyncio.CancelledError:
            self._abandon(call)
            raise
        finally:
            timer.cancel()

    def abort(self, failure: CallFailed) -> None:
        """End the connection at once, and every call on it."""
        self.usable = False
        self._fail_all(failure)
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: our settings, and a window for the whole connection."""
        self._transport = cast("asyncio.Transport", transport)
        settings = {_TABLE_SIZE: 0, _ENABLE_PUSH: 0, _FIRST_WINDOW: _OUR_WINDOW, _LIST_SIZE: _LONGEST_HEADERS}
        stated = b"".join(struct.pack(">HI", *one) for one in settings.items())
        self._out.append(_PREFACE)
        self._send(_SETTINGS, 0, 0, stated)
        self._send(_WINDOW, 0, 0, (_OUR_WINDOW - 65_535).to_bytes(4, "big"))
        self._flush()
        self._timer = self._loop.call_later(self._keepalive_s, self._ask)

    def data_received(self, data: bytes) -> None:
        """Take frames apart, and hand each to who knows its kind."""
        self._heard = self._loop.time()
        self._pinged = False
        if self._kept:
            data = self._kept + data
        start, size = 0, len(data)
        try:
            while size - start >= _HEAD_BYTES:
                high, low, kind, flags, number = _HEAD.unpack_from(data, start)
                length = high << 16 | low
                if length > _OUR_FRAME:
                    raise _Violation(f"a frame of {length} bytes")
                end = start + _HEAD_BYTES + length
                if end > size:
                    break
                if self._unfinished is not None and kind != _CONTINUATION:
                    raise _Violation("headers that are not continued")
                if kind in self._handlers:  # others are to be ignored (5.5)
                    self._handlers[kind](flags, number & _LAST_NUMBER, data[start + _HEAD_BYTES : end])
                start = end
        except (_Violation, hpack.HPACKError, struct.error, IndexError) as error:
            self.abort(CallFailed(Status.UNAVAILABLE, f"{self._target.authority} breaks HTTP/2: {error}"))
            return
        self._kept = data[start:]

    def connection_lost(self, error: Exception | None) -> None:
        """End every call."""
        self.usable = False
        if self._timer is not None:
            self._timer.cancel()
        text = f"the connection to {self._target.authority} was lost" + (f": {error}" if error else "")
        self._fail_all(CallFailed(Status.UNAVAILABLE, text))
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        """Send no more messages for now: the other side reads too slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._paused = False
        self._send_on()

    # Calls.

    def _block(self, path: str, seconds: float) -> bytes:
        block = self._blocks.get(path)
        if block is None:
            block = self._blocks[path] = self._target.headers(path)
        timeout = b"%dm" % min(max(int(seconds * 1000), 1), _LONGEST_TIMEOUT_MS)
        return b"%b%b%c%b" % (block, _TIMEOUT, len(timeout), timeout)

    def _start(self, call: _Call) -> None:
        call.number = self._next_number
        self._next_number += 2
        if self._next_number >= _LAST_NUMBER:
            self.usable = False
        call.window = self._first_window
        self._calls[call.number] = call
        self._send(_HEADERS, _END_HEADERS, call.number, call.block)
        self._unsent.append(call)
        self._send_on()

    def _send_on(self) -> None:
        """Send what windows (5.2) let through of the calls that have something left, in their order."""
        for _ in range(len(self._unsent)):
            call = self._unsent.popleft()
            if not self._send_some(call):
                self._unsent.append(call)

    def _send_some(self, call: _Call) -> bool:
        while not self._paused and not call.answer.done():
            room = min(self._window, call.window, self._frame_bytes)
            if room <= 0:
                return False
            piece, call.left = call.left[:room], call.left[room:]
            self._window -= len(piece)
            call.window -= len(piece)
            self._send(_DATA, 0 if call.left else _END_STREAM, call.number, piece)
            if not call.left:
                return True
        return call.answer.done()

    def _finish(self, number: int) -> _Call | None:
        """Take a call off the connection; the next one that waits begins."""
        call = self._calls.pop(number, None)
        self._start_waiting()
        if not self.usable and not self._calls and self._transport is not None:
            self._transport.close()
        return call

    def _start_waiting(self) -> None:
        while self._waiting and len(self._calls) < self._most_calls:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                self._start(waiting)

    def _overdue(self, call: _Call) -> None:
        call.fail(CallFailed(Status.DEADLINE_EXCEEDED, f"no answer from {self._target.authority} in time"))
        self._abandon(call)

    def _abandon(self, call: _Call) -> None:
        """Tell the server that nobody waits for an answer any more."""
        if self._calls.get(call.number) is call:
            self._send(_RESET, 0, call.number, _CANCEL.to_bytes(4, "big"))
            self._finish(call.number)

    def _fail_all(self, failure: CallFailed) -> None:
        calls, self._calls = self._calls, {}
        waiting, self._waiting = self._waiting, deque()
        self._unsent.clear()
        for call in calls.values():
            call.fail(failure.copy())
        for call in waiting:
            call.fail(failure.copy(unprocessed=failure.status == Status.UNAVAILABLE))

    # Frames.

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        self._used_window += len(payload)
        if self._used_window > _OUR_WINDOW // 2:
            self._send(_WINDOW, 0, 0, self._used_window.to_bytes(4, "big"))
            self._used_window = 0
        call = self._calls.get(number)
        if call is None:
            return
        if flags & _PADDED:
            payload = _unpadded(payload)
        call.body.append(payload)
        call.body_bytes += len(payload)
        if call.body_bytes > MAX_MESSAGE_BYTES + PREFIX_BYTES:
            call.fail(CallFailed(Status.RESOURCE_EXHAUSTED, f"an answer has at most {MAX_MESSAGE_BYTES} bytes"))
            self._abandon(call)
        elif flags & _END_STREAM:
            self._ended(call)

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & _PADDED:
            payload = _unpadded(payload)
        if flags & _PRIORITY:
            payload = payload[5:]
        self._block_came(flags, flags, number, payload)

    def _continued(self, flags: int, number: int, payload: bytes) -> None:
        if self._unfinished is None or self._unfinished[1] != number:
            raise _Violation("a continuation of nothing")
        first_flags, _, begun = self._unfinished
        if len(begun) + len(payload) > 2 * _LONGEST_HEADERS:
            raise _Violation("headers without end")
        self._block_came(first_flags, flags, number, begun + payload)

    def _block_came(self, first_flags: int, flags: int, number: int, block: bytes) -> None:
        if not flags & _END_HEADERS:
            self._unfinished = first_flags, number, block
            return
        self._unfinished = None
        headers = self._decoded(block)
        call = self._calls.get(number)
        if call is not None:
            call.headers = headers if not call.headers else call.headers + headers
            if first_flags & _END_STREAM:
                self._ended(call)

    def _decoded(self, block: bytes) -> Headers:
        """Read a header block; without a table, as our settings ask for, the same bytes mean the same headers."""
        if self._decoder.header_table_size == 0:
            known = self._known.get(block)
            if known is not None:
                return known
        headers = [(str(name), str(value)) for name, value in self._decoder.decode(block)]
        if self._decoder.header_table_size == 0 and len(self._known) < _KNOWN_HEADERS:
            self._known[block] = headers
        return headers

    def _ended(self, call: _Call) -> None:
        if call.left:  # answered without having read all: no more of it is wanted
            self._send(_RESET, 0, call.number, _CANCEL.to_bytes(4, "big"))
        try:
            answer = _answer(call)
        except CallFailed as failed:
            call.fail(failed)
        else:
            if not call.answer.done():
                call.answer.set_result(answer)
        self._finish(call.number)

    def _was_reset(self, flags: int, number: int, payload: bytes) -> None:
        code = int.from_bytes(payload, "big")
        call = self._finish(number)
        if call is not None:
            text = f"{self._target.authority} reset the call (HTTP/2 code {code})"
            call.fail(CallFailed(_BY_RESET.get(code, Status.INTERNAL), text, unprocessed=code == _REFUSED_STREAM))

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if flags & _ACK:
            return
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _MOST_STREAMS:
                self._most_calls = value
            elif name == _FRAME_SIZE:
                self._frame_bytes = max(value, _OUR_FRAME)  # the least that it may be (6.5.2)
            elif name == _FIRST_WINDOW:
                for call in self._calls.values():
                    call.window += value - self._first_window
                self._first_window = value
        self._send(_SETTINGS, _ACK, 0, b"")
        self._send_on()
        self._start_waiting()

    def _unexpected(self, flags: int, number: int, payload: bytes) -> None:
        raise _Violation("a push that our settings forbid")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        """Answer with what is sent next, or soon: servers that measure the connection ask anew once answered."""
        if not flags & _ACK:
            self._out.append(_HEAD.pack(0, len(payload), _PING, _ACK, 0) + payload)
            self._loop.call_later(_PING_ANSWER_S, self._flush)

    def _going_away(self, flags: int, number: int, payload: bytes) -> None:
        """Make no more calls here; those that the server will not answer any more (6.8) may be made elsewhere."""
        self.usable = False
        last = int.from_bytes(payload[:4], "big") & _LAST_NUMBER
        failure = CallFailed(Status.UNAVAILABLE, f"{self._target.authority} takes no more calls", unprocessed=True)
        waiting, self._waiting = self._waiting, deque()
        for call in [*waiting, *(call for call in self._calls.values() if call.number > last)]:
            call.fail(failure.copy(unprocessed=True))
            self._calls.pop(call.number, None)
        self._finish(0)

    def _more_room(self, flags: int, number: int, payload: bytes) -> None:
        more = int.from_bytes(payload, "big") & _LAST_NUMBER
        if number == 0:
            self._window += more
        elif number in self._calls:
            self._calls[number].window += more
        self._send_on()

    # Sending.

    def _send(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        length = len(payload)
        self._out.append(_HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, number) + payload)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _ask(self) -> None:
        """With a call open and nothing heard for long, ask whether the server is there, and end what is dead."""
        silent = self._loop.time() - self._heard
        pause = self._keepalive_s
        if self._calls and silent >= self._keepalive_s:
            if self._pinged:
                text = f"{self._target.authority} has not answered for {silent:.0f} s"
                self.abort(CallFailed(Status.UNAVAILABLE, text))
                return
            self._pinged = True
            self._send(_PING, 0, 0, b"are you?")
            pause = min(self._keepalive_s, KEEPALIVE_TIMEOUT_S)
        elif silent < self._keepalive_s:
            pause -= silent
        self._timer = self._loop.call_later(pause, self._ask)


def _unpadded(payload: bytes) -> bytes:
    if payload[0] >= len(payload):
        raise _Violation("more padding than there is room for")
    return payload[1 : len(payload) - payload[0]]


def _answer(call: _Call) -> bytes:
    """Return the message of a call that has ended, or raise what its headers and trailers say."""
    stated = dict(call.headers)
    status = stated.get("grpc-status")
    if status != "0":
        raise _failure(stated, call.headers)
    body = call.body[0] if len(call.body) == 1 else b"".join(call.body)
    if len(body) < PREFIX_BYTES or body[0] or int.from_bytes(body[1:PREFIX_BYTES], "big") != len(body) - PREFIX_BYTES:
        raise CallFailed(Status.INTERNAL, f"{len(body)} bytes that are not one uncompressed message")
    return body[PREFIX_BYTES:]


def _failure(stated: dict[str, str], headers: Headers) -> CallFailed:
    status = stated.get("grpc-status", "")
    if not (status.isdecimal() and len(status) < 4):
        http = stated.get(":status")
        return CallFailed(_BY_HTTP.get(http or "", Status.UNKNOWN), f"no gRPC status, HTTP status {http}")
    message = unquote(stated.get("grpc-message", ""))
    return CallFailed(int(status), message, tuple((name, _value(name, value)) for name, value in headers))


def _value(name: str, value: str) -> str | bytes:
    if not name.endswith("-bin"):
        return value
    try:
        return b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        return value
