"""Our client, our lifecycle and our shim on Fabric's own peers: with three Raft orderers, with four of SmartBFT (where
they are of Fabric 3), and with a CouchDB for each peer's state (where there is COUCHDB_BIN)."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from goldengrain.network.home import Home
from goldengrain.network.native import NativeNetwork
from goldengrain.network.topology import default_topology
from tests.conformance import programs
from tests.conformance.accounts import AccountsContract
from tests.conformance.deployed import Deployed
from tests.conformance.gateway_client import GatewayClient
from tests.conformance.key_value import KeyValueContract
from tests.conformance.ledger import CheckedLedger
from tests.conformance.scripted import ScriptedContract
from tests.conftest import need_release
from tests.couchdb import couchdbs

pytestmark = [pytest.mark.check, pytest.mark.fabric, pytest.mark.asyncio(loop_scope="module")]


TOPOLOGIES = {
    "raft": default_topology(orderers=3),
    "smartbft": default_topology(orderers=4, consensus="smartbft"),
    "couchdb": default_topology(),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TOPOLOGIES)
async def home(
    request: pytest.FixtureRequest, fabric_bin: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Home]:
    if request.param == "smartbft":
        await need_release(fabric_bin, (3, 0), "SmartBFT")
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        topology = TOPOLOGIES[request.param]
        if request.param == "couchdb":
            topology, _ = stack.enter_context(couchdbs(folder, topology))
        async with NativeNetwork(Home(folder / "home"), topology, fabric_bin) as network:
            yield network.home


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployed(home: Home) -> AsyncIterator[Deployed]:
    async with programs.key_value(home) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted(deployed: Deployed) -> AsyncIterator[Deployed]:
    async with programs.scripted(deployed.home) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def accounts(deployed: Deployed) -> AsyncIterator[Deployed]:
    async with programs.accounts(deployed.home) as found:
        yield found


class TestKeyValueOnRealPeers(KeyValueContract):
    pass


class TestGatewayClientOnRealPeers(GatewayClient):
    pass


class TestScriptsOnRealPeers(ScriptedContract):
    pass


class TestAccountsOnRealPeers(AccountsContract):
    pass


class TestTlsOnRealPeers(programs.ChaincodeOverTls):
    pass


class TestBlocksOfRealPeers(CheckedLedger):
    pass
