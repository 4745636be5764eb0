"""Our client, our lifecycle and our shim on the embedded network: what holds on Fabric's own peers holds here.

`test_real_fabric.py` runs the same contracts.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from goldengrain.network import runtime
from goldengrain.network.home import Home
from tests.conformance import programs
from tests.conformance.accounts import AccountsContract
from tests.conformance.deployed import Deployed
from tests.conformance.gateway_client import GatewayClient
from tests.conformance.key_value import KeyValueContract
from tests.conformance.ledger import CheckedLedger
from tests.conformance.scripted import ScriptedContract

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    home = Home(tmp_path_factory.mktemp("embedded") / "home")
    runtime.up(home)
    try:
        yield home
    finally:
        runtime.down(home)


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


class TestKeyValueOnTheEmbeddedNetwork(KeyValueContract):
    pass


class TestGatewayClientOnTheEmbeddedNetwork(GatewayClient):
    pass


class TestScriptsOnTheEmbeddedNetwork(ScriptedContract):
    pass


class TestAccountsOnTheEmbeddedNetwork(AccountsContract):
    pass


class TestTlsOnTheEmbeddedNetwork(programs.ChaincodeOverTls):
    pass


class TestBlocksOfTheEmbeddedNetwork(CheckedLedger):
    pass
