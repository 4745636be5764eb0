"""Recorded chaincode streams: every message between a peer and a chaincode, and the client's call behind it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from tests.recordings.archive import files, parsed


@dataclass(frozen=True)
class Line:
    """One line of a transcript.

    `what` is `peer->cc` or `cc->peer` for a message, or an event of the stream: `event:open`, `event:abort` (the
    chaincode ended it), `event:cc-closed`, `event:peer-closed`.
    """

    case: str
    chaincode: str
    organization: str
    connection: str
    what: str
    tx_id: str
    message: ChaincodeMessage | None


@dataclass(frozen=True)
class Call:
    """What the client of a chaincode case asked for, and what came of it (see `chaincode/cases.json`)."""

    case: str
    what: str
    fields: dict[str, Any]


@cache
def lines() -> tuple[Line, ...]:
    """The lines of every case, each case's in their order; not those of `sessions`."""
    return tuple(line for name in sorted(files("chaincode")) if name.endswith(".jsonl") for line in _lines(name))


@cache
def calls() -> tuple[Call, ...]:
    """The calls of the chaincode cases, in the order in which they were recorded."""
    cases = parsed("chaincode", "cases.json").values()
    return tuple(Call(case["name"], case["what"], step) for case in cases for step in case["steps"])


def _lines(name: str) -> Iterator[Line]:
    if name.startswith("sessions"):
        return
    for raw in files("chaincode")[name].splitlines():
        line = json.loads(raw)
        message = ChaincodeMessage.FromString(base64.b64decode(line["msg"])) if "msg" in line else None
        case = line.get("case", name.removesuffix(".jsonl"))
        yield Line(case, line["cc"], line["org"], line["conn"], line["dir"], line.get("txid", ""), message)
