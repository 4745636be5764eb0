"""The embedded network: every peer and the orderer of a topology in this process, each on its own TLS port.

    network = EmbeddedNetwork(Home(Path(".goldengrain")))
    await network.start()      # or: async with EmbeddedNetwork(home) as network: ...
    ...
    await network.stop()

It needs a folder with topology, certificates and genesis block (`goldengrain.network.creation` makes one). The ledger
is one SQLite file that all peers share: they commit the same blocks by the same rules. Each peer has its own identity,
installed packages, chaincode streams and private data. A network that was killed goes on where its disk says it was.
For development and tests: nothing here is protected against the machine it runs on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import grpc
import grpc.aio
from fabric_protos.common import common_pb2

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.deliver import deliver_handler
from goldengrain.network.embedded.endorsement_plan import Planner
from goldengrain.network.embedded.endorser import EndorserService
from goldengrain.network.embedded.executor import EXECUTE_TIMEOUT_S
from goldengrain.network.embedded.gateway import Gateway, OrdererEndpoint
from goldengrain.network.embedded.gateway_service import GatewayService
from goldengrain.network.embedded.identity import load_signer
from goldengrain.network.embedded.orderer import Orderer
from goldengrain.network.embedded.orderer_service import OrdererService
from goldengrain.network.embedded.peer import EmbeddedPeer
from goldengrain.network.errors import PortTaken
from goldengrain.network.home import Home, as_home
from goldengrain.network.topology import Topology
from goldengrain.wire import MAX_MESSAGE_BYTES

__all__ = ["EmbeddedNetwork"]

logger = logging.getLogger(__name__)

_SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)
_GRACE_S = 0.2


class EmbeddedNetwork:
    """All nodes of one topology."""

    def __init__(
        self,
        home: Home | Path,
        *,
        clock: Callable[[], float] | None = None,
        execute_timeout_s: float = EXECUTE_TIMEOUT_S,
    ) -> None:
        """Read the network's folder; nothing runs yet.

        Args:
            home: the network's folder.
            clock: seconds since 1970; the ledger clock of the folder unless given.
            execute_timeout_s: how long a chaincode may take for a transaction, in seconds.

        Raises:
            NetworkNotFound: there is no network in the folder.

        """
        self.home = as_home(home)
        self.topology: Topology = self.home.load_topology()
        self._clock = clock or _ledger_clock(self.home)
        self._timeout_s = execute_timeout_s
        self.channels: dict[str, Channel] = {}
        self.orderers: dict[str, Orderer] = {}
        self.peers: list[EmbeddedPeer] = []
        self._servers: list[grpc.aio.Server] = []
        self._followers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> EmbeddedNetwork:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the ledger, start every node; all ports answer when this returns.

        Raises:
            LedgerError: the ledger can't be opened.
            ConfigError: certificates or genesis block can't be read.
            PortTaken: a port is in use.

        """
        try:
            self._open_channel(self.topology.channel.name)
            self._make_peers()
            for orderer in self.orderers.values():
                await orderer.start()
            await self._serve_peers()
            await self._serve_orderers()
            self._follow()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop serving, write what is pending, close the ledger. What was acknowledged is on disk already."""
        await asyncio.gather(*(server.stop(_GRACE_S) for server in self._servers))
        self._servers.clear()
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        self._followers.clear()
        await asyncio.gather(*(peer.stop() for peer in self.peers))
        self.peers.clear()
        for orderer in self.orderers.values():
            await orderer.stop()
        self.orderers.clear()
        for channel in self.channels.values():
            await channel.close()
        self.channels.clear()

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _open_channel(self, name: str) -> None:
        genesis = common_pb2.Block.FromString(self.home.genesis_file(name).read_bytes())
        path = self.home.ledger / f"{name}.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        channel = Channel.open(path, genesis) if path.exists() else Channel.create(path, genesis)
        self.channels[name] = channel
        organization = self.topology.orderer
        node = organization.orderers[0]
        signer = load_signer(self.home.orderer(organization, node) / "msp", organization.msp_id)
        self.orderers[name] = Orderer(channel, signer, self._clock)

    def _make_peers(self) -> None:
        for organization, peer in self.topology.peers():
            host = peer.host(organization)
            self.peers.append(
                EmbeddedPeer(
                    name=host,
                    msp_id=organization.msp_id,
                    address=peer.address,
                    signer=load_signer(self.home.peer(organization, peer) / "msp", organization.msp_id),
                    channels=self.channels,
                    packages=self.home.ledger / "packages" / host,
                    clock=self._clock,
                    execute_timeout_s=self._timeout_s,
                )
            )

    async def _serve_peers(self) -> None:
        planners = {name: Planner(channel, self.peers) for name, channel in self.channels.items()}
        organization = self.topology.orderer
        endpoint = OrdererEndpoint(self.orderers, organization.orderers[0].address, organization.msp_id)
        for (owner, node), peer in zip(self.topology.peers(), self.peers, strict=True):
            gateway = Gateway(peer, self.peers, self.channels, planners, endpoint)
            handlers = (
                GatewayService(gateway).handler(),
                EndorserService(peer.endorser).handler(),
                deliver_handler(self.channels, self._clock),
            )
            await self._serve(node.address, self.home.peer(owner, node) / "tls", handlers)

    async def _serve_orderers(self) -> None:
        organization = self.topology.orderer
        for node in organization.orderers:
            service = OrdererService(self.channels, self.orderers, self._clock)
            await self._serve(node.address, self.home.orderer(organization, node) / "tls", (service.handler(),))

    async def _serve(self, address: str, tls: Path, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        server.add_generic_rpc_handlers(handlers)
        pair = ((tls / "server.key").read_bytes(), (tls / "server.crt").read_bytes())
        try:
            server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except RuntimeError as error:
            raise PortTaken(f"{address} is in use: {error}; stop what uses it, or make the network anew") from error
        await server.start()
        self._servers.append(server)

    # -- chaincodes --------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        for peer in self.peers:
            peer.connect_chaincodes()
        for name, channel in self.channels.items():
            self._followers.append(asyncio.create_task(self._follow_blocks(channel), name=f"follow {name}"))

    async def _follow_blocks(self, channel: Channel) -> None:
        """Look for approvals and commits of chaincodes in new blocks, and have the peers dial what they can run now."""
        async for block in channel.ledger.blocks(channel.height):
            if any(_concerns_lifecycle(envelope) for envelope in block.data.data):
                for peer in self.peers:
                    peer.connect_chaincodes()


def _concerns_lifecycle(envelope: bytes) -> bool:
    """Whether a transaction may approve or commit a definition: a cheap test that errs on the side of yes."""
    return b"_implicit_org_" in envelope or b"namespaces/metadata/" in envelope


def _ledger_clock(home: Home) -> Callable[[], float]:
    clock = LedgerClock(home.clock_file)
    return lambda: clock.now_ns() / 1e9
