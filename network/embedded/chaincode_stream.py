"""The peer's side of `protos.Chaincode/Connect`: the stream over which a peer runs transactions on a chaincode.

With chaincode-as-a-service the chaincode is the gRPC server and the peer dials it. Then, on that one stream:

1. the chaincode says REGISTER with its package id; the peer answers REGISTERED and READY (with the limits of
   GET_STATE_MULTIPLE and WRITE_BATCH_STATE). A wrong package id is answered with nothing at all, as Fabric does;
2. the peer sends TRANSACTION (or INIT) with the arguments and the signed proposal;
3. the chaincode asks for state; each request is answered with RESPONSE, or with ERROR and a text that begins
   `<TYPE> failed: transaction ID: <id>: `;
4. the chaincode ends with COMPLETED (a `protos.Response`) or ERROR.

Requests and replies are matched by channel and transaction id alone, so hundreds of transactions share the stream.
A message that a ready peer does not expect ends the stream, and with it every transaction on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.failures import ChaincodeExecutionError, StateRequestError
from goldengrain.wire import Stream, StreamFailed

__all__ = ["ChaincodeStream", "StreamTransaction"]

logger = logging.getLogger(__name__)

Message = chaincode_shim_pb2.ChaincodeMessage
_READY_PARAMETERS = chaincode_pb2.ChaincodeAdditionalParams(
    use_write_batch=True, max_size_write_batch=1000, use_get_multiple_keys=True, max_size_get_multiple_keys=1000
).SerializeToString()


class StreamTransaction(Protocol):
    """One transaction as a chaincode stream sees it: the context behind the requests that its chaincode sends."""

    channel_id: str
    tx_id: str

    def request(self, kind: int, payload: bytes) -> bytes | Awaitable[bytes]:
        """Answer one request for state.

        Returns the payload of the RESPONSE, or something to await that gives it.

        Raises:
            StateRequestError: the request is refused; its text follows the prefix of the ERROR.

        """


class ChaincodeStream:
    """One live stream to a chaincode server. Made by `ChaincodeLauncher`, which opens the next one when it is lost."""

    def __init__(self, package_id: str, wire: Stream) -> None:
        self.package_id = package_id
        self._wire = wire
        self._transactions: dict[tuple[str, str], tuple[StreamTransaction, asyncio.Future[Message]]] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._ready = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(), name=f"read from chaincode {package_id}")

    @property
    def closed(self) -> bool:
        """True once the stream has ended, for whatever reason."""
        return self._reader.done()

    async def ready(self) -> None:
        """Wait until the chaincode has registered.

        Raises:
            ChaincodeExecutionError: the stream ended before.

        """
        await asyncio.shield(self._ready)

    async def close(self) -> None:
        """End the stream; transactions that still run on it fail."""
        self._wire.cancel()
        await asyncio.wait([self._reader])

    async def execute(self, transaction: StreamTransaction, message: Message, timeout_s: float) -> Message:
        """Run one transaction and return the chaincode's COMPLETED or ERROR message.

        Args:
            transaction: answers the chaincode's requests.
            message: the TRANSACTION or INIT message.
            timeout_s: how long the chaincode may take, in seconds.

        Raises:
            ChaincodeExecutionError: the stream ended, the time ran out, or the transaction already runs here.

        """
        key = (transaction.channel_id, transaction.tx_id)
        if key in self._transactions:
            raise ChaincodeExecutionError(f"error sending: txid: {key[1]}({key[0]}) exists")
        if self.closed:
            raise ChaincodeExecutionError("error sending: chaincode stream terminated")
        result: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._transactions[key] = (transaction, result)
        try:
            self._send(message)
            async with asyncio.timeout(timeout_s):
                return await result
        except TimeoutError:
            raise ChaincodeExecutionError("error sending: timeout expired while executing transaction") from None
        finally:
            del self._transactions[key]

    def _send(self, message: Message) -> None:
        try:
            self._wire.send(message.SerializeToString())
        except StreamFailed as error:  # the reader is told too, and ends every transaction
            logger.debug("writing to chaincode %s failed: %s", self.package_id, error)

    async def _read(self) -> None:
        try:
            async for data in self._wire:
                if not self._receive(Message.FromString(data)):
                    break
        except (StreamFailed, DecodeError) as error:
            logger.debug("reading from chaincode %s failed: %s", self.package_id, error)
        finally:
            self._wire.cancel()
            self._terminate()

    def _terminate(self) -> None:
        lost = ChaincodeExecutionError("error sending: chaincode stream terminated")
        for task in self._requests:
            task.cancel()
        for _, result in self._transactions.values():
            if not result.done():
                result.set_exception(lost)
        if not self._ready.done():
            self._ready.set_exception(lost)
            self._ready.exception()  # whoever waits sees it; nobody waiting is no reason for a warning

    def _receive(self, message: Message) -> bool:
        """Handle one message; False ends the stream."""
        kind = message.type
        if not self._ready.done():
            return self._register(message)
        if kind in _REQUESTS:
            self._answer(message)
            return True
        if kind in (Message.COMPLETED, Message.ERROR):
            entry = self._transactions.get((message.channel_id, message.txid))
            if entry is not None and not entry[1].done():
                entry[1].set_result(message)
            return True
        if kind == Message.KEEPALIVE:
            return True
        logger.warning("chaincode %s sent message type %d, which a ready peer does not take", self.package_id, kind)
        return False

    def _register(self, message: Message) -> bool:
        if message.type != Message.REGISTER:
            return False
        try:
            name = chaincode_pb2.ChaincodeID.FromString(message.payload).name
        except DecodeError:
            return False
        if name != self.package_id:
            logger.error("chaincode registers as %s where %s is installed", name, self.package_id)
            return True
        self._send(Message(type=Message.REGISTERED))
        self._send(Message(type=Message.READY, payload=_READY_PARAMETERS))
        self._ready.set_result(None)
        return True

    def _answer(self, message: Message) -> None:
        entry = self._transactions.get((message.channel_id, message.txid))
        if entry is None:
            self._refuse(message, "no ledger context")
            return
        try:
            answer = entry[0].request(message.type, message.payload)
        except StateRequestError as error:
            self._refuse(message, str(error))
            return
        if isinstance(answer, bytes):
            self._respond(message, answer)
            return
        task = asyncio.create_task(self._answer_later(message, answer))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _answer_later(self, message: Message, answer: Awaitable[bytes]) -> None:
        try:
            self._respond(message, await answer)
        except StateRequestError as error:
            self._refuse(message, str(error))

    def _respond(self, request: Message, payload: bytes) -> None:
        self._send(Message(type=Message.RESPONSE, payload=payload, txid=request.txid, channel_id=request.channel_id))

    def _refuse(self, request: Message, cause: str) -> None:
        text = f"{Message.Type.Name(request.type)} failed: transaction ID: {request.txid}: {cause}"
        self._send(Message(type=Message.ERROR, payload=text.encode(), txid=request.txid, channel_id=request.channel_id))


_REQUESTS = frozenset(
    {
        Message.GET_STATE,
        Message.PUT_STATE,
        Message.DEL_STATE,
        Message.INVOKE_CHAINCODE,
        Message.GET_STATE_BY_RANGE,
        Message.GET_QUERY_RESULT,
        Message.QUERY_STATE_NEXT,
        Message.QUERY_STATE_CLOSE,
        Message.GET_HISTORY_FOR_KEY,
        Message.GET_STATE_METADATA,
        Message.PUT_STATE_METADATA,
        Message.GET_PRIVATE_DATA_HASH,
        Message.PURGE_PRIVATE_DATA,
        Message.WRITE_BATCH_STATE,
        Message.GET_STATE_MULTIPLE,
    }
)
