"""Assigning TCP ports of this machine to the nodes of a topology.

Ports are searched below the kernel's ephemeral range, so that a network that is down does not lose one of its ports
to somebody's outgoing connection.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace

from .errors import PortTaken
from .topology import LOOPBACK, Topology

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


def assign_ports(topology: Topology, *, administration: bool = False) -> Topology:
    """Replace each port 0 by a free port.

    Args:
        topology: as given by the user.
        administration: also the admin, operations and chaincode ports, which only the native runtime has.

    Raises:
        PortTaken: if no free port is left.
    """
    free = _free_ports({port for _, peer in topology.peers() for port in (peer.port,)})

    def port(given: int, wanted: bool = True) -> int:
        return given if given or not wanted else next(free)

    organizations = tuple(
        replace(
            organization,
            peers=tuple(
                replace(
                    peer,
                    port=port(peer.port),
                    operations_port=port(peer.operations_port, administration),
                    chaincode_port=port(peer.chaincode_port, administration),
                )
                for peer in organization.peers
            ),
        )
        for organization in topology.organizations
    )
    orderers = tuple(
        replace(
            orderer,
            port=port(orderer.port),
            admin_port=port(orderer.admin_port, administration),
            operations_port=port(orderer.operations_port, administration),
        )
        for orderer in topology.orderer.orderers
    )
    return replace(topology, organizations=organizations, orderer=replace(topology.orderer, orderers=orderers))


def check_ports_free(topology: Topology) -> None:
    """Check that every assigned port can be listened on.

    Raises:
        PortTaken: naming the node and the port.
    """
    nodes = [(peer.host(organization), peer.port) for organization, peer in topology.peers()]
    nodes += [(orderer.host(topology.orderer), orderer.port) for orderer in topology.orderer.orderers]
    for host, port in nodes:
        if port and not is_free(port):
            raise PortTaken(
                f"port {port} of {LOOPBACK}, which {host} listens on, is in use by another program; "
                f"stop that program (`ss -ltnp 'sport = :{port}'` names it) or choose another port in the topology"
            )


def _free_ports(taken: set[int]) -> Iterator[int]:
    start = secrets.randbelow(_LAST - _FIRST)
    for offset in range(_LAST - _FIRST):
        port = _FIRST + (start + offset) % (_LAST - _FIRST)
        if port not in taken and is_free(port):
            yield port
    raise PortTaken(f"no free port between {_FIRST} and {_LAST}; stop some of the servers that listen there")
