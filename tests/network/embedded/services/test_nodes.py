"""Nodes that stop alone and come back, several channels, several peers of an organisation."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import collection_pb2, query_pb2

from goldengrain.chaincode.shim import ChaincodeStub, Response, error, success
from goldengrain.gateway.errors import EndorseError, EvaluateError, SubmitError
from goldengrain.network.creation import create
from goldengrain.network.embedded.errors import ConfigError, LedgerCorruptError, LedgerForeignError
from goldengrain.network.embedded.limits import Limited
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.errors import NetworkNotRunning
from goldengrain.network.genesis import genesis_block
from goldengrain.network.home import Home
from goldengrain.network.topology import BatchSettings, Channel, OrdererOrganization, Peer, default_topology
from goldengrain.network.topology import Orderer as OrdererNode
from tests.blockcheck.checker import check_chain
from tests.network.embedded.core.kit import collection
from tests.network.embedded.services.conftest import quick_topology
from tests.network.embedded.services.deployed import Deployed, deployed, running

ORG2, ORG3, ORDERER = "peer0.org2.example.com", "peer0.org3.example.com", "orderer.example.com"


class Clock:
    """The time of the genesis block's certificates, and as much later as a test says."""

    def __init__(self) -> None:
        import time

        self.now = time.time()

    def __call__(self) -> float:
        return self.now


async def test_another_peer_endorses_for_one_that_has_stopped(net: Deployed) -> None:
    contract = await net.contract()
    await net.network.stop_node(ORG3)
    for number in range(4):
        assert (await contract.submit("put", "k", str(number))).code == "VALID"
    with pytest.raises(EvaluateError) as caught:
        await contract.evaluate("get", "k", target_organizations=["Org3MSP"])
    (detail,) = caught.value.details
    assert (detail.msp_id, detail.message.endswith('connect: connection refused"')) == ("Org3MSP", True)
    await net.network.start_node(ORG3)
    assert await contract.evaluate("get", "k", target_organizations=["Org3MSP"]) == b"3"


async def test_a_peer_is_counted_on_for_25_seconds_after_it_stopped(home: Home) -> None:
    clock = Clock()
    async with deployed(home, clock=clock) as net:
        contract = await net.contract()
        await net.network.stop_node(ORG2)
        await net.network.stop_node(ORG3)
        with pytest.raises(EndorseError) as caught:
            await contract.submit("put", "k", "v")
        assert caught.value.grpc_code is grpc.StatusCode.ABORTED
        assert sorted(detail.msp_id for detail in caught.value.details) == ["Org2MSP", "Org3MSP"]
        clock.now += 26
        with pytest.raises(EndorseError) as caught:
            await contract.submit("put", "k", "v")
        assert caught.value.grpc_code is grpc.StatusCode.FAILED_PRECONDITION
        await net.network.start_node(ORG2)
        assert (await contract.submit("put", "k", "v")).code == "VALID"


async def test_without_its_orderer_a_network_endorses_and_orders_nothing(net: Deployed) -> None:
    contract = await net.contract()
    await net.network.stop_node(ORDERER)
    with pytest.raises(SubmitError, match="no orderers could successfully process transaction"):
        await contract.submit("put", "k", "v")
    await net.network.start_node(ORDERER)
    assert (await contract.submit("put", "k", "v")).code == "VALID"


async def test_only_nodes_that_are_there_stop_and_start(net: Deployed) -> None:
    with pytest.raises(NetworkNotRunning, match=r"peer0\.org2"):
        await net.network.stop_node("peer9.org1.example.com")
    with pytest.raises(NetworkNotRunning):
        await net.network.start_node("peer9.org1.example.com")


