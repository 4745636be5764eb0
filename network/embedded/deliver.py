"""Deliver: streams of blocks for whoever may read the channel, on peers and on the orderer.

A client sends envelopes of type DELIVER_SEEK_INFO on one stream. For each, the blocks of the wanted range follow, then
a status. After SUCCESS the stream stays open for the next envelope, after any other status it ends. The checks, in
order: payload and header parse, timestamp within 15 minutes, the channel exists, the certificate has not expired, the
policy holds, the range is sound. Expiry, and after a change of the configuration the policy, are checked again before
every block: a stream ends with FORBIDDEN once its reader may no longer read.

Start beyond the next block is NOT_FOUND whatever the behaviour asked for; the next block itself is waited for.
Peers deliver blocks with their validation codes: whole, filtered, or with the private data that the client's
organisation may see. The orderer delivers them as it made them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import grpc
import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2
from google.protobuf.message import DecodeError, Message

from goldengrain.network.embedded.access import READERS
from goldengrain.network.embedded.blocks import orderer_view
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import IdentityError, PolicyError
from goldengrain.network.embedded.filtered_blocks import filtered_block
from goldengrain.network.embedded.policies import SignedData
from goldengrain.network.embedded.proposals import TIME_WINDOW_S, creator_msp_id

__all__ = ["deliver_handler", "orderer_deliver_handler"]

Status = common_pb2.Status
_R = TypeVar("_R", bound=Message)


class _Access:
    """Whether whoever asked may read the channel, now and as long as the stream lasts."""

    def __init__(self, channel: Channel, policy: str, signed: SignedData, clock: Callable[[], float]) -> None:
        self._channel = channel
        self._policy = policy
        self._signed = signed
        self._clock = clock
        self._expires_at: datetime | None = None
        self._checked_under = -1

    def check(self) -> None:
        """Raise _Refused (FORBIDDEN) if not."""
        config = self._channel.config
        try:
            if config.sequence != self._checked_under:
                self._expires_at = config.msps.deserialize(self._signed.identity).expires_at
                self._channel.check_policy(self._policy, [self._signed])
                self._checked_under = config.sequence
        except (IdentityError, PolicyError):
            raise _Refused(Status.FORBIDDEN) from None
        if self._expires_at is not None and datetime.fromtimestamp(self._clock(), UTC) >= self._expires_at:
            raise _Refused(Status.FORBIDDEN)


@dataclass(frozen=True)
class _Seek:
    """A checked request for blocks."""

    channel: Channel
    access: _Access
    creator: bytes
    start: int
    stop: int
    wait: bool


class _Refused(Exception):
    def __init__(self, status: common_pb2.Status.ValueType) -> None:
        super().__init__(Status.Name(status))
        self.status = status


@dataclass(frozen=True)
class Flavour(Generic[_R]):
    """How one Deliver method answers: a block, and the status at the end."""

    response: type[_R]
    block: Callable[[_Seek, common_pb2.Block], _R]
    status: Callable[[common_pb2.Status.ValueType], _R]


class DeliverStream(Generic[_R]):
    """Serves one Deliver method."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        policy: str,
        clock: Callable[[], float],
        flavour: Flavour[_R],
    ) -> None:
        self._channels = channels
        self._policy = policy
        self._clock = clock
        self._flavour = flavour

    async def serve(
        self,
        requests: AsyncIterator[common_pb2.Envelope],
        context: grpc.aio.ServicerContext[common_pb2.Envelope, _R],
    ) -> AsyncIterator[_R]:
        """Answer every envelope of a stream."""
        async for envelope in requests:
            try:
                seek = self._check(envelope)
                async for block in self._blocks(seek):
                    seek.access.check()
                    yield self._flavour.block(seek, block)
            except _Refused as refused:
                yield self._flavour.status(refused.status)
                return
            yield self._flavour.status(Status.SUCCESS)

    async def _blocks(self, seek: _Seek) -> AsyncIterator[common_pb2.Block]:
        ledger = seek.channel.ledger
        if seek.wait:
            async for block in ledger.arrivals.blocks(seek.start, seek.stop):
                yield block
            return
        for number in range(seek.start, seek.stop + 1):
            if number >= ledger.chain.height:
                raise _Refused(Status.NOT_FOUND)
            yield ledger.chain.block(number)

    def _check(self, envelope: common_pb2.Envelope) -> _Seek:
        try:
            payload = common_pb2.Payload.FromString(envelope.payload)
            if not payload.HasField("header"):
                raise _Refused(Status.BAD_REQUEST)
            header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
            creator = common_pb2.SignatureHeader.FromString(payload.header.signature_header).creator
        except DecodeError:
            raise _Refused(Status.BAD_REQUEST) from None
        if abs(header.timestamp.seconds + header.timestamp.nanos / 1e9 - self._clock()) > TIME_WINDOW_S:
            raise _Refused(Status.BAD_REQUEST)
        channel = self._channels.get(header.channel_id)
        if channel is None:
            raise _Refused(Status.NOT_FOUND)
        signed = SignedData(envelope.payload, creator, envelope.signature)
        access = _Access(channel, self._policy, signed, self._clock)
        access.check()
        return _range(channel, access, creator, payload.data)


