"""Streams between our two sides, and with gRPC's own library on either."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from goldengrain.wire import MAX_MESSAGE_BYTES, Status, Stream, StreamFailed, StreamServer, WireError, open_stream
from goldengrain.wire.connection import Connection
from goldengrain.wire.tls import client_context, server_context
from tests.chaincode.shim.certificates import Authority

ECHO, SINK, REFUSE, BREAK, WAIT, SILENT = (
    "/t.T/Echo",
    "/t.T/Sink",
    "/t.T/Refuse",
    "/t.T/Break",
    "/t.T/Wait",
    "/t.T/No",
)
LIMITS = [("grpc.max_send_message_length", 100 << 20), ("grpc.max_receive_message_length", 100 << 20)]


class Handlers:
    """What the server does, and what it saw."""

    def __init__(self) -> None:
        self.sunk = 0
        self.cancelled = asyncio.Event()
        self.go_on = asyncio.Event()

    async def echo(self, stream: Stream) -> None:
        async for message in stream:
            stream.send(message)
            await stream.drain()

    async def sink(self, stream: Stream) -> None:
        await self.go_on.wait()
        async for message in stream:
            self.sunk += len(message)

    async def refuse(self, stream: Stream) -> None:
        raise StreamFailed(Status.UNAVAILABLE, "später, 100 %")

    async def break_(self, stream: Stream) -> None:
        raise ZeroDivisionError("a secret in the message")

    async def wait(self, stream: Stream) -> None:
        try:
            await stream.receive()
        except (StreamFailed, asyncio.CancelledError):
            self.cancelled.set()
            raise

    def paths(self) -> dict[str, object]:
        return {ECHO: self.echo, SINK: self.sink, REFUSE: self.refuse, BREAK: self.break_, WAIT: self.wait}


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, **options: float) -> AsyncIterator[tuple[int, Handlers]]:
    handlers = Handlers()
    server = StreamServer(handlers.paths(), tls, **options)  # type: ignore[arg-type]  # a dict of methods is one
    port = await server.start("127.0.0.1", 0)
    try:
        yield port, handlers
    finally:
        await server.stop(0.2)


async def all_of(stream: Stream, count: int) -> list[bytes]:
    async with asyncio.timeout(20):
        return [message async for _, message in _numbered(stream, count)]


async def _numbered(stream: Stream, count: int) -> AsyncIterator[tuple[int, bytes]]:
    for number in range(count):
        message = await stream.receive()
        assert message is not None
        yield number, message


async def test_many_small_messages_arrive_in_their_order() -> None:
    async with serving() as (port, _):
        stream = await open_stream("127.0.0.1", port, ECHO)
        messages = [str(number).encode() for number in range(5_000)]
        for message in messages:
            stream.send(message)
        assert await all_of(stream, 5_000) == messages
        stream.cancel()


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 20 << 20])
async def test_a_message_of_any_size_arrives(size: int) -> None:
    async with serving() as (port, _):
        stream = await open_stream("127.0.0.1", port, ECHO)
        sent = bytes(range(256)) * (size // 256) + bytes(size % 256)
        stream.send(sent)
        assert await all_of(stream, 1) == [sent]
        stream.cancel()


async def test_a_message_that_peers_would_not_take_is_refused_before_it_is_sent() -> None:
    async with serving() as (port, _):
        stream = await open_stream("127.0.0.1", port, ECHO)
        with pytest.raises(StreamFailed, match="RESOURCE_EXHAUSTED"):
            stream.send(bytes(MAX_MESSAGE_BYTES + 1))
        stream.send(b"the stream goes on")
        assert await all_of(stream, 1) == [b"the stream goes on"]
        stream.cancel()


async def test_whoever_sends_faster_than_the_other_reads_is_held_up() -> None:
    async with serving() as (port, handlers):
        stream = await open_stream("127.0.0.1", port, SINK)
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(64):
                stream.send(bytes(1 << 20))
                await stream.drain()
                sent += 1

        sender = asyncio.create_task(send())
        handlers.go_on.set()
        await asyncio.wait_for(sender, 20)
        async with asyncio.timeout(20):
            while handlers.sunk < 64 << 20:  # noqa: ASYNC110 - it is counted, message by message
                await asyncio.sleep(0.01)
        assert sent == 64
        stream.cancel()


async def test_a_handlers_refusal_is_the_streams_status() -> None:
    async with serving() as (port, _):
        with pytest.raises(StreamFailed) as refusal:
            await (await open_stream("127.0.0.1", port, REFUSE)).receive()
    assert (refusal.value.status, refusal.value.message) == (Status.UNAVAILABLE, "später, 100 %")


async def test_a_handlers_failure_says_no_more_than_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (port, _):
        with pytest.raises(StreamFailed) as refusal:
            await (await open_stream("127.0.0.1", port, BREAK)).receive()
    assert (refusal.value.status, refusal.value.message) == (Status.UNKNOWN, "ZeroDivisionError")
    assert "serving /t.T/Break failed" in caplog.text


async def test_an_unknown_method_is_unimplemented() -> None:
    async with serving() as (port, _):
        with pytest.raises(StreamFailed, match=r"UNIMPLEMENTED: unknown method /t\.T/No"):
            await (await open_stream("127.0.0.1", port, SILENT)).receive()


async def test_a_handler_learns_that_its_client_has_gone() -> None:
    async with serving() as (port, handlers):
        stream = await open_stream("127.0.0.1", port, WAIT)
        await asyncio.sleep(0.05)
        stream.cancel()
        await asyncio.wait_for(handlers.cancelled.wait(), 5)
        with pytest.raises(StreamFailed, match="cancelled"):
            await stream.receive()
        with pytest.raises(StreamFailed):
            stream.send(b"too late")


async def test_a_server_that_stops_ends_its_streams_and_frees_its_port() -> None:
    async with serving() as (port, _):
        stream = await open_stream("127.0.0.1", port, WAIT)
        await asyncio.sleep(0.05)
    with pytest.raises(StreamFailed, match="UNAVAILABLE"):
        await asyncio.wait_for(stream.receive(), 5)
    with pytest.raises(OSError, match="onnect"):
        await open_stream("127.0.0.1", port, WAIT)


async def test_an_address_in_use_is_refused_by_name() -> None:
    async with serving() as (port, _):
        with pytest.raises(WireError, match=f"cannot listen on 127.0.0.1:{port}"):
            await StreamServer({}).start("127.0.0.1", port)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(99)]
)
async def test_what_is_no_http2_ends_its_own_connection_only(garbage: bytes) -> None:
    async with serving() as (port, _):
        stream = await open_stream("127.0.0.1", port, ECHO)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(garbage)
        await asyncio.wait_for(_until_closed(reader), 5)
        writer.close()
        stream.send(b"undisturbed")
        assert await all_of(stream, 1) == [b"undisturbed"]
        stream.cancel()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1024):
            pass
    except ConnectionError:
        return


async def test_a_peer_that_says_nothing_at_all_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.wire.connection.KEEPALIVE_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        stream = await open_stream("127.0.0.1", deaf.getsockname()[1], ECHO, keepalive_s=0.2)
        with pytest.raises(StreamFailed, match="has not answered for"):
            await asyncio.wait_for(stream.receive(), 5)


async def test_a_quiet_stream_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.wire.connection.KEEPALIVE_TIMEOUT_S", 0.2)
    async with serving(keepalive_s=0.1) as (port, _):
        stream = await open_stream("127.0.0.1", port, ECHO, keepalive_s=0.1)
        await asyncio.sleep(1.0)
        stream.send(b"still here")
        assert await all_of(stream, 1) == [b"still here"]
        stream.cancel()


async def test_tls_with_certificates_of_both_sides() -> None:
    authority = Authority()
    certificate, key = authority.issue("localhost")
    client_certificate, client_key = authority.issue("peer0")
    async with serving(server_context(certificate, key, authority.pem)) as (port, _):
        stream = await open_stream(
            "localhost", port, ECHO, client_context(authority.pem, client_certificate, client_key)
        )
        stream.send(b"secret")
        assert await all_of(stream, 1) == [b"secret"]
        stream.cancel()
        stranger = client_context(authority.pem, *Authority().issue("peer0"))
        with pytest.raises((StreamFailed, OSError)):
            await (await open_stream("localhost", port, ECHO, stranger)).receive()
        with pytest.raises((StreamFailed, OSError)):
            await (await open_stream("localhost", port, ECHO, client_context(authority.pem))).receive()
        with pytest.raises(ssl.SSLError):
            await open_stream("localhost", port, ECHO, client_context(Authority().pem))


async def test_grpcs_own_client_on_our_server() -> None:
    async with serving() as (port, _), grpc.aio.insecure_channel(f"127.0.0.1:{port}", LIMITS) as channel:
        call = channel.stream_stream(ECHO)()
        for size in (0, 1, 100_000, 20 << 20):
            await call.write(bytes(size))
            assert await call.read() == bytes(size)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() == grpc.StatusCode.OK
        refused = channel.stream_stream(REFUSE)()
        assert await refused.code() == grpc.StatusCode.UNAVAILABLE
        assert await refused.details() == "später, 100 %"
        assert await channel.stream_stream(SILENT)().code() == grpc.StatusCode.UNIMPLEMENTED


async def test_our_client_on_grpcs_own_server() -> None:
    async def echo(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        async for message in requests:
            if message == b"refuse":
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "genug, 100 %")
            await context.write(message)

    server = grpc.aio.server(options=LIMITS)
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        stream = await open_stream("127.0.0.1", port, ECHO)
        for size in (0, 1, 100_000, 20 << 20):
            stream.send(bytes(size))
            assert await all_of(stream, 1) == [bytes(size)]
        stream.send(b"refuse")
        with pytest.raises(StreamFailed) as refusal:
            await stream.receive()
        assert (refusal.value.status, refusal.value.message) == (Status.RESOURCE_EXHAUSTED, "genug, 100 %")
        with pytest.raises(StreamFailed, match="UNIMPLEMENTED"):
            await (await open_stream("127.0.0.1", port, SINK)).receive()
    finally:
        await server.stop(0)


async def test_messages_of_one_turn_of_the_loop_share_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as (port, _):
        stream = await open_stream("127.0.0.1", port, SINK)
        await asyncio.sleep(0.05)
        flushes = []
        flush = Connection._flush

        def counting(connection: Connection) -> None:
            flushes.append(connection)
            flush(connection)

        monkeypatch.setattr(Connection, "_flush", counting)
        for _ in range(100):
            stream.send(b"small")
        await stream.drain(0)
        assert flushes.count(stream._connection) == 1
        stream.cancel()


async def test_a_stream_outlives_the_announcement_that_its_connection_grows_old() -> None:
    """Java's chaincode server says GOAWAY to a connection after five seconds, and lets its streams go on."""

    async def echo(requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        async for message in requests:
            yield message

    handler = grpc.method_handlers_generic_handler("t.T", {"Echo": grpc.stream_stream_rpc_method_handler(echo)})
    age = [("grpc.max_connection_age_ms", 200), ("grpc.max_connection_age_grace_ms", 60_000)]
    server = grpc.aio.server(options=age)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stream = await open_stream("127.0.0.1", port, ECHO)
    try:
        for number in range(12):
            stream.send(b"%d" % number)
            assert await asyncio.wait_for(stream.receive(), 5) == b"%d" % number
            await asyncio.sleep(0.05)
    finally:
        stream.cancel()
        await server.stop(None)
