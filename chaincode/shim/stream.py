"""One peer's stream: registration, and all transactions that the peer runs on it.

    peer                      chaincode
      | <--------- REGISTER ----- |   payload: ChaincodeID, its name the package id
      | ---------- REGISTERED --> |
      | ---------- READY -------> |   payload: what the peer offers (3.1)
      | ---------- TRANSACTION -> |   or INIT: a task of its own starts
      | <--------- GET_STATE … -- |   requests, matched by channel and transaction id
      | ---------- RESPONSE ----> |   or ERROR
      | <--------- COMPLETED ---- |

A peer that does not know the package id answers nothing at all: hence the warning after a while.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from fabric_protos.peer import chaincode_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.shim.chaincode import Chaincode, Guard
from goldengrain.chaincode.shim.errors import StreamLost
from goldengrain.chaincode.shim.exchange import Exchange, PeerOffers
from goldengrain.chaincode.shim.execution import completed, execute
from goldengrain.chaincode.shim.responses import error

logger = logging.getLogger(__name__)

STOPPING = 503
"""Status of the answer to transactions that arrive while the server is stopping."""

TOO_LONG = 504
"""Status of the answer to transactions that took longer than the server's time limit."""

STOPPING_TEXT = "the chaincode server is stopping: try again"

REGISTRATION_WARNING = 10.0
"""Seconds after which a peer that has not answered REGISTER is mentioned in the log."""


class Wire(Protocol):
    """Where messages to the peer go."""

    def send(self, message: ChaincodeMessage) -> None:
        """Send one message, without waiting; nothing happens when the stream has ended."""
        ...

    async def drain(self) -> None:
        """Wait until all that was sent is on its way, or the stream has ended."""
        ...


class _Running(NamedTuple):
    exchange: Exchange
    task: "asyncio.Task[None]"


class PeerStream:
    """A connected peer. `serve` runs until the peer ends the stream or `close` is called."""

    def __init__(
        self, chaincode: Chaincode, guard: Guard | None, package_id: str, peer: str, time_limit: float | None = None
    ) -> None:
        self._chaincode = chaincode
        self._guard = guard
        self._package_id = package_id
        self._peer = peer
        self._offers = PeerOffers()
        self._ready = False
        self._time_limit = time_limit
        self._wire: Wire | None = None
        self._running: dict[tuple[str, str], _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._closing = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the peer has accepted the registration."""
        return self._ready

    @property
    def running(self) -> int:
        """Transactions under way."""
        return len(self._tasks)

    async def serve(self, incoming: AsyncIterator[ChaincodeMessage], wire: Wire) -> None:
        """Register and run the peer's transactions. Returns when the peer ends the stream or `close` is called.

        Whatever of its transactions is still running then is cancelled: nothing of it could reach the peer any more.
        """
        self._wire = wire
        registration = chaincode_pb2.ChaincodeID(name=self._package_id)
        self._send(ChaincodeMessage(type=ChaincodeMessage.REGISTER, payload=registration.SerializeToString()))
        warning = asyncio.get_running_loop().call_later(REGISTRATION_WARNING, self._warn_unregistered)
        parts = [
            asyncio.create_task(part, name=f"chaincode stream of {self._peer}")
            for part in (self._read(incoming), self._closed())
        ]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            warning.cancel()
            self._ready = False
            await self._end(parts)

    def close(self) -> None:
        """End the stream from this side."""
        self._closing.set()

    async def drain(self) -> None:
        """Take no more transactions; return when those under way have been answered."""
        self._draining = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._wire is not None:
            await self._wire.drain()

    def _send(self, message: ChaincodeMessage) -> None:
        if self._wire is not None:  # what waits there is bounded: one message for each transaction under way
            self._wire.send(message)

    async def _read(self, incoming: AsyncIterator[ChaincodeMessage]) -> None:
        async for message in incoming:
            self._dispatch(message)

    async def _closed(self) -> None:
        await self._closing.wait()

    def _dispatch(self, message: ChaincodeMessage) -> None:
        kind = message.type
        if kind in (ChaincodeMessage.RESPONSE, ChaincodeMessage.ERROR) and self._ready:
            running = self._running.get((message.channel_id, message.txid))
            if running is None or not running.exchange.deliver(message):
                logger.debug("peer %s: reply that no request waits for, transaction %s", self._peer, message.txid)
        elif kind in (ChaincodeMessage.TRANSACTION, ChaincodeMessage.INIT):
            self._start(message)
        elif kind == ChaincodeMessage.READY:
            self._offers = PeerOffers.from_ready(message.payload)
            self._ready = True
            logger.info("peer %s: ready for %s, %s", self._peer, self._package_id, self._offers)
        elif kind == ChaincodeMessage.KEEPALIVE:
            self._send(message)
        elif kind == ChaincodeMessage.ERROR:
            logger.error(
                "peer %s refuses %s: %s", self._peer, self._package_id, message.payload.decode(errors="replace")
            )
        elif kind != ChaincodeMessage.REGISTERED:
            logger.warning("peer %s: unexpected message of type %d ignored", self._peer, kind)

    def _start(self, message: ChaincodeMessage) -> None:
        if self._draining:
            self._send(completed(error(STOPPING_TEXT, STOPPING), message.channel_id, message.txid))
            return
        key = (message.channel_id, message.txid)
        earlier = self._running.get(key)
        if earlier is not None:  # peers do that only when they have given the first call up
            logger.warning("peer %s: transaction %s is called again, the first call is ended", self._peer, message.txid)
            earlier.task.cancel()
        exchange = Exchange(message.channel_id, message.txid, self._send, self._offers)
        task = asyncio.create_task(self._run(message, exchange))
        self._running[key] = _Running(exchange, task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, message: ChaincodeMessage, exchange: Exchange) -> None:
        key = (message.channel_id, message.txid)
        try:
            async with asyncio.timeout(self._time_limit):
                answer = await execute(self._chaincode, self._guard, message, exchange)
        except TimeoutError:
            logger.warning("transaction %s took more than %s s and was ended", exchange.tx_id, self._time_limit)
            answer = completed(error(f"the transaction took more than {self._time_limit:g} s", TOO_LONG), *key)
        finally:
            exchange.end()
            if (running := self._running.get(key)) is not None and running.exchange is exchange:
                del self._running[key]
        self._send(answer)

    async def _end(self, parts: "list[asyncio.Task[None]]") -> None:
        if self._tasks:
            logger.warning("peer %s: stream ended with %d transactions under way", self._peer, len(self._tasks))
        lost = StreamLost("the stream to the peer has ended")
        for running in self._running.values():
            running.exchange.end(lost)
        tasks = [*self._tasks, *parts]
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                logger.warning("peer %s: stream ended: %s", self._peer, type(outcome).__name__)

    def _warn_unregistered(self) -> None:
        if not self._ready:
            logger.warning("peer %s has not accepted %s: is that the package id it has?", self._peer, self._package_id)
