"""What servers may do to a caller's connection, frame by frame (RFC 9113): each allowed, most of them rare."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import hpack
import pytest
from hyperframe import frame as frames
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.wire import Caller, CallFailed, Status
from goldengrain.wire.call_connection import CallConnection, Target
from goldengrain.wire.framing import frame

PATH = "/t.T/Echo"
PREFACE_BYTES = 24
ANSWER = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


class Peer:
    """The server's end of one connection; what a test sends over it is its own affair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.settings: dict[int, int] = {}

    async def begin(self, settings: dict[int, int] | None = None) -> None:
        """Take the client's beginning, say ours."""
        assert (await self._reader.readexactly(PREFACE_BYTES)).startswith(b"PRI")
        self.settings = (await self.next(frames.SettingsFrame)).settings
        self.send(frames.SettingsFrame(0, settings=settings or {}))

    async def frame(self) -> Any:
        head = await self._reader.readexactly(9)
        found, length = frames.Frame.parse_frame_header(memoryview(head))
        found.parse_body(memoryview(await self._reader.readexactly(length)))
        return found

    async def next(self, kind: type[frames.Frame]) -> Any:
        while not isinstance(found := await self.frame(), kind):
            pass
        return found

    async def request(self) -> tuple[int, dict[str, str], bytes]:
        """Stream, headers and message of the next call."""
        begun = await self.next(frames.HeadersFrame)
        headers = dict(self.decoder.decode(begun.data))
        body = b""
        while True:
            data = await self.next(frames.DataFrame)
            body += data.data
            if "END_STREAM" in data.flags:
                return begun.stream_id, headers, body[5:]

    def send(self, *sent: frames.Frame) -> None:
        self.raw(b"".join(one.serialize() for one in sent))

    def raw(self, data: bytes) -> None:
        self._writer.write(data)

    def headers(self, number: int, headers: list[tuple[str, str]], *flags: str, **options: Any) -> frames.HeadersFrame:
        block = self.encoder.encode(headers)
        return frames.HeadersFrame(number, block, flags=["END_HEADERS", *flags], **options)

    def answer(self, number: int, message: bytes) -> list[frames.Frame]:
        """A whole answer, as servers usually give it."""
        return [
            self.headers(number, ANSWER),
            frames.DataFrame(number, frame(message)),
            self.headers(number, OK, "END_STREAM"),
        ]

    async def echo(self) -> None:
        number, _, body = await self.request()
        self.send(*self.answer(number, body))


@asynccontextmanager
async def played(*scripts: Callable[[Peer], Awaitable[None]], **options: Any) -> AsyncIterator[Caller]:
    """A caller whose first connection is served by the first script, the next by the next."""
    left = list(scripts)
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await left.pop(0)(Peer(reader, writer))
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(lambda *both: serving.append(asyncio.create_task(serve(*both))), "127.0.0.1", 0)
    caller = Caller("127.0.0.1", server.sockets[0].getsockname()[1], **options)
    try:
        yield caller
    finally:
        await caller.close()
        server.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*serving)


async def echoing(peer: Peer) -> None:
    await peer.begin()
    while True:
        await peer.echo()


