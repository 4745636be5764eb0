"""What breaks and comes back: chaincode servers, the network's process, its disk."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from goldengrain.chaincode.shim import ChaincodeServer, ChaincodeStub, Response, success
from goldengrain.chaincode.shim.example import KeyValueStore
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.errors import EvaluateError, GatewayError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import credentials_from_msp
from goldengrain.network import lifecycle, runtime
from goldengrain.network.embedded.errors import LedgerError
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.home import Home
from goldengrain.network.processes import is_locked, wait_until
from goldengrain.network.topology import default_topology
from tests.network.embedded.services.deployed import Deployed, deployed, free_port, running

SIMULATION = "error in simulation: failed to execute transaction "


async def test_a_lost_chaincode_is_dialled_again_by_the_next_call(net: Deployed) -> None:
    contract = await net.contract()
    await contract.submit("put", "k", "v")
    await net.servers["kv"].stop()
    with pytest.raises(EvaluateError) as caught:
        await contract.evaluate("get", "k")
    assert caught.value.grpc_code is not None
    assert caught.value.grpc_code.name == "ABORTED"
    assert [detail.msp_id for detail in caught.value.details] == ["Org1MSP", "Org2MSP", "Org3MSP"]
    for detail in caught.value.details:
        assert detail.message.startswith(SIMULATION)
        assert ": could not launch chaincode kv_1.0:" in detail.message
        assert detail.message.endswith('connect: connection refused"')
    await net.serve("kv", KeyValueStore(), net_port(net), net.package_ids["kv"])
    assert await contract.evaluate("get", "k") == b"v"
    assert (await contract.submit("put", "k", "w")).code == "VALID"


def net_port(net: Deployed) -> int:
    """The port in the installed package's connection."""
    package = net.network.peers[0]._packages.get(net.package_ids["kv"])
    assert package is not None
    return int(package.connection().address.rpartition(":")[2])


async def test_chaincodes_are_dialled_before_they_are_called(home: Home) -> None:
    async with running(home) as net:
        port = free_port()
        deployment = await lifecycle.deploy(home, "kv", "1.0", f"127.0.0.1:{port}")
        await net.serve("kv", KeyValueStore(), port, deployment.package_id)
        async with asyncio.timeout(5):
            while len(net.servers["kv"]._streams) < 3:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


class Slow:
    """A chaincode that answers `sleep` after the time is up, and everything else at once."""

    async def init(self, stub: ChaincodeStub) -> Response:
        return success()

    async def invoke(self, stub: ChaincodeStub) -> Response:
        if stub.function == "sleep":
            await asyncio.sleep(0.6)
        return success(b"done")


async def test_a_chaincode_that_takes_too_long_is_given_up_and_its_stream_stays(home: Home) -> None:
    async with running(home, execute_timeout_s=0.3) as net:
        await net.deploy("slow", Slow())
        contract = await net.contract(1, "slow")
        assert await contract.evaluate("quick") == b"done"
        slow = asyncio.create_task(contract.evaluate("sleep", target_organizations=["Org1MSP"]))
        assert await contract.evaluate("quick") == b"done"
        with pytest.raises(EvaluateError) as caught:
            await slow
        (detail,) = caught.value.details
        assert detail.message.endswith(": error sending: timeout expired while executing transaction")
        await asyncio.sleep(0.4)
        assert await contract.evaluate("quick") == b"done"
        assert len(net.servers["slow"]._streams) == 3


async def test_a_restarted_network_goes_on_with_ledger_and_chaincodes(home: Home) -> None:
    async with deployed(home) as net:
        port, package_id = net_port(net), net.package_ids["kv"]
        await (await net.contract()).submit("put", "k", "v")
        height = net.network.channels["market"].height
    async with running(home) as net:
        assert net.network.channels["market"].height == height
        await net.serve("kv", KeyValueStore(), port, package_id)
        contract = await net.contract(2)
        assert await contract.evaluate("get", "k") == b"v"
        result = await contract.submit("put", "k", "w")
        assert result.block == height


class Servers:
    """Chaincode servers that end with the client."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def serve(self, port: int, package_id: str) -> None:
        server = ChaincodeServer(KeyValueStore(), f"127.0.0.1:{port}", package_id)
        await server.start()
        self._stack.push_async_callback(server.stop)


@asynccontextmanager
async def running_client(home: Home) -> AsyncIterator[tuple[Gateway, Servers]]:
    """Org1's user at its peer, and a place for chaincode servers."""
    organization = home.load_topology().organizations[0]
    user = credentials_from_msp(home.user(organization, "User1") / "msp", organization.msp_id)
    endpoint = ConnectionProfile.load(home.connection_profile(organization)).gateway()
    async with AsyncExitStack() as stack, Gateway.connect(endpoint, user.identity, user.signer) as gateway:
        yield gateway, Servers(stack)


async def test_a_killed_network_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    state = runtime.up(home, default_topology())
    try:
        port = free_port()
        deployment = await lifecycle.deploy(home, "kv", "1.0", f"127.0.0.1:{port}")
        async with running_client(home) as (gateway, net):
            await net.serve(port, deployment.package_id)
            contract = gateway.network("market").contract("kv")
            acknowledged: dict[str, str] = {}

            async def client(number: int) -> None:
                for count in range(1000):
                    key = f"k{number}-{count}"
                    result = await contract.submit("put", key, key)
                    acknowledged[key] = result.transaction_id

            clients = [asyncio.create_task(client(number)) for number in range(8)]
            await asyncio.sleep(1.0)
            os.kill(state.pid, signal.SIGKILL)
            outcomes = await asyncio.gather(*clients, return_exceptions=True)
            assert all(isinstance(outcome, GatewayError) for outcome in outcomes)
        assert acknowledged
        assert wait_until(lambda: not is_locked(home.lock_file), 10.0)
        runtime.up(home)
        async with running_client(home) as (gateway, net):
            await net.serve(port, deployment.package_id)
            network = gateway.network("market")
            contract = network.contract("kv")
            for key, transaction_id in acknowledged.items():
                assert await contract.evaluate("get", key) == key.encode()
                assert (await network.commit(transaction_id).status()).successful
            assert (await contract.submit("put", "after", "v")).code == "VALID"
    finally:
        runtime.down(home, purge=True)


async def test_a_damaged_ledger_is_refused(home: Home) -> None:
    async with running(home):
        pass
    ledger = home.ledger / "market.sqlite"
    ledger.write_bytes(b"not a database, " * 1000)
    with pytest.raises(LedgerError):
        await EmbeddedNetwork(home).start()


async def test_a_second_process_on_the_same_folder_is_refused(home: Home) -> None:
    from goldengrain.network.errors import NetworkError

    async with running(home):
        with pytest.raises((LedgerError, NetworkError)):
            await EmbeddedNetwork(home).start()
