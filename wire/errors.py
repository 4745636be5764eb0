"""What goes wrong with a stream, with gRPC's status codes."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """gRPC's status codes (its specification's `statuscodes`), as many as are sent or understood here."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
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


class CallFailed(StreamFailed):
    """A call that was not answered well: the server's status and trailers, or what became of the connection.

    `unprocessed`: the server has surely not begun with it, so that making it again does nothing twice.
    """

    def __init__(
        self,
        status: int,
        message: str,
        trailers: tuple[tuple[str, str | bytes], ...] = (),
        *,
        unprocessed: bool = False,
    ) -> None:
        super().__init__(status, message)
        self.trailers = trailers
        self.unprocessed = unprocessed

    def copy(self, *, unprocessed: bool = False) -> CallFailed:
        """Return the same for another call: each raises its own."""
        return CallFailed(self.status, self.message, self.trailers, unprocessed=unprocessed)


def _name(status: int) -> str:
    return Status(status).name if status in Status._value2member_map_ else f"status {status}"
