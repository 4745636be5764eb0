"""Blocks from a peer's Deliver service: whole, filtered, or with the private data that the asker may see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2

from goldengrain.gateway.checkpoint import Checkpointer
from goldengrain.gateway.errors import DeliverError, EventsError
from goldengrain.gateway.peers import Peer
from goldengrain.gateway.positions import deliver_call, newest_number, next_commit, specified, unsigned_seek
from goldengrain.gateway.saved import read_saved
from goldengrain.gateway.session import Session
from goldengrain.gateway.stream_call import StreamCall
from goldengrain.gateway.streams import EventStream

T = TypeVar("T")
_LAST = 2**64 - 1


@dataclass(frozen=True, slots=True)
class BlockAndPrivateData:
    """A block, and the private writes of its transactions by their index in the block."""

    block: common_pb2.Block
    private_data: dict[int, rwset_pb2.TxPvtReadWriteSet]


@dataclass(frozen=True, slots=True)
class Flavour(Generic[T]):
    """A kind of block stream: the Deliver method, how a response is read, which number an item has."""

    method: str
    pick: Callable[[events_pb2.DeliverResponse], T]
    number: Callable[[T], int]


def _with_private_data(message: events_pb2.DeliverResponse) -> BlockAndPrivateData:
    both = message.block_and_private_data
    return BlockAndPrivateData(both.block, dict(both.private_data_map.items()))


WHOLE: Flavour[common_pb2.Block] = Flavour("Deliver", lambda message: message.block, lambda item: item.header.number)
FILTERED: Flavour[events_pb2.FilteredBlock] = Flavour(
    "DeliverFiltered", lambda message: message.filtered_block, lambda item: item.number
)
PRIVATE: Flavour[BlockAndPrivateData] = Flavour(
    "DeliverWithPrivateData", _with_private_data, lambda item: item.block.header.number
)


class BlocksRequest(Generic[T]):
    """A request for blocks that can be signed elsewhere: ``digest`` out, ``sign(signature)`` in, then ``stream()``.

    What is signed elsewhere names one position, and Fabric's peers take it for some minutes only; a stream of it that
    breaks ends, and a new request goes on from a checkpoint.
    """

    def __init__(
        self,
        session: Session,
        channel: str,
        flavour: Flavour[T],
        start_block: int | None = None,
        checkpoint: Checkpointer | None = None,
        last: int | None = None,
        saved: common_pb2.Envelope | None = None,
    ) -> None:
        """Blocks from ``start_block`` (None: the next) to ``last`` (None: without end, waiting for each).

        ``saved`` is the request where it was made before: it stays as it is.
        """
        self._session = session
        start = checkpoint.block if checkpoint is not None and checkpoint.block is not None else start_block
        self._source = _Blocks(session, channel, flavour, start, last)
        self._source.fixed = saved

    @property
    def digest(self) -> bytes:
        """What has to be signed, 32 bytes."""
        return sha256(self._source.fix().payload).digest()

    def sign(self, signature: bytes) -> None:
        """Hand in a signature (DER, low s) over ``digest`` that was made elsewhere."""
        self._source.fix().signature = signature

    def to_bytes(self) -> bytes:
        """``common.Envelope``, the form that Fabric's other clients also exchange."""
        return self._source.fix().SerializeToString()

    def stream(self) -> EventStream[T]:
        """Return the blocks from the position on. Raises SigningError, and DeliverError while read."""
        if self._session.signer is None:
            self._source.check_signed()
        return EventStream(self._session, self._source)


def blocks_request_from_bytes(session: Session, flavour: Flavour[T], raw: bytes, signature: bytes) -> BlocksRequest[T]:
    """Return a request saved with ``to_bytes``; a signature made in the meantime replaces the saved one."""
    saved = read_saved(common_pb2.Envelope, raw)
    saved.signature = signature or saved.signature
    header = read_saved(common_pb2.Payload, saved.payload).header.channel_header
    return BlocksRequest(session, read_saved(common_pb2.ChannelHeader, header).channel_id, flavour, saved=saved)


class _Blocks(Generic[T]):
    """Where a block stream is: which block is next. ``fixed`` is the request once it is to be signed elsewhere."""

    def __init__(
        self, session: Session, channel: str, flavour: Flavour[T], start: int | None, last: int | None
    ) -> None:
        self._session = session
        self._channel = channel
        self._flavour = flavour
        self._next = start
        self._last = last
        self._moved = False
        self.fixed: common_pb2.Envelope | None = None

    async def prepare(self) -> None:
        """Make "the next block" a number."""
        if self._next is None and self.fixed is None:
            self._next = await newest_number(self._session, self._channel) + 1

    def fix(self) -> common_pb2.Envelope:
        """Return the request as it is to be signed elsewhere; it stays the same from now on."""
        if self.fixed is None:
            self.fixed = self._request()
        return self.fixed

    def check_signed(self) -> None:
        """Raise SigningError where nobody has signed."""
        if not self.fix().signature:
            self._session.sign(b"")

    def _request(self) -> common_pb2.Envelope:
        start: ab_pb2.SeekPosition = next_commit() if self._next is None else specified(self._next)
        stop = specified(_LAST if self._last is None else self._last)
        return unsigned_seek(self._session, self._channel, start, stop, wait=self._last is None)

    def open(self, peer: Peer) -> StreamCall[T]:
        """Return a call from the position on."""
        self._moved = False
        envelope = self._request() if self.fixed is None else self.fixed
        if not envelope.signature:
            envelope.signature = self._session.sign(envelope.payload)
        # A stream that waits has no deadline; one over blocks that exist must not hang on a silent peer.
        timeout = None if self._last is None else self._session.deadlines.deliver
        return deliver_call(peer, self._channel, self._flavour.method, envelope, self._flavour.pick, timeout)

    def passed(self, item: T) -> None:
        """Move the position behind a block."""
        self._next = self._flavour.number(item) + 1
        self._moved = True

    @property
    def complete(self) -> bool:
        """Whether the last block was handed out."""
        return self._last is not None and self._next is not None and self._next > self._last

    def resumes(self, error: EventsError | DeliverError) -> bool:
        """What is signed elsewhere does not; a range of blocks does where the last call brought some of it."""
        if self.fixed is not None:
            return False
        return self._last is None or (self._moved and getattr(error, "status", "") != "NOT_FOUND")