async def test_the_request_is_what_grpc_says() -> None:
    seen: dict[str, str] = {}

    async def script(peer: Peer) -> None:
        await peer.begin()
        number, headers, body = await peer.request()
        seen.update(headers)
        assert number == 1
        assert peer.settings[frames.SettingsFrame.ENABLE_PUSH] == 0
        peer.send(*peer.answer(number, body))
        await peer.frame()

    async with played(script) as caller:
        assert await caller.call(PATH, b"m", 2.5) == b"m"
    assert {name: seen[name] for name in (":method", ":scheme", ":path", "te", "content-type")} == {
        ":method": "POST",
        ":scheme": "http",
        ":path": PATH,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    assert seen[":authority"].startswith("127.0.0.1:")
    assert 2000 < int(seen["grpc-timeout"].removesuffix("m")) <= 2500


async def test_headers_from_a_table_are_understood_and_so_is_its_end() -> None:
    """Until it has read our settings a server may keep a table; afterwards it has none."""

    async def script(peer: Peer) -> None:
        await peer.begin()
        for round_ in range(6):
            if round_ == 3:
                peer.encoder.header_table_size = 0
            await peer.echo()
        await peer.frame()

    async with played(script) as caller:
        for number in range(6):
            assert await caller.call(PATH, b"%d" % number, 5) == b"%d" % number


async def test_byte_by_byte_padded_continued_and_between_frames_that_nobody_knows() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        number, _, body = await peer.request()
        block = peer.encoder.encode(ANSWER)
        framed = frame(body)
        sent = [
            frames.HeadersFrame(number, block[:3], flags=["PRIORITY", "PADDED"], pad_length=3, depends_on=0),
            frames.ContinuationFrame(number, block[3:5]),
            frames.ContinuationFrame(number, block[5:], flags=["END_HEADERS"]),
            frames.ExtensionFrame(0xBB, number),
            frames.DataFrame(number, framed[:4], flags=["PADDED"], pad_length=9),
            frames.PingFrame(0, b"12345678"),
            frames.DataFrame(number, framed[4:]),
            frames.DataFrame(99, b"of no call"),
            peer.headers(number, OK, "END_STREAM"),
        ]
        for byte in b"".join(one.serialize() for one in sent):
            peer.raw(bytes([byte]))
            await asyncio.sleep(0)
        pong = await peer.next(frames.PingFrame)
        assert (pong.opaque_data, set(pong.flags)) == (b"12345678", {"ACK"})
        await peer.echo()
        await peer.frame()

    async with played(script) as caller:
        assert await caller.call(PATH, b"slow", 5) == b"slow"
        assert await caller.call(PATH, b"goes on", 5) == b"goes on"


async def test_a_message_goes_no_further_than_the_windows_and_frames_that_the_server_states() -> None:
    sizes: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.begin({frames.SettingsFrame.INITIAL_WINDOW_SIZE: 10, frames.SettingsFrame.MAX_FRAME_SIZE: 20_000})
        await peer.echo()
        await peer.next(frames.HeadersFrame)
        first = await peer.next(frames.DataFrame)
        await asyncio.sleep(0.05)
        peer.send(frames.SettingsFrame(0, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 50_000}))
        body = bytes(first.data)
        sizes.append(len(first.data))
        while len(body) < 50_000:
            data = await peer.next(frames.DataFrame)
            sizes.append(len(data.data))
            body += data.data
        assert len(body) == 50_000  # the new size counts from the call's beginning (6.9.2)
        peer.send(frames.WindowUpdateFrame(3, 50_000))
        while len(body) < 65_535 - len(frame(b"1")):
            body += (await peer.next(frames.DataFrame)).data
        peer.send(frames.WindowUpdateFrame(0, 50_000))
        while "END_STREAM" not in data.flags:
            data = await peer.next(frames.DataFrame)
            body += data.data
        peer.send(*peer.answer(3, str(len(body)).encode()))
        await peer.frame()

    async with played(script) as caller:
        await caller.call(PATH, b"1", 5)
        assert await caller.call(PATH, bytes(90_000), 5) == b"90005"
    assert sizes[0] == 10
    assert max(sizes) == 20_000


async def test_calls_that_wait_begin_when_the_server_takes_more_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin({frames.SettingsFrame.MAX_CONCURRENT_STREAMS: 1})
        await peer.echo()  # from here on the client knows our settings
        number, _, body = await peer.request()
        peer.send(frames.SettingsFrame(0, settings={frames.SettingsFrame.MAX_CONCURRENT_STREAMS: 2}))
        await peer.echo()
        peer.send(*peer.answer(number, body))

    async with played(script) as caller:
        await caller.call(PATH, b"first", 5)
        assert await asyncio.gather(*(caller.call(PATH, b"%d" % one, 5) for one in range(2))) == [b"0", b"1"]


