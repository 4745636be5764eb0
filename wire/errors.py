"""What goes wrong with a stream, with gRPC's status codes."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """gRPC's status codes (its specification's `statuscodes`), as many as are sent or understood here."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class WireError(Exception):
    """Root of this package's errors."""


class StreamFailed(WireError):
    """A stream that ended otherwise than well: the other side's status, or what became of the connection."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{_name(status)}: {message}")
        self.status = status
        self.message = message


def _name(status: int) -> str:
    return Status(status).name if status in Status._value2member_map_ else f"status {status}"