class Reluctant:
    """A chaincode that fails on the first other peer that is asked, whichever that is."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def init(self, stub: ChaincodeStub) -> Response:
        return success()

    async def invoke(self, stub: ChaincodeStub) -> Response:
        self.asked.append(stub.function)
        if stub.function == "reluctant" and len(self.asked) == 2:
            return error("not now")
        await stub.put_state("k", b"v")
        return success()


async def test_a_refusal_is_made_up_for_by_another_organisation(net: Deployed) -> None:
    chaincode = Reluctant()
    await net.deploy("reluctant", chaincode)
    contract = await net.contract(chaincode="reluctant")
    assert (await contract.submit("reluctant")).code == "VALID"
    assert len(chaincode.asked) == 3


class Sealing:
    """Writes to the private collection that the function names."""

    async def init(self, stub: ChaincodeStub) -> Response:
        return success()

    async def invoke(self, stub: ChaincodeStub) -> Response:
        await stub.private_data(stub.function).put("k", b"v")
        return success()


def required(name: str, members: str, count: int) -> collection_pb2.CollectionConfig:
    made = collection(name, members)
    made.required_peer_count = made.maximum_peer_count = count
    return collection_pb2.CollectionConfig(static_collection_config=made)


async def test_private_data_go_to_as_many_others_as_their_collection_requires(net: Deployed) -> None:
    """The words are those of a real peer on a network of the same shape."""
    pair, everybody = "OR('Org1MSP.member','Org2MSP.member')", "OR('Org1MSP.member','Org2MSP.member','Org3MSP.member')"
    config = [required("one", pair, 1), required("two", pair, 2), required("all", everybody, 2)]
    collections = collection_pb2.CollectionConfigPackage(config=config)
    await net.deploy("sealing", Sealing(), policy="OR('Org1MSP.peer')", collections=collections)
    contract = await net.contract(chaincode="sealing")

    async def refusal(name: str) -> str:
        with pytest.raises(EndorseError) as caught:
            await contract.submit(name, endorsing_organizations=["Org1MSP"])
        (detail,) = caught.value.details
        start = f"error in simulation: failed to distribute private collection, txID {caught.value.transaction_id}"
        plan = f"could not build private data dissemination plan for chaincode sealing and collection {name}: "
        assert detail.message.startswith(f"{start}, channel market: {plan}required to disseminate to at least ")
        return detail.message.partition("to at least ")[2]

    for name in ("one", "all"):
        assert (await contract.submit(name, endorsing_organizations=["Org1MSP"])).code == "VALID"
    assert await refusal("two") == "2 peers, but know of only 1 eligible peers"
    await net.network.stop_node(ORG2)
    assert await refusal("one") == "1 peers, but know of only 0 eligible peers"
    assert await refusal("all") == "2 peers, but know of only 1 eligible peers"
    await net.network.start_node(ORG2)
    assert (await contract.submit("all", endorsing_organizations=["Org1MSP"])).code == "VALID"


def second(home: Home) -> common_pb2.Block:
    """The genesis block of another channel of the same organisations."""
    topology = home.load_topology()
    return genesis_block(home, replace(topology, channel=Channel("second", topology.channel.batch)))


async def channels_of(net: Deployed, number: int) -> list[str]:
    contract = (await net.gateway(number, "Admin")).network("market").contract("cscc")
    payload = await contract.evaluate("GetChannels", target_organizations=[f"Org{number}MSP"])
    return [one.channel_id for one in query_pb2.ChannelQueryResponse.FromString(payload).channels]


async def test_peers_join_another_channel_and_are_on_it_after_a_restart(home: Home) -> None:
    async with running(home) as net:
        genesis = second(home)
        joined = net.network.join(genesis, net.network.peers[:2])
        assert joined is net.network.join(genesis, net.network.peers[:1])
        assert await channels_of(net, 1) == ["market", "second"]
        assert await channels_of(net, 3) == ["market"]
        other = common_pb2.Block()
        other.CopyFrom(second(home))
        other.header.previous_hash = b"x" * 32
        with pytest.raises(LedgerForeignError):
            net.network.join(other)
        with pytest.raises(ConfigError):
            net.network.join(common_pb2.Block())
    async with running(home) as net:
        assert await channels_of(net, 2) == ["market", "second"]
        assert await channels_of(net, 3) == ["market"]
        await net.network.orderers["second"].stop()
        await net.network.orderers["second"].start()
        info = await (await net.gateway()).network("second").contract("qscc").evaluate("GetChainInfo", "second")
        assert info
        with pytest.raises(EvaluateError):
            await (await net.gateway(3)).network("second").contract("qscc").evaluate("GetChainInfo", "second")


async def test_a_topologys_channels_have_the_peers_of_their_members(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, replace(quick_topology(), further_channels=(Channel("second", members=("Org1", "Org2")),)))
    for _ in range(2):
        async with running(home) as net:
            assert await channels_of(net, 1) == ["market", "second"]
            assert await channels_of(net, 3) == ["market"]
            orderers = net.network.orderers
            assert list(orderers) == ["market", "second"]
            info = (await net.gateway(2)).network("second").contract("qscc")
            assert await info.evaluate("GetChainInfo", "second")


async def test_a_damaged_list_of_joined_channels_is_refused(home: Home) -> None:
    async with running(home):
        pass
    (home.ledger / "joined.json").write_text("[]")
    with pytest.raises(LedgerCorruptError, match=r"joined\.json"):
        await EmbeddedNetwork(home).start()


async def test_a_smartbft_channels_blocks_are_signed_by_a_quorum_of_all_its_orderers(tmp_path: Path) -> None:
    """Recorded blocks of real SmartBFT orderers pass the same checks; two organisations order this channel."""
    topology = default_topology(orderers=3, consensus="raft")
    further = OrdererOrganization("Others", "OthersMSP", "others.example.com", (OrdererNode("orderer4"),))
    channel = Channel("market", BatchSettings(timeout_ms=20), "smartbft")
    home = Home(tmp_path / "home")
    create(home, replace(topology, further_orderers=(further,), channel=channel))
    async with deployed(home) as net:
        assert (await (await net.contract()).submit("put", "k", "v")).code == "VALID"
        ledger = net.network.channels["market"].ledger
        blocks = [ledger.chain.block_bytes(number) for number in range(ledger.chain.height)]
        assert check_chain(blocks) == {}
        async with (await net.gateway()).network("market").fetch_blocks(0, ledger.chain.height - 1) as fetched:
            assert [block.header.number async for block in fetched] == list(range(ledger.chain.height))
        for host in ("orderer4.others.example.com", "orderer.example.com"):
            await net.network.stop_node(host)
        assert (await (await net.contract()).submit("put", "k", "w")).code == "VALID"
    metadata = common_pb2.Metadata.FromString(common_pb2.Block.FromString(blocks[-1]).metadata.metadata[0])
    headers = [common_pb2.IdentifierHeader.FromString(one.identifier_header) for one in metadata.signatures]
    assert [header.identifier for header in headers] == [1, 2, 3]


async def test_two_peers_of_an_organisation_stand_in_for_each_other(tmp_path: Path) -> None:
    topology = quick_topology()
    first, *rest = topology.organizations
    first = replace(first, peers=(Peer("peer0"), Peer("peer1")))
    home = Home(tmp_path / "home")
    create(home, replace(topology, organizations=(first, *rest)))
    async with deployed(home) as net:
        contract = await net.contract(2)
        assert (await contract.submit("put", "k", "v")).code == "VALID"
        assert await contract.evaluate("get", "k", target_organizations=["Org1MSP"]) == b"v"
        await net.network.stop_node("peer0.org1.example.com")
        assert await contract.evaluate("get", "k", target_organizations=["Org1MSP"]) == b"v"
        for number in range(3):
            assert (await contract.submit("put", "k", str(number))).code == "VALID"


class Details(grpc.HandlerCallDetails):
    method = "/gateway.Gateway/Evaluate"
    invocation_metadata = ()


class Refused(Exception):
    pass


class Context:
    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        assert code is grpc.StatusCode.UNKNOWN
        raise Refused(text)


async def test_a_service_takes_so_many_calls_at_once_and_no_more() -> None:
    gate = asyncio.Event()

    async def unary(request: bytes, _: Any) -> bytes:
        await gate.wait()
        return request

    async def stream(request: bytes, _: Any) -> AsyncIterator[bytes]:
        await gate.wait()
        yield request

    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Evaluate": grpc.unary_unary_rpc_method_handler(unary),
        "ChaincodeEvents": grpc.unary_stream_rpc_method_handler(stream),
    }
    limited = Limited(grpc.method_handlers_generic_handler("gateway.Gateway", methods), 2)
    handler = limited.service(Details())
    assert handler is not None
    call: Any = handler.unary_unary
    running = [asyncio.create_task(call(b"1", Context())) for _ in range(2)]
    await asyncio.sleep(0)
    text = "too many requests for /gateway.Gateway, exceeding concurrency limit (2)"
    with pytest.raises(Refused) as caught:
        await call(b"2", Context())
    assert str(caught.value) == text
    gate.set()
    assert await asyncio.gather(*running) == [b"1", b"1"]
    assert await call(b"3", Context()) == b"3"
