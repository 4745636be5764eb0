"""Transcripts of the chaincode stream, recorded from real peers, as transactions to replay."""

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabric_protos.peer import chaincode_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

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


def transactions(folder: Path) -> list[Recorded]:
    """All of a folder's transcripts, in the order of their files and lines."""
    found = []
    for file in sorted(folder.glob("*.jsonl*")):
        if file.name.startswith("sessions"):
            continue
        running: dict[tuple[str, str, str], Recorded] = {}
        for line in _lines(file):
            if "msg" not in line or not line["txid"]:
                continue
            message = ChaincodeMessage.FromString(base64.b64decode(line["msg"]))
            key = (line.get("case", ""), line["conn"], message.txid)
            if message.type in (Type.TRANSACTION, Type.INIT):
                case = line.get("case") or file.name.split(".")[0]
                running[key] = Recorded(case, line["org"], message)
                found.append(running[key])
            elif key in running:
                _add(running[key], line["dir"], message)
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


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    for line in raw.splitlines():
        yield json.loads(line)
