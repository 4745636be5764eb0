"""What the steps of a transaction share: one channel, one identity, one signer, one clock, the RPCs."""

from __future__ import annotations

from hashlib import sha256
from typing import TypeVar

import grpc
import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import events_pb2
from google.protobuf.message import Message

from goldengrain.gateway.clock import Clock
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import GatewayError, SigningError, from_rpc
from goldengrain.gateway.identity import Identity, Signer

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
E = TypeVar("E", bound=GatewayError)


class Session:
    """Internal to the package: a connection to one gateway peer on behalf of one identity."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        target: str,
        identity: Identity,
        signer: Signer | None,
        clock: Clock,
        deadlines: Deadlines,
    ) -> None:
        self.channel = channel
        self.target = target
        self.identity = identity
        self.signer = signer
        self.clock = clock
        self.deadlines = deadlines
        self.creator = identity.serialized
        gateway = "/gateway.Gateway/"
        self.evaluate = self._unary(gateway + "Evaluate", gateway_pb2.EvaluateRequest, gateway_pb2.EvaluateResponse)
        self.endorse = self._unary(gateway + "Endorse", gateway_pb2.EndorseRequest, gateway_pb2.EndorseResponse)
        self.submit = self._unary(gateway + "Submit", gateway_pb2.SubmitRequest, gateway_pb2.SubmitResponse)
        self.commit_status = self._unary(
            gateway + "CommitStatus", gateway_pb2.SignedCommitStatusRequest, gateway_pb2.CommitStatusResponse
        )
        self.chaincode_events = channel.unary_stream(
            gateway + "ChaincodeEvents",
            request_serializer=gateway_pb2.SignedChaincodeEventsRequest.SerializeToString,
            response_deserializer=gateway_pb2.ChaincodeEventsResponse.FromString,
        )

    def _unary(self, method: str, request: type[Q], response: type[A]) -> grpc.aio.UnaryUnaryMultiCallable[Q, A]:
        return self.channel.unary_unary(
            method, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

    def deliver(
        self, method: str
    ) -> grpc.aio.StreamStreamMultiCallable[common_pb2.Envelope, events_pb2.DeliverResponse]:
        """Return a Deliver stream of the peer: ``Deliver``, ``DeliverFiltered`` or ``DeliverWithPrivateData``."""
        return self.channel.stream_stream(
            f"/protos.Deliver/{method}",
            request_serializer=common_pb2.Envelope.SerializeToString,
            response_deserializer=events_pb2.DeliverResponse.FromString,
        )

    def failed(
        self, kind: type[E], error: grpc.aio.AioRpcError, doing: str, transaction_id: str | None = None, hint: str = ""
    ) -> E:
        """Return ``kind`` made from a gRPC error, with a hint what to do next."""
        if not hint and error.code() is grpc.StatusCode.UNAVAILABLE:
            hint = f"Is the peer at {self.target} up, and its certificate of the expected authority?"
        return from_rpc(kind, error, transaction_id, doing, hint)

    def sign(self, message: bytes, transaction_id: str | None = None) -> bytes:
        """Return a signature over a message. Raises SigningError where the gateway was opened without a signer."""
        if self.signer is None:
            raise SigningError(
                "this gateway has no signer: sign the step's digest elsewhere and hand it to its sign() method",
                transaction_id=transaction_id,
            )
        return self.signer.sign(sha256(message).digest())
