"""One transaction's conversation with its peer.

A peer matches requests and replies by channel and transaction id alone and works on several requests of one
transaction in no particular order, so a transaction has at most one request under way: further ones wait their turn,
first come, first served. A request that is given up (its task cancelled) keeps its turn until the reply has come, or
the reply would be taken for the next request's.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from google.protobuf.message import DecodeError

from goldengrain.chaincode.shim.errors import InvalidArgument, PeerRefused, ShimError, TransactionEnded

MessageType = chaincode_shim_pb2.ChaincodeMessage.Type

MAX_MESSAGE_BYTES = 100 * 1024 * 1024
"""What Fabric's peers take at most. A larger message would end the stream, and with it all its transactions."""


def check_size(message: ChaincodeMessage) -> None:
    """Raise InvalidArgument for a message that would end the stream."""
    if message.ByteSize() > MAX_MESSAGE_BYTES:
        raise InvalidArgument(f"a message to the peer would have over {MAX_MESSAGE_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class PeerOffers:
    """What a peer offers beyond Fabric 2.5's messages: the most records per message, 0 where it offers nothing."""

    write_batch: int = 0
    get_multiple: int = 0

    @classmethod
    def from_ready(cls, payload: bytes) -> "PeerOffers":
        """From READY's payload, `ChaincodeAdditionalParams`; peers before 3.1 send none. Raises InvalidArgument."""
        try:
            params = chaincode_pb2.ChaincodeAdditionalParams.FromString(payload)
        except DecodeError as error:
            raise InvalidArgument("READY's payload is malformed") from error
        return cls(
            write_batch=params.max_size_write_batch if params.use_write_batch else 0,
            get_multiple=params.max_size_get_multiple_keys if params.use_get_multiple_keys else 0,
        )


class Exchange:
    """Requests of one transaction, one at a time, and their replies."""

    def __init__(
        self, channel_id: str, tx_id: str, send: Callable[[ChaincodeMessage], None], offers: PeerOffers
    ) -> None:
        self.channel_id = channel_id
        self.tx_id = tx_id
        self.offers = offers
        self._send = send
        self._turn = asyncio.Lock()
        self._reply: asyncio.Future[ChaincodeMessage] | None = None
        self._ended: ShimError | None = None

    async def request(self, kind: MessageType.ValueType, payload: bytes) -> bytes:
        """Send a request, return the payload of its RESPONSE.

        Raises PeerRefused on ERROR, StreamLost if the stream ends first, TransactionEnded after the transaction, and
        InvalidArgument for a request that is larger than peers take.
        """
        message = ChaincodeMessage(type=kind, payload=payload, txid=self.tx_id, channel_id=self.channel_id)
        check_size(message)
        await self._turn.acquire()
        if self._ended is not None:
            self._turn.release()
            raise self._ended
        waiting: asyncio.Future[ChaincodeMessage] = asyncio.get_running_loop().create_future()
        self._reply = waiting
        self._send(message)
        reply = await waiting  # given up here, the turn stays taken until the reply has come
        if reply.type == ChaincodeMessage.ERROR:
            raise PeerRefused(reply.payload.decode(errors="replace"))
        return reply.payload

    def deliver(self, message: ChaincodeMessage) -> bool:
        """Hand over RESPONSE or ERROR from the peer. False if no request waits for it."""
        waiting, self._reply = self._reply, None
        if waiting is None:
            return False
        if not waiting.done():
            waiting.set_result(message)
        self._turn.release()
        return True

    def end(self, reason: ShimError | None = None) -> None:
        """No more requests: the one under way and all later ones fail with `reason` (TransactionEnded by default)."""
        self._ended = reason or TransactionEnded("the transaction has already been answered")
        waiting, self._reply = self._reply, None
        if waiting is not None:
            if not waiting.done():
                waiting.set_exception(self._ended)
            self._turn.release()
