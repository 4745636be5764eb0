"""The nodes of a network that are programs of their own, and who runs them.

A `Node` is what has to run; a `Runner` starts and stops it: `ProcessRunner` as a process of this machine, which lives
on when its starter ends (`HOME/nodes/HOST/process.json` says which one it is), `docker.DockerRunner` as a container.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .errors import StopFailed
from .home import Home, write_atomically
from .processes import exit_code, is_same_process, last_lines, reap, spawn_detached, start_time, wait_until
from .topology import Orderer, OrdererOrganization, Organization, Peer, Topology

GRACE_S = 10.0
_KILLED_S = 5.0
_RECORD = "process.json"


@dataclass(frozen=True)
class Node:
    """A peer or an orderer as a program: its host name, folder (configuration and data), command and log."""

    name: str
    kind: str
    folder: Path
    log: Path
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def last_words(self, offset: int, count: int) -> list[str]:
        """The last lines of its log behind a byte offset."""
        return last_lines(self.log, count, offset=offset)


class Runner(Protocol):
    """Starts and stops nodes."""

    def start(self, node: Node) -> None:
        """Start a node; it need not answer yet. Raises StartFailed where it cannot be."""

    def is_alive(self, node: Node) -> bool:
        """Whether it runs."""

    def exit_code(self, node: Node) -> int | None:
        """What it ended with; None while it runs or where that is not known."""

    def stop(self, nodes: Iterable[Node], *, kill: bool = False) -> None:
        """Stop nodes, all at once, and wait until they are gone; with `kill` as a crash would. Raises StopFailed."""


class ProcessRunner:
    """Runs nodes as processes of this machine, each in a session of its own."""

    def __init__(self, lock: int | None = None) -> None:
        """`lock` is an open descriptor that every process inherits: it holds the lock of the network's folder."""
        self.lock = lock

    def start(self, node: Node) -> None:
        """Start a process; it is noted in the node's folder."""
        inherited = () if self.lock is None else (self.lock,)
        environment = {"PATH": os.environ.get("PATH", ""), **node.environment}
        process = spawn_detached(list(node.command), node.log, *inherited, folder=node.folder, environment=environment)
        record = {"pid": process.pid, "started": start_time(process.pid)}
        write_atomically(node.folder / _RECORD, json.dumps(record).encode())

    def is_alive(self, node: Node) -> bool:
        """Whether its process lives."""
        return is_same_process(*_recorded(node))

    def exit_code(self, node: Node) -> int | None:
        """What a process of ours ended with."""
        return exit_code(_recorded(node)[0])

    def stop(self, nodes: Iterable[Node], *, kill: bool = False) -> None:
        """SIGTERM to all, after 10 seconds SIGKILL to those that are left."""
        left = list(nodes)
        for number, patience_s in ((signal.SIGKILL if kill else signal.SIGTERM, GRACE_S), (signal.SIGKILL, _KILLED_S)):
            left = [node for node in left if self.is_alive(node)]
            for node in left:
                with suppress(ProcessLookupError):
                    os.kill(_recorded(node)[0], number)
            if wait_until(lambda: not any(self.is_alive(node) for node in left), patience_s):  # noqa: B023 - at once
                break
        for node in left:
            if self.is_alive(node):
                raise StopFailed(f"{node.name}, process {_recorded(node)[0]}, does not end, not even by SIGKILL")
            reap(_recorded(node)[0])


def node_of(home: Home, name: str, kind: str) -> Node:
    """A node without its command: enough to stop it and to read its log."""
    return Node(name, kind, home.nodes / name, home.logs / f"{name}.log")


def own_peers(home: Home, topology: Topology) -> list[tuple[Organization, Peer]]:
    """The peers whose keys are in this folder; those of other organisations run elsewhere."""
    return [(owner, peer) for owner, peer in topology.peers() if (home.peer(owner, peer) / "msp" / "keystore").exists()]


def own_orderers(home: Home, topology: Topology) -> list[tuple[OrdererOrganization, Orderer]]:
    """The orderers whose keys are in this folder."""
    nodes = topology.orderers()
    return [(owner, node) for owner, node in nodes if (home.orderer(owner, node) / "msp" / "keystore").exists()]


def own_nodes(home: Home, topology: Topology) -> list[Node]:
    """Every node whose keys are in this folder, orderers first."""
    orderers = [node_of(home, node.host(owner), "orderer") for owner, node in own_orderers(home, topology)]
    return orderers + [node_of(home, peer.host(owner), "peer") for owner, peer in own_peers(home, topology)]


def run_nodes(home: Home) -> list[Node]:
    """Every node that was ever configured to run in this folder."""
    paths = [*home.nodes.glob("*/core.yaml"), *home.nodes.glob("*/orderer.yaml")]
    return [node_of(home, path.parent.name, "") for path in sorted(paths)]


def _recorded(node: Node) -> tuple[int, int]:
    """Process id and start time; 0, 0 where none was started."""
    try:
        record = json.loads((node.folder / _RECORD).read_bytes())
        return int(record["pid"]), int(record["started"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0, 0
