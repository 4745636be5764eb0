"""Connections that are slow, fall silent or break, between client and peer and between peer and chaincode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from goldengrain.chaincode.shim import ChaincodeStub, Response, success
from goldengrain.chaincode.shim.example import KeyValueStore
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import CommitUnknown, EndorseError, EvaluateError, SubmitUnknown
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.network import Network
from goldengrain.network import lifecycle
from goldengrain.network.home import Home
from tests.conformance.deployed import patiently
from tests.network.embedded.proxy import Proxy, proxy
from tests.network.embedded.services.deployed import Deployed, free_port, running

SOON = 0.4


@asynccontextmanager
async def behind(net: Deployed, between: Proxy, deadlines: Deadlines | None = None) -> AsyncIterator[Network]:
    """Org1's user, whose way to its peer leads through a proxy."""
    user = net.user()
    endpoint = replace(net.endpoint(), address=f"127.0.0.1:{between.port}")
    async with Gateway.connect(endpoint, user.identity, user.signer, deadlines=deadlines) as gateway:
        yield gateway.network("market")


@asynccontextmanager
async def before_the_peer(net: Deployed) -> AsyncIterator[Proxy]:
    async with proxy(net.organization().peers[0].port) as between:
        yield between


async def test_a_client_whose_connection_falls_silent_finds_out_what_became_of_its_transaction(
    net: Deployed,
) -> None:
    """Silence at every step: the endorsement is asked for again, the transaction sent again or waited for by its id."""
    async with before_the_peer(net) as between, behind(net, between) as network:
        contract = network.contract("kv")
        await contract.submit("put", "k", "v")
        height = await network.height()

        between.frozen = True
        with pytest.raises(EndorseError, match="DEADLINE_EXCEEDED"):
            await contract.propose("put", "k", "never").endorse(SOON)
        between.frozen = False
        transaction = await contract.propose("add", "total", "1").endorse()

        between.frozen = True
        with pytest.raises(SubmitUnknown):
            await transaction.submit(SOON)
        between.frozen = False  # what was held back arrives late, beside what is sent again
        await transaction.submit()

        between.frozen = True
        with pytest.raises(CommitUnknown) as unknown:
            await network.commit(transaction.transaction_id).status(SOON)
        assert unknown.value.transaction_id == transaction.transaction_id
        await between.cut()
        between.frozen = False
        status = await patiently(network.commit(transaction.transaction_id).status)
        assert status.successful
        assert await contract.evaluate("get", "total") == b"1"
        assert await contract.evaluate("get", "k") == b"v"
        assert await network.height() in (height + 1, height + 2)


@pytest.mark.check
async def test_a_slow_client_keeps_nobody_waiting(net: Deployed) -> None:
    quick = await net.contract(2)
    async with before_the_peer(net) as between, behind(net, between) as network:
        slow = network.contract("kv")
        await slow.submit("put", "large", "x" * 100_000)
        between.bytes_per_s, between.delay_s = 50_000, 0.02
        reading = asyncio.create_task(slow.evaluate("get", "large"))
        for number in range(10):
            await quick.submit("put", "k", str(number))
        assert not reading.done()
        assert await reading == b"x" * 100_000


async def test_connections_that_never_say_a_word_take_nobodys_place(net: Deployed) -> None:
    organization = net.organization()
    ports = [organization.peers[0].port, net.network.topology.orderer.orderers[0].port, port_of(net, "kv")]
    silent = [await asyncio.open_connection("127.0.0.1", port) for port in ports for _ in range(100)]
    try:
        contract = await net.contract()
        assert (await contract.submit("put", "k", "v")).code == "VALID"
    finally:
        for _, writer in silent:
            writer.close()


def port_of(net: Deployed, chaincode: str) -> int:
    package = net.network.peers[0]._packages.get(net.package_ids[chaincode])
    assert package is not None
    return int(package.connection().address.rpartition(":")[2])


async def test_a_reader_who_stops_reading_stops_nobody_and_misses_nothing(net: Deployed) -> None:
    busy = await net.contract(2)
    async with (
        before_the_peer(net) as between,
        behind(net, between) as network,
        network.block_events(await network.height()) as events,
    ):
        reading = asyncio.create_task(anext(events))
        first = await busy.submit("put", "k", "first")
        assert (await reading).header.number == first.block
        between.frozen = True
        results = [await busy.submit("put", "k", str(number) * 200_000) for number in range(8)]
        passed = between.passed
        await asyncio.sleep(0.1)
        assert between.passed == passed
        between.frozen = False
        async with asyncio.timeout(20):
            seen = [(await anext(events)).header.number for _ in results]
        assert seen == [result.block for result in results]


@asynccontextmanager
async def chaincode_behind(net: Deployed, chaincode: KeyValueStore) -> AsyncIterator[Proxy]:
    """The key-value chaincode, which the peers reach through a proxy."""
    port = free_port()
    async with proxy(port) as between:
        deployment = await lifecycle.deploy(net.home, "kv", "1.0", f"127.0.0.1:{between.port}")
        await net.serve("kv", chaincode, port, deployment.package_id)
        yield between


async def test_a_chaincode_that_falls_silent_is_given_up_and_goes_on_when_it_is_heard_again(home: Home) -> None:
    async with running(home, execute_timeout_s=0.5) as net, chaincode_behind(net, KeyValueStore()) as between:
        contract = await net.contract()
        await contract.submit("put", "k", "v")
        between.frozen = True
        with pytest.raises(EvaluateError) as caught:
            await contract.evaluate("get", "k", target_organizations=["Org1MSP"])
        (detail,) = caught.value.details
        assert detail.message.endswith(": error sending: timeout expired while executing transaction")
        between.frozen = False
        assert await contract.evaluate("get", "k") == b"v"
        assert (await contract.submit("add", "total", "1")).code == "VALID"


class Halfway(KeyValueStore):
    """Breaks its own connection in the middle of every call of `halfway`, the first time."""

    def __init__(self) -> None:
        self.between: Proxy | None = None

    async def invoke(self, stub: ChaincodeStub) -> Response:
        if stub.function != "halfway":
            return await super().invoke(stub)
        await stub.get_state("k")
        if self.between is not None:
            between, self.between = self.between, None
            await between.cut()
        await stub.put_state("k", b"w")
        return success()


async def test_a_connection_that_breaks_within_a_call_fails_that_call_and_the_next_one_dials(home: Home) -> None:
    chaincode = Halfway()
    async with running(home) as net, chaincode_behind(net, chaincode) as between:
        contract = await net.contract()
        await contract.submit("put", "k", "v")
        chaincode.between = between
        with pytest.raises(EndorseError) as caught:
            await contract.submit("halfway")
        (detail,) = caught.value.details
        assert detail.message.endswith("error sending: chaincode stream terminated")
        assert await contract.evaluate("get", "k") == b"v"
        assert (await contract.submit("halfway")).code == "VALID"
        assert await contract.evaluate("get", "k") == b"w"


@pytest.mark.check
async def test_a_slow_way_to_the_chaincode_changes_no_result(home: Home) -> None:
    async with running(home) as net, chaincode_behind(net, KeyValueStore()) as between:
        contract = await net.contract()
        await contract.submit("put", "counter", "0")
        between.delay_s = 0.02
        results = await asyncio.gather(*(contract.submit("put", f"k{number}", str(number)) for number in range(20)))
        assert {result.code for result in results} == {"VALID"}
        assert [await contract.evaluate("get", f"k{number}") for number in range(20)] == [
            str(number).encode() for number in range(20)
        ]