async def test_used_window_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.wire.call_connection._OUR_WINDOW", 100_000)

    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.next(frames.WindowUpdateFrame)
        for _ in range(4):
            number, _, _ = await peer.request()
            pieces = [frames.DataFrame(number, bytes(10_000)) for _ in range(2)]
            first = frames.DataFrame(number, b"\0" + (20_000).to_bytes(4, "big"))
            peer.send(peer.headers(number, ANSWER), first, *pieces, peer.headers(number, OK, "END_STREAM"))
        assert (await peer.next(frames.WindowUpdateFrame)).window_increment == 60_015
        await peer.frame()

    async with played(script) as caller:
        for _ in range(4):
            assert await caller.call(PATH, b"", 5) == bytes(20_000)


async def test_a_call_that_was_refused_unread_is_made_again_and_others_are_not() -> None:
    seen: Counter[int] = Counter()

    async def script(peer: Peer) -> None:
        await peer.begin()
        for code in (7, 7, None, 2):
            number, _, body = await peer.request()
            seen[number] += 1
            peer.send(*([frames.RstStreamFrame(number, code)] if code else peer.answer(number, body)))
        await peer.frame()

    async with played(script) as caller:
        assert await caller.call(PATH, b"again", 5) == b"again"
        with pytest.raises(CallFailed, match=r"INTERNAL.*HTTP/2 code 2"):
            await caller.call(PATH, b"once", 5)
    assert seen == {1: 1, 3: 1, 5: 1, 7: 1}


async def test_a_server_that_refuses_for_good_is_not_asked_for_ever() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        while True:
            number, _, _ = await peer.request()
            peer.send(frames.RstStreamFrame(number, 7))

    async with played(script) as caller:
        with pytest.raises(CallFailed, match="UNAVAILABLE"):
            await caller.call(PATH, b"", 30)


