"""Transcripts of the chaincode stream, recorded from real peers, as transactions to replay."""

import json
from dataclasses import dataclass, field
from typing import Any

from fabric_protos.peer import chaincode_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from tests.recordings import transcripts

Type = ChaincodeMessage.Type


@dataclass
class Recorded:
    """One transaction on one peer's stream."""

    case: str
    organization: str
    call: ChaincodeMessage
    requests: list[ChaincodeMessage] = field(default_factory=list)
    replies: list[ChaincodeMessage] = field(default_factory=list)
    completed: ChaincodeMessage | None = None

    @property
    def operations(self) -> list[Any]:
        """The script, or an empty list if the call was of something else."""
        args = chaincode_pb2.ChaincodeInput.FromString(self.call.payload).args
        return list(json.loads(args[1])) if len(args) > 1 and args[0] == b"script" else []

    @property
    def names(self) -> set[str]:
        """Names of the operations."""
        return {operation[0] for operation in self.operations}


def transactions() -> list[Recorded]:
    """Every transaction of every transcript, in order."""
    found = []
    running: dict[tuple[str, str, str], Recorded] = {}
    for line in transcripts.lines():
        message = line.message
        if message is None or not line.tx_id:
            continue
        key = (line.case, line.connection, message.txid)
        if message.type in (Type.TRANSACTION, Type.INIT):
            running[key] = Recorded(line.case, line.organization, message)
            found.append(running[key])
        elif key in running:
            _add(running[key], line.what, message)
    return found


def _add(transaction: Recorded, direction: str, message: ChaincodeMessage) -> None:
    if direction == "peer->cc":
        transaction.replies.append(message)
    elif message.type in (Type.COMPLETED, Type.ERROR):
        transaction.completed = message
    else:
        transaction.requests.append(message)


def without_needless(transaction: Recorded) -> list[tuple[ChaincodeMessage, ChaincodeMessage]]:
    """Requests and replies without those that our shim saves itself: CLOSE of a query that the peer has let go of with
    its last batch, and reads or batches of nothing.
    """
    held: dict[str, bool] = {}
    kept = []
    for request, reply in zip(transaction.requests, transaction.replies, strict=False):
        if request.type == Type.QUERY_STATE_CLOSE:
            if not held.get(shim_pb2.QueryStateClose.FromString(request.payload).id):
                continue
        elif request.type in (Type.GET_STATE_BY_RANGE, Type.QUERY_STATE_NEXT) and reply.type == Type.RESPONSE:
            response = shim_pb2.QueryResponse.FromString(reply.payload)
            held[response.id] = response.has_more
        elif request.type in (Type.GET_STATE_MULTIPLE, Type.WRITE_BATCH_STATE) and not request.payload:
            continue
        kept.append((request, reply))
    return kept
