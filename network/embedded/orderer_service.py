"""`orderer.AtomicBroadcast` on the wire: Broadcast answers each envelope in turn, Deliver streams blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.deliver import orderer_deliver_handler
from goldengrain.network.embedded.errors import BroadcastRefusedError
from goldengrain.network.embedded.failures import proto_error
from goldengrain.network.embedded.orderer import Orderer

__all__ = ["OrdererService"]


class OrdererService:
    """The gRPC service of the orderer."""

    def __init__(
        self, channels: Mapping[str, Channel], orderers: Mapping[str, Orderer], clock: Callable[[], float]
    ) -> None:
        """Make it; channels and their ordering go by channel name, `clock` gives seconds since 1970."""
        self._channels = channels
        self._orderers = orderers
        self._clock = clock

    def handler(self) -> grpc.GenericRpcHandler:
        """Make the handler for a server."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Broadcast": grpc.stream_stream_rpc_method_handler(
                self._broadcast,
                request_deserializer=common_pb2.Envelope.FromString,
                response_serializer=ab_pb2.BroadcastResponse.SerializeToString,
            ),
            "Deliver": orderer_deliver_handler(self._channels, self._clock),
        }
        return grpc.method_handlers_generic_handler(
            ab_pb2.DESCRIPTOR.services_by_name["AtomicBroadcast"].full_name, methods
        )

    async def _broadcast(
        self,
        requests: AsyncIterator[common_pb2.Envelope],
        _: grpc.aio.ServicerContext[common_pb2.Envelope, ab_pb2.BroadcastResponse],
    ) -> AsyncIterator[ab_pb2.BroadcastResponse]:
        async for envelope in requests:
            yield await self.order(envelope)

    async def order(self, envelope: common_pb2.Envelope) -> ab_pb2.BroadcastResponse:
        """Give one envelope to the ordering of its channel; it is durable there when this says SUCCESS."""
        try:
            payload = common_pb2.Payload.FromString(envelope.payload)
            header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        except DecodeError:
            return _refused(
                f"could not determine channel ID: error unmarshalling Payload: {proto_error(envelope.payload)}"
            )
        if not payload.HasField("header"):
            return _refused("could not determine channel ID: header not set")
        orderer = self._orderers.get(header.channel_id)
        if orderer is None:
            return _refused("channel does not exist")
        try:
            await orderer.broadcast(envelope.SerializeToString())
        except BroadcastRefusedError as error:
            return ab_pb2.BroadcastResponse(status=error.status, info=error.info)
        return ab_pb2.BroadcastResponse(status=common_pb2.SUCCESS)


def _refused(info: str) -> ab_pb2.BroadcastResponse:
    return ab_pb2.BroadcastResponse(status=common_pb2.BAD_REQUEST, info=info)
