"""Streams that go on by themselves where they broke: neither a gap nor a repeat, bounded pauses, an end in any case."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from goldengrain.gateway.backoff import Backoff, Reconnect
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import DeliverError, EventsError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.network import Network
from goldengrain.gateway.streams import EventStream
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import Fault, ServerDouble

SOON = Reconnect(first=0.02, most=0.1, patience=3.0)
GONE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
async def other(server: ServerDouble) -> AsyncIterator[ServerDouble]:
    double = ServerDouble()
    await double.start(beside=server)
    yield double
    await double.stop()


@pytest.fixture
async def patient(server: ServerDouble, user: Credentials) -> AsyncIterator[Network]:
    async with Gateway.connect(server.endpoint, user.identity, user.signer, reconnect=SOON) as connected:
        yield connected.network(CHANNEL)


async def announce(contract: Contract, *names: str) -> None:
    for name in names:
        await contract.submit("announce", name, "")


def number(item: object) -> int:
    for path in (("header", "number"), ("number",), ("block", "header", "number")):
        value: object = item
        for name in path:
            value = getattr(value, name, None)
        if isinstance(value, int):
            return value
    raise AssertionError(item)


KINDS: dict[str, Callable[[Network], EventStream[object]]] = {
    "whole": lambda network: network.block_events(0),  # type: ignore[dict-item,return-value]
    "filtered": lambda network: network.filtered_block_events(0),  # type: ignore[dict-item,return-value]
    "private": lambda network: network.private_block_events(0),  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize("kind", KINDS)
async def test_blocks_go_on_after_the_peer_was_restarted(
    patient: Network, contract: Contract, server: ServerDouble, kind: str
) -> None:
    await announce(contract, "a", "b")
    async with asyncio.timeout(10), KINDS[kind](patient) as stream:
        seen = [number(await anext(stream)) for _ in range(2)]
        await server.restart(0.1)
        seen += [number(await anext(stream))]
    assert seen == [0, 1, 2]


async def test_events_of_several_blocks_over_a_break_after_each(
    patient: Network, contract: Contract, server: ServerDouble
) -> None:
    server.hold = True
    for names in ("ab", "c", "de"):
        commits = [await contract.submit_async("announce", name, "") for name in names]
        await server.cut()
        await commits[-1].status()
    server.break_after = 1
    async with asyncio.timeout(10), patient.chaincode_events(CHAINCODE, start_block=0) as events:
        seen = [(await anext(events)).name for _ in "abcde"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.3)
    assert seen == ["a", "b", "c", "d", "e"]
    assert server.calls.count("ChaincodeEvents") > 3


async def test_the_next_block_stays_the_same_one_when_the_first_call_breaks(
    patient: Network, contract: Contract, server: ServerDouble
) -> None:
    """What is committed between the break and the next call is not missed."""
    async with asyncio.timeout(10), patient.chaincode_events(CHAINCODE) as events:
        await server.called("ChaincodeEvents")
        waiting = asyncio.ensure_future(anext(events))
        await server.restart()
        server.ledger.order(*[])  # an empty block, so that numbers and events differ
        async with Gateway.connect(
            server.endpoint, server.ledger.members[0].user.identity, server.ledger.members[0].user.signer
        ) as another:
            await announce(another.network(CHANNEL).contract(CHAINCODE), "missed?")
        assert (await waiting).name == "missed?"


async def test_another_peer_takes_over_a_stream(
    server: ServerDouble, other: ServerDouble, user: Credentials, contract: Contract
) -> None:
    await announce(contract, "a")
    both = [server.endpoint, other.endpoint]
    async with (
        asyncio.timeout(10),
        Gateway.connect(both, user.identity, user.signer, reconnect=SOON) as gateway,
        gateway.network(CHANNEL).chaincode_events(CHAINCODE, start_block=0) as events,
    ):
        assert (await anext(events)).name == "a"
        await server.stop()
        async with Gateway.connect(other.endpoint, user.identity, user.signer) as another:
            await announce(another.network(CHANNEL).contract(CHAINCODE), "b")
        assert (await anext(events)).name == "b"
    await server.start(int(server.endpoint.address.rpartition(":")[2]))


async def test_a_peer_that_is_behind_is_waited_for(patient: Network, contract: Contract, server: ServerDouble) -> None:
    await announce(contract, "a")
    async with asyncio.timeout(10), patient.block_events(1) as blocks:
        await anext(blocks)
        await server.stop()
        kept = server.ledger.blocks.pop()
        await server.start(int(server.endpoint.address.rpartition(":")[2]))
        waiting = asyncio.ensure_future(anext(blocks))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        server.ledger.blocks.append(kept)
        await announce(contract, "b")
        assert (await waiting).header.number == 2


async def test_a_stream_gives_up_when_patience_ends(
    server: ServerDouble, user: Credentials, contract: Contract
) -> None:
    await announce(contract, "a")
    policy = Reconnect(first=0.02, most=0.1, patience=0.5)
    async with (
        Gateway.connect(server.endpoint, user.identity, user.signer, reconnect=policy) as gateway,
        gateway.network(CHANNEL).chaincode_events(CHAINCODE, start_block=0) as events,
    ):
        await anext(events)
        await server.stop()
        began = time.monotonic()
        with pytest.raises(EventsError) as caught:
            await anext(events)
        assert 0.4 < time.monotonic() - began < 3
        assert [one async for one in events] == []
    assert caught.value.grpc_code is GONE
    await server.start()


async def test_a_stream_that_never_connected_fails_at_once(user: Credentials) -> None:
    async with Gateway.connect("127.0.0.1:1", user.identity, user.signer) as gateway:
        network = gateway.network(CHANNEL)
        for stream in (network.block_events(0), network.block_events(), network.fetch_blocks(0, 1)):
            with pytest.raises(DeliverError):
                await asyncio.wait_for(anext(stream), 5)
        for start in (0, None):
            with pytest.raises(EventsError):
                await asyncio.wait_for(anext(network.chaincode_events(CHAINCODE, start)), 5)


async def test_closing_ends_a_pause_between_tries(patient: Network, contract: Contract, server: ServerDouble) -> None:
    await announce(contract, "a")
    stream = patient.chaincode_events(CHAINCODE, start_block=0)
    await anext(stream)
    await server.stop()
    waiting = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(0.1)
    stream.close()
    assert await asyncio.wait_for(waiting, 2) is None
    await server.start()


async def test_a_timeout_during_a_break_loses_nothing(
    patient: Network, contract: Contract, server: ServerDouble
) -> None:
    await announce(contract, "a", "b")
    stream = patient.chaincode_events(CHAINCODE, start_block=0)
    server.break_after = 1
    await anext(stream)
    await server.stop()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.05)
    await server.start(int(server.endpoint.address.rpartition(":")[2]))
    assert (await asyncio.wait_for(anext(stream), 5)).name == "b"
    stream.close()


async def test_a_range_of_blocks_is_fetched_to_its_end_over_breaks(
    patient: Network, contract: Contract, server: ServerDouble
) -> None:
    await announce(contract, "a", "b")
    server.break_after = 1
    async with asyncio.timeout(10), patient.fetch_blocks(0, 2) as blocks:
        seen = [block.header.number async for block in blocks]
    assert seen == [0, 1, 2]
    assert server.calls.count("Deliver") == 3


async def test_a_fetch_that_brings_nothing_is_not_repeated(patient: Network, server: ServerDouble) -> None:
    server.faults["Deliver"] = [Fault(GONE, "gone")]
    with pytest.raises(DeliverError, match="gone"):
        await patient.fetch_block(0)


def test_pauses_double_up_to_their_bound() -> None:
    backoff = Backoff(0.1, 0.4)
    pauses = [backoff.pause() for _ in range(6)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, [0.1, 0.2, 0.4, 0.4, 0.4, 0.4], strict=True))
    backoff.reset()
    assert backoff.pause() <= 0.1
