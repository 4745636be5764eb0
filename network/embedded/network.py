"""The embedded network: every peer and the orderer of a topology in this process, each on its own TLS port.

    network = EmbeddedNetwork(Home(Path(".goldengrain")))
    await network.start()      # or: async with EmbeddedNetwork(home) as network: ...
    ...
    await network.stop()

It needs a folder with topology, certificates and genesis block (`goldengrain.network.creation` makes one). The ledger
of a channel is one SQLite file that all peers share: they commit the same blocks by the same rules. Each peer has its
own identity, channels that it has joined, installed packages, chaincode streams and private data. A network that was
killed goes on where its disk says it was. For development and tests: nothing here is protected against the machine it
runs on.

The members' peers join the topology's channels. More come by `join`, or by `cscc`'s JoinChain as at real peers. Single
nodes can be stopped and started again: what others then answer is what Fabric's answer, connection refused and all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from fabric_protos.common import common_pb2

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.network.embedded.blocks import BlockSigner, header_hash
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.config import ChannelConfig
from goldengrain.network.embedded.deliver import deliver_handler
from goldengrain.network.embedded.discovery import DiscoveryService
from goldengrain.network.embedded.endorsement_plan import Planner
from goldengrain.network.embedded.endorser import EndorserService
from goldengrain.network.embedded.errors import LedgerForeignError
from goldengrain.network.embedded.executor import EXECUTE_TIMEOUT_S
from goldengrain.network.embedded.gateway import Gateway, OrdererEndpoint
from goldengrain.network.embedded.gateway_service import GatewayService
from goldengrain.network.embedded.identity import load_signer
from goldengrain.network.embedded.joined import JoinedPeers
from goldengrain.network.embedded.limits import DELIVER_CALLS, ENDORSER_CALLS, GATEWAY_CALLS, Limited
from goldengrain.network.embedded.membership import Announcements
from goldengrain.network.embedded.msp import MspManager
from goldengrain.network.embedded.orderer import Orderer
from goldengrain.network.embedded.orderer_service import OrdererService
from goldengrain.network.embedded.peer import EmbeddedPeer
from goldengrain.network.embedded.servers import NodeServers
from goldengrain.network.errors import NetworkNotRunning
from goldengrain.network.home import Home, as_home
from goldengrain.network.topology import Topology

__all__ = ["EmbeddedNetwork"]

logger = logging.getLogger(__name__)


class EmbeddedNetwork:
    """All nodes of one topology."""

    def __init__(
        self,
        home: Home | Path,
        *,
        clock: Callable[[], float] | None = None,
        execute_timeout_s: float = EXECUTE_TIMEOUT_S,
        joined: bool = True,
    ) -> None:
        """Read the network's folder; nothing runs yet.

        Args:
            home: the network's folder.
            clock: seconds since 1970; the ledger clock of the folder unless given.
            execute_timeout_s: how long a chaincode may take for a transaction, in seconds.
            joined: whether the peers of a new network are on the topology's channels from the start.

        Raises:
            NetworkNotFound: there is no network in the folder.

        """
        self.home = as_home(home)
        self.topology: Topology = self.home.load_topology()
        self._clock = clock or _ledger_clock(self.home)
        self._timeout_s = execute_timeout_s
        self._all_join = joined
        self._reset()

    def _reset(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.orderers: dict[str, Orderer] = {}
        self.peers: list[EmbeddedPeer] = []
        self._planners: dict[str, Planner] = {}
        self._servers = NodeServers()
        self._services: dict[str, tuple[str, Path, Sequence[grpc.GenericRpcHandler]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> EmbeddedNetwork:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the ledgers, start every node; all ports answer when this returns.

        Raises:
            LedgerError: a ledger can't be opened.
            ConfigError: certificates or genesis block can't be read.
            PortTaken: a port is in use.

        """
        try:
            self._joined = JoinedPeers(self.home.ledger)
            self._open_channels()
            self._make_peers()
            for orderer in self.orderers.values():
                await orderer.start()
            self._make_services()
            for host in self._services:
                await self.start_node(host)
            for channel in self.channels.values():
                self._follow(channel)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop serving, write what is pending, close the ledgers. What was acknowledged is on disk already."""
        await self._servers.stop_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(peer.stop() for peer in self.peers))
        for orderer in self.orderers.values():
            await orderer.stop()
        for channel in self.channels.values():
            await channel.close()
        self._reset()

    # -- single nodes ------------------------------------------------------------------------------------------------

    async def stop_node(self, host: str) -> None:
        """Stop one node: nobody can connect to it, other peers soon count on it no more.

        The ledger of a stopped peer grows on, since it is everybody's: the peer has caught up when it starts again.
        With its last orderer stopped a network orders nothing; what was acknowledged waits on disk.

        Args:
            host: its name, such as `peer0.org1.example.com`.

        Raises:
            NetworkNotRunning: no such node runs.

        """
        if host not in self._servers:
            raise NetworkNotRunning(f"no node {host} runs; there are {', '.join(self._services) or 'none'}")
        await self._servers.stop(host)
        peer = self._peer(host)
        if peer is not None:
            peer.stopped_at = self._clock()
            await peer.stop()

    async def start_node(self, host: str) -> None:
        """Start a stopped node again, on its old port; one that runs already goes on as it is.

        Raises:
            NetworkNotRunning: there is no such node.
            PortTaken: its port is in use.

        """
        if host not in self._services:
            raise NetworkNotRunning(f"there is no node {host}: one of {', '.join(self._services)}")
        if host in self._servers:
            return
        address, tls, handlers = self._services[host]
        await self._servers.start(host, address, tls, handlers)
        peer = self._peer(host)
        if peer is not None:
            peer.stopped_at = None
            peer.connect_chaincodes()

    def _peer(self, host: str) -> EmbeddedPeer | None:
        return next((peer for peer in self.peers if peer.name == host), None)

    # -- channels ----------------------------------------------------------------------------------------------------

    def join(self, genesis: common_pb2.Block, peers: Sequence[EmbeddedPeer] | None = None) -> Channel:
        """Have peers (all, unless some are named) join the channel of a genesis block; the orderer joins it as well.

        Raises:
            ConfigError: it is no genesis block.
            LedgerError: its ledger can't be made, or the channel has another genesis block.

        """
        config = ChannelConfig.from_block(genesis)
        channel = self.channels.get(config.channel_id)
        if channel is None:
            channel = self._open_channel(config.channel_id, genesis)
            self._task(self.orderers[config.channel_id].start())
            self._follow(channel)
        elif header_hash(channel.ledger.chain.block(0).header) != header_hash(genesis.header):
            raise LedgerForeignError(f"channel {config.channel_id} has another genesis block")
        joining = [peer for peer in peers or self.peers if config.channel_id not in peer.channels]
        for peer in joining:
            peer.join(channel)
        self._joined.add(config.channel_id, [peer.name for peer in joining])
        return channel

    def _open_channels(self) -> None:
        known = self._joined.channels()
        for channel in self.topology.channels:
            self._open_channel(channel.name, self._genesis(channel.name))
            if self._all_join and channel.name not in known:
                members = self.topology.members(channel)
                self._joined.add(channel.name, [peer.host(owner) for owner in members for peer in owner.peers])
        for other in known:
            if other not in self.channels:
                self._open_channel(other, None)

    def _genesis(self, channel: str) -> common_pb2.Block:
        return common_pb2.Block.FromString(self.home.genesis_file(channel).read_bytes())

    @cached_property
    def _order_signers(self) -> list[BlockSigner]:
        """The signing identity of every ordering node; the first one signs where one is enough."""
        return [
            load_signer(self.home.orderer(organization, node) / "msp", organization.msp_id)
            for organization, node in self.topology.orderers()
        ]

    def _open_channel(self, name: str, genesis: common_pb2.Block | None) -> Channel:
        path = self.home.ledger / f"{name}.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        channel = Channel.open(path, genesis) if genesis is None or path.exists() else Channel.create(path, genesis)
        self.channels[name] = channel
        self.orderers[name] = Orderer(channel, self._order_signers[0], self._clock, self._order_signers)
        self._planners[name] = Planner(channel, self.peers)
        return channel

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _make_peers(self) -> None:
        for organization, peer in self.topology.peers():
            host = peer.host(organization)
            channels = {name: channel for name, channel in self.channels.items() if host in self._joined.of(name)}
            self.peers.append(
                EmbeddedPeer(
                    name=host,
                    msp_id=organization.msp_id,
                    address=peer.address,
                    signer=load_signer(self.home.peer(organization, peer) / "msp", organization.msp_id),
                    channels=channels,
                    msps=self._known_msps,
                    packages=self.home.ledger / "packages" / host,
                    clock=self._clock,
                    join=self._join_one,
                    peers=self.peers,
                    execute_timeout_s=self._timeout_s,
                )
            )

    def _known_msps(self) -> MspManager:
        """Organisations as the newest configuration of the topology's channel has them."""
        return self.channels[self.topology.channel.name].config.msps

    def _join_one(self, peer: EmbeddedPeer, genesis: common_pb2.Block) -> None:
        self.join(genesis, [peer])

    def _make_services(self) -> None:
        nodes = [(node.host(owner), owner, node) for owner, node in self.topology.orderers()]
        endpoint = OrdererEndpoint(
            self.orderers,
            nodes[0][2].address,
            nodes[0][1].msp_id,
            lambda: any(host in self._servers for host, _, _ in nodes),
        )
        announcements = Announcements()
        for (owner, node), peer in zip(self.topology.peers(), self.peers, strict=True):
            gateway = Gateway(peer, self.peers, peer.channels, self._planners, endpoint)
            handlers: tuple[grpc.GenericRpcHandler, ...] = (
                Limited(GatewayService(gateway).handler(), GATEWAY_CALLS),
                Limited(EndorserService(peer.endorser).handler(), ENDORSER_CALLS),
                Limited(deliver_handler(peer.channels, self._clock), DELIVER_CALLS),
                DiscoveryService(peer, self.peers, announcements).handler(),
            )
            self._services[peer.name] = (node.address, self.home.peer(owner, node) / "tls", handlers)
        for host, orderer_organization, orderer in nodes:
            service = OrdererService(self.channels, self.orderers, self._clock)
            tls = self.home.orderer(orderer_organization, orderer) / "tls"
            self._services[host] = (orderer.address, tls, (service.handler(),))

    # -- chaincodes --------------------------------------------------------------------------------------------------

    def _follow(self, channel: Channel) -> None:
        self._task(self._follow_blocks(channel))

    async def _follow_blocks(self, channel: Channel) -> None:
        """Look for approvals and commits of chaincodes in new blocks, and have the peers dial what they can run now."""
        async for block in channel.ledger.arrivals.blocks(channel.height):
            if any(_concerns_lifecycle(envelope) for envelope in block.data.data):
                for peer in self.peers:
                    if peer.up:
                        peer.connect_chaincodes()

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _concerns_lifecycle(envelope: bytes) -> bool:
    """Whether a transaction may approve or commit a definition: a cheap test that errs on the side of yes."""
    return b"_implicit_org_" in envelope or b"namespaces/metadata/" in envelope


def _ledger_clock(home: Home) -> Callable[[], float]:
    clock = LedgerClock(home.clock_file)
    return lambda: clock.now_ns() / 1e9
