"""Look at a network: is its process alive, which ports answer, how long is the chain at each peer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.gateway.identity import credentials_from_msp

from .home import Home, NetworkState, as_home
from .processes import is_locked
from .topology import Organization, Peer


@dataclass(frozen=True)
class NodeStatus:
    """One node of a network.

    Attributes:
        name: host name, `peer0.org1.example.com`.
        organization: MSP id.
        address: HOST:PORT.
        answering: whether something accepts connections there.
        height: number of blocks of the channel at that peer, None for an orderer or where the peer gave no answer.

    """

    name: str
    organization: str
    address: str
    answering: bool
    height: int | None


@dataclass(frozen=True)
class NetworkStatus:
    """What is known of a network: `running` is whether its process lives; `state` is None when it never ran."""

    running: bool
    state: NetworkState | None
    nodes: tuple[NodeStatus, ...]


def status(home: Home | Path, *, timeout_s: float = 3.0) -> NetworkStatus:
    """Look at a network. Call `query_status` where an event loop runs.

    Raises:
        NetworkNotFound: if the folder holds no network.

    """
    return asyncio.run(query_status(home, timeout_s=timeout_s))


async def query_status(home: Home | Path, *, timeout_s: float = 3.0) -> NetworkStatus:
    """Look at a network: is its process alive, which ports answer, how long is the chain at each peer.

    Args:
        home: the network's folder.
        timeout_s: how long to wait for each peer, in seconds.

    Raises:
        NetworkNotFound: if the folder holds no network.

    """
    home = as_home(home)
    topology = home.load_topology()
    state = home.load_state() if home.network_file.exists() else None
    peers = [_peer_status(home, topology.channel.name, *member, timeout_s) for member in topology.peers()]
    orderers = [
        _node_status(node.host(topology.orderer), topology.orderer.msp_id, node.address, timeout_s)
        for node in topology.orderer.orderers
    ]
    return NetworkStatus(is_running(home), state, tuple(await asyncio.gather(*peers, *orderers)))


def is_running(home: Home | Path) -> bool:
    """Whether the network's process lives."""
    return is_locked(as_home(home).lock_file)


async def _peer_status(
    home: Home, channel: str, organization: Organization, peer: Peer, timeout_s: float
) -> NodeStatus:
    found = await _node_status(peer.host(organization), organization.msp_id, peer.address, timeout_s)
    if not found.answering:
        return found
    profile = ConnectionProfile.load(home.connection_profile(organization))
    user = credentials_from_msp(home.user(organization, "Admin") / "msp", organization.msp_id)
    endpoint = profile.peers[peer.host(organization)]
    clock = LedgerClock(home.clock_file)
    async with Endorser.connect(endpoint, user.identity, user.signer, clock=clock, timeout=timeout_s) as endorser:
        try:
            height = (await endorser.chain_info(channel)).height
        except PeerError:
            return found
    return replace(found, height=height)


async def _node_status(name: str, msp_id: str, address: str, timeout_s: float) -> NodeStatus:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), timeout_s)
    except (OSError, TimeoutError):
        return NodeStatus(name, msp_id, address, False, None)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return NodeStatus(name, msp_id, address, True, None)
