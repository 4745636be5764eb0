"""Our client, our lifecycle and our shim on Fabric's own peers and orderer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from goldengrain.network.native import NativeNetwork
from tests.chaincode.shim.certificates import Authority
from tests.conformance.chaincode import ChaincodeProgram, free_port
from tests.conformance.deployed import Deployed
from tests.conformance.key_value import KeyValueContract
from tests.conformance.scripted import ScriptedContract, collections

pytestmark = [pytest.mark.check, pytest.mark.fabric, pytest.mark.asyncio(loop_scope="module")]

EXAMPLE = "goldengrain.chaincode.shim.example"
SCRIPT = "tests.conformance.script_program"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(fabric_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    async with NativeNetwork(Home(tmp_path_factory.mktemp("real") / "home"), fabric_bin=fabric_bin) as network:
        yield network.home


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployed(home: Home) -> AsyncIterator[Deployed]:
    async with ChaincodeProgram(EXAMPLE, free_port(), home.logs / "kv.log") as program:
        deployment = await deploy(home, "kv", "1.0", program.address)
        await program.start(deployment.package_id)
        found = Deployed(home, "kv", deployment.package_id, program)
        await found.wait_ready("put", "ready", "1")
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted(deployed: Deployed) -> AsyncIterator[Deployed]:
    async with ChaincodeProgram(SCRIPT, free_port(), deployed.home.logs / "script.log") as program:
        deployment = await deploy(deployed.home, "script", "1.0", program.address, collections=collections())
        await program.start(deployment.package_id)
        found = Deployed(deployed.home, "script", deployment.package_id, program)
        await found.wait_ready("script", '[["put", "ready", "1"]]')
        yield found


class TestKeyValueOnRealPeers(KeyValueContract):
    pass


class TestScriptsOnRealPeers(ScriptedContract):
    pass


async def test_real_peers_reach_a_chaincode_server_over_tls(deployed: Deployed) -> None:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1")
    folder = deployed.home.path / "chaincode-tls"
    folder.mkdir()
    for name, content in (("cert.pem", certificate), ("key.pem", key)):
        (folder / name).write_bytes(content)
    environment = {
        "CHAINCODE_TLS_DISABLED": "false",
        "CHAINCODE_TLS_CERT": str(folder / "cert.pem"),
        "CHAINCODE_TLS_KEY": str(folder / "key.pem"),
    }
    async with ChaincodeProgram(EXAMPLE, free_port(), deployed.home.logs / "tls.log", environment) as program:
        deployment = await deploy(deployed.home, "tls", "1.0", program.address, tls_root=authority.pem)
        await program.start(deployment.package_id)
        found = Deployed(deployed.home, "tls", deployment.package_id, program)
        await found.wait_ready("put", "over", "tls")
        async with found.contract() as contract:
            assert await contract.evaluate("get", "over") == b"tls"
