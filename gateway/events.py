"""Chaincode events: what contracts announced in transactions that committed as valid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from fabric_protos.gateway import gateway_pb2
from fabric_protos.orderer import ab_pb2

from goldengrain.gateway.errors import EventsError
from goldengrain.gateway.session import Session
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


def specified(number: int) -> ab_pb2.SeekPosition:
    """Return the position of a block by its number."""
    return ab_pb2.SeekPosition(specified=ab_pb2.SeekSpecified(number=number))


def next_commit() -> ab_pb2.SeekPosition:
    """Return the position of the next block to come."""
    return ab_pb2.SeekPosition(next_commit=ab_pb2.SeekNextCommit())


class ChaincodeEventsRequest:
    """A request for events that can be signed elsewhere: ``digest`` out, ``sign(signature)`` in, then ``stream()``."""

    def __init__(
        self, session: Session, channel: str, chaincode: str, start_block: int | None, checkpoint: Checkpointer | None
    ) -> None:
        after = ""
        if checkpoint is not None and checkpoint.block is not None:
            start_block, after = checkpoint.block, checkpoint.transaction_id
        self._session = session
        self._signature = b""
        self._request = gateway_pb2.ChaincodeEventsRequest(
            channel_id=channel,
            chaincode_id=chaincode,
            identity=session.creator,
            start_position=next_commit() if start_block is None else specified(start_block),
            after_transaction_id=after,
        ).SerializeToString()

    @property
    def digest(self) -> bytes:
        """What has to be signed, 32 bytes."""
        return sha256(self._request).digest()

    def sign(self, signature: bytes) -> None:
        """Hand in a signature (DER, low s) over ``digest`` that was made elsewhere."""
        self._signature = signature

    def stream(self) -> EventStream[ChaincodeEvent]:
        """Return the events from the position on, without end. Raises SigningError, and EventsError while read."""
        signature = self._signature or self._session.sign(self._request)
        request = gateway_pb2.SignedChaincodeEventsRequest(request=self._request, signature=signature)
        return EventStream(
            start=lambda: self._session.chaincode_events(request),
            request=None,
            translate=_events,
            failure=lambda error: self._session.failed(EventsError, error, "chaincode events"),
            ended=lambda: EventsError("the peer ended the stream of chaincode events; open it again to go on"),
        )


def _events(message: gateway_pb2.ChaincodeEventsResponse) -> Iterable[ChaincodeEvent]:
    return [
        ChaincodeEvent(message.block_number, one.tx_id, one.chaincode_id, one.event_name, one.payload)
        for one in message.events
    ]
