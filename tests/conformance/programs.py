"""The chaincodes that the conformance tests deploy, and the test that a server speaks TLS.

`key_value`, `scripted` and `accounts` are what a module's fixtures of the same meaning yield; each deploys and runs a
program.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from fabric_protos.peer import collection_pb2

from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from tests.chaincode.shim.certificates import Authority
from tests.conformance.chaincode import ChaincodeProgram, free_port
from tests.conformance.deployed import Deployed
from tests.conformance.scripted import collections

EXAMPLE = "goldengrain.chaincode.shim.example"
SCRIPT = "tests.conformance.script_program"
ACCOUNTS = "tests.chaincode.shim.accounts"


@asynccontextmanager
async def running(
    home: Home,
    program: str | Sequence[str],
    name: str,
    *ready: str,
    private: collection_pb2.CollectionConfigPackage | None = None,
    tls_root: bytes | None = None,
    tls_client: tuple[bytes, bytes] | None = None,
    environment: dict[str, str] | None = None,
) -> AsyncIterator[Deployed]:
    """Deploy a chaincode, run its program, and wait until the call `ready` commits everywhere."""
    async with ChaincodeProgram(program, free_port(), home.logs / f"{name}.log", environment) as server:
        deployment = await deploy(
            home, name, "1.0", server.address, collections=private, tls_root=tls_root, tls_client=tls_client
        )
        await server.start(deployment.package_id)
        found = Deployed(home, name, deployment.package_id, server)
        await found.wait_ready(*ready)
        yield found


@asynccontextmanager
async def key_value(home: Home) -> AsyncIterator[Deployed]:
    async with running(home, EXAMPLE, "kv", "put", "ready", "1") as found:
        yield found


@asynccontextmanager
async def scripted(home: Home) -> AsyncIterator[Deployed]:
    async with running(home, SCRIPT, "script", "script", '[["put", "ready", "1"]]', private=collections()) as found:
        yield found


@asynccontextmanager
async def accounts(home: Home) -> AsyncIterator[Deployed]:
    async with running(home, ACCOUNTS, "accounts", "kinds:nothing", private=collections()) as found:
        yield found


class ChaincodeOverTls:
    """Mixed into a test class per network, as the contracts are."""

    @pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual"])
    async def test_peers_reach_a_chaincode_server_over_tls(self, deployed: Deployed, mutual: bool) -> None:
        authority = Authority()
        certificate, key = authority.issue("127.0.0.1")
        name = "mutual" if mutual else "tls"
        folder = deployed.home.path / f"chaincode-{name}"
        folder.mkdir()
        for file, content in (("cert.pem", certificate), ("key.pem", key), ("ca.pem", authority.pem)):
            (folder / file).write_bytes(content)
        environment = {
            "CHAINCODE_TLS_DISABLED": "false",
            "CHAINCODE_TLS_CERT": str(folder / "cert.pem"),
            "CHAINCODE_TLS_KEY": str(folder / "key.pem"),
        }
        if mutual:
            environment["CHAINCODE_CLIENT_CA_CERT"] = str(folder / "ca.pem")
        async with (
            running(
                deployed.home,
                EXAMPLE,
                name,
                "put",
                "over",
                "tls",
                tls_root=authority.pem,
                tls_client=authority.issue("peer") if mutual else None,
                environment=environment,
            ) as found,
            found.contract() as contract,
        ):
            assert await contract.evaluate("get", "over") == b"tls"
