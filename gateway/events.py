"""Chaincode events: what contracts announced in transactions that committed as valid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from fabric_protos.gateway import gateway_pb2

from goldengrain.gateway.errors import DeliverError, EventsError
from goldengrain.gateway.peers import Peer
from goldengrain.gateway.positions import newest_number, next_commit, specified
from goldengrain.gateway.saved import read_saved
from goldengrain.gateway.session import Session, translated
from goldengrain.gateway.stream_call import StreamCall
from goldengrain.gateway.streams import EventStream

if TYPE_CHECKING:
    from goldengrain.gateway.checkpoint import Checkpointer


@dataclass(frozen=True, slots=True)
class ChaincodeEvent:
    """An event: number of the block and id of the transaction that it came with, chaincode, name, payload."""

    block: int
    transaction_id: str
    chaincode: str
    name: str
    payload: bytes


class ChaincodeEventsRequest:
    """A request for events that can be signed elsewhere: ``digest`` out, ``sign(signature)`` in, then ``stream()``.

    What is signed elsewhere names one position; a stream of it that breaks ends, and a new request goes on from a
    checkpoint.
    """

    def __init__(
        self,
        session: Session,
        channel: str,
        chaincode: str,
        start_block: int | None = None,
        checkpoint: Checkpointer | None = None,
        saved: gateway_pb2.SignedChaincodeEventsRequest | None = None,
    ) -> None:
        """``saved`` is the request where it was made before: it stays as it is."""
        self._source = _Events(session, channel, chaincode, start_block)
        self._source.fixed = saved
        if checkpoint is not None and checkpoint.block is not None:
            self._source.block, self._source.after = checkpoint.block, checkpoint.transaction_id
        self._session = session

    @property
    def digest(self) -> bytes:
        """What has to be signed, 32 bytes."""
        return sha256(self._source.fix().request).digest()

    def sign(self, signature: bytes) -> None:
        """Hand in a signature (DER, low s) over ``digest`` that was made elsewhere."""
        self._source.fix().signature = signature

    def to_bytes(self) -> bytes:
        """``gateway.SignedChaincodeEventsRequest``, the form that Fabric's other clients also exchange."""
        return self._source.fix().SerializeToString()

    def stream(self) -> EventStream[ChaincodeEvent]:
        """Return the events from the position on, without end. Raises SigningError, and EventsError while read."""
        if self._session.signer is None:
            self._source.check_signed()
        return EventStream(self._session, self._source)


class _Events:
    """Where a stream of chaincode events is: behind transaction ``after`` (empty: before the first) of ``block``.

    ``fixed`` is the request once it is to be signed elsewhere.
    """

    def __init__(self, session: Session, channel: str, chaincode: str, block: int | None) -> None:
        self._session = session
        self._channel = channel
        self._chaincode = chaincode
        self.block = block
        self.after = ""
        self.fixed: gateway_pb2.SignedChaincodeEventsRequest | None = None

    async def prepare(self) -> None:
        """Make "the next block" a number."""
        if self.block is None and self.fixed is None:
            try:
                self.block = await newest_number(self._session, self._channel) + 1
            except DeliverError as error:
                raise EventsError(f"chaincode events: {error}", grpc_code=error.grpc_code) from error

    def fix(self) -> gateway_pb2.SignedChaincodeEventsRequest:
        """Return the request as it is to be signed elsewhere; it stays the same from now on."""
        if self.fixed is None:
            self.fixed = gateway_pb2.SignedChaincodeEventsRequest(request=self._request())
        return self.fixed

    def check_signed(self) -> None:
        """Raise SigningError where nobody has signed."""
        if not self.fix().signature:
            self._session.sign(b"")

    def _request(self) -> bytes:
        return gateway_pb2.ChaincodeEventsRequest(
            channel_id=self._channel,
            chaincode_id=self._chaincode,
            identity=self._session.creator,
            start_position=next_commit() if self.block is None else specified(self.block),
            after_transaction_id=self.after,
        ).SerializeToString()

    def _signed(self) -> gateway_pb2.SignedChaincodeEventsRequest:
        if self.fixed is not None and self.fixed.signature:
            return self.fixed
        raw = self._request() if self.fixed is None else self.fixed.request
        return gateway_pb2.SignedChaincodeEventsRequest(request=raw, signature=self._session.sign(raw))

    def open(self, peer: Peer) -> StreamCall[ChaincodeEvent]:
        """Return a call from the position on."""
        request = self._signed()
        return StreamCall(
            start=lambda: peer.chaincode_events(request),
            request=None,
            translate=_events,
            failure=lambda error: translated(EventsError, error, peer.target, "chaincode events"),
            ended=lambda: EventsError("the peer ended the stream of chaincode events; open it again to go on"),
        )

    def passed(self, item: ChaincodeEvent) -> None:
        """Move the position behind an event."""
        self.block, self.after = item.block, item.transaction_id

    @property
    def complete(self) -> bool:
        """Events have no end."""
        return False

    def resumes(self, error: EventsError | DeliverError) -> bool:
        """Only what is signed here can be asked for anew."""
        return self.fixed is None


def events_request_from_bytes(session: Session, raw: bytes, signature: bytes) -> ChaincodeEventsRequest:
    """Return a request saved with ``to_bytes``; a signature made in the meantime replaces the saved one."""
    saved = read_saved(gateway_pb2.SignedChaincodeEventsRequest, raw)
    saved.signature = signature or saved.signature
    asked = read_saved(gateway_pb2.ChaincodeEventsRequest, saved.request)
    return ChaincodeEventsRequest(session, asked.channel_id, asked.chaincode_id, saved=saved)


def _events(message: gateway_pb2.ChaincodeEventsResponse) -> Iterable[ChaincodeEvent]:
    return [
        ChaincodeEvent(message.block_number, one.tx_id, one.chaincode_id, one.event_name, one.payload)
        for one in message.events
    ]