def _range(channel: Channel, access: _Access, creator: bytes, data: bytes) -> _Seek:
    try:
        seek = ab_pb2.SeekInfo.FromString(data)
    except DecodeError:
        raise _Refused(Status.BAD_REQUEST) from None
    if seek.start.WhichOneof("Type") is None or seek.stop.WhichOneof("Type") is None:
        raise _Refused(Status.BAD_REQUEST)
    height = channel.height
    start = _number(seek.start, height)
    stop = start if seek.stop.WhichOneof("Type") == "newest" and start > height - 1 else _number(seek.stop, height)
    if start > height:
        raise _Refused(Status.NOT_FOUND)
    if stop < start:
        raise _Refused(Status.BAD_REQUEST)
    return _Seek(channel, access, creator, start, stop, seek.behavior == ab_pb2.SeekInfo.BLOCK_UNTIL_READY)


def _number(position: ab_pb2.SeekPosition, height: int) -> int:
    kind = position.WhichOneof("Type")
    if kind == "oldest":
        return 0
    if kind == "newest":
        return height - 1
    if kind == "next_commit":
        return height
    return position.specified.number


def _private_data(channel: Channel, msp_id: str, number: int) -> dict[int, rwset_pb2.TxPvtReadWriteSet]:
    """Collect the private writes of a block that both the client's organisation and this network still have."""
    writes: dict[tuple[int, str, str], list[kv_rwset_pb2.KVWrite]] = {}
    for write in channel.ledger.chain.private_writes(number):
        namespace, name = write.key.namespace, write.key.collection
        collection = channel.definitions.collection(channel.config, namespace, name)
        if collection is not None and msp_id in collection.members:
            entries = writes.setdefault((write.position, namespace, name), [])
            if write.write:  # else it was purged: that the collection was written is still told
                entries.append(kv_rwset_pb2.KVWrite.FromString(write.write))
    found: dict[int, rwset_pb2.TxPvtReadWriteSet] = {}
    for (position, namespace, name), entries in sorted(writes.items(), key=lambda item: item[0]):
        private = found.setdefault(position, rwset_pb2.TxPvtReadWriteSet(data_model=rwset_pb2.TxReadWriteSet.KV))
        if not private.ns_pvt_rwset or private.ns_pvt_rwset[-1].namespace != namespace:
            private.ns_pvt_rwset.add(namespace=namespace)
        rwset = kv_rwset_pb2.KVRWSet(writes=entries).SerializeToString()
        private.ns_pvt_rwset[-1].collection_pvt_rwset.add(collection_name=name, rwset=rwset)
    return found


def deliver_handler(channels: Mapping[str, Channel], clock: Callable[[], float]) -> grpc.GenericRpcHandler:
    """Make the handler of a peer's `protos.Deliver`.

    Args:
        channels: by name.
        clock: seconds since 1970.

    """

    def with_private(seek: _Seek, block: common_pb2.Block) -> events_pb2.DeliverResponse:
        private = _private_data(seek.channel, creator_msp_id(seek.creator), block.header.number)
        return events_pb2.DeliverResponse(
            block_and_private_data=events_pb2.BlockAndPrivateData(block=block, private_data_map=private)
        )

    answers: dict[str, Callable[[_Seek, common_pb2.Block], events_pb2.DeliverResponse]] = {
        "Deliver": lambda _, block: events_pb2.DeliverResponse(block=block),
        "DeliverFiltered": lambda seek, block: events_pb2.DeliverResponse(
            filtered_block=filtered_block(seek.channel.channel_id, block)
        ),
        "DeliverWithPrivateData": with_private,
    }
    methods = {}
    for name, answer in answers.items():
        flavour = Flavour(events_pb2.DeliverResponse, answer, lambda status: events_pb2.DeliverResponse(status=status))
        methods[name] = _handler(DeliverStream(channels, READERS, clock, flavour), flavour)
    return grpc.method_handlers_generic_handler(events_pb2.DESCRIPTOR.services_by_name["Deliver"].full_name, methods)


def orderer_deliver_handler(
    channels: Mapping[str, Channel], clock: Callable[[], float]
) -> grpc.RpcMethodHandler[common_pb2.Envelope, ab_pb2.DeliverResponse]:
    """Make the handler of `orderer.AtomicBroadcast/Deliver`."""
    flavour = Flavour(
        ab_pb2.DeliverResponse,
        lambda _, block: ab_pb2.DeliverResponse(block=orderer_view(block)),
        lambda status: ab_pb2.DeliverResponse(status=status),
    )
    return _handler(DeliverStream(channels, "/Channel/Readers", clock, flavour), flavour)


def _handler(stream: DeliverStream[_R], flavour: Flavour[_R]) -> grpc.RpcMethodHandler[common_pb2.Envelope, _R]:
    return grpc.stream_stream_rpc_method_handler(
        stream.serve,
        request_deserializer=common_pb2.Envelope.FromString,
        response_serializer=flavour.response.SerializeToString,
    )
