"""A consortium of three organisations and a fresh channel of theirs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import LedgerError
from goldengrain.network.home import Home
from goldengrain.network.pki import create_pki
from goldengrain.network.ports import assign_ports
from goldengrain.network.topology import default_topology
from tests.blockcheck.checker import check_chain
from tests.network.embedded.core.kit import Consortium


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    topology = assign_ports(default_topology())
    home = Home(tmp_path_factory.mktemp("consortium"))
    create_pki(home, topology)
    return Consortium(home, topology)


@pytest.fixture
async def channel(consortium: Consortium, tmp_path: Path) -> AsyncIterator[Channel]:
    """A channel with the chaincode `basic` under the majority policy; height 2.

    Whatever blocks a test makes on it are checked by code that shares nothing with the network's.
    """
    channel = Channel.create(tmp_path / "market.sqlite", consortium.genesis)
    await consortium.define(channel)
    yield channel
    try:
        blocks = [channel.ledger.chain.block_bytes(number) for number in range(channel.height)]
    except LedgerError:
        blocks = []  # the test itself has closed or damaged it
    await channel.close()
    assert not blocks or check_chain(blocks) == {}
