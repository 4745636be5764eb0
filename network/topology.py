"""What a network consists of: organisations, their nodes and users, the ordering organisation, the channel.

A topology is plain frozen data. `default_topology()` is the test network of three organisations; `topology_file` reads
and writes the YAML form. A port of 0 means "assign a free one when the network is created"; `assign_ports` does
that, and the result is stored with the network so that it keeps its ports for life.

    >>> topology = default_topology(organizations=2)
    >>> [organization.msp_id for organization in topology.organizations]
    ['Org1MSP', 'Org2MSP']
    >>> topology.organizations[0].peers[0].host(topology.organizations[0])
    'peer0.org1.example.com'
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .errors import TopologyInvalid

LOOPBACK = "127.0.0.1"
"""The address that the nodes of a local network listen on and are announced under."""

MAJORITY = "/Channel/Application/Endorsement"
"""The channel's default endorsement policy, a majority of the organisations, as a policy reference."""

Consensus = Literal["raft", "smartbft"]
"""How orderers agree: Raft bears crashes, SmartBFT also lies, of fewer than a third of four or more."""

Role = Literal["client", "admin", "peer", "orderer"]
"""A node organisational unit (NodeOU) of Fabric's MSP: what an identity of an organisation may act as."""

_CHANNEL = re.compile(r"[a-z][a-z0-9.-]{0,248}")  # Fabric: common/configtx, channelAllowedChars
_MSP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,248}")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_NODE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class CouchDb:
    """The CouchDB server (HOST:PORT) that a peer keeps its state in; the password is the content of a file.

    Each peer needs a server of its own: peers name databases by channel and chaincode alone.
    """

    address: str
    username: str = "admin"
    password_file: str = ""


@dataclass(frozen=True)
class Peer:
    """A peer. Ports are TCP ports; 0 is not assigned yet.

    Attributes:
        name: first label of its host name.
        port: of its gRPC services.
        operations_port: health and metrics, of `LOOPBACK`; real peers only.
        chaincode_port: for chaincode that dials in; real peers only.
        listen: IP address or host name that it listens on and that others reach it at.
        couchdb: its state database; None for LevelDB.
        config: settings laid over its `core.yaml`; real peers only.

    """

    name: str = "peer0"
    port: int = 0
    operations_port: int = 0
    chaincode_port: int = 0
    listen: str = LOOPBACK
    couchdb: CouchDb | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """HOST:PORT of its gRPC services."""
        return f"{self.listen}:{self.port}"

    def host(self, organization: Organization) -> str:
        """Its host name, the subject of its certificates: `peer0.org1.example.com`."""
        return f"{self.name}.{organization.domain}"


@dataclass(frozen=True)
class Orderer:
    """An ordering node; see `Peer`. `admin_port` (joining channels) and `operations_port` are of `LOOPBACK`."""

    name: str = "orderer"
    port: int = 0
    admin_port: int = 0
    operations_port: int = 0
    listen: str = LOOPBACK
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """HOST:PORT of its gRPC services."""
        return f"{self.listen}:{self.port}"

    def host(self, organization: OrdererOrganization) -> str:
        """Its host name, the subject of its certificates: `orderer.example.com`."""
        return f"{self.name}.{organization.domain}"


@dataclass(frozen=True)
class User:
    """An identity that is issued with the network. Each organisation gets an `Admin` besides its users."""

    name: str
    role: Role = "client"
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Organization:
    """A member of the channel: its own certificate authorities, peers and users."""

    name: str
    msp_id: str
    domain: str
    peers: tuple[Peer, ...] = (Peer(),)
    users: tuple[User, ...] = (User("User1"),)


@dataclass(frozen=True)
class OrdererOrganization:
    """An organisation that runs ordering nodes. `name` is its group in the channel configuration."""

    name: str = "OrdererOrg"
    msp_id: str = "OrdererMSP"
    domain: str = "example.com"
    orderers: tuple[Orderer, ...] = (Orderer(),)
    users: tuple[User, ...] = ()


@dataclass(frozen=True)
class BatchSettings:
    """When the orderer cuts a block: after `timeout_ms` milliseconds, `max_messages` messages or so many bytes."""

    timeout_ms: int = 50
    max_messages: int = 100
    preferred_max_bytes: int = 2 * 1024 * 1024
    absolute_max_bytes: int = 10 * 1024 * 1024


