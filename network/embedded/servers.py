"""The TLS servers of the embedded network's nodes: each has its port, can be stopped alone and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio

from goldengrain.network.errors import PortTaken
from goldengrain.wire import MAX_MESSAGE_BYTES

__all__ = ["NodeServers"]

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)
_GRACE_S = 0.2


class NodeServers:
    """The servers by node, which goes by its host name."""

    def __init__(self) -> None:
        self._running: dict[str, grpc.aio.Server] = {}

    def __contains__(self, host: str) -> bool:
        return host in self._running

    async def start(self, host: str, address: str, tls: Path, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Serve a node.

        Args:
            host: the node.
            address: HOST:PORT to listen on.
            tls: folder of its TLS key and certificate.
            handlers: its services.

        Raises:
            PortTaken: something listens there.

        """
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(tuple(handlers))
        pair = ((tls / "server.key").read_bytes(), (tls / "server.crt").read_bytes())
        try:
            server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except RuntimeError as error:
            raise PortTaken(f"{address} is in use: {error}; stop what uses it, or make the network anew") from error
        await server.start()
        self._running[host] = server

    async def stop(self, host: str) -> None:
        """Stop serving a node; calls that run are given a moment."""
        await self._running.pop(host).stop(_GRACE_S)

    async def stop_all(self) -> None:
        """Stop serving all nodes at once."""
        await asyncio.gather(*(self.stop(host) for host in list(self._running)))
