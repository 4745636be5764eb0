"""Ordering: what is refused and how, when blocks are cut, what they look like; nothing acknowledged is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_configuration_pb2

from goldengrain.network.embedded import blocks as tools
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.config import BatchSettings, ChannelConfig
from goldengrain.network.embedded.cutter import Queued, cut
from goldengrain.network.embedded.errors import BroadcastRefusedError, LedgerError
from goldengrain.network.embedded.orderer import Orderer, addressed_channel
from goldengrain.network.embedded.policies import SignedData
from tests.network.embedded.core.kit import Consortium, Signer, leave_update, put, signed_update

SMALL = BatchSettings(max_message_count=3, preferred_max_bytes=100, absolute_max_bytes=1000, timeout=1)


@pytest.fixture
async def orderer(consortium: Consortium, channel: Channel) -> AsyncIterator[Orderer]:
    orderer = Orderer(channel, consortium.block_signer(), time.time)
    await orderer.start()
    yield orderer
    await orderer.stop()


def with_timeout(channel: Channel, seconds: float, count: int = 10) -> None:
    """Shorten or lengthen the batch settings without a configuration block."""
    channel.config.batch = replace(channel.config.batch, timeout=seconds, max_message_count=count)


async def settled(orderer: Orderer, queued: int) -> None:
    """The orderer takes a batch off its queue just after the block's readers have been woken."""
    for _ in range(100):
        if orderer.queued == queued:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{orderer.queued} envelopes are queued, not {queued}")


# -- cutting


def entries(*sizes: int, config: int = -1) -> list[Queued]:
    return [Queued(n, b"", size, 0, n == config, 0.0) for n, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("pending", "expected"),
    [
        (entries(), None),
        (entries(10, 10), None),
        (entries(10, 10, 10), 3),
        (entries(10, 10, 10, 10), 3),
        (entries(60, 40), None),
        (entries(60, 41), 1),
        (entries(101), 1),
        (entries(10, 101), 1),
        (entries(10, 10, config=0), 1),
        (entries(10, 10, config=1), 1),
        (entries(10, 10, 10, config=2), 2),
    ],
)
def test_cutting_by_count_and_bytes(pending: list[Queued], expected: int | None) -> None:
    assert cut(pending, SMALL) == expected


async def test_a_full_batch_is_cut_at_once(consortium: Consortium, channel: Channel, orderer: Orderer) -> None:
    with_timeout(channel, 60, count=3)
    envelopes = [(await consortium.prepare(channel, put(f"k{n}", "1"))).envelope() for n in range(7)]
    for envelope in envelopes:
        await orderer.broadcast(envelope)
    await asyncio.wait_for(channel.ledger.arrivals.wait_for_height(4), 5)
    assert list(channel.ledger.chain.block(2).data.data) == envelopes[:3]
    assert list(channel.ledger.chain.block(3).data.data) == envelopes[3:6]
    await settled(orderer, 1)


async def test_the_timeout_runs_from_the_first_envelope(
    consortium: Consortium, channel: Channel, orderer: Orderer
) -> None:
    with_timeout(channel, 1.0)
    started = time.monotonic()
    await orderer.broadcast((await consortium.prepare(channel, put("a", "1"))).envelope())
    await asyncio.sleep(0.6)
    await orderer.broadcast((await consortium.prepare(channel, put("b", "1"))).envelope())
    await asyncio.wait_for(channel.ledger.arrivals.wait_for_height(3), 5)
    assert 0.99 <= time.monotonic() - started < 1.5  # from the second one on it would be 1.6
    assert len(channel.ledger.chain.block(2).data.data) == 2


async def test_blocks_chain_and_are_signed(consortium: Consortium, channel: Channel, orderer: Orderer) -> None:
    with_timeout(channel, 60, count=1)
    for number in range(4):
        await orderer.broadcast((await consortium.prepare(channel, put(f"k{number}", "1"))).envelope())
    await asyncio.wait_for(channel.ledger.arrivals.wait_for_height(6), 5)
    channel.ledger.chain.verify()
    for number in range(1, 6):
        block = channel.ledger.chain.block(number)
        signed = [SignedData(s.data, s.identity, s.signature) for s in tools.block_signatures(block)]
        assert len(signed) == 1
        channel.check_policy("/Channel/Orderer/BlockValidation", signed)
        assert len(tools.commit_hash(block)) == 32
        assert tools.orderer_view(block).metadata.metadata[common_pb2.TRANSACTIONS_FILTER] == b""


