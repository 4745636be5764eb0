"""What a real Fabric 3.1.5 network answered, packed small enough to travel with the checkout.

``tests/data/gateway`` holds the blocks of its channel ``market``, of a SmartBFT channel, and the calls of the services
that the client uses with their answers. Packed anew from the folder of recordings by::

    python -m tests.gateway.recorded FOLDER
"""

from __future__ import annotations

import json
import lzma
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fabric_protos.common import common_pb2

DATA = Path(__file__).resolve().parent.parent / "data" / "gateway"
SERVICES = ("/gateway.Gateway/", "/protos.Deliver/", "/protos.Endorser/")


@dataclass(frozen=True)
class Step:
    """One call: RPC, bytes of the request and of the answers, gRPC status (None: the stream stayed open)."""

    rpc: str
    request: bytes
    answers: tuple[bytes, ...]
    code: int | None
    message: str
    error_status: bytes
    details: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Case:
    name: str
    steps: tuple[Step, ...]
    events: tuple[dict[str, Any], ...]
    outcome: Any


@cache
def blocks(name: str = "market") -> tuple[common_pb2.Block, ...]:
    """The blocks of a channel from genesis on; ``bft`` as one of its orderers delivered them."""
    return tuple(common_pb2.Block.FromString(bytes.fromhex(raw)) for raw in _load(f"blocks-{name}"))


def fresh(number: int, name: str = "market") -> common_pb2.Block:
    """A copy of a block, to be tampered with."""
    copy = common_pb2.Block()
    copy.CopyFrom(blocks(name)[number])
    return copy


@cache
def codes() -> tuple[tuple[tuple[str, str, str], ...], ...]:
    """Per block and transaction: transaction id, header type, validation code."""
    return tuple(tuple((one[0], str(one[1]), one[2]) for one in block) for block in _load("codes"))


@cache
def cases() -> dict[str, Case]:
    """Cases by name."""
    found = {}
    for case in _load("cases"):
        steps = tuple(
            Step(
                rpc=step["rpc"],
                request=bytes.fromhex(step["request"]),
                answers=tuple(bytes.fromhex(answer) for answer in step["answers"]),
                code=step["code"],
                message=step["message"],
                error_status=bytes.fromhex(step["error_status"]),
                details=tuple((one[0], one[1], one[2]) for one in step["details"]),
            )
            for step in case["steps"]
        )
        found[case["name"]] = Case(case["name"], steps, tuple(case["events"]), case["outcome"])
    return found


def _load(name: str) -> Any:
    return json.loads(lzma.decompress((DATA / f"{name}.json.xz").read_bytes()))


def _save(name: str, content: Any) -> None:
    packed = lzma.compress(json.dumps(content, separators=(",", ":")).encode(), preset=9 | lzma.PRESET_EXTREME)
    (DATA / f"{name}.json.xz").write_bytes(packed)


def _text(path: Path) -> str:
    return path.read_bytes().hex()


def _packed_steps(case: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for step in case["steps"]:
        if step["role"] == "call":
            steps.append(
                {"rpc": step["rpc"], "request": "", "answers": [], "code": None, "message": "", "error_status": ""}
            )
            steps[-1]["details"] = []
        elif step["role"] == "request":
            steps[-1]["request"] = _text(folder / step["file"])
        elif step["role"] == "response":
            steps[-1]["answers"].append(_text(folder / step["file"]))
        elif step["role"] == "error_status":
            steps[-1]["error_status"] = _text(folder / step["file"])
        elif step["role"] == "status":
            steps[-1]["code"] = step.get("code")
            steps[-1]["message"] = step.get("message", "")
            steps[-1]["details"] = [
                (one["address"], one["msp_id"], one["message"]) for one in step.get("details", []) if "msp_id" in one
            ]
    return [step for step in steps if step["rpc"].startswith(SERVICES)]


def pack(vectors: Path) -> None:
    """Write the packed files from the folder of recordings."""
    market = sorted((vectors / "blocks").glob("*.pb"))
    _save("blocks-market", [_text(path) for path in market])
    _save("blocks-bft", [_text(path) for path in sorted((vectors / "bft").glob("bft_blocks_7050.*.pb"))])
    listed = json.loads((vectors / "blocks" / "codes.json").read_text())
    _save("codes", [[one[:3] for one in block["txs"]] for block in listed[: len(market)]])
    found = []
    for case in json.loads((vectors / "gateway" / "index.json").read_text())["cases"]:
        if steps := _packed_steps(case, vectors / "gateway"):
            outcome = case.get("outcome")
            found.append({"name": case["name"], "steps": steps, "events": case.get("events") or [], "outcome": outcome})
    _save("cases", found)


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
