"""Keeping a peer connected to the chaincode servers of its installed packages.

A peer dials a chaincode on its own as soon as its package is installed, approved by its organisation and committed on
a channel, and at its start; it keeps trying until the server answers once. When a stream is lost after that, the next
call opens the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl

from goldengrain.network.embedded.chaincode_stream import ChaincodeStream
from goldengrain.network.embedded.failures import ChaincodeExecutionError
from goldengrain.network.embedded.packages import ChaincodeConnection, ChaincodePackage
from goldengrain.wire import Stream, open_stream
from goldengrain.wire.tls import client_context

__all__ = ["ChaincodeLauncher", "ChaincodeLaunchers"]

logger = logging.getLogger(__name__)

STARTUP_TIMEOUT_S = 300.0
"""How long a call waits for a chaincode that connects but doesn't register (Fabric's `startuptimeout`)."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
CONNECT = "/protos.Chaincode/Connect"


class ChaincodeLauncher:
    """The connection of one peer to the server of one package."""

    def __init__(self, package: ChaincodePackage) -> None:
        self.package_id = package.package_id
        self._connection = package.connection()
        self._stream: ChaincodeStream | None = None
        self._dialling: asyncio.Task[ChaincodeStream] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def stream(self) -> ChaincodeStream:
        """The live stream, opened where there is none. Any number of callers share one attempt.

        Raises:
            ChaincodeExecutionError: the server can't be reached, or the chaincode doesn't register in time.

        """
        if self._stream is not None and not self._stream.closed:
            return self._stream
        if self._dialling is None:
            self._dialling = asyncio.create_task(self._dial(), name=f"dial {self.package_id}")
            self._dialling.add_done_callback(self._dialled)
        return await asyncio.shield(self._dialling)

    def start(self) -> None:
        """Connect in the background, trying until the server answers."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._connect_once(), name=f"connect {self.package_id}")

    async def stop(self) -> None:
        """Close the stream and stop trying."""
        tasks = [task for task in (self._keeper, self._dialling) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._stream is not None:
            await self._stream.close()

    async def _connect_once(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            with contextlib.suppress(ChaincodeExecutionError):
                await self.stream()
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _dialled(self, task: asyncio.Task[ChaincodeStream]) -> None:
        self._dialling = None
        if not task.cancelled() and task.exception() is None:
            self._stream = task.result()

    async def _dial(self) -> ChaincodeStream:
        stream = ChaincodeStream(self.package_id, await self._connect())
        try:
            async with asyncio.timeout(STARTUP_TIMEOUT_S):
                await stream.ready()
        except TimeoutError:
            await stream.close()
            raise ChaincodeExecutionError(
                f"could not launch chaincode {self.package_id}: timeout expired while starting chaincode "
                f"{self.package_id} for transaction"
            ) from None
        except ChaincodeExecutionError as error:
            raise ChaincodeExecutionError(
                f"could not launch chaincode {self.package_id}: chaincode registration failed: {error}"
            ) from error
        except asyncio.CancelledError:
            await stream.close()
            raise
        logger.info("connected to chaincode %s at %s", self.package_id, self._connection.address)
        return stream

    async def _connect(self) -> Stream:
        address = self._connection.address
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(self._connection.dial_timeout_s):
                return await open_stream(host.strip("[]") or "127.0.0.1", int(port), CONNECT, _tls(self._connection))
        except TimeoutError:
            raise self._unreachable("context deadline exceeded") from None
        except (OSError, ValueError) as error:
            cause = "connection refused" if isinstance(error, ConnectionRefusedError) else str(error)
            text = f'connection error: desc = "transport: error while dialing: dial tcp {address}: connect: {cause}"'
            raise self._unreachable(text) from error

    def _unreachable(self, cause: str) -> ChaincodeExecutionError:
        name = self.package_id
        return ChaincodeExecutionError(
            f"could not launch chaincode {name}: connection to {name} failed: error cannot create connection for "
            f"{name}: error creating grpc connection to {self._connection.address}: failed to create new connection: "
            f"{cause}"
        )


class ChaincodeLaunchers:
    """All chaincode connections of one peer, by package id."""

    def __init__(self) -> None:
        self._launchers: dict[str, ChaincodeLauncher] = {}

    def get(self, package: ChaincodePackage) -> ChaincodeLauncher:
        """The launcher of that package."""
        launcher = self._launchers.get(package.package_id)
        if launcher is None:
            launcher = self._launchers[package.package_id] = ChaincodeLauncher(package)
        return launcher

    async def stop(self) -> None:
        """Stop all of them."""
        await asyncio.gather(*(launcher.stop() for launcher in self._launchers.values()))
        self._launchers.clear()


def _tls(connection: ChaincodeConnection) -> ssl.SSLContext | None:
    if connection.root_certificate is None:
        return None
    return client_context(connection.root_certificate, connection.client_certificate, connection.client_key)
