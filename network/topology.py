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

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .errors import TopologyInvalid

LOOPBACK = "127.0.0.1"
"""The address that every node of a local network listens on and is announced under."""

Role = Literal["client", "admin", "peer", "orderer"]
"""A node organisational unit (NodeOU) of Fabric's MSP: what an identity of an organisation may act as."""

_CHANNEL = re.compile(r"[a-z][a-z0-9.-]{0,248}")  # Fabric: common/configtx, channelAllowedChars
_MSP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,248}")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_NODE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Peer:
    """A peer. Ports are TCP ports of `LOOPBACK`; 0 is not assigned yet.

    Only the native runtime has `operations_port` (health, metrics) and `chaincode_port` (chaincode that dials in).
    """

    name: str = "peer0"
    port: int = 0
    operations_port: int = 0
    chaincode_port: int = 0

    @property
    def address(self) -> str:
        """HOST:PORT of its gRPC services."""
        return f"{LOOPBACK}:{self.port}"

    def host(self, organization: Organization) -> str:
        """Its host name, the subject of its certificates: `peer0.org1.example.com`."""
        return f"{self.name}.{organization.domain}"


@dataclass(frozen=True)
class Orderer:
    """An ordering node. Only the native runtime has `admin_port` (joining channels) and `operations_port`."""

    name: str = "orderer"
    port: int = 0
    admin_port: int = 0
    operations_port: int = 0

    @property
    def address(self) -> str:
        """HOST:PORT of its gRPC services."""
        return f"{LOOPBACK}:{self.port}"

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
    """The organisation that runs the ordering service. `name` is its group in the channel configuration."""

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
class Channel:
    """The channel that all organisations join."""

    name: str = "market"
    batch: BatchSettings = BatchSettings()


@dataclass(frozen=True)
class Topology:
    """A whole network. Constructing one checks it.

    Raises:
        TopologyInvalid: with the place and the reason, on construction.

    """

    organizations: tuple[Organization, ...]
    orderer: OrdererOrganization = OrdererOrganization()
    channel: Channel = Channel()

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

    def ports(self) -> Iterator[int]:
        """Every port of every node in a fixed order, 0 where it is not assigned."""
        for _, peer in self.peers():
            yield from _node_ports(peer)
        for orderer in self.orderer.orderers:
            yield from _node_ports(orderer)


def default_topology(
    organizations: int = 3,
    *,
    peers: int = 1,
    channel: str = "market",
    batch: BatchSettings | None = None,
) -> Topology:
    """Describe the test network: members `Org1`, `Org2` … with `peers` peers each, one orderer, all ports assigned.

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
        channel=Channel(channel, batch or BatchSettings()),
    )


def _check(topology: Topology) -> None:
    if not topology.organizations:
        raise TopologyInvalid("organizations: a network needs at least one; give 1 or more")
    for index, organization in enumerate(topology.organizations):
        _check_organization(f"organizations[{index}]", organization)
        _check_nodes(f"organizations[{index}].peers", organization.peers)
    _check_organization("orderer", topology.orderer)
    _check_nodes("orderer.orderers", topology.orderer.orderers)
    everyone = [*topology.organizations, topology.orderer]
    for what in ("name", "msp_id", "domain"):
        _check_distinct(f"{what} of the organisations", [getattr(organization, what) for organization in everyone])
    _check_distinct("ports", [port for port in topology.ports() if port])
    _check_channel(topology.channel)


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
        for port in _node_ports(node):
            if not 0 <= port <= 65535:
                raise TopologyInvalid(f"{place}[{index}]: {port} is not a TCP port (0 assigns one)")
    _check_distinct(f"{place}: names", [node.name for node in nodes])


def _check_channel(channel: Channel) -> None:
    _match("channel.name", channel.name, _CHANNEL)
    batch = channel.batch
    for what in ("timeout_ms", "max_messages", "preferred_max_bytes", "absolute_max_bytes"):
        if not 0 < getattr(batch, what) < 2**32:
            raise TopologyInvalid(f"channel.batch.{what}: {getattr(batch, what)} is not between 1 and 2^32 - 1")
    if batch.preferred_max_bytes > batch.absolute_max_bytes:
        raise TopologyInvalid("channel.batch.preferred_max_bytes: larger than absolute_max_bytes")


def _node_ports(node: Peer | Orderer) -> tuple[int, int, int]:
    if isinstance(node, Peer):
        return node.port, node.operations_port, node.chaincode_port
    return node.port, node.admin_port, node.operations_port


def _match(place: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise TopologyInvalid(f"{place}: {value!r} does not match {pattern.pattern}")


def _check_distinct(what: str, values: list[str] | list[int]) -> None:
    twice = [str(value) for value, count in Counter[str | int](values).items() if count > 1]
    if twice:
        raise TopologyInvalid(f"{what}: {', '.join(twice)} given more than once")
