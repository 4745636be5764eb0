"""Which runtime has a folder's network, and who runs its nodes."""

from __future__ import annotations

from pathlib import Path

from .docker_runtime import DockerNetwork, DockerRunner, compose_file
from .home import Home
from .native import NativeNetwork
from .nodes import ProcessRunner, Runner
from .progress import Steps, silent
from .topology import Topology


def runtime_of(home: Home) -> str:
    """The runtime that has the ledger of a folder's network; `embedded` where it has none yet."""
    if not home.nodes.exists():
        return "embedded"
    return "docker" if compose_file(home).exists() else "native"


def real_network(
    home: Home,
    topology: Topology | None = None,
    *,
    kind: str | None = None,
    fabric_bin: Path | None = None,
    timeout_s: float = 60.0,
    steps: Steps = silent,
) -> NativeNetwork:
    """A network of real peers and orderers, by processes or containers as `kind` or the folder says."""
    network = DockerNetwork if (kind or runtime_of(home)) == "docker" else NativeNetwork
    return network(home, topology, fabric_bin, timeout_s=timeout_s, steps=steps)


def runner_of(home: Home) -> Runner:
    """Who runs the nodes of a folder's network.

    Raises:
        DockerMissing: if Docker does, and does not answer.

    """
    if runtime_of(home) == "docker":
        return DockerRunner(home, home.load_topology())
    return ProcessRunner()
