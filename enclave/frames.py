"""Frames between processes: four bytes of length, big-endian, then that many bytes.

What may be longer than a frame, and comes in pieces, is announced by eight bytes of length.
"""

from __future__ import annotations

import asyncio
import struct
from typing import BinaryIO

from goldengrain.enclave.errors import RequestRefused

_LENGTH = struct.Struct(">I")
_ANNOUNCED = 8


def frame(data: bytes) -> bytes:
    """Return the data with its length before it."""
    return _LENGTH.pack(len(data)) + data


def announced(size: int) -> bytes:
    """Return what precedes so many bytes."""
    return size.to_bytes(_ANNOUNCED)


async def read_frame(reader: asyncio.StreamReader, limit: int) -> bytes | None:
    """Read one frame; None at the end of the stream. Raises `RequestRefused` for one that is too long or cut off."""
    try:
        head = await reader.readexactly(_LENGTH.size)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise RequestRefused("the stream ends in the middle of a frame") from error
    (length,) = _LENGTH.unpack(head)
    if length > limit:
        raise RequestRefused(f"a frame of {length:,} bytes; at most {limit:,} are read")
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise RequestRefused("the stream ends in the middle of a frame") from error


def read_frame_from(source: BinaryIO) -> bytes:
    """Read one frame from a blocking stream; raises `EOFError` at its end."""
    (length,) = _LENGTH.unpack(_exactly(source, _LENGTH.size))
    return _exactly(source, length)


def read_announced_from(source: BinaryIO) -> bytes:
    """Read all that was announced on a blocking stream; raises `EOFError` at its end."""
    return _exactly(source, int.from_bytes(_exactly(source, _ANNOUNCED)))


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise EOFError("the stream ended")
    return data