@dataclass(frozen=True)
class Capabilities:
    """The capabilities of a channel: the features that every node of it has to know."""

    channel: str = "V3_0"
    orderer: str = "V2_0"
    application: str = "V2_5"


@dataclass(frozen=True)
class Channel:
    """A channel.

    Attributes:
        name: as transactions name it.
        batch: when blocks are cut.
        consensus: how its orderers agree.
        members: names of the organisations that are members; none given means all.
        capabilities: what every node has to know.
        policies: of the group `/Channel/Application`, where they differ from the default: a signature policy, or
            `ANY|ALL|MAJORITY NAME` over the organisations' policies of that name.

    """

    name: str = "market"
    batch: BatchSettings = BatchSettings()
    consensus: Consensus = "raft"
    members: tuple[str, ...] = ()
    capabilities: Capabilities = Capabilities()
    policies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Gossip:
    """How often peers tell each other of themselves, in milliseconds.

    Fabric's defaults (4 to 25 seconds) are for hundreds of peers; a network of few is usable at once with these.
    """

    alive_ms: int = 500
    reconnect_ms: int = 500
    state_info_ms: int = 500
    pull_ms: int = 1000
    certificate_ms: int = 1000
    membership_ms: int = 500


@dataclass(frozen=True)
class Collection:
    """A private data collection of a chaincode; `block_to_live` 0 keeps its data for good."""

    name: str
    policy: str
    required_peers: int = 0
    max_peers: int = 1
    block_to_live: int = 0
    member_only_read: bool = False
    member_only_write: bool = False
    endorsement_policy: str = ""


@dataclass(frozen=True)
class Chaincode:
    """A chaincode server that is deployed when the network comes up.

    `address` is its HOST:PORT, `indexes` a folder with CouchDB indexes (`indexes.read_indexes`), empty for none.
    `channels` names those that it is deployed on; none is the first one.
    """

    name: str
    version: str
    address: str
    policy: str = MAJORITY
    init_required: bool = False
    collections: tuple[Collection, ...] = ()
    indexes: str = ""
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Docker:
    """What the docker runtime runs: images and their tag, and on which network.

    On the `host`'s, nodes listen where they would without containers. On a `bridge` of its own they know each other by
    their host names, and their ports are published at `LOOPBACK`.
    """

    tag: str = "3.1"
    network: Literal["host", "bridge"] = "host"
    peer_image: str = "hyperledger/fabric-peer"
    orderer_image: str = "hyperledger/fabric-orderer"


