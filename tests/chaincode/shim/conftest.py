from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest_asyncio

from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, Response, success
from tests.chaincode.shim.ledger import Ledger
from tests.chaincode.shim.peer import FakePeer, Outcome

PACKAGE_ID = "kv_1:0123abcd"
Peer = TypeVar("Peer", bound=FakePeer)
Body = Callable[[ChaincodeStub], Awaitable[Any]]


class Calling:
    """A chaincode whose answer is one coroutine's; bytes and None stand for success."""

    def __init__(self, body: Body) -> None:
        self.body = body

    async def init(self, stub: ChaincodeStub) -> Response:
        return success(b"initialised")

    async def invoke(self, stub: ChaincodeStub) -> Response:
        answer = await self.body(stub)
        return success(answer or b"") if answer is None or isinstance(answer, bytes) else answer


class Network:
    """Chaincode servers and peers of one test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def serve(self, chaincode: Any, **options: Any) -> ChaincodeServer:
        server = ChaincodeServer(chaincode, "127.0.0.1:0", PACKAGE_ID, **options)
        server.port = await server.start()  # type: ignore[attr-defined]
        self._stack.push_async_callback(server.stop, 0.2)
        return server

    async def peer(self, server: ChaincodeServer, ledger: Ledger | None = None, **options: Any) -> FakePeer:
        port: int = server.port  # type: ignore[attr-defined]
        return await self._stack.enter_async_context(FakePeer(port, ledger, **options))

    async def enter(self, peer: Peer) -> Peer:
        await self._stack.enter_async_context(peer)
        return peer

    async def run(self, body: Body, *args: bytes | str, ledger: Ledger | None = None, **options: Any) -> Outcome:
        """One call of a chaincode on a fresh server and peer."""
        peer = await self.peer(await self.serve(Calling(body)), ledger, **options)
        return await peer.call(*(args or ("f",)))


@pytest_asyncio.fixture
async def network() -> AsyncIterator[Network]:
    async with AsyncExitStack() as stack:
        yield Network(stack)
