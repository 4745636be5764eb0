"""Fabric's official clients of Go and Node work on the embedded network unchanged."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from goldengrain.network import runtime
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from tests.conformance.chaincode import ChaincodeProgram, free_port
from tests.conformance.deployed import Deployed
from tests.conftest import need

pytestmark = [pytest.mark.check, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

HERE = Path(__file__).resolve().parent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    home = Home(tmp_path_factory.mktemp("official") / "home")
    runtime.up(home)
    try:
        async with ChaincodeProgram("goldengrain.chaincode.shim.example", free_port(), home.logs / "kv.log") as program:
            deployment = await deploy(home, "kv", "1.0", program.address)
            await program.start(deployment.package_id)
            found = Deployed(home, "kv", deployment.package_id, program)
            await found.wait_ready("put", "ready", "1")
            yield found
    finally:
        runtime.down(home)


@pytest.fixture(scope="module")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    need("go", shutil.which("go"), "install Go 1.24 or newer")
    program = tmp_path_factory.mktemp("go") / "client"
    subprocess.run(["go", "build", "-o", program, "."], cwd=HERE / "go", check=True)
    return [str(program)]


@pytest.fixture(scope="module")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    need("node", shutil.which("node") and shutil.which("npm"), "install Node.js 20 or newer")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", ".npmrc", "main.mjs"):
        shutil.copy(HERE / "node" / name, folder)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True)
    return ["node", str(folder / "main.mjs")]


def environment(home: Home, chaincode: str) -> dict[str, str]:
    """What both programs read: one organisation's connection profile and folders, as Fabric's tools lay them out."""
    organization = home.load_topology().organizations[0]
    profile = json.loads(home.connection_profile(organization).read_text())
    peer = profile["peers"][profile["organizations"][profile["client"]["organization"]]["peers"][0]]
    root = home.path / "tls-root.pem"
    root.write_text(peer["tlsCACerts"]["pem"])
    msp = home.user(organization, "User1") / "msp"
    (certificate,) = (msp / "signcerts").iterdir()
    (key,) = (msp / "keystore").iterdir()
    return os.environ | {
        "ENDPOINT": peer["url"].removeprefix("grpcs://"),
        "TLS_ROOT": str(root),
        "MSP_ID": organization.msp_id,
        "CERTIFICATE": str(certificate),
        "PRIVATE_KEY": str(key),
        "CHANNEL": "market",
        "CHAINCODE": chaincode,
    }


@pytest.mark.parametrize("language", ["go", "node"])
async def test_the_official_client_submits_evaluates_gets_an_event_and_a_contracts_error(
    language: str, deployed: Deployed, request: pytest.FixtureRequest
) -> None:
    command = request.getfixturevalue(f"{language}_client")
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(deployed.home, deployed.name), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    seen = json.loads(output)
    failure = seen.pop("failure")
    assert seen == {
        "submitted": seen["submitted"],
        "evaluated": "one",
        "event": "greeting",
        "payload": f"hello from {language.capitalize()}",
        "tx_matches": True,
        "valid": True,
    }
    assert failure["kind"] == "EndorseError"
    assert failure["code"].upper() == "ABORTED"
    assert failure["details"] == ["Org1MSP: chaincode response 422, no such model"]
