"""Back-pressure at a peer's services: no more calls at once than Fabric's peers take by default.

Who comes too late is refused at once with UNKNOWN and Fabric's text, and may try again; nobody waits in a queue.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

__all__ = ["DELIVER_CALLS", "ENDORSER_CALLS", "GATEWAY_CALLS", "Limited"]

GATEWAY_CALLS = 500
"""Calls of a peer's Gateway service at once: `peer.limits.concurrency.gatewayService`."""
ENDORSER_CALLS = 2500
DELIVER_CALLS = 2500


class Limited(grpc.GenericRpcHandler):
    """A service that takes `limit` calls at once."""

    def __init__(self, service: grpc.GenericRpcHandler, limit: int) -> None:
        self._service = service
        self._limit = limit
        self._running = 0
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Find the handler of a method; None for one of another service."""
        method = handler_call_details.method
        found = self._methods.get(method)
        if found is None:
            handler = self._service.service(handler_call_details)
            if handler is None:
                return None
            found = self._methods[method] = self._limited(handler, method.rpartition("/")[0])
        return found

    def _limited(self, handler: grpc.RpcMethodHandler[Any, Any], name: str) -> grpc.RpcMethodHandler[Any, Any]:
        text = f"too many requests for {name}, exceeding concurrency limit ({self._limit})"

        async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            if self._running >= self._limit:
                await context.abort(grpc.StatusCode.UNKNOWN, text)
            self._running += 1
            try:
                return await behaviour(request, context)
            finally:
                self._running -= 1

        async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            if self._running >= self._limit:
                await context.abort(grpc.StatusCode.UNKNOWN, text)
            self._running += 1
            try:
                async for response in behaviour(request, context):
                    yield response
            finally:
                self._running -= 1

        make: Any
        behaviour: Any
        if not handler.response_streaming:
            make, behaviour = grpc.unary_unary_rpc_method_handler, handler.unary_unary
        elif handler.request_streaming:
            make, behaviour = grpc.stream_stream_rpc_method_handler, handler.stream_stream
        else:
            make, behaviour = grpc.unary_stream_rpc_method_handler, handler.unary_stream
        limited: grpc.RpcMethodHandler[Any, Any] = make(
            stream if handler.response_streaming else unary, handler.request_deserializer, handler.response_serializer
        )
        return limited