# -- refusals


async def refusal(orderer: Orderer, envelope: bytes) -> tuple[str, str]:
    with pytest.raises(BroadcastRefusedError) as caught:
        await orderer.broadcast(envelope)
    return common_pb2.Status.Name(caught.value.status), caught.value.info


def changed(envelope: bytes, change: Callable[[common_pb2.ChannelHeader], None], signer: Signer | None = None) -> bytes:
    message = common_pb2.Envelope.FromString(envelope)
    payload = common_pb2.Payload.FromString(message.payload)
    header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    change(header)
    payload.header.channel_header = header.SerializeToString()
    raw = payload.SerializeToString()
    return common_pb2.Envelope(payload=raw, signature=signer.sign(raw) if signer else b"").SerializeToString()


async def test_refusals_are_worded_as_fabrics(consortium: Consortium, channel: Channel, orderer: Orderer) -> None:
    good = (await consortium.prepare(channel, put("a", "1"))).envelope()
    message = common_pb2.Envelope.FromString(good)
    writers = (
        "implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the "
        "'Writers' sub-policies to be satisfied: permission denied"
    )
    unsigned = common_pb2.Envelope(payload=message.payload).SerializeToString()
    assert await refusal(orderer, unsigned) == ("FORBIDDEN", writers)
    by_peer = await consortium.prepare(channel, put("a", "1"), creator=consortium.peer(1))
    assert await refusal(orderer, by_peer.envelope()) == ("FORBIDDEN", writers)
    assert await refusal(orderer, b"") == ("BAD_REQUEST", "could not determine channel ID: header not set")
    garbage = common_pb2.Envelope(payload=b"\xff\xff").SerializeToString()
    assert (await refusal(orderer, garbage))[1].startswith(
        "could not determine channel ID: error unmarshalling Payload"
    )
    elsewhere = changed(good, lambda header: setattr(header, "channel_id", "other"))
    assert await refusal(orderer, elsewhere) == ("BAD_REQUEST", "channel does not exist")
    direct = changed(good, lambda header: setattr(header, "type", common_pb2.CONFIG))
    assert await refusal(orderer, direct) == (
        "BAD_REQUEST",
        "message is of type that cannot be processed directly",
    )
    channel.config.batch = replace(channel.config.batch, absolute_max_bytes=100)
    status, info = await refusal(orderer, good)
    assert (status, info.split(" and ")[1]) == ("BAD_REQUEST", "exceeds maximum allowed 100 bytes")
    assert orderer.queued == 0


async def test_an_expired_client_is_refused(consortium: Consortium, channel: Channel) -> None:
    later = (datetime.now(UTC) + timedelta(days=365 * 101)).timestamp()
    orderer = Orderer(channel, consortium.block_signer(), lambda: later)
    await orderer.start()
    envelope = (await consortium.prepare(channel, put("a", "1"))).envelope()
    assert await refusal(orderer, envelope) == ("BAD_REQUEST", "broadcast client identity expired")
    await orderer.stop()


async def test_a_stopped_orderer_says_so(consortium: Consortium, channel: Channel) -> None:
    orderer = Orderer(channel, consortium.block_signer(), time.time)
    envelope = (await consortium.prepare(channel, put("a", "1"))).envelope()
    assert (await refusal(orderer, envelope))[0] == "SERVICE_UNAVAILABLE"


def test_the_addressed_channel() -> None:
    with pytest.raises(BroadcastRefusedError, match="header not set"):
        addressed_channel(common_pb2.Envelope())
    empty = common_pb2.Payload(header=common_pb2.Header())
    with pytest.raises(BroadcastRefusedError, match="channel header not set"):
        addressed_channel(common_pb2.Envelope(payload=empty.SerializeToString()))


# -- stopping, starting, failing


