"""An embedded network in the test's own process, with the example chaincode deployed on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goldengrain.network.creation import create
from goldengrain.network.home import Home
from goldengrain.network.topology import BatchSettings, Channel, Topology, default_topology
from tests.network.embedded.services.deployed import Deployed, deployed


def quick_topology() -> Topology:
    """Three organisations whose orderer cuts a block 20 ms after its first transaction."""
    topology = default_topology()
    return Topology(topology.organizations, topology.orderer, Channel("market", BatchSettings(timeout_ms=20)))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A network's folder; nothing runs."""
    home = Home(tmp_path / "home")
    create(home, quick_topology())
    return home


@pytest.fixture
async def net(home: Home) -> AsyncIterator[Deployed]:
    """A running network with the key-value chaincode `kv`."""
    async with deployed(home) as network:
        yield network
