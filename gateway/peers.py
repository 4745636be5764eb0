"""The gateway peers that a client may use: one is asked, the next takes over when it doesn't answer.

All are equal: any peer with a Gateway service (Fabric 2.4 or newer) of an organisation that the client trusts to tell
it what was committed. The one in use stays in use until it fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Generic, Protocol, TypeVar

import grpc
import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import events_pb2
from google.protobuf.message import DecodeError, Message

from goldengrain.wire import Caller, CallFailed

Q = TypeVar("Q", bound=Message)
Q_contra = TypeVar("Q_contra", bound=Message, contravariant=True)
A = TypeVar("A", bound=Message)
A_co = TypeVar("A_co", bound=Message, covariant=True)

_GATEWAY = "/gateway.Gateway/"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Unary(Protocol[Q_contra, A_co]):
    """An RPC with one request and one answer, whichever way it is carried. Raises ``grpc.aio.AioRpcError``."""

    def __call__(self, request: Q_contra, *, timeout: float) -> Awaitable[A_co]:
        """Make the call; ``timeout`` in seconds."""
        ...


class _WireCall(Generic[Q, A]):
    """An RPC over the package's own connection (ADR 80)."""

    def __init__(self, caller: Caller, path: str, answer: type[A]) -> None:
        self._caller = caller
        self._path = path
        self._answer = answer

    async def __call__(self, request: Q, *, timeout: float) -> A:  # noqa: ASYNC109 - gRPC's own calls have it so
        try:
            return self._answer.FromString(await self._caller.call(self._path, request.SerializeToString(), timeout))
        except CallFailed as failed:
            code = _CODES.get(failed.status, grpc.StatusCode.UNKNOWN)
            raise _rpc_error(code, failed.message, failed.trailers) from failed
        except DecodeError as error:
            raise _rpc_error(grpc.StatusCode.INTERNAL, f"malformed answer: {error}") from error


def _rpc_error(
    code: grpc.StatusCode, message: str, trailers: Sequence[tuple[str, str | bytes]] = ()
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), message)


class Peer:
    """One gateway peer: its address (``target``), its open channel, its RPCs.

    RPCs with one answer go through ``caller`` where there is one; it costs a fraction of the channel's processor time.
    """

    def __init__(self, channel: grpc.aio.Channel, target: str, caller: Caller | None = None) -> None:
        self.channel = channel
        self.target = target
        self._caller = caller
        self.evaluate = self._unary("Evaluate", gateway_pb2.EvaluateRequest, gateway_pb2.EvaluateResponse)
        self.endorse = self._unary("Endorse", gateway_pb2.EndorseRequest, gateway_pb2.EndorseResponse)
        self.submit = self._unary("Submit", gateway_pb2.SubmitRequest, gateway_pb2.SubmitResponse)
        self.commit_status = self._unary(
            "CommitStatus", gateway_pb2.SignedCommitStatusRequest, gateway_pb2.CommitStatusResponse
        )
        self.chaincode_events = channel.unary_stream(
            f"{_GATEWAY}ChaincodeEvents",
            request_serializer=gateway_pb2.SignedChaincodeEventsRequest.SerializeToString,
            response_deserializer=gateway_pb2.ChaincodeEventsResponse.FromString,
        )

    def _unary(self, name: str, request: type[Q], response: type[A]) -> Unary[Q, A]:
        if self._caller is not None:
            return _WireCall(self._caller, _GATEWAY + name, response)
        return self.channel.unary_unary(
            _GATEWAY + name, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

    async def close(self) -> None:
        """Close the connections; running calls are cancelled."""
        if self._caller is not None:
            await self._caller.close()
        await self.channel.close()

    async def reachable(self) -> bool:
        """Connect, and say whether that worked; takes as long as one attempt to connect may take."""
        try:
            state = self.channel.get_state(try_to_connect=True)
            while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
                await self.channel.wait_for_state_change(state)
                state = self.channel.get_state(try_to_connect=True)
        except grpc.aio.UsageError:  # it was closed
            return False
        return state is grpc.ChannelConnectivity.READY

    def deliver(
        self, method: str
    ) -> grpc.aio.StreamStreamMultiCallable[common_pb2.Envelope, events_pb2.DeliverResponse]:
        """Return a Deliver stream: ``Deliver``, ``DeliverFiltered`` or ``DeliverWithPrivateData``."""
        return self.channel.stream_stream(
            f"/protos.Deliver/{method}",
            request_serializer=common_pb2.Envelope.SerializeToString,
            response_deserializer=events_pb2.DeliverResponse.FromString,
        )


class Peers:
    """One peer or several, and which of them is in use."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self._peers = tuple(peers)
        self._current = 0

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def current(self) -> Peer:
        """The peer in use."""
        return self._peers[self._current]

    def order(self) -> list[Peer]:
        """All peers, the one in use first."""
        return [*self._peers[self._current :], *self._peers[: self._current]]

    def failed(self, peer: Peer) -> None:
        """Go over to the next peer, unless that was done already."""
        if peer is self.current:
            self._current = (self._current + 1) % len(self._peers)

    async def close(self) -> None:
        """Close all connections; running calls are cancelled."""
        for peer in self._peers:
            await peer.close()
