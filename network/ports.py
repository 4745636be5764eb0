"""Assigning TCP ports of this machine to the nodes of a topology.

Ports are searched below the kernel's ephemeral range, so that a network that is down does not lose one of its ports
to somebody's outgoing connection.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Container, Iterator
from dataclasses import fields, replace
from typing import Any, TypeVar

from .errors import PortTaken
from .topology import LOOPBACK, Orderer, Peer, Topology

_Node = TypeVar("_Node", Peer, Orderer)

_FIRST, _LAST = 15_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of `LOOPBACK` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Find one free port for a further process beside the network's nodes."""
    return next(_free_ports(set()))


def assign_ports(topology: Topology, *, administration: bool = False) -> Topology:
    """Replace each port 0 by a free port.

    Args:
        topology: as given by the user.
        administration: also the admin, operations and chaincode ports, which only the native runtime has.

    Raises:
        PortTaken: if no free port is left.

    """
    free = _free_ports(set(topology.ports()))

    def assign(name: str, given: int) -> int:
        return given or (next(free) if administration or name == "port" else 0)

    return _map_ports(topology, assign)


def same_but_ports(existing: Topology, wanted: Topology) -> bool:
    """Whether two topologies are equal, where a port of 0 in `wanted` stands for any."""
    if _map_ports(existing, lambda *_: 0) != _map_ports(wanted, lambda *_: 0):
        return False
    return all(new in (0, old) for new, old in zip(wanted.ports(), existing.ports(), strict=True))


def check_ports_free(topology: Topology, only: Container[str] | None = None) -> None:
    """Check that every assigned port can be listened on: of all nodes, or of those with some host names.

    Raises:
        PortTaken: naming the node and the port.

    """
    nodes = [(peer.host(organization), peer.port) for organization, peer in topology.peers()]
    nodes += [(orderer.host(organization), orderer.port) for organization, orderer in topology.orderers()]
    for host, port in nodes:
        if port and (only is None or host in only) and not is_free(port):
            raise PortTaken(
                f"port {port} of {LOOPBACK}, which {host} listens on, is in use by another program; "
                f"stop that program (`ss -ltnp 'sport = :{port}'` names it) or choose another port in the topology"
            )


def _map_ports(topology: Topology, new: Callable[[str, int], int]) -> Topology:
    """Replace each port by `new(its field's name, the port)`."""

    def mapped(node: _Node) -> _Node:
        names = [field.name for field in fields(node) if field.name.endswith("port")]
        ports: dict[str, Any] = {name: new(name, getattr(node, name)) for name in names}
        return replace(node, **ports)

    organizations = tuple(
        replace(organization, peers=tuple(mapped(peer) for peer in organization.peers))
        for organization in topology.organizations
    )
    orderers = [
        replace(organization, orderers=tuple(mapped(orderer) for orderer in organization.orderers))
        for organization in topology.orderer_organizations
    ]
    return replace(topology, organizations=organizations, orderer=orderers[0], further_orderers=tuple(orderers[1:]))


def _free_ports(taken: set[int]) -> Iterator[int]:
    start = secrets.randbelow(_LAST - _FIRST)
    for offset in range(_LAST - _FIRST):
        port = _FIRST + (start + offset) % (_LAST - _FIRST)
        if port not in taken and is_free(port):
            yield port
    raise PortTaken(f"no free port between {_FIRST} and {_LAST}; stop some of the servers that listen there")
