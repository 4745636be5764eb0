"""Clients of a network whose folder is at hand."""

from pathlib import Path

import pytest

from goldengrain.gateway.errors import IdentityError
from goldengrain.network.clients import connect
from goldengrain.network.creation import create
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.errors import NetworkNotFound, TopologyInvalid
from goldengrain.network.home import Home
from goldengrain.network.topology import default_topology


async def test_a_client_acts_for_the_organisation_that_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, default_topology())
    async with EmbeddedNetwork(home), connect(home.path, "org2.example.com", "Admin") as gateway:
        assert gateway.identity.msp_id == "Org2MSP"
        assert await gateway.network("market").height() == 1


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(NetworkNotFound):
        connect(home, "Org1")
    create(home, default_topology(1))
    with pytest.raises(TopologyInvalid, match="Org9"):
        connect(home, "Org9")
    with pytest.raises(IdentityError):
        connect(home, "Org1", "Nobody")
