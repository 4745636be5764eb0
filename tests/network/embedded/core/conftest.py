"""A consortium of three organisations and a fresh channel of theirs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.home import Home
from goldengrain.network.pki import create_pki
from goldengrain.network.ports import assign_ports
from goldengrain.network.topology import default_topology
from tests.network.embedded.core.kit import Consortium


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    topology = assign_ports(default_topology())
    home = Home(tmp_path_factory.mktemp("consortium"))
    create_pki(home, topology)
    return Consortium(home, topology)


@pytest.fixture
async def channel(consortium: Consortium, tmp_path: Path) -> AsyncIterator[Channel]:
    """A channel with the chaincode `basic` under the majority policy; height 2."""
    channel = Channel.create(tmp_path / "market.sqlite", consortium.genesis)
    await consortium.define(channel)
    yield channel
    await channel.close()
