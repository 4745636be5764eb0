"""The gateway peers that a client may use: one is asked, the next takes over when it doesn't answer.

All are equal: any peer with a Gateway service (Fabric 2.4 or newer) of an organisation that the client trusts to tell
it what was committed. The one in use stays in use until it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import grpc
import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import events_pb2
from google.protobuf.message import Message

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

Unary = grpc.aio.UnaryUnaryMultiCallable
_GATEWAY = "/gateway.Gateway/"


class Peer:
    """One gateway peer: its address (``target``), its open channel, its RPCs."""

    def __init__(self, channel: grpc.aio.Channel, target: str) -> None:
        self.channel = channel
        self.target = target
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
        return self.channel.unary_unary(
            _GATEWAY + name, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

    async def reachable(self) -> bool:
        """Connect, and say whether that worked; takes as long as one attempt to connect may take."""
        state = self.channel.get_state(try_to_connect=True)
        while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
            await self.channel.wait_for_state_change(state)
            state = self.channel.get_state(try_to_connect=True)
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
            await peer.channel.close()
