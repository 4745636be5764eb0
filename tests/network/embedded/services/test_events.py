"""Chaincode events and Deliver: what readers of the channel get, and what they are refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import grpc.aio
import pytest
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2

from goldengrain.gateway.identity import Credentials
from goldengrain.network.embedded.blocks import make_block, sign_block
from goldengrain.network.home import Home
from tests.network.embedded.core.kit import Consortium, leave_update
from tests.network.embedded.services.deployed import Deployed, deployed

OLDEST = ab_pb2.SeekPosition(oldest=ab_pb2.SeekOldest())
NEWEST = ab_pb2.SeekPosition(newest=ab_pb2.SeekNewest())
NEXT = ab_pb2.SeekPosition(next_commit=ab_pb2.SeekNextCommit())


def at(number: int) -> ab_pb2.SeekPosition:
    return ab_pb2.SeekPosition(specified=ab_pb2.SeekSpecified(number=number))


async def take(stream: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(5):
        return [await anext(stream) for _ in range(count)]


async def test_events_arrive_after_their_block_and_resume_after_any_transaction(net: Deployed) -> None:
    gateway = await net.gateway()
    network = gateway.network("market")
    contract = network.contract("kv")
    start = net.network.channels["market"].height
    results = [await contract.submit("event", "sold", str(number)) for number in range(3)]
    async with network.chaincode_events("kv", start_block=start) as events:
        seen = await take(aiter(events), 3)
    assert [(event.name, event.payload, event.transaction_id, event.block) for event in seen] == [
        ("sold", str(number).encode(), result.transaction_id, result.block) for number, result in enumerate(results)
    ]


async def test_events_of_refused_transactions_and_other_chaincodes_are_left_out(net: Deployed) -> None:
    gateway = await net.gateway()
    network = gateway.network("market")
    contract = network.contract("kv")
    start = net.network.channels["market"].height
    refused = await contract.propose("event", "refused", "", endorsing_organizations=["Org1MSP"]).endorse()
    assert not (await (await refused.submit()).status()).successful
    await contract.submit("event", "kept", "")
    async with network.chaincode_events("kv", start_block=start) as events:
        assert [event.name for event in await take(aiter(events), 1)] == ["kept"]
    async with network.chaincode_events("other", start_block=0) as others:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(aiter(others))


def seek(
    user: Credentials,
    start: ab_pb2.SeekPosition,
    stop: ab_pb2.SeekPosition,
    *,
    wait: bool = True,
    channel: str = "market",
    timestamp: float | None = None,
    signature: bytes | None = None,
) -> common_pb2.Envelope:
    """An envelope that asks for blocks."""
    behavior = ab_pb2.SeekInfo.BLOCK_UNTIL_READY if wait else ab_pb2.SeekInfo.FAIL_IF_NOT_READY
    header = common_pb2.ChannelHeader(type=common_pb2.DELIVER_SEEK_INFO, channel_id=channel)
    header.timestamp.FromNanoseconds(int((time.time() if timestamp is None else timestamp) * 1e9))
    creator = common_pb2.SignatureHeader(creator=user.identity.serialized, nonce=b"n" * 24)
    payload = common_pb2.Payload(
        header=common_pb2.Header(
            channel_header=header.SerializeToString(), signature_header=creator.SerializeToString()
        ),
        data=ab_pb2.SeekInfo(start=start, stop=stop, behavior=behavior).SerializeToString(),
    ).SerializeToString()
    if signature is None:
        signature = user.signer.sign(sha256(payload).digest())
    return common_pb2.Envelope(payload=payload, signature=signature)


async def deliver(
    channel: grpc.aio.Channel, method: str, response: Any, *envelopes: common_pb2.Envelope, answers: int = 100
) -> list[tuple[str, Any]]:
    """Send envelopes on one stream and read until it ends (or `answers` have come): what came, shortened."""
    call: Any = channel.stream_stream(
        method,
        request_serializer=common_pb2.Envelope.SerializeToString,
        response_deserializer=response.FromString,
    )()
    found: list[tuple[str, Any]] = []
    async with asyncio.timeout(5):
        for envelope in envelopes:
            await call.write(envelope)
        if answers == 100:
            await call.done_writing()
        while len(found) < answers and (answer := await call.read()) is not grpc.aio.EOF:
            kind = answer.WhichOneof("Type")
            part = getattr(answer, kind)
            if kind == "status":
                found.append((kind, common_pb2.Status.Name(part)))
            elif kind == "filtered_block":
                found.append((kind, part.number))
            else:
                found.append((kind, (part.block if kind == "block_and_private_data" else part).header.number))
    call.cancel()
    return found


FILTERED = "/protos.Deliver/DeliverFiltered"
RANGES: list[tuple[ab_pb2.SeekPosition, ab_pb2.SeekPosition, bool, list[tuple[str, Any]]]] = [
    (at(0), at(1), True, [("filtered_block", 0), ("filtered_block", 1), ("status", "SUCCESS")]),
    (OLDEST, OLDEST, True, [("filtered_block", 0), ("status", "SUCCESS")]),
    (at(3), at(2), True, [("status", "BAD_REQUEST")]),
    (at(1000), at(1001), False, [("status", "NOT_FOUND")]),
    (at(1000), at(1001), True, [("status", "NOT_FOUND")]),
    (ab_pb2.SeekPosition(), ab_pb2.SeekPosition(), True, [("status", "BAD_REQUEST")]),
]


@pytest.mark.parametrize(("start", "stop", "wait", "answers"), RANGES)
async def test_ranges_of_blocks(
    net: Deployed,
    start: ab_pb2.SeekPosition,
    stop: ab_pb2.SeekPosition,
    wait: bool,
    answers: list[tuple[str, Any]],
) -> None:
    channel = await net.peer_channel()
    envelope = seek(net.user(), start, stop, wait=wait)
    assert await deliver(channel, FILTERED, events_pb2.DeliverResponse, envelope) == answers


async def test_the_next_block_is_waited_for_and_later_ones_are_not_found(net: Deployed) -> None:
    channel, user = await net.peer_channel(), net.user()
    height = net.network.channels["market"].height
    newest = seek(user, NEWEST, NEWEST)
    assert await deliver(channel, FILTERED, events_pb2.DeliverResponse, newest) == [
        ("filtered_block", height - 1),
        ("status", "SUCCESS"),
    ]
    failing = seek(user, at(height - 1), at(height), wait=False)
    assert await deliver(channel, FILTERED, events_pb2.DeliverResponse, failing) == [
        ("filtered_block", height - 1),
        ("status", "NOT_FOUND"),
    ]
    waiting = asyncio.create_task(
        deliver(channel, FILTERED, events_pb2.DeliverResponse, seek(user, NEXT, at(height)), answers=2)
    )
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await (await net.contract()).submit("put", "k", "v")
    assert await waiting == [("filtered_block", height), ("status", "SUCCESS")]


async def test_a_stream_serves_request_after_request_until_one_fails(net: Deployed) -> None:
    channel, user = await net.peer_channel(), net.user()
    good = seek(user, at(0), at(0))
    bad = seek(user, at(0), at(0), channel="nosuch")
    assert await deliver(channel, "/protos.Deliver/Deliver", events_pb2.DeliverResponse, good, good, bad, good) == [
        ("block", 0),
        ("status", "SUCCESS"),
        ("block", 0),
        ("status", "SUCCESS"),
        ("status", "NOT_FOUND"),
    ]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"channel": "nosuch"}, "NOT_FOUND"),
        ({"signature": b""}, "FORBIDDEN"),
        ({"signature": b"garbage"}, "FORBIDDEN"),
        ({"timestamp": 0.0}, "BAD_REQUEST"),
        ({"timestamp": time.time() - 3600}, "BAD_REQUEST"),
    ],
)
async def test_who_may_not_read_gets_a_status(net: Deployed, options: dict[str, Any], status: str) -> None:
    peer, orderer = await net.peer_channel(), await net.orderer_channel()
    envelope = seek(net.user(), at(0), at(0), **options)
    assert await deliver(peer, FILTERED, events_pb2.DeliverResponse, envelope) == [("status", status)]
    broadcast = "/orderer.AtomicBroadcast/Deliver"
    assert await deliver(orderer, broadcast, ab_pb2.DeliverResponse, envelope) == [("status", status)]


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


async def commit_a_block(net: Deployed) -> None:
    """Have the channel commit one more block, whatever the time is."""
    channel = net.network.channels["market"]
    signer = Consortium(net.home, net.network.topology).block_signer()
    block = make_block(channel.height, channel.ledger.chain.last_hash, [b"no transaction"])
    sign_block(block, signer, channel.config.block_number)
    await channel.commit(block)


async def test_a_stream_ends_when_its_readers_certificate_expires(home: Home) -> None:
    clock = Clock()
    async with deployed(home, clock=clock) as net:
        channel, user, height = await net.peer_channel(), net.user(), net.network.channels["market"].height
        reading = asyncio.create_task(
            deliver(channel, FILTERED, events_pb2.DeliverResponse, seek(user, at(height), at(1000)), answers=2)
        )
        await asyncio.sleep(0.05)
        await commit_a_block(net)
        await asyncio.sleep(0.05)
        assert not reading.done()
        clock.now += 30 * 365 * 86_400
        await commit_a_block(net)
        assert await reading == [("filtered_block", height), ("status", "FORBIDDEN")]
        late = seek(user, at(0), at(0), timestamp=clock.now)
        assert await deliver(channel, FILTERED, events_pb2.DeliverResponse, late) == [("status", "FORBIDDEN")]


async def test_a_stream_ends_when_its_readers_organisation_leaves_the_channel(net: Deployed) -> None:
    consortium, market = Consortium(net.home, net.network.topology), net.network.channels["market"]
    channel, height = await net.peer_channel(), market.height
    leaver, stayer = [
        asyncio.create_task(
            deliver(channel, FILTERED, events_pb2.DeliverResponse, seek(net.user(number), NEXT, at(1000)), answers=1)
        )
        for number in (3, 2)
    ]
    await asyncio.sleep(0.05)
    admins = [consortium.user(number, "Admin") for number in (1, 2)]
    await net.network.orderers["market"].broadcast(leave_update(market, "Org3MSP", *admins))
    assert await leaver == [("status", "FORBIDDEN")]
    assert await stayer == [("filtered_block", height)]


async def test_malformed_requests_are_bad_requests(net: Deployed) -> None:
    channel = await net.peer_channel()
    for envelope in (common_pb2.Envelope(), common_pb2.Envelope(payload=b"\xff\xff\xff")):
        assert await deliver(channel, FILTERED, events_pb2.DeliverResponse, envelope) == [("status", "BAD_REQUEST")]


async def test_the_orderer_delivers_blocks_without_the_peers_metadata(net: Deployed) -> None:
    channel = await net.orderer_channel()
    call: Any = channel.stream_stream(
        "/orderer.AtomicBroadcast/Deliver",
        request_serializer=common_pb2.Envelope.SerializeToString,
        response_deserializer=ab_pb2.DeliverResponse.FromString,
    )()
    await call.write(seek(net.user(), at(1), at(1)))
    answer = await call.read()
    call.cancel()
    stored = net.network.channels["market"].ledger.chain.block(1)
    assert answer.block.header == stored.header
    assert answer.block.data == stored.data
    assert answer.block.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] == b""


async def test_private_data_is_delivered_to_members_only(net: Deployed) -> None:
    """Approvals are private data of the organisation that made them."""
    height = net.network.channels["market"].height
    for number in (1, 2):
        network = (await net.gateway(number)).network("market")
        async with network.private_block_events(0) as blocks:
            answers = await take(aiter(blocks), height)
        collections = [
            collection.collection_name
            for answer in answers
            for private in answer.private_data.values()
            for namespace in private.ns_pvt_rwset
            for collection in namespace.collection_pvt_rwset
        ]
        assert collections == [f"_implicit_org_Org{number}MSP"]
