"""Running a chaincode on one transaction, from the peer's message to the answer.

Whatever the chaincode does, an answer comes out of here; only the cancellation of the transaction's own task (its
stream was lost, or the server stops) passes.
"""

import asyncio
import logging
import traceback

from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.shim.chaincode import Chaincode, Guard
from goldengrain.chaincode.shim.exchange import Exchange, check_size
from goldengrain.chaincode.shim.responses import ERROR, Response, error
from goldengrain.chaincode.shim.stub import ChaincodeStub

logger = logging.getLogger(__name__)


async def execute(
    chaincode: Chaincode, guard: Guard | None, message: ChaincodeMessage, exchange: Exchange
) -> ChaincodeMessage:
    """Run TRANSACTION or INIT and return COMPLETED: the chaincode's answer and event, its writes already sent."""
    stub: ChaincodeStub | None = None
    try:
        stub = ChaincodeStub.from_message(message, exchange)
        response = await _answer(chaincode, guard, message, stub)
        answer = completed(response, exchange.channel_id, exchange.tx_id)
        if response.endorsable and stub.event is not None:
            answer.chaincode_event.CopyFrom(stub.event)
        check_size(answer)
        if response.endorsable:
            await stub.flush_writes()
    except asyncio.CancelledError as cancelled:
        if _cancelled_from_outside():
            raise
        return completed(_unhandled(cancelled, exchange.tx_id), exchange.channel_id, exchange.tx_id)
    except (Exception, SystemExit) as failure:  # noqa: BLE001 - the boundary: nothing a chaincode raises goes further
        return completed(refusal(failure, exchange.tx_id), exchange.channel_id, exchange.tx_id)
    return answer


def completed(response: Response, channel_id: str, tx_id: str) -> ChaincodeMessage:
    """COMPLETED with a response. Raises ValueError or TypeError if the response cannot be encoded."""
    payload = response.to_proto().SerializeToString()
    return ChaincodeMessage(type=ChaincodeMessage.COMPLETED, payload=payload, txid=tx_id, channel_id=channel_id)


def refusal(failure: BaseException, tx_id: str) -> Response:
    """Answer an exception: `CODE: text` for the project's own, the class alone for anything else."""
    if isinstance(failure, GoldenGrainError):
        status = getattr(failure, "status", ERROR)
        return error(_encodable(f"{failure.code}: {failure}"), status if isinstance(status, int) else ERROR)
    return _unhandled(failure, tx_id)


async def _answer(
    chaincode: Chaincode, guard: Guard | None, message: ChaincodeMessage, stub: ChaincodeStub
) -> Response:
    if guard is not None:
        await guard(stub)
    call = chaincode.init if message.type == ChaincodeMessage.INIT else chaincode.invoke
    response = await call(stub)
    if not isinstance(response, Response):
        raise TypeError("a chaincode has to return a Response")
    return response


def _unhandled(failure: BaseException, tx_id: str) -> Response:
    """Texts of exceptions may hold arguments or private data, so neither the answer nor the log repeats them."""
    frames = "".join(traceback.format_tb(failure.__traceback__)).rstrip()
    name = type(failure).__name__
    logger.error("unhandled %s in transaction %s (its text is left out, it may be secret)\n%s", name, tx_id, frames)
    return error(f"unhandled {name} in the chaincode: see its log for transaction {tx_id}")


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
