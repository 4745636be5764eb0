"""`gateway.Gateway` on the wire: each call is given to the peer's `Gateway`, refusals become statuses with details."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
from fabric_protos.gateway import gateway_pb2
from google.protobuf.message import Message

from goldengrain.network.embedded.failures import RpcError, abort
from goldengrain.network.embedded.gateway import Gateway

__all__ = ["GatewayService"]

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


class GatewayService:
    """The gRPC service of one peer's gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def handler(self) -> grpc.GenericRpcHandler:
        """Make the handler for a server."""
        gateway = self._gateway
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Evaluate": _unary(gateway.evaluate, gateway_pb2.EvaluateRequest, gateway_pb2.EvaluateResponse),
            "Endorse": _unary(gateway.endorse, gateway_pb2.EndorseRequest, gateway_pb2.EndorseResponse),
            "Submit": _unary(gateway.submit, gateway_pb2.SubmitRequest, gateway_pb2.SubmitResponse),
            "CommitStatus": _unary(
                gateway.commit_status, gateway_pb2.SignedCommitStatusRequest, gateway_pb2.CommitStatusResponse
            ),
            "ChaincodeEvents": grpc.unary_stream_rpc_method_handler(
                self._chaincode_events,
                request_deserializer=gateway_pb2.SignedChaincodeEventsRequest.FromString,
                response_serializer=gateway_pb2.ChaincodeEventsResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(
            gateway_pb2.DESCRIPTOR.services_by_name["Gateway"].full_name, methods
        )

    async def _chaincode_events(
        self,
        request: gateway_pb2.SignedChaincodeEventsRequest,
        context: grpc.aio.ServicerContext[
            gateway_pb2.SignedChaincodeEventsRequest, gateway_pb2.ChaincodeEventsResponse
        ],
    ) -> AsyncIterator[gateway_pb2.ChaincodeEventsResponse]:
        try:
            async for response in self._gateway.chaincode_events(request):
                yield response
        except RpcError as error:
            await abort(context, error)


def _unary(
    call: Callable[[_Request], Awaitable[_Response]], request_type: type[_Request], response_type: type[_Response]
) -> grpc.RpcMethodHandler[_Request, _Response]:
    async def serve(request: _Request, context: grpc.aio.ServicerContext[_Request, _Response]) -> _Response:
        try:
            return await call(request)
        except RpcError as error:
            await abort(context, error)

    return grpc.unary_unary_rpc_method_handler(
        serve, request_deserializer=request_type.FromString, response_serializer=response_type.SerializeToString
    )
