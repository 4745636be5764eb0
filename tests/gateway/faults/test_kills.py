"""The gateway peer killed at each step of the embedded network; `test_real_peers.py` does it to Fabric's own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from goldengrain.network.creation import create
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.home import Home
from goldengrain.network.topology import default_topology
from tests.conformance import programs
from tests.gateway.faults.kills import GatewayKills, Victims

pytestmark = [pytest.mark.check, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victims(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Victims]:
    home = Home(tmp_path_factory.mktemp("kills") / "home")
    create(home, default_topology())
    home.logs.mkdir(exist_ok=True)
    async with EmbeddedNetwork(home) as network, programs.key_value(home) as deployed:
        yield Victims(network, deployed)


class TestKillsOnTheEmbeddedNetwork(GatewayKills):
    pass
