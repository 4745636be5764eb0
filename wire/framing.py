"""gRPC's length-prefixed messages: a flag for compression, the length in four bytes, the message."""

from __future__ import annotations

from goldengrain.wire.errors import Status, StreamFailed

PREFIX_BYTES = 5


def frame(message: bytes) -> bytes:
    """Return a message with its prefix, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Deframer:
    """Cuts messages out of the bytes that arrive."""

    def __init__(self, most: int) -> None:
        """`most`: the greatest size of a message in bytes."""
        self._most = most
        self._kept = bytearray()
        self._wanted = PREFIX_BYTES

    @property
    def empty(self) -> bool:
        """Whether no beginning of a message is kept."""
        return not self._kept

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes.

        Raises:
            StreamFailed: a compressed message, which nobody announced, or one that is too large.

        """
        if self._kept:
            self._kept += data
            if len(self._kept) < self._wanted:
                return []
            data = bytes(self._kept)
        messages, start, self._wanted = [], 0, PREFIX_BYTES
        while len(data) - start >= PREFIX_BYTES:
            end = start + PREFIX_BYTES + self._length(data, start)
            if end > len(data):
                self._wanted = end - start
                break
            messages.append(data[start + PREFIX_BYTES : end])
            start = end
        self._kept = bytearray(data[start:])
        return messages

    def _length(self, data: bytes, start: int) -> int:
        if data[start]:
            raise StreamFailed(Status.UNIMPLEMENTED, "compressed messages are not taken here")
        length = int.from_bytes(data[start + 1 : start + PREFIX_BYTES], "big")
        if length > self._most:
            raise StreamFailed(Status.RESOURCE_EXHAUSTED, f"a message of {length} bytes; at most {self._most}")
        return length
