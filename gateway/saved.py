"""What was saved with ``to_bytes``, to be signed elsewhere, as it comes back: bytes from outside."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from goldengrain.gateway.errors import SavedMalformed

M = TypeVar("M", bound=Message)


def read_saved(kind: type[M], raw: bytes) -> M:
    """Return the message in saved bytes. Raises SavedMalformed."""
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise SavedMalformed(f"these bytes hold no {kind.DESCRIPTOR.name}; give what `to_bytes` returned") from error