@dataclass(frozen=True)
class Topology:
    """A whole network. Constructing one checks it.

    Raises:
        TopologyInvalid: with the place and the reason, on construction.

    """

    organizations: tuple[Organization, ...]
    orderer: OrdererOrganization = OrdererOrganization()
    channel: Channel = Channel()
    further_orderers: tuple[OrdererOrganization, ...] = ()
    further_channels: tuple[Channel, ...] = ()
    gossip: Gossip = Gossip()
    chaincodes: tuple[Chaincode, ...] = ()
    docker: Docker = Docker()

    def __post_init__(self) -> None:
        _check(self)

    def organization(self, name: str) -> Organization:
        """Find a peer organisation by name (`Org1`), MSP id (`Org1MSP`) or domain (`org1.example.com`).

        Raises:
            TopologyInvalid: if there is none.

        """
        for organization in self.organizations:
            if name in (organization.name, organization.msp_id, organization.domain):
                return organization
        known = ", ".join(organization.name for organization in self.organizations)
        raise TopologyInvalid(f"no organisation {name!r} in this network; there are {known}")

    def peers(self) -> Iterator[tuple[Organization, Peer]]:
        """Every peer with its organisation, in the topology's order."""
        for organization in self.organizations:
            for peer in organization.peers:
                yield organization, peer

    @property
    def orderer_organizations(self) -> tuple[OrdererOrganization, ...]:
        """Every organisation that runs ordering nodes."""
        return (self.orderer, *self.further_orderers)

    @property
    def everyone(self) -> tuple[Organization | OrdererOrganization, ...]:
        """Every organisation, members first."""
        return (*self.organizations, *self.orderer_organizations)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every channel, the one that commands act on first."""
        return (self.channel, *self.further_channels)

    def channel_named(self, name: str | None) -> Channel:
        """A channel by its name; without one the first.

        Raises:
            TopologyInvalid: if there is none of that name.

        """
        found = next((one for one in self.channels if name in (None, one.name)), None)
        if found is None:
            known = ", ".join(one.name for one in self.channels)
            raise TopologyInvalid(f"no channel {name!r} in this network; there are {known}")
        return found

    def orderers(self) -> Iterator[tuple[OrdererOrganization, Orderer]]:
        """Every ordering node with its organisation, in the topology's order."""
        for organization in self.orderer_organizations:
            for orderer in organization.orderers:
                yield organization, orderer

    def members(self, channel: Channel) -> tuple[Organization, ...]:
        """The member organisations of a channel."""
        wanted = channel.members or tuple(organization.name for organization in self.organizations)
        return tuple(organization for organization in self.organizations if organization.name in wanted)

    def is_bridged(self, organization: Organization | OrdererOrganization, node: Peer | Orderer) -> bool:
        """Whether a node runs on a bridge network, where its host name is its address; see `Docker`."""
        return self.docker.network == "bridge" and node.listen == f"{node.name}.{organization.domain}"

    @property
    def has_bridge(self) -> bool:
        """Whether any node runs on a bridge network."""
        return any(self.is_bridged(*one) for one in self.peers()) or any(
            self.is_bridged(*one) for one in self.orderers()
        )

    def reached_at(self, organization: Organization | OrdererOrganization, node: Peer | Orderer) -> str:
        """HOST:PORT that this machine's programs reach a node at; other nodes use its `address`."""
        return f"{LOOPBACK}:{node.port}" if self.is_bridged(organization, node) else node.address

    def on_bridge(self) -> Topology:
        """The same with every node's host name as its address.

        Raises:
            TopologyInvalid: if a node has been given an address of its own.

        """
        members = tuple(
            replace(one, peers=tuple(replace(peer, listen=_bridge_name(one, peer)) for peer in one.peers))
            for one in self.organizations
        )
        first, *others = (
            replace(one, orderers=tuple(replace(node, listen=_bridge_name(one, node)) for node in one.orderers))
            for one in self.orderer_organizations
        )
        return replace(self, organizations=members, orderer=first, further_orderers=tuple(others))

    def ports(self) -> Iterator[int]:
        """Every port of every node in a fixed order, 0 where it is not assigned."""
        for _, peer in self.peers():
            yield from node_ports(peer)
        for _, orderer in self.orderers():
            yield from node_ports(orderer)


def default_topology(
    organizations: int = 3,
    *,
    peers: int = 1,
    channel: str = "market",
    batch: BatchSettings | None = None,
    orderers: int = 1,
    consensus: Consensus = "raft",
) -> Topology:
    """Describe the test network: members `Org1`, `Org2` … with `peers` peers each, `orderers` ordering nodes.

    Raises:
        TopologyInvalid: if there would be no organisation or no peer.

    """
    return Topology(
        organizations=tuple(
            Organization(
                name=f"Org{n}",
                msp_id=f"Org{n}MSP",
                domain=f"org{n}.example.com",
                peers=tuple(Peer(f"peer{p}") for p in range(peers)),
            )
            for n in range(1, organizations + 1)
        ),
        orderer=OrdererOrganization(
            orderers=tuple(Orderer(f"orderer{n}" if n > 1 else "orderer") for n in range(1, orderers + 1))
        ),
        channel=Channel(channel, batch or BatchSettings(), consensus),
    )


def _check(topology: Topology) -> None:
    if not topology.organizations:
        raise TopologyInvalid("organizations: a network needs at least one; give 1 or more")
    for index, organization in enumerate(topology.organizations):
        _check_organization(f"organizations[{index}]", organization)
        _check_nodes(f"organizations[{index}].peers", organization.peers)
    for index, orderer in enumerate(topology.orderer_organizations):
        place = "orderer" if index == 0 else f"further_orderers[{index - 1}]"
        _check_organization(place, orderer)
        _check_nodes(f"{place}.orderers", orderer.orderers)
    for what in ("name", "msp_id", "domain"):
        _check_distinct(f"{what} of the organisations", [getattr(one, what) for one in topology.everyone])
    _check_distinct("ports", _claimed(topology))
    servers = [peer.couchdb.address for _, peer in topology.peers() if peer.couchdb]
    _check_distinct("couchdb servers (each peer needs its own)", servers)
    for index, channel in enumerate(topology.channels):
        _check_channel("channel" if index == 0 else f"further_channels[{index - 1}]", channel, topology)
    _check_distinct("names of the channels", [channel.name for channel in topology.channels])
    _check_distinct("names of the chaincodes", [chaincode.name for chaincode in topology.chaincodes])
    for chaincode in topology.chaincodes:
        for name in chaincode.channels:
            topology.channel_named(name)
    for name, value in vars(topology.gossip).items():
        if not 0 < value <= 60_000:
            raise TopologyInvalid(f"gossip.{name}: {value} is not between 1 and 60000 milliseconds")


