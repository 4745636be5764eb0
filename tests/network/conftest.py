"""Fixtures for the network part: a topology with ports, a home with its certificates, the recorded real network."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldengrain.network.home import Home
from goldengrain.network.pki import create_pki
from goldengrain.network.ports import assign_ports
from goldengrain.network.topology import Topology, default_topology
from tests.recordings import archive


@pytest.fixture
def topology() -> Topology:
    return assign_ports(default_topology())


@pytest.fixture
def home(tmp_path: Path, topology: Topology) -> Home:
    """A network's folder with certificates, but no process."""
    home = Home(tmp_path / "home")
    create_pki(home, topology)
    home.save_topology(topology)
    return home


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files recorded from a real Fabric network: `crypto`, `genesis` and `lifecycle`."""
    folder = tmp_path_factory.mktemp("recorded")
    for part in ("crypto", "genesis", "lifecycle"):
        archive.unpack(part, folder / part)
    return folder
