"""Unary calls to gRPC's own server, over TLS and without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from goldengrain.wire import MAX_MESSAGE_BYTES, Caller, CallFailed
from goldengrain.wire.tls import client_context
from tests.chaincode.shim.certificates import Authority

ECHO, FAIL, WAIT = "/t.T/Echo", "/t.T/Fail", "/t.T/Wait"
DETAILS = bytes(range(256)) * 20
LIMITS = [("grpc.max_send_message_length", 100 << 20), ("grpc.max_receive_message_length", 100 << 20)]


class Server:
    """gRPC's server, and what its calls saw."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = self.most_at_once = 0
        self.cancelled = asyncio.Event()
        self.go_on = asyncio.Event()
        self.left_s: float | None = None
        self._server: grpc.aio.Server | None = None

    async def start(self, port: int = 0, credentials: grpc.ServerCredentials | None = None, **options: int) -> int:
        """Serve on 127.0.0.1."""
        stated = [*LIMITS, *((f"grpc.{name}", value) for name, value in options.items())]
        self._server = grpc.aio.server(options=stated)
        calls: dict[str, Any] = {"Echo": self.echo, "Fail": self.fail, "Wait": self.wait}
        handlers = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in calls.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
        address = f"127.0.0.1:{port}"
        if credentials is not None:
            port = self._server.add_secure_port(address, credentials)
        else:
            port = self._server.add_insecure_port(address)
        await self._server.start()
        return port

    async def stop(self, grace: float | None = None) -> None:
        assert self._server is not None
        await self._server.stop(grace)

    async def echo(self, message: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0.002)
        self.at_once -= 1
        return message

    async def fail(self, message: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.abort(
            grpc.StatusCode.ABORTED, "später, 100 %", (("x-word", "plain"), ("grpc-status-details-bin", DETAILS))
        )
        raise AssertionError

    async def wait(self, message: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.begun += 1
        self.left_s = context.time_remaining()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return message


@asynccontextmanager
async def called(port: int, **options: Any) -> AsyncIterator[Caller]:
    caller = Caller(options.pop("host", "127.0.0.1"), port, **options)
    try:
        yield caller
    finally:
        await caller.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.stop()


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not met():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 70_000, 20 << 20])
async def test_a_message_of_any_size_goes_there_and_back(server: Server, size: int) -> None:
    sent = bytes(range(256)) * (size // 256) + bytes(size % 256)
    async with called(await server.start()) as caller:
        assert await caller.call(ECHO, sent, 20) == sent
        assert await caller.call(ECHO, b"and on", 20) == b"and on"


async def test_many_calls_share_a_connection_and_each_has_its_own_answer(server: Server) -> None:
    async with called(await server.start()) as caller:
        sent = [str(number).encode() * 100 for number in range(500)]
        assert await asyncio.gather(*(caller.call(ECHO, one, 20) for one in sent)) == sent


async def test_large_messages_side_by_side_keep_to_the_servers_windows(server: Server) -> None:
    async with called(await server.start()) as caller:
        sent = [bytes([number]) * 3_000_000 for number in range(8)]
        assert await asyncio.gather(*(caller.call(ECHO, one, 20) for one in sent)) == sent


async def test_no_more_calls_at_once_than_the_server_takes(server: Server) -> None:
    async with called(await server.start(max_concurrent_streams=3)) as caller:
        await caller.call(ECHO, b"settings", 10)  # before they have come nobody knows the bound
        sent = [str(number).encode() for number in range(60)]
        assert await asyncio.gather(*(caller.call(ECHO, one, 20) for one in sent)) == sent
    assert server.most_at_once == 3


async def test_a_refusal_is_told_with_its_text_and_its_details(server: Server) -> None:
    async with called(await server.start()) as caller:
        for _ in range(2):
            with pytest.raises(CallFailed) as caught:
                await caller.call(FAIL, b"", 10)
            assert (caught.value.status, caught.value.message) == (10, "später, 100 %")
            assert dict(caught.value.trailers)["grpc-status-details-bin"] == DETAILS
            assert dict(caught.value.trailers)["x-word"] == "plain"
            assert not caught.value.unprocessed
        with pytest.raises(CallFailed, match="UNIMPLEMENTED"):
            await caller.call("/t.T/None", b"", 10)
        assert await caller.call(ECHO, b"goes on", 10) == b"goes on"


async def test_a_message_that_peers_would_not_take_is_not_sent(server: Server) -> None:
    async with called(await server.start()) as caller:
        with pytest.raises(CallFailed, match="RESOURCE_EXHAUSTED"):
            await caller.call(ECHO, bytes(MAX_MESSAGE_BYTES + 1), 10)


async def test_the_deadline_is_told_to_the_server_and_kept_here(server: Server) -> None:
    async with called(await server.start()) as caller:
        await caller.call(ECHO, b"", 10)
        began = time.monotonic()
        with pytest.raises(CallFailed, match="DEADLINE_EXCEEDED"):
            await caller.call(WAIT, b"", 0.3)
        assert 0.25 < time.monotonic() - began < 2
        await asyncio.wait_for(server.cancelled.wait(), 10)
        assert server.left_s is not None
        assert server.left_s < 0.31
        assert await caller.call(ECHO, b"goes on", 10) == b"goes on"


async def test_a_call_that_nobody_waits_for_any_more_ends_at_the_server(server: Server) -> None:
    async with called(await server.start()) as caller:
        calling = asyncio.ensure_future(caller.call(WAIT, b"", 30))
        await until(lambda: server.begun == 1)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.wait_for(server.cancelled.wait(), 10)


async def test_closing_ends_running_calls_and_refuses_later_ones(server: Server) -> None:
    async with called(await server.start()) as caller:
        calling = asyncio.ensure_future(caller.call(WAIT, b"", 30))
        await until(lambda: server.begun == 1)
        await caller.close()
        with pytest.raises(CallFailed, match="CANCELLED"):
            await calling
        with pytest.raises(CallFailed, match="CANCELLED"):
            await caller.call(ECHO, b"", 1)


async def test_a_server_that_leaves_answers_what_it_has_begun_and_the_next_call_goes_to_its_successor(
    server: Server,
) -> None:
    port = await server.start()
    successor = Server()
    async with called(port) as caller:
        running = asyncio.ensure_future(caller.call(WAIT, b"begun", 30))
        await until(lambda: server.begun == 1)
        stopping = asyncio.ensure_future(server.stop(10))
        await asyncio.sleep(0.2)
        await successor.start(port)
        assert await caller.call(ECHO, b"after", 10) == b"after"
        server.go_on.set()
        assert await running == b"begun"
        await stopping
    await successor.stop()


async def test_a_lost_connection_fails_its_calls_and_is_made_anew(server: Server) -> None:
    port = await server.start()
    async with called(port) as caller:
        running = asyncio.ensure_future(caller.call(WAIT, b"", 30))
        await until(lambda: server.begun == 1)
        await server.stop()
        with pytest.raises(CallFailed) as caught:
            await running
        assert not caught.value.unprocessed
        with pytest.raises(CallFailed, match=f"UNAVAILABLE: cannot connect to 127.0.0.1:{port}"):
            await caller.call(ECHO, b"", 10)
        await server.start(port)
        assert await caller.call(ECHO, b"back", 10) == b"back"


# TLS.


def credentials(authority: Authority, name: str, **mutual: Any) -> grpc.ServerCredentials:
    certificate, key = authority.issue(name)
    return grpc.ssl_server_credentials([(key, certificate)], **mutual)


async def test_over_tls_with_a_certificate_on_both_sides(server: Server) -> None:
    authority = Authority()
    own, key = authority.issue("client")
    options = {"root_certificates": authority.pem, "require_client_auth": True}
    port = await server.start(credentials=credentials(authority, "peer0.test", **options))
    async with called(
        port, tls=lambda: client_context(authority.pem, own, key), server_name="peer0.test", host="127.0.0.1"
    ) as caller:
        assert await caller.call(ECHO, bytes(100_000), 10) == bytes(100_000)
    async with called(port, tls=lambda: client_context(authority.pem), server_name="peer0.test") as caller:
        with pytest.raises(CallFailed, match="UNAVAILABLE"):
            await caller.call(ECHO, b"", 10)


@pytest.mark.parametrize("wrong", ["name", "authority", "pem"])
async def test_a_server_that_is_not_who_it_should_be_gets_no_call(server: Server, wrong: str) -> None:
    authority = Authority()
    port = await server.start(credentials=credentials(authority, "127.0.0.1"))
    trusted = {"authority": Authority().pem, "pem": b"no certificate"}.get(wrong, authority.pem)
    name = "elsewhere.test" if wrong == "name" else None
    async with called(port, tls=lambda: client_context(trusted), server_name=name) as caller:
        with pytest.raises(CallFailed, match="UNAVAILABLE: cannot connect"):
            await caller.call(WAIT, b"", 10)
    assert server.begun == 0
