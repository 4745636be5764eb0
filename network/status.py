"""Look at a network: is it alive, which ports answer, how long is the chain, who leads, when do certificates expire."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from fabric_protos.peer.lifecycle import lifecycle_pb2

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError

from .errors import NetworkError
from .home import Home, NetworkState, as_home
from .identities import own_identity
from .nodes import run_nodes
from .participation import leads, participation, read_metrics
from .processes import is_locked
from .runners import runner_of, runtime_of
from .seek import orderer_height
from .topology import Orderer, OrdererOrganization, Organization, Peer, Topology

IMPORTED = "imported"
"""The runtime of a network that others run."""


@dataclass(frozen=True)
class NodeStatus:
    """One node of a network.

    Attributes:
        name: host name, `peer0.org1.example.com`.
        organization: MSP id.
        address: HOST:PORT.
        answering: whether something accepts connections there.
        height: number of blocks of the channel there, None where the node gave no answer.
        leader: whether an orderer leads the channel; None for a peer and where that is not known.
        chaincodes: committed definitions as a peer has them, such as `golden-grain 1.0 (1)` with the sequence.
        expires: when the first of its certificates expires; None where they are not in this folder.

    """

    name: str
    organization: str
    address: str
    answering: bool
    height: int | None
    leader: bool | None = None
    chaincodes: tuple[str, ...] = ()
    expires: datetime | None = None


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
        DockerMissing: if Docker runs it, and does not answer.

    """
    home = as_home(home)
    topology = home.load_topology()
    state = home.load_state() if home.network_file.exists() else None
    running = is_running(home)
    peers = [_peer_status(home, topology, *member, timeout_s) for member in topology.peers()]
    known = [(owner, orderer) for owner, orderer in topology.orderers() if orderer.port]  # a profile may name none
    orderers = [_orderer_status(home, topology, *member, timeout_s) for member in known]
    return NetworkStatus(running, state, tuple(await asyncio.gather(*peers, *orderers)))


def is_running(home: Home | Path) -> bool:
    """Whether the network's process lives, or one of its processes; a network that others run is taken to."""
    home = as_home(home)
    if runtime_of(home) == "docker":
        runner = runner_of(home)
        return any(runner.is_alive(node) for node in run_nodes(home))
    return is_locked(home.lock_file) or is_imported(home)


def is_imported(home: Home) -> bool:
    """Whether the folder is that of a network that others run."""
    return home.network_file.exists() and home.load_state().runtime == IMPORTED


async def _peer_status(
    home: Home, topology: Topology, organization: Organization, peer: Peer, timeout_s: float
) -> NodeStatus:
    channel, address = topology.channel.name, topology.reached_at(organization, peer)
    found = await _node_status(peer.host(organization), organization.msp_id, address, timeout_s)
    found = replace(found, expires=first_expiry(home.peer(organization, peer)))
    user = own_identity(home, organization) if found.answering else None
    if user is None:
        return found
    profile = ConnectionProfile.load(home.connection_profile(organization))
    endpoint = profile.peers[peer.host(organization)]
    clock = LedgerClock(home.clock_file)
    async with Endorser.connect(endpoint, user.identity, user.signer, clock=clock, timeout=timeout_s) as endorser:
        try:
            height = (await endorser.chain_info(channel)).height
            arguments = lifecycle_pb2.QueryChaincodeDefinitionsArgs().SerializeToString()
            payload = await endorser.call("_lifecycle", "QueryChaincodeDefinitions", arguments, channel=channel)
        except PeerError:
            return found
    definitions = lifecycle_pb2.QueryChaincodeDefinitionsResult.FromString(payload).chaincode_definitions
    named = tuple(sorted(f"{one.name} {one.version} ({one.sequence})" for one in definitions))
    return replace(found, height=height, chaincodes=named)


async def _orderer_status(
    home: Home, topology: Topology, owner: OrdererOrganization, orderer: Orderer, timeout_s: float
) -> NodeStatus:
    channel, address = topology.channel.name, topology.reached_at(owner, orderer)
    found = await _node_status(orderer.host(owner), owner.msp_id, address, timeout_s)
    found = replace(found, expires=first_expiry(home.orderer(owner, orderer)))
    if not found.answering:
        return found
    if not orderer.admin_port or not home.nodes.exists():
        leads_alone = True if runtime_of(home) == "embedded" and not is_imported(home) else None
        return replace(found, height=await _delivered(home, channel, owner, orderer, timeout_s), leader=leads_alone)
    try:
        info = await asyncio.to_thread(participation(home, owner, orderer).info, channel)
    except (OSError, NetworkError):  # another organisation's, which shows its administration to itself alone
        return replace(found, height=await _delivered(home, channel, owner, orderer, timeout_s))
    metrics = await asyncio.to_thread(read_metrics, orderer.operations_port)
    return replace(found, height=info.height if info else None, leader=leads(metrics, channel))


async def _delivered(
    home: Home, channel: str, owner: OrdererOrganization, orderer: Orderer, timeout_s: float
) -> int | None:
    """How many blocks an orderer delivers to who is at hand; None where nobody is, or it says nothing."""
    for organization in home.load_topology().organizations:
        who = own_identity(home, organization)
        if who is not None and home.connection_profile(organization).exists():
            endpoint = ConnectionProfile.load(home.connection_profile(organization)).orderers.get(orderer.host(owner))
            moment = float(LedgerClock(home.clock_file).now())
            return await orderer_height(endpoint, who, channel, moment, timeout_s) if endpoint else None
    return None


def first_expiry(folder: Path) -> datetime | None:
    """When the first certificate of a node or user (signing, TLS) expires; None if there is none in its folder."""
    files = [*folder.glob("msp/signcerts/*"), *folder.glob("tls/server.crt"), *folder.glob("tls/client.crt")]
    return min((x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc for path in files), default=None)


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
