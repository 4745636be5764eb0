"""Chaincode events and block streams: positions, ends, checkpoints, errors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from goldengrain.gateway.blocks import transactions
from goldengrain.gateway.checkpoint import Checkpointer, FileCheckpointer
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import DeliverError, EventsError, SigningError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.network import Network
from goldengrain.gateway.streams import EventStream
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import Fault, ServerDouble

T = TypeVar("T")


async def take(stream: EventStream[T], count: int) -> list[T]:
    async with stream:
        return [await asyncio.wait_for(anext(stream), 2) for _ in range(count)]


async def announce(contract: Contract, *names: str) -> list[str]:
    return [(await contract.submit("announce", name, f"of {name}")).transaction_id for name in names]


async def test_events_from_a_block_on(network: Network, contract: Contract) -> None:
    ids = await announce(contract, "a", "b")
    events = await take(network.chaincode_events(CHAINCODE, start_block=0), 2)
    assert [(one.block, one.name, one.payload, one.chaincode) for one in events] == [
        (1, "a", b"of a", CHAINCODE),
        (2, "b", b"of b", CHAINCODE),
    ]
    assert [one.transaction_id for one in events] == ids


async def test_events_without_a_position_start_at_the_next_block(
    network: Network, contract: Contract, server: ServerDouble
) -> None:
    await announce(contract, "before")
    async with network.chaincode_events(CHAINCODE) as events:
        await server.called("ChaincodeEvents")
        await announce(contract, "after")
        assert (await anext(events)).name == "after"


async def test_events_of_invalid_transactions_are_not_seen(
    network: Network, contract: Contract, server: ServerDouble
) -> None:
    transaction = await contract.propose("announce", "twice", "").endorse()
    await transaction.submit()
    await transaction.submit()
    await announce(contract, "last")
    events = await take(network.chaincode_events(CHAINCODE, start_block=0), 2)
    assert [one.name for one in events] == ["twice", "last"]


async def test_a_closed_stream_ends(network: Network, contract: Contract) -> None:
    await announce(contract, "a")
    stream = network.chaincode_events(CHAINCODE, start_block=0)
    await anext(stream)
    stream.close()
    assert [one async for one in stream] == []


async def test_events_resume_within_a_block_without_gap_or_repeat(
    network: Network, contract: Contract, server: ServerDouble, tmp_path: Path
) -> None:
    server.hold = True
    commits = [await contract.submit_async("announce", name, "") for name in "abc"]
    await server.cut()
    await commits[-1].status()
    seen = []
    for _ in range(3):
        checkpoint = FileCheckpointer(tmp_path / "checkpoint.json")
        (event,) = await take(network.chaincode_events(CHAINCODE, start_block=1, checkpoint=checkpoint), 1)
        checkpoint.record_event(event)
        seen.append(event.name)
    assert seen == ["a", "b", "c"]


async def test_a_recorded_block_is_not_seen_again(network: Network, contract: Contract) -> None:
    await announce(contract, "a", "b")
    checkpoint = Checkpointer()
    checkpoint.record_block(1)
    (block,) = await take(network.block_events(0, checkpoint), 1)
    assert block.header.number == 2


def test_a_damaged_checkpoint_says_so(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(EventsError, match="is not a checkpoint"):
        FileCheckpointer(tmp_path / "c.json")


async def test_events_signed_elsewhere(server: ServerDouble, user: Credentials, contract: Contract) -> None:
    await announce(contract, "a")
    async with Gateway.connect(server.endpoint, user.identity) as gateway:
        request = gateway.network(CHANNEL).chaincode_events_request(CHAINCODE, 0)
        with pytest.raises(SigningError):
            request.stream()
        request.sign(user.signer.sign(request.digest))
        assert [one.name for one in await take(request.stream(), 1)] == ["a"]


async def test_a_refused_event_stream_is_an_events_error(network: Network, server: ServerDouble) -> None:
    server.faults["ChaincodeEvents"] = [Fault(grpc.StatusCode.PERMISSION_DENIED, "not you")]
    with pytest.raises(EventsError, match="not you") as caught:
        await take(network.chaincode_events(CHAINCODE, start_block=0), 1)
    assert caught.value.grpc_code is grpc.StatusCode.PERMISSION_DENIED


async def test_fetching_blocks_by_number(network: Network, contract: Contract) -> None:
    ids = await announce(contract, "a", "b")
    assert await network.height() == 3
    block = await network.fetch_block(1)
    assert transactions(block)[0].transaction_id == ids[0]
    numbers = [one.header.number async for one in network.fetch_blocks(0, 2)]
    assert numbers == [0, 1, 2]


async def test_a_block_that_is_not_there_yet_is_not_found(network: Network) -> None:
    with pytest.raises(DeliverError) as caught:
        await network.fetch_block(9)
    assert caught.value.status == "NOT_FOUND"


async def test_an_unknown_channel_is_not_found(gateway: Gateway) -> None:
    with pytest.raises(DeliverError, match="no such channel"):
        await gateway.network("elsewhere").height()


async def test_a_silent_peer_does_not_hang_a_fetch(network: Network, server: ServerDouble) -> None:
    server.faults["Deliver"] = [Fault(delay=30)]
    network._session.deadlines = type(network._session.deadlines)(deliver=0.1)
    with pytest.raises(DeliverError) as caught:
        await network.fetch_block(0)
    assert caught.value.grpc_code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_blocks_as_they_come(network: Network, contract: Contract) -> None:
    async with network.block_events(1) as blocks:
        await announce(contract, "a")
        assert (await anext(blocks)).header.number == 1


async def test_filtered_blocks_and_blocks_with_private_data(network: Network, contract: Contract) -> None:
    (identifier,) = await announce(contract, "a")
    (filtered,) = await take(network.filtered_block_events(1), 1)
    assert [one.txid for one in filtered.filtered_transactions] == [identifier]
    (both,) = await take(network.private_block_events(1), 1)
    assert both.block.header.number == 1
    assert both.private_data == {}


async def test_a_timeout_while_waiting_loses_no_event(network: Network, contract: Contract) -> None:
    async with network.chaincode_events(CHAINCODE, start_block=0) as events:
        for name in "ab":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.05)
            await announce(contract, name)
            assert (await asyncio.wait_for(anext(events), 2)).name == name


async def test_closing_ends_a_wait_for_the_next_item(network: Network) -> None:
    async with network.chaincode_events(CHAINCODE, start_block=0) as events:
        waiting = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0.05)
        events.close()
        assert await asyncio.wait_for(waiting, 2) is None
