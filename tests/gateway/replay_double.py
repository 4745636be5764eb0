"""A gRPC server over TLS that answers one recorded call after the other, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from goldengrain.gateway.connection import Endpoint
from tests.gateway.certificates import Ca
from tests.recordings.calls import Step

CODES = {code.value[0]: code for code in grpc.StatusCode}
STREAMS = ("ChaincodeEvents", "Deliver", "DeliverFiltered", "DeliverWithPrivateData")


class ReplayDouble(grpc.GenericRpcHandler):
    """Takes its answers from ``steps`` in turn, the last again and again; keeps the requests' bytes in ``requests``."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.requests: list[bytes] = []

    def service(self, handler_call_details: Any) -> Any:
        method: str = handler_call_details.method
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        assert method == step.rpc
        name = method.rsplit("/", 1)[1]
        if name == "ChaincodeEvents":
            return grpc.unary_stream_rpc_method_handler(self._stream(step))
        if name in STREAMS:
            return grpc.stream_stream_rpc_method_handler(self._stream(step))
        return grpc.unary_unary_rpc_method_handler(self._unary(step))

    def _unary(self, step: Step) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            self.requests.append(request)
            if step.code:
                await self._fail(step, context)
            return step.answers[0]

        return answer

    def _stream(self, step: Step) -> Any:
        async def answers(request: Any, context: Any) -> AsyncIterator[bytes]:
            self.requests.append(request if isinstance(request, bytes) else await anext(aiter(request)))
            for answer in step.answers:
                yield answer
            if step.code is None:
                await asyncio.sleep(60)
            if step.code:
                await self._fail(step, context)

        return answers

    async def _fail(self, step: Step, context: Any) -> None:
        metadata = (("grpc-status-details-bin", step.error_status),) if step.error_status else ()
        await context.abort(CODES[step.code or 0], step.message, metadata)

    async def start(self) -> Endpoint:
        ca = Ca("tls")
        issued = ca.issue("peer0", hosts=("localhost",))
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))
        credentials = grpc.ssl_server_credentials([(issued.key, issued.certificate)])
        port = self._server.add_secure_port("127.0.0.1:0", credentials)
        await self._server.start()
        return Endpoint.parse(f"grpcs://localhost:{port}", ca.pem)

    async def stop(self) -> None:
        await self._server.stop(None)
