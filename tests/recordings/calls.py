"""Recorded calls of Gateway, Endorser, Deliver, Discovery and the orderer's services."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from tests.recordings.archive import files, parsed


@dataclass
class Step:
    """One call: RPC, node that was asked, bytes of the request and of the answers, gRPC status.

    `code` is None where the client hung up, or where its deadline ended a stream that stayed open. `details` are
    (address, MSP id, message) of each `gateway.ErrorDetail`.
    """

    rpc: str
    target: str
    request: bytes = b""
    request_type: str = ""
    answers: list[bytes] = field(default_factory=list)
    code: int | None = None
    message: str = ""
    error_status: bytes = b""
    details: tuple[tuple[str, str, str], ...] = ()

    @property
    def method(self) -> str:
        """The last part of the RPC's name."""
        return self.rpc.rsplit("/", 1)[1]


@dataclass
class Case:
    """A recorded case: what it is about, and its calls in order."""

    name: str
    what: str
    steps: list[Step]
    events: list[dict[str, Any]]
    outcome: Any


@cache
def cases(part: str = "gateway") -> dict[str, Case]:
    """The cases of `gateway` or `lifecycle` by name, in the order in which they were recorded."""
    found = {}
    for case in parsed(part, "index.json")["cases"]:
        steps = _steps(case["steps"], part)
        found[case["name"]] = Case(case["name"], case["what"], steps, case.get("events") or [], case.get("outcome"))
    return found


@cache
def client_cases() -> dict[str, Case]:
    """The cases of services that a peer's clients use; calls of others are left out."""
    services = ("/gateway.Gateway/", "/protos.Deliver/", "/protos.Endorser/")
    found = {}
    for name, case in cases().items():
        if steps := [step for step in case.steps if step.rpc.startswith(services)]:
            found[name] = replace(case, steps=steps)
    return found


def _steps(parts: list[dict[str, Any]], folder: str) -> list[Step]:
    steps: list[Step] = []
    for part in parts:
        content = files(folder)[part["file"]] if "file" in part else b""
        match part["role"]:
            case "call":
                steps.append(Step(part["rpc"], part["target"]))
            case "request":
                steps[-1].request, steps[-1].request_type = content, part["type"]
            case "response":
                steps[-1].answers.append(content)
            case "error_status":
                steps[-1].error_status = content
            case "status":
                steps[-1].code, steps[-1].message = part.get("code"), part.get("message", "")
                details = [one for one in part.get("details", []) if "msp_id" in one]
                steps[-1].details = tuple((one["address"], one["msp_id"], one["message"]) for one in details)
    return steps
