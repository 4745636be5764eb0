"""Fabric's official clients of Go and Node work on the embedded network unchanged."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from goldengrain.network import runtime
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from tests.conformance.chaincode import ChaincodeProgram, free_port
from tests.conformance.deployed import Deployed
from tests.official.tools import HERE, go_program, node_program

pytestmark = [pytest.mark.check, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

VALID, MVCC_READ_CONFLICT = 0, 11


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
    return go_program(HERE / "go", tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="module")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return node_program(HERE / "node", tmp_path_factory.mktemp("node"), "main.mjs")


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
async def test_the_official_client_does_all_that_clients_do(
    language: str, deployed: Deployed, request: pytest.FixtureRequest
) -> None:
    command = request.getfixturevalue(f"{language}_client")
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(deployed.home, deployed.name), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    seen = json.loads(output)
    failures = seen.pop("failures")
    assert seen == {
        "submitted": "",
        "evaluated": "one",
        "event": "greeting",
        "payload": f"hello from {language.capitalize()}",
        "tx_matches": True,
        "valid": True,
        "block": True,
        "filtered": True,
        "private": True,
        "resumed": "greeting",
        "offline": "signed elsewhere",
        "offline_valid": True,
        "conflict": [VALID, MVCC_READ_CONFLICT],
    }
    found = {what: (one["kind"], one["code"].upper().replace("_", "")) for what, one in failures.items()}
    assert found == {
        "endorse": ("EndorseError", "ABORTED"),
        "evaluate": ("GatewayError", "UNKNOWN"),
        "submit": ("SubmitError", "ABORTED"),
        "status": ("CommitStatusError", "PERMISSIONDENIED"),
        "unknown": ("GatewayError", "FAILEDPRECONDITION"),
    }
    assert failures["endorse"]["details"] == ["Org1MSP: chaincode response 422, no such model"]
    assert failures["evaluate"]["details"] == ["Org1MSP: chaincode response 404, no key 'never'"]
    assert "no peers available to evaluate chaincode nosuch in channel market" in failures["unknown"]["message"]
    assert "status=FORBIDDEN" in failures["submit"]["message"]