async def test_what_is_queued_survives_stop_and_start(
    consortium: Consortium, channel: Channel, orderer: Orderer
) -> None:
    with_timeout(channel, 60)
    prepared = [await consortium.prepare(channel, put(f"k{n}", "1")) for n in range(3)]
    for one in prepared:
        await orderer.broadcast(one.envelope())
    await orderer.stop()
    await channel.close()
    again = Channel.open(channel.ledger.path)
    with_timeout(again, 0.05)
    second = Orderer(again, consortium.block_signer(), time.time)
    await second.start()
    for one in prepared:
        assert (await asyncio.wait_for(again.ledger.arrivals.wait_for_transaction(one.tx_id), 5)).block_number == 2
    await second.stop()
    assert again.ledger.queue() == []
    await again.close()


async def test_many_at_once_share_disk_writes(
    consortium: Consortium, channel: Channel, orderer: Orderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_timeout(channel, 60, count=1000)
    writes: list[int] = []
    enqueue = channel.ledger.enqueue

    async def counted(envelopes: list[tuple[bytes, int]]) -> list[int]:
        writes.append(len(envelopes))
        return await enqueue(envelopes)

    monkeypatch.setattr(channel.ledger, "enqueue", counted)
    envelopes = [(await consortium.prepare(channel, put(f"k{n}", "1"))).envelope() for n in range(50)]
    await asyncio.gather(*(orderer.broadcast(envelope) for envelope in envelopes))
    assert sum(writes) == 50
    assert len(writes) <= 5
    assert [row.envelope for row in channel.ledger.queue()] == envelopes


async def test_a_full_disk_delays_and_loses_nothing(
    consortium: Consortium, channel: Channel, orderer: Orderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_timeout(channel, 0.05)
    prepared = await consortium.prepare(channel, put("a", "1"))
    write_block = channel.ledger._store.write_block
    failures = iter([LedgerError("the ledger cannot commit a block: database or disk is full")] * 2)

    def failing(row: object) -> None:
        error = next(failures, None)
        if error is not None:
            raise error
        write_block(row)  # type: ignore[arg-type]

    monkeypatch.setattr(channel.ledger._store, "write_block", failing)
    await orderer.broadcast(prepared.envelope())
    status = await asyncio.wait_for(channel.ledger.arrivals.wait_for_transaction(prepared.tx_id), 10)
    assert (status.block_number, channel.height) == (2, 3)


async def test_an_envelope_that_cannot_be_kept_is_not_acknowledged(
    consortium: Consortium, channel: Channel, orderer: Orderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(envelopes: object) -> list[int]:
        raise LedgerError("the ledger cannot queue envelopes: database or disk is full")

    monkeypatch.setattr(channel.ledger._store, "write_queue", failing)
    envelope = (await consortium.prepare(channel, put("a", "1"))).envelope()
    assert await refusal(orderer, envelope) == (
        "SERVICE_UNAVAILABLE",
        "the ledger cannot queue envelopes: database or disk is full",
    )


# -- configuration


def batch_timeout_update(config: ChannelConfig, timeout: str, *signers: Signer, version: int = 1) -> bytes:
    """A configuration update that sets the batch timeout, signed by `signers`, sent by the last of them."""
    value = configtx_pb2.ConfigValue(
        version=version,
        mod_policy="Admins",
        value=orderer_configuration_pb2.BatchTimeout(timeout=timeout).SerializeToString(),
    )
    update = configtx_pb2.ConfigUpdate(channel_id=config.channel_id)
    update.read_set.groups["Orderer"].SetInParent()
    update.write_set.groups["Orderer"].values["BatchTimeout"].CopyFrom(value)
    return signed_update(config.channel_id, update, *signers)


async def test_a_configuration_update_takes_effect(consortium: Consortium, channel: Channel, orderer: Orderer) -> None:
    update = batch_timeout_update(channel.config, "50ms", consortium.orderer_admin)
    await orderer.broadcast(update)
    await asyncio.wait_for(channel.ledger.arrivals.wait_for_height(3), 5)
    assert channel.config.batch.timeout == 0.05
    assert (channel.config.sequence, channel.config.block_number) == (1, 2)
    assert tools.last_config(channel.ledger.chain.block(2)) == 2
    await orderer.broadcast((await consortium.prepare(channel, put("a", "1"))).envelope())
    await asyncio.wait_for(channel.ledger.arrivals.wait_for_height(4), 5)
    assert tools.last_config(channel.ledger.chain.block(3)) == 2
    # what was recorded of real orderers
    status, info = await refusal(orderer, update)
    assert status == "BAD_REQUEST"
    assert info == (
        "error applying config update to existing channel 'market': error authorizing update: error validating "
        "DeltaSet: attempt to set key [Value]  /Channel/Orderer/BatchTimeout to version 1, but key is at version 1"
    )


async def test_configuration_updates_that_are_refused(
    consortium: Consortium, channel: Channel, orderer: Orderer
) -> None:
    prefix = "error applying config update to existing channel 'market': error authorizing update: error validating "
    by_client = batch_timeout_update(channel.config, "1s", consortium.user(1))
    status, info = await refusal(orderer, by_client)
    assert status == "BAD_REQUEST"
    assert info.removeprefix(prefix) == (
        "DeltaSet: policy for [Value]  /Channel/Orderer/BatchTimeout not satisfied: implicit policy evaluation failed "
        "- 0 sub-policies were satisfied, but this policy requires 1 of the 'Admins' sub-policies to be satisfied"
    )
    skipping = batch_timeout_update(channel.config, "1s", consortium.orderer_admin, version=7)
    assert (await refusal(orderer, skipping))[1] == (
        prefix
        + "DeltaSet: attempt to set key [Value]  /Channel/Orderer/BatchTimeout to version 7, but key is at version 0"
    )
    senseless = batch_timeout_update(channel.config, "soon", consortium.orderer_admin)
    assert "is not a duration" in (await refusal(orderer, senseless))[1]
    empty = signed_update("market", configtx_pb2.ConfigUpdate(channel_id="market"), consortium.orderer_admin)
    assert "delta set was empty" in (await refusal(orderer, empty))[1]
    assert channel.config.sequence == 0


async def test_an_organisation_can_leave_the_channel(
    consortium: Consortium, channel: Channel, orderer: Orderer
) -> None:
    """A changed group lists what stays; what it doesn't list is gone. Envelopes of the leaver are dropped then."""
    with_timeout(channel, 60, count=100)
    leaver = await consortium.prepare(channel, put("a", "1"), creator=consortium.user(3))
    admins = [consortium.user(n, "Admin") for n in (1, 2, 3)]
    config = leave_update(channel, "Org3MSP", *admins[:2])
    await orderer.broadcast(config)
    await orderer.broadcast(leaver.envelope())
    await asyncio.wait_for(channel.ledger.arrivals.wait_for_height(3), 5)
    assert channel.config.application_msp_ids == ["Org1MSP", "Org2MSP"]
    with_timeout(channel, 0.05)
    stayer = await consortium.prepare(channel, put("b", "1"))
    await orderer.broadcast(stayer.envelope())
    await asyncio.wait_for(channel.ledger.arrivals.wait_for_transaction(stayer.tx_id), 5)
    assert channel.ledger.chain.transaction_status(leaver.tx_id) is None
    await settled(orderer, 0)


async def test_an_invalid_configuration_block_changes_nothing(consortium: Consortium, channel: Channel) -> None:
    """A configuration that doesn't follow the present one is committed as invalid, also over a restart."""
    stale = channel.ledger.chain.block(0).data.data[0]
    forged = changed(stale, lambda header: None, consortium.orderer_admin)
    message = common_pb2.Envelope.FromString(forged)
    payload = common_pb2.Payload.FromString(message.payload)
    payload.header.signature_header = common_pb2.SignatureHeader(
        creator=consortium.orderer_admin.identity, nonce=b"nonce"
    ).SerializeToString()
    raw = payload.SerializeToString()
    envelope = common_pb2.Envelope(payload=raw, signature=consortium.orderer_admin.sign(raw)).SerializeToString()
    assert await consortium.commit(channel, envelope) == ["INVALID_CONFIG_TRANSACTION"]
    assert channel.config.block_number == 0
    await channel.close()
    again = Channel.open(channel.ledger.path)
    assert (again.height, again.config.block_number) == (3, 0)
    await again.close()
