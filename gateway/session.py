"""What the steps of a transaction share: the gateway peers, one identity, one signer, one clock, the deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from goldengrain.gateway.backoff import Backoff, Reconnect
from goldengrain.gateway.channel import closed_error
from goldengrain.gateway.clock import Clock
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import GatewayError, SigningError, from_rpc
from goldengrain.gateway.identity import Identity, Signer
from goldengrain.gateway.peers import Peer, Peers, Unary

if TYPE_CHECKING:
    from goldengrain.gateway.commits import CommitWatcher

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
E = TypeVar("E", bound=GatewayError)

NO_ANSWER = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
    }
)
"""Statuses with which no peer says what became of the call: the connection's, or the peer's that is going down."""


def busy(error: grpc.aio.AioRpcError) -> bool:
    """Whether the peer refused the call unread, because it has too many (Fabric's ``peer.limits.concurrency``)."""
    return error.code() is grpc.StatusCode.UNKNOWN and "exceeding concurrency limit" in (error.details() or "")


class CallFailed(Exception):
    """A call failed at every peer that was asked; internal to the package.

    ``error`` is the last peer's, ``target`` its address, ``unanswered`` whether a peer before it gave no answer.
    """

    def __init__(self, error: grpc.aio.AioRpcError, target: str, unanswered: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.target = target
        self.unanswered = unanswered


class Session:
    """Internal to the package: a connection on behalf of one identity, to one gateway peer or several."""

    def __init__(
        self,
        peers: Peers,
        identity: Identity,
        signer: Signer | None,
        clock: Clock,
        deadlines: Deadlines,
        reconnect: Reconnect,
        shared_commit_stream: bool = False,
    ) -> None:
        self.peers = peers
        self.identity = identity
        self.signer = signer
        self.clock = clock
        self.deadlines = deadlines
        self.reconnect = reconnect
        self.shared_commit_stream = shared_commit_stream
        self.watchers: dict[str, CommitWatcher] = {}
        self.closed = False
        self.creator = identity.serialized

    async def call(self, rpc: Callable[[Peer], Unary[Q, A]], request: Q, seconds: float) -> A:
        """Make a call that may be made twice, at the peer in use, and at the next where it gives no answer.

        A peer that keeps silent has its share of what is left of the ``seconds``. Raises CallFailed.
        """
        end = asyncio.get_running_loop().time() + seconds
        return await self._round(rpc, request, end)

    async def insist(self, rpc: Callable[[Peer], Unary[Q, A]], request: Q, seconds: float) -> A:
        """Make a call at all peers in turn, again and again, until one answers or time is over. Raises CallFailed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        backoff = Backoff(0.05, 1.0)
        while True:
            try:
                return await self._round(rpc, request, end)
            except CallFailed as failed:
                pause = backoff.pause()
                asks_again = failed.error.code() in NO_ANSWER or busy(failed.error)
                if self.closed or not asks_again or loop.time() + pause >= end:
                    raise
            await asyncio.sleep(pause)

    async def _round(self, rpc: Callable[[Peer], Unary[Q, A]], request: Q, end: float) -> A:
        loop = asyncio.get_running_loop()
        unanswered = False
        for left, peer in zip(range(len(self.peers), 0, -1), self.peers.order(), strict=True):
            try:
                return await self._once(rpc(peer), request, max(end - loop.time(), 0) / left)
            except grpc.aio.AioRpcError as error:
                failed = CallFailed(error, peer.target, unanswered)
                if error.code() not in NO_ANSWER and not busy(error):
                    raise failed from error
                unanswered = unanswered or not busy(error)
                self.peers.failed(peer)
        raise failed from failed.error

    async def _once(self, rpc: Unary[Q, A], request: Q, seconds: float) -> A:
        """Make one call; one that closing the gateway has cut off fails as any other does."""
        try:
            return await rpc(request, timeout=seconds)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as cut:
            task = asyncio.current_task()
            if not self.closed or (task is not None and task.cancelling()):
                raise
            raise closed_error() from cut

    def failed(
        self, kind: type[E], failed: CallFailed, doing: str, transaction_id: str | None = None, hint: str = ""
    ) -> E:
        """Return ``kind`` made from a failed call, with a hint what to do next."""
        return translated(kind, failed.error, failed.target, doing, transaction_id, hint)

    def sign(self, message: bytes, transaction_id: str | None = None) -> bytes:
        """Return a signature over a message. Raises SigningError where the gateway was opened without a signer."""
        if self.signer is None:
            raise SigningError(
                "this gateway has no signer: sign the step's digest elsewhere and hand it to its sign() method",
                transaction_id=transaction_id,
            )
        return self.signer.sign(sha256(message).digest())


def translated(
    kind: type[E],
    error: grpc.aio.AioRpcError,
    target: str,
    doing: str,
    transaction_id: str | None = None,
    hint: str = "",
) -> E:
    """Return ``kind`` made from a peer's gRPC error."""
    if not hint and error.code() is grpc.StatusCode.UNAVAILABLE:
        hint = f"Is the peer at {target} up, and its certificate of the expected authority?"
    return from_rpc(kind, error, transaction_id, doing, hint)
