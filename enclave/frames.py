"""Frames between processes: four bytes of length, big-endian, then that many bytes."""

from __future__ import annotations

import asyncio
import struct
from typing import BinaryIO

from goldengrain.enclave.errors import RequestRefused

_LENGTH = struct.Struct(">I")


def frame(data: bytes) -> bytes:
    """Return the data with its length before it."""
    return _LENGTH.pack(len(data)) + data


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


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise EOFError("the stream ended")
    return data
