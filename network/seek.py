"""Ask a node's Deliver service for its newest block: how far it is, and whether it takes a moment (`clocks`)."""

from __future__ import annotations

import hashlib
import secrets

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from goldengrain.gateway.channel import open_channel
from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.identity import Credentials

ORDERER = "/orderer.AtomicBroadcast/Deliver"


def newest_request(who: Credentials, channel: str, moment: float) -> common_pb2.Envelope:
    """A signed request for a channel's newest block that bears a moment, seconds since 1970."""
    whole = int(moment)
    channel_header = common_pb2.ChannelHeader(
        type=common_pb2.DELIVER_SEEK_INFO,
        channel_id=channel,
        timestamp=Timestamp(seconds=whole, nanos=int((moment - whole) * 1e9)),
    )
    signature_header = common_pb2.SignatureHeader(creator=who.identity.serialized, nonce=secrets.token_bytes(24))
    newest = ab_pb2.SeekPosition(newest=ab_pb2.SeekNewest())
    seek = ab_pb2.SeekInfo(start=newest, stop=newest, behavior=ab_pb2.SeekInfo.FAIL_IF_NOT_READY)
    payload = common_pb2.Payload(
        header=common_pb2.Header(
            channel_header=channel_header.SerializeToString(), signature_header=signature_header.SerializeToString()
        ),
        data=seek.SerializeToString(),
    ).SerializeToString()
    return common_pb2.Envelope(payload=payload, signature=who.signer.sign(hashlib.sha256(payload).digest()))


async def orderer_height(
    endpoint: Endpoint, who: Credentials, channel: str, moment: float, timeout_s: float
) -> int | None:
    """How many blocks of a channel an orderer has; None where it does not say."""
    try:
        async with open_channel(endpoint) as opened:
            call = opened.stream_stream(
                ORDERER,
                request_serializer=common_pb2.Envelope.SerializeToString,
                response_deserializer=ab_pb2.DeliverResponse.FromString,
            )
            stream = call(iter([newest_request(who, channel, moment)]), timeout=timeout_s)
            answer = await anext(aiter(stream))
            stream.cancel()
    except (grpc.aio.AioRpcError, StopAsyncIteration):
        return None
    return int(answer.block.header.number) + 1 if answer.WhichOneof("Type") == "block" else None