def _bridge_name(organization: Organization | OrdererOrganization, node: Peer | Orderer) -> str:
    host = f"{node.name}.{organization.domain}"
    if node.listen not in (LOOPBACK, host):
        raise TopologyInvalid(
            f"{host}: listen {node.listen} can't be on a bridge network, where its host name is a node's address; "
            "leave it out, or use `docker: {network: host}`"
        )
    return host


def _claimed(topology: Topology) -> list[str]:
    """Every port that is given; one of another address than `LOOPBACK` with that address."""
    nodes: list[Peer | Orderer] = [peer for _, peer in topology.peers()]
    nodes += [orderer for _, orderer in topology.orderers()]
    here = topology.docker.network == "bridge"  # all are published at the same address then
    ports = [(LOOPBACK if here else node.listen, port) for node in nodes for port in node_ports(node) if port]
    return [str(port) if address == LOOPBACK else f"{address}:{port}" for address, port in ports]


def _check_organization(place: str, organization: Organization | OrdererOrganization) -> None:
    _match(f"{place}.name", organization.name, _MSP_ID)
    _match(f"{place}.msp_id", organization.msp_id, _MSP_ID)
    _match(f"{place}.domain", organization.domain, _DOMAIN)
    for index, user in enumerate(organization.users):
        _match(f"{place}.users[{index}].name", user.name, _USER)
        if user.role not in ("client", "admin"):
            raise TopologyInvalid(f"{place}.users[{index}].role: {user.role!r} is neither client nor admin")
    _check_distinct(f"{place}: users", ["Admin", *(user.name for user in organization.users)])


def _check_nodes(place: str, nodes: tuple[Peer, ...] | tuple[Orderer, ...]) -> None:
    if not nodes:
        raise TopologyInvalid(f"{place}: at least one is needed")
    for index, node in enumerate[Peer | Orderer](nodes):
        _match(f"{place}[{index}].name", node.name, _NODE)
        _check_address(f"{place}[{index}].listen", node.listen)
        for port in node_ports(node):
            if not 0 <= port <= 65535:
                raise TopologyInvalid(f"{place}[{index}]: {port} is not a TCP port (0 assigns one)")
    _check_distinct(f"{place}: names", [node.name for node in nodes])


def _check_channel(place: str, channel: Channel, topology: Topology) -> None:
    _match(f"{place}.name", channel.name, _CHANNEL)
    batch = channel.batch
    for what in ("timeout_ms", "max_messages", "preferred_max_bytes", "absolute_max_bytes"):
        if not 0 < getattr(batch, what) < 2**32:
            raise TopologyInvalid(f"{place}.batch.{what}: {getattr(batch, what)} is not between 1 and 2^32 - 1")
    if batch.preferred_max_bytes > batch.absolute_max_bytes:
        raise TopologyInvalid(f"{place}.batch.preferred_max_bytes: larger than absolute_max_bytes")
    known = {organization.name for organization in topology.organizations}
    for name in channel.members:
        if name not in known:
            raise TopologyInvalid(f"{place}.members: there is no organisation {name!r}")
    if channel.consensus == "smartbft" and len(list(topology.orderers())) < 4:
        raise TopologyInvalid(f"{place}.consensus: smartbft needs at least 4 orderers; give more, or use raft")


def node_ports(node: Peer | Orderer) -> tuple[int, int, int]:
    """Every port of a node, that of its gRPC services first."""
    if isinstance(node, Peer):
        return node.port, node.operations_port, node.chaincode_port
    return node.port, node.admin_port, node.operations_port


def _check_address(place: str, text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        if not _DOMAIN.fullmatch(text):
            raise TopologyInvalid(f"{place}: {text!r} is not an IP address or a host name") from error


def _match(place: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise TopologyInvalid(f"{place}: {value!r} does not match {pattern.pattern}")


def _check_distinct(what: str, values: list[str] | list[int]) -> None:
    twice = [str(value) for value, count in Counter[str | int](values).items() if count > 1]
    if twice:
        raise TopologyInvalid(f"{what}: {', '.join(twice)} given more than once")
