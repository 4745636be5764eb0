"""Positions in a channel, and the request that asks a peer's Deliver service for blocks from one on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2

from goldengrain.gateway.errors import DeliverError
from goldengrain.gateway.peers import Peer
from goldengrain.gateway.proposal import build_seek
from goldengrain.gateway.session import NO_ANSWER, Session, translated
from goldengrain.gateway.stream_call import StreamCall

T = TypeVar("T")


def specified(number: int) -> ab_pb2.SeekPosition:
    """Return the position of a block by its number."""
    return ab_pb2.SeekPosition(specified=ab_pb2.SeekSpecified(number=number))


def next_commit() -> ab_pb2.SeekPosition:
    """Return the position of the next block to come."""
    return ab_pb2.SeekPosition(next_commit=ab_pb2.SeekNextCommit())


def newest() -> ab_pb2.SeekPosition:
    """Return the position of the newest block that a peer has."""
    return ab_pb2.SeekPosition(newest=ab_pb2.SeekNewest())


def unsigned_seek(
    session: Session, channel: str, start: ab_pb2.SeekPosition, stop: ab_pb2.SeekPosition, wait: bool
) -> common_pb2.Envelope:
    """Return a request for blocks, its signature still missing."""
    payload = build_seek(
        channel=channel, creator=session.creator, now_ns=session.clock.now_ns(), start=start, stop=stop, wait=wait
    )
    return common_pb2.Envelope(payload=payload)


def deliver_call(
    peer: Peer,
    channel: str,
    method: str,
    envelope: common_pb2.Envelope,
    pick: Callable[[events_pb2.DeliverResponse], T],
    timeout: float | None,
) -> StreamCall[T]:
    """Return a Deliver call at a peer; ``pick`` takes the block out of a response."""
    return StreamCall(
        start=lambda: peer.deliver(method)(timeout=timeout),
        request=envelope,
        translate=lambda message: _items(message, pick),
        failure=lambda error: translated(DeliverError, error, peer.target, f"block stream of {channel}"),
        ended=lambda: DeliverError(f"the peer ended the block stream of {channel}; open it again to go on"),
    )


async def newest_number(session: Session, channel: str) -> int:
    """Return the number of the newest block that the peer in use has, or else the next. Raises DeliverError."""
    for peer in session.peers.order():
        envelope = unsigned_seek(session, channel, newest(), newest(), wait=False)
        envelope.signature = session.sign(envelope.payload)
        seconds = session.deadlines.deliver / len(session.peers)
        call = deliver_call(
            peer, channel, "DeliverFiltered", envelope, lambda message: message.filtered_block, timeout=seconds
        )
        try:
            async for block in call:
                return int(block.number)
        except DeliverError as error:
            if error.grpc_code not in NO_ANSWER or peer is session.peers.order()[-1]:
                raise
            session.peers.failed(peer)
        finally:
            call.close()
    raise DeliverError(f"no peer sent a block of {channel}")


def _items(message: events_pb2.DeliverResponse, pick: Callable[[events_pb2.DeliverResponse], T]) -> Iterable[T] | None:
    if message.WhichOneof("Type") != "status":
        return [pick(message)]
    if message.status == common_pb2.SUCCESS:
        return None
    name = common_pb2.Status.Name(message.status)
    hint = {
        common_pb2.NOT_FOUND: "no such channel at this peer, or no such block yet",
        common_pb2.FORBIDDEN: "this identity may not read the channel",
        common_pb2.BAD_REQUEST: "the request is malformed, or the clocks of client and peer differ by minutes",
    }.get(message.status, "")
    raise DeliverError(f"block stream refused: {name}{f' ({hint})' if hint else ''}", status=name)
