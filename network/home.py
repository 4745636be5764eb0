"""The folder of one network (default `./.goldengrain`): where everything is, and `network.json`.

Nothing here starts or stops anything. All writes are atomic: a temporary file beside the target, then a rename.

    HOME/network.yaml           a topology to be made, from `network init`
    HOME/topology.yaml          the topology with its ports assigned
    HOME/network.json           what runs: `NetworkState`
    HOME/network.lock           held by the network's process as long as it lives
    HOME/clock                  offset of the ledger's clock in seconds
    HOME/channels/NAME.block    genesis block
    HOME/organizations/…        certificates and keys, laid out as cryptogen does
    HOME/ledger, logs, wallet, store, nodes
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import NetworkIncomplete, NetworkNotFound
from .topology import Orderer, OrdererOrganization, Organization, Peer, Topology
from .topology_file import dump_topology, load_topology

DEFAULT_HOME = Path(".goldengrain")

READY_PREFIX = "READY "
"""A network process prints one line beginning with this to standard output once every port of it answers."""


@dataclass(frozen=True)
class NodeState:
    """A peer or an orderer of a network: its host name (`peer0.org1.example.com`) and HOST:PORT."""

    name: str
    address: str


@dataclass(frozen=True)
class OrganizationState:
    """An organisation of a network and its nodes."""

    name: str
    msp_id: str
    domain: str
    peers: tuple[NodeState, ...]


@dataclass(frozen=True)
class OrdererState:
    """The ordering organisation of a network and its nodes."""

    name: str
    msp_id: str
    domain: str
    orderers: tuple[NodeState, ...]


@dataclass(frozen=True)
class NetworkState:
    """The content of `network.json`.

    Attributes:
        runtime: `embedded` or `native`.
        pid: process id of the embedded network; 0 for `native`, whose nodes have a process each.
        started: the process's start time as the kernel counts it (clock ticks since boot), 0 where it is not known;
            with the pid it names one process only, even after the pid has been used again.
        channel: name of the channel.
        organizations: the members, in the topology's order.
        orderer: the ordering organisation.
        test: True for a network that must not hold anything of value: the embedded one, and all whose keys we made.

    """

    runtime: str
    pid: int
    started: int
    channel: str
    organizations: tuple[OrganizationState, ...]
    orderer: OrdererState
    test: bool = True

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NetworkState:
        """Read back what `to_json` gave.

        Raises:
            KeyError, TypeError: if it is something else.

        """
        orderer = value["orderer"]
        return cls(
            runtime=str(value["runtime"]),
            pid=int(value["pid"]),
            started=int(value["started"]),
            channel=str(value["channel"]),
            organizations=tuple(
                OrganizationState(org["name"], org["msp_id"], org["domain"], _nodes(org["peers"]))
                for org in value["organizations"]
            ),
            orderer=OrdererState(orderer["name"], orderer["msp_id"], orderer["domain"], _nodes(orderer["orderers"])),
            test=bool(value["test"]),
        )


@dataclass(frozen=True)
class Home:
    """Paths of a network's folder. `path` need not exist."""

    path: Path

    @property
    def topology_file(self) -> Path:
        """The topology, ports assigned."""
        return self.path / "topology.yaml"

    @property
    def plan_file(self) -> Path:
        """What `network init` writes: the topology of a network that is to be made."""
        return self.path / "network.yaml"

    @property
    def network_file(self) -> Path:
        """`network.json`."""
        return self.path / "network.json"

    @property
    def lock_file(self) -> Path:
        """Locked (flock) by the network's process."""
        return self.path / "network.lock"

    @property
    def clock_file(self) -> Path:
        """Offset of the ledger clock, whole seconds as text; absent is 0."""
        return self.path / "clock"

    @property
    def organizations(self) -> Path:
        """Root of all certificates and keys."""
        return self.path / "organizations"

    @property
    def ledger(self) -> Path:
        """The embedded network's databases."""
        return self.path / "ledger"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.path / "logs"

    @property
    def wallet(self) -> Path:
        """Identities in Fabric's wallet form, LABEL.id."""
        return self.path / "wallet"

    @property
    def nodes(self) -> Path:
        """Folders of natively run nodes."""
        return self.path / "nodes"

    def genesis_file(self, channel: str) -> Path:
        """File of a channel's genesis block, a serialized `common.Block`."""
        return self.path / "channels" / f"{channel}.block"

    def organization(self, organization: Organization | OrdererOrganization) -> Path:
        """Folder of an organisation: msp, ca, tlsca, users, and peers or orderers."""
        kind = "peerOrganizations" if isinstance(organization, Organization) else "ordererOrganizations"
        return self.organizations / kind / organization.domain

    def peer(self, organization: Organization, peer: Peer) -> Path:
        """Folder with the peer's `msp` and `tls`."""
        return self.organization(organization) / "peers" / peer.host(organization)

    def orderer(self, organization: OrdererOrganization, orderer: Orderer) -> Path:
        """Folder with the orderer's `msp` and `tls`."""
        return self.organization(organization) / "orderers" / orderer.host(organization)

    def user(self, organization: Organization | OrdererOrganization, name: str) -> Path:
        """Folder with the `msp` and `tls` of a user, such as `Admin` or `User1`."""
        return self.organization(organization) / "users" / f"{name}@{organization.domain}"

    def connection_profile(self, organization: Organization) -> Path:
        """File of an organisation's common connection profile, `connection.json`."""
        return self.organization(organization) / "connection.json"

    def load_topology(self) -> Topology:
        """Read the network's topology.

        Raises:
            NetworkNotFound: if there is no network in this folder.
            TopologyInvalid: if the file is damaged.

        """
        if not self.topology_file.exists():
            raise NetworkNotFound(f"there is no network in {self.path}; `goldengrain network up` makes one")
        return load_topology(self.topology_file)

    def save_topology(self, topology: Topology) -> None:
        """Write the network's topology."""
        write_atomically(self.topology_file, dump_topology(topology).encode())

    def load_state(self) -> NetworkState:
        """Read `network.json`.

        Raises:
            NetworkNotFound: if there is none.
            NetworkIncomplete: if it cannot be read.

        """
        try:
            return NetworkState.from_json(json.loads(self.network_file.read_bytes()))
        except FileNotFoundError as error:
            raise NetworkNotFound(f"no network runs in {self.path}; `goldengrain network up` starts one") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise NetworkIncomplete(
                f"{self.network_file} cannot be read ({error!r}); run `goldengrain network down`, then `network up`"
            ) from error

    def save_state(self, state: NetworkState) -> None:
        """Write `network.json`."""
        write_atomically(self.network_file, json.dumps(state.to_json(), indent=2).encode() + b"\n")


def as_home(home: Home | Path) -> Home:
    """Accept a path where a `Home` is wanted."""
    return home if isinstance(home, Home) else Home(home)


def network_state(topology: Topology, *, runtime: str, pid: int, started: int) -> NetworkState:
    """Describe a network of this topology (ports assigned) that process `pid` runs."""
    return NetworkState(
        runtime=runtime,
        pid=pid,
        started=started,
        channel=topology.channel.name,
        organizations=tuple(
            OrganizationState(
                organization.name,
                organization.msp_id,
                organization.domain,
                tuple(
                    NodeState(peer.host(organization), topology.reached_at(organization, peer))
                    for peer in organization.peers
                ),
            )
            for organization in topology.organizations
        ),
        orderer=OrdererState(
            topology.orderer.name,
            topology.orderer.msp_id,
            topology.orderer.domain,
            tuple(
                NodeState(node.host(topology.orderer), topology.reached_at(topology.orderer, node))
                for node in topology.orderer.orderers
            ),
        ),
    )


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file's content in one step; parent folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _nodes(values: list[dict[str, str]]) -> tuple[NodeState, ...]:
    return tuple(NodeState(str(value["name"]), str(value["address"])) for value in values)