@pytest.mark.parametrize(("code", "status"), [(0, 13), (8, 1), (11, 8), (12, 7), (99, 13)])
async def test_resets_mean_what_grpc_says(code: int, status: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        number, _, _ = await peer.request()
        peer.send(frames.RstStreamFrame(number, code))
        await peer.frame()

    async with played(script) as caller:
        with pytest.raises(CallFailed) as caught:
            await caller.call(PATH, b"", 5)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(":status", "503")], Status.UNAVAILABLE),
        ([(":status", "404")], Status.UNIMPLEMENTED),
        ([(":status", "302")], Status.UNKNOWN),
        ([(":status", "200")], Status.UNKNOWN),
        ([*ANSWER, ("grpc-status", "x")], Status.UNKNOWN),
        ([*ANSWER, ("grpc-status", "9" * 5000)], Status.UNKNOWN),
        ([*ANSWER, ("grpc-status", "0")], Status.INTERNAL),  # without a message
        ([*ANSWER, ("grpc-status", "16"), ("bad-bin", "*")], Status.UNAUTHENTICATED),
    ],
)
async def test_an_answer_that_is_only_headers(headers: list[tuple[str, str]], status: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        number, _, _ = await peer.request()
        peer.send(peer.headers(number, headers, "END_STREAM"))
        await peer.echo()
        await peer.frame()

    async with played(script) as caller:
        with pytest.raises(CallFailed) as caught:
            await caller.call(PATH, b"", 5)
        assert caught.value.status == status
        assert await caller.call(PATH, b"goes on", 5) == b"goes on"


async def test_an_answer_that_ends_without_a_status() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        number, _, body = await peer.request()
        peer.send(peer.headers(number, ANSWER), frames.DataFrame(number, frame(body), flags=["END_STREAM"]))
        await peer.frame()

    async with played(script) as caller:
        with pytest.raises(CallFailed, match="UNKNOWN: no gRPC status, HTTP status 200"):
            await caller.call(PATH, b"", 5)


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\2x", b"\1\0\0\0\1x", frame(b"1") + frame(b"2")])
async def test_an_answer_that_is_not_one_message(body: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        number, _, _ = await peer.request()
        ending = peer.headers(number, OK, "END_STREAM")
        peer.send(peer.headers(number, ANSWER), frames.DataFrame(number, body), ending)
        await peer.frame()

    async with played(script) as caller:
        with pytest.raises(CallFailed, match=r"INTERNAL: .*not one uncompressed message"):
            await caller.call(PATH, b"", 5)


async def test_an_answer_longer_than_any_message_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.wire.call_connection.MAX_MESSAGE_BYTES", 1000)

    async def script(peer: Peer) -> None:
        await peer.begin()
        number, _, _ = await peer.request()
        peer.send(peer.headers(number, ANSWER), frames.DataFrame(number, bytes(2000)))
        assert (await peer.next(frames.RstStreamFrame)).error_code == 8
        await peer.echo()
        await peer.frame()

    async with played(script) as caller:
        with pytest.raises(CallFailed, match="RESOURCE_EXHAUSTED"):
            await caller.call(PATH, b"", 5)
        assert await caller.call(PATH, b"goes on", 5) == b"goes on"


async def test_an_answer_to_half_a_request_ends_the_sending_of_the_rest() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        begun = await peer.next(frames.HeadersFrame)
        peer.send(peer.headers(begun.stream_id, [*ANSWER, ("grpc-status", "8")], "END_STREAM"))
        assert (await peer.next(frames.RstStreamFrame)).stream_id == begun.stream_id
        peer.send(frames.WindowUpdateFrame(0, 1_000_000))
        await peer.echo()
        await peer.frame()

    async with played(script) as caller:
        with pytest.raises(CallFailed, match="RESOURCE_EXHAUSTED"):
            await caller.call(PATH, bytes(1_000_000), 5)
        assert await caller.call(PATH, b"goes on", 5) == b"goes on"


async def test_what_a_server_that_goes_away_has_not_begun_is_made_elsewhere() -> None:
    """With one call at a time: the first is answered, the second was sent too late, the third waited its turn."""

    async def leaving(peer: Peer) -> None:
        await peer.begin({frames.SettingsFrame.MAX_CONCURRENT_STREAMS: 2})
        await peer.echo()
        first, _, body = await peer.request()
        await peer.request()
        peer.send(frames.GoAwayFrame(0, last_stream_id=first))
        await asyncio.sleep(0.05)
        peer.send(*peer.answer(first, body))
        while await peer.frame():  # until the connection ends, which it does once all is answered
            pass

    async with played(leaving, echoing) as caller:
        await caller.call(PATH, b"settings", 5)
        sent = [b"first", b"too late", b"waits"]
        assert await asyncio.gather(*(caller.call(PATH, one, 5) for one in sent)) == sent


async def test_a_silent_server_with_a_call_open_is_asked_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.wire.call_connection.KEEPALIVE_TIMEOUT_S", 0.2)
    pinged = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.begin()
        await peer.request()
        await peer.next(frames.PingFrame)
        pinged.set()
        await peer.next(frames.GoAwayFrame)

    async with played(silent, echoing, keepalive_s=0.2) as caller:
        with pytest.raises(CallFailed, match=r"UNAVAILABLE: 127.0.0.1:\d+ has not answered"):
            await caller.call(PATH, b"", 20)
        assert pinged.is_set()
        assert await caller.call(PATH, b"anew", 5) == b"anew"


async def test_a_slow_server_that_answers_pings_keeps_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.wire.call_connection.KEEPALIVE_TIMEOUT_S", 0.1)

    async def slow(peer: Peer) -> None:
        await peer.begin()
        await peer.echo()
        with pytest.raises(TimeoutError):  # no call is open: nobody asks
            await asyncio.wait_for(peer.next(frames.PingFrame), 0.4)
        number, _, body = await peer.request()
        for _ in range(5):
            ping = await peer.next(frames.PingFrame)
            peer.send(frames.PingFrame(0, ping.opaque_data, flags=["ACK"]))
        peer.send(*peer.answer(number, body))
        await peer.frame()

    async with played(slow, keepalive_s=0.1) as caller:
        await caller.call(PATH, b"", 5)
        await asyncio.sleep(0.5)
        assert await caller.call(PATH, b"at last", 20) == b"at last"


BREACHES: dict[str, bytes] = {
    "too long a frame": b"\xff\xff\xff\0\0\0\0\0\1",
    "push": frames.PushPromiseFrame(1, 2, b"", flags=["END_HEADERS"]).serialize(),
    "continuation of nothing": frames.ContinuationFrame(1, b"x", flags=["END_HEADERS"]).serialize(),
    "interrupted headers": frames.HeadersFrame(1, b"x").serialize() + frames.PingFrame(0, b"12345678").serialize(),
    "no header block": frames.HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS"]).serialize(),
    "padding only": b"\0\0\1\0\x08\0\0\0\1\5",
    "no padding": b"\0\0\0\0\x08\0\0\0\1",
    "half a setting": b"\0\0\5\4\0\0\0\0\0hello",
    "endless headers": frames.HeadersFrame(1, bytes(16_000)).serialize()
    + 9 * frames.ContinuationFrame(1, bytes(16_000)).serialize(),
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_what_is_not_http2_ends_the_connection_and_the_next_call_has_another(breach: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.request()
        peer.raw(BREACHES[breach])
        await peer.next(frames.GoAwayFrame)

    async with played(script, echoing) as caller:
        with pytest.raises(CallFailed, match=r"UNAVAILABLE: .* breaks HTTP/2"):
            await caller.call(PATH, b"", 5)
        assert await caller.call(PATH, b"anew", 5) == b"anew"


async def test_a_server_that_says_nothing_at_all_costs_the_deadline_and_no_more() -> None:
    async def mute(peer: Peer) -> None:
        await asyncio.sleep(1)

    async with played(mute) as caller:
        with pytest.raises(CallFailed, match="DEADLINE_EXCEEDED"):
            await caller.call(PATH, b"", 0.1)


class Transport(asyncio.Transport):
    """Takes all, sends nothing, and tells of an end in the same turn."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._ended = False

    def write(self, data: Any) -> None:
        assert not self._ended

    def is_closing(self) -> bool:
        return self._ended

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._ended:
            self._ended = True
            self._protocol.connection_lost(None)


_VALID = [
    frames.SettingsFrame(0, settings={4: 100, 3: 1}),
    frames.HeadersFrame(1, hpack.Encoder().encode(ANSWER), flags=["END_HEADERS"]),
    frames.HeadersFrame(3, hpack.Encoder().encode(OK), flags=["END_HEADERS", "END_STREAM"]),
    frames.DataFrame(1, frame(b"x")),
    frames.WindowUpdateFrame(0, 10),
    frames.RstStreamFrame(1, 7),
    frames.GoAwayFrame(0, last_stream_id=1),
    frames.PingFrame(0, b"12345678"),
]
_PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([one.serialize() for one in _VALID]),
    st.builds(
        lambda kind, flags, number, body: len(body).to_bytes(3, "big") + bytes((kind, flags, 0, 0, 0, number)) + body,
        st.integers(0, 10),
        st.integers(0, 255),
        st.integers(0, 5),
        st.binary(max_size=30),
    ),
)


@given(st.lists(_PIECES, max_size=12))
def test_whatever_arrives_calls_end_and_nothing_else_is_raised(pieces: list[bytes]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        connection = CallConnection(Target("http", "t"), 60)
        transport = Transport(connection)
        connection.connection_made(transport)
        calls = [asyncio.ensure_future(connection.call(PATH, b"m", loop.time() + 5)) for _ in range(3)]
        await asyncio.sleep(0)
        for piece in pieces:
            if not transport.is_closing():
                connection.data_received(piece)
        transport.abort()
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, bytes | CallFailed)

    asyncio.run(run())
