"""`ChaincodeServer`: chaincode as a service. Peers connect to it, each with its own stream.

    server = ChaincodeServer(MyChaincode(), "127.0.0.1:9999", package_id)
    await server.start()
    await server.wait()

The address is the one in the package's `connection.json`, the package id is what the peer's install returned
(`label:sha256`). `serve` does all of that as a program, with the environment variables that Fabric's samples use.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping

from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from google.protobuf.message import DecodeError

from goldengrain.chaincode.shim.chaincode import Chaincode, Guard
from goldengrain.chaincode.shim.errors import ServerError
from goldengrain.chaincode.shim.stream import PeerStream
from goldengrain.chaincode.shim.tls import TLSOptions
from goldengrain.wire import Status, Stream, StreamFailed, StreamServer, WireError

logger = logging.getLogger(__name__)

DEFAULT_GRACE = 10.0
"""Seconds that running transactions get when a server stops."""

TIME_LIMIT = 300.0
"""Seconds that a call may take: ten times what peers wait unless they are told otherwise. What hangs goes some day."""

CONNECT = "/protos.Chaincode/Connect"
"""The service's only method."""


class ChaincodeServer:
    """Runs one chaincode for all peers that connect."""

    def __init__(
        self,
        chaincode: Chaincode,
        address: str,
        package_id: str,
        tls: TLSOptions | None = None,
        guard: Guard | None = None,
        time_limit: float | None = TIME_LIMIT,
    ) -> None:
        """Take what to serve and where.

        Args:
            chaincode: what answers the calls.
            address: HOST:PORT to listen on; port 0 has the system choose one.
            package_id: what the peer's install returned, `label:sha256`.
            tls: None for a server without TLS.
            guard: runs before every call, see `Guard`.
            time_limit: seconds after which a call is ended and answered with status 504; None for no limit.

        """
        if not package_id:
            raise ServerError("a chaincode server needs the package id (CHAINCODE_ID): peers know it by that")
        self._chaincode = chaincode
        self._address = address
        self._package_id = package_id
        self._tls = tls
        self._guard = guard
        self._time_limit = time_limit
        self._server: StreamServer | None = None
        self._streams: set[PeerStream] = set()
        self._stopping = False

    @classmethod
    def from_environment(
        cls, chaincode: Chaincode, guard: Guard | None = None, environment: Mapping[str, str] = os.environ
    ) -> "ChaincodeServer":
        """From CHAINCODE_SERVER_ADDRESS, CHAINCODE_ID and TLS variables (see `TLSOptions`). Raises ServerError."""
        address, package_id = environment.get("CHAINCODE_SERVER_ADDRESS"), environment.get("CHAINCODE_ID")
        if not address or not package_id:
            raise ServerError("set CHAINCODE_SERVER_ADDRESS (host:port) and CHAINCODE_ID (the package id)")
        return cls(chaincode, address, package_id, TLSOptions.from_environment(environment), guard)

    @property
    def peers(self) -> int:
        """Streams whose registration the peer has accepted."""
        return sum(stream.ready for stream in self._streams)

    async def start(self) -> int:
        """Listen; the port (chosen by the system for port 0). Raises ServerError, e.g. for an address in use."""
        host, _, number = self._address.rpartition(":")
        server = StreamServer({CONNECT: self.connect}, self._tls.context() if self._tls else None)
        try:
            port = await server.start(host.strip("[]"), int(number))
        except (WireError, ValueError) as error:
            raise ServerError(
                f"cannot listen on {self._address} (host:port): is it in use, or not this machine's? {error}"
            ) from error
        self._server = server
        logger.info("chaincode %s listens on %s, port %d", self._package_id, self._address, port)
        return port

    async def wait(self) -> None:
        """Until the server has been stopped."""
        if self._server is not None:
            await self._server.wait()

    async def stop(self, grace: float = DEFAULT_GRACE) -> None:
        """Stop: no more peers or transactions; those under way get `grace` seconds before they are cancelled."""
        if self._server is None:
            return
        self._stopping = True
        streams = list(self._streams)
        if streams:
            drains = [asyncio.create_task(stream.drain()) for stream in streams]
            _, late = await asyncio.wait(drains, timeout=grace)
            for drain in late:
                drain.cancel()
            await asyncio.gather(*drains, return_exceptions=True)
        for stream in streams:
            stream.close()
        await self._server.stop(1.0)

    async def connect(self, wire: Stream) -> None:
        """Serve one peer's stream until it ends."""
        if self._stopping:
            raise StreamFailed(Status.UNAVAILABLE, "the chaincode server is stopping")
        stream = PeerStream(self._chaincode, self._guard, self._package_id, wire.peer, self._time_limit)
        self._streams.add(stream)
        try:
            await stream.serve(_messages(wire), _Outgoing(wire))
        finally:
            self._streams.discard(stream)


class _Outgoing:
    def __init__(self, wire: Stream) -> None:
        self._wire = wire

    def send(self, message: ChaincodeMessage) -> None:
        with contextlib.suppress(StreamFailed):  # whoever reads the stream sees its end
            self._wire.send(message.SerializeToString())

    async def drain(self) -> None:
        await self._wire.drain(0)


async def _messages(wire: Stream) -> AsyncIterator[ChaincodeMessage]:
    async for data in wire:
        try:
            yield ChaincodeMessage.FromString(data)
        except DecodeError as error:
            raise StreamFailed(Status.INTERNAL, "a message that is no ChaincodeMessage") from error


async def serve(server: ChaincodeServer, grace: float = DEFAULT_GRACE) -> None:
    """Run a server as a program: until SIGTERM or SIGINT, then stop it gracefully."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await server.start()
        await stop.wait()
    finally:
        await server.stop(grace)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
