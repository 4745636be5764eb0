"""Blocks from a peer's Deliver service: whole, filtered, or with the private data that the asker may see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2

from goldengrain.gateway.errors import DeliverError
from goldengrain.gateway.events import next_commit, specified
from goldengrain.gateway.proposal import build_seek
from goldengrain.gateway.session import Session
from goldengrain.gateway.streams import EventStream

T = TypeVar("T")
_LAST = 2**64 - 1


@dataclass(frozen=True, slots=True)
class BlockAndPrivateData:
    """A block, and the private writes of its transactions by their index in the block."""

    block: common_pb2.Block
    private_data: dict[int, rwset_pb2.TxPvtReadWriteSet]


class Deliverer:
    """Opens block streams of one channel. Internal to the package; ``Network`` has the public methods."""

    def __init__(self, session: Session, channel: str) -> None:
        self._session = session
        self._channel = channel

    def blocks(self, first: int | None, last: int | None, wait: bool) -> EventStream[common_pb2.Block]:
        """Whole blocks from ``first`` (None: the next) to ``last`` (None: without end)."""
        return self._open("Deliver", first, last, wait, lambda message: message.block)

    def filtered(self, first: int | None, last: int | None, wait: bool) -> EventStream[events_pb2.FilteredBlock]:
        """Return filtered blocks (transaction ids, validation codes, event names)."""
        return self._open("DeliverFiltered", first, last, wait, lambda message: message.filtered_block)

    def with_private_data(self, first: int | None, last: int | None, wait: bool) -> EventStream[BlockAndPrivateData]:
        """Whole blocks with the private data of collections that the asker's organisation is a member of."""
        return self._open("DeliverWithPrivateData", first, last, wait, _with_private_data)

    def newest(self) -> EventStream[events_pb2.FilteredBlock]:
        """Return the newest block, filtered, and no other."""
        newest = ab_pb2.SeekPosition(newest=ab_pb2.SeekNewest())
        return self._seek("DeliverFiltered", newest, newest, False, lambda message: message.filtered_block)

    def _open(
        self,
        method: str,
        first: int | None,
        last: int | None,
        wait: bool,
        pick: Callable[[events_pb2.DeliverResponse], T],
    ) -> EventStream[T]:
        start = next_commit() if first is None else specified(first)
        return self._seek(method, start, specified(_LAST if last is None else last), wait, pick)

    def _seek(
        self,
        method: str,
        start: ab_pb2.SeekPosition,
        stop: ab_pb2.SeekPosition,
        wait: bool,
        pick: Callable[[events_pb2.DeliverResponse], T],
    ) -> EventStream[T]:
        session = self._session
        payload = build_seek(
            channel=self._channel,
            creator=session.creator,
            now_ns=session.clock.now_ns(),
            start=start,
            stop=stop,
            wait=wait,
        )
        # A stream that waits has no deadline; one over blocks that exist must not hang on a silent peer.
        timeout = None if wait else session.deadlines.deliver
        return EventStream(
            start=lambda: session.deliver(method)(timeout=timeout),
            request=common_pb2.Envelope(payload=payload, signature=session.sign(payload)),
            translate=lambda message: _items(message, pick),
            failure=lambda error: session.failed(DeliverError, error, f"block stream of {self._channel}"),
            ended=lambda: DeliverError(f"the peer ended the block stream of {self._channel}; open it again to go on"),
        )


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


def _with_private_data(message: events_pb2.DeliverResponse) -> BlockAndPrivateData:
    both = message.block_and_private_data
    return BlockAndPrivateData(both.block, dict(both.private_data_map.items()))
