"""The header of a safetensors file, read strictly and without the file's body.

    8 bytes: length n, little-endian | n bytes of JSON: {"__metadata__": {text: text}, NAME: entry, …} | the tensors

An entry is `{"dtype": …, "shape": […], "data_offsets": [begin, end]}`. Tensors follow one another without gap or
overlap, so that no byte has two meanings or none; who reads the body holds its size against `Header.whole`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.errors import MalformedInput

LENGTH = 8
SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U8": 1}
"""Bytes of an element, by the format's own names."""
_ALIGNED = 8


class HeaderWrong(Exception):
    """The bytes are no header of a safetensors file, or of another one than this."""


@dataclass(frozen=True)
class Entry:
    """One tensor: element type (the format's own name), shape, and where it begins after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * SIZES[self.dtype]


@dataclass(frozen=True)
class Header:
    """What a header says: metadata, tensors by name in their order, bytes of the header itself and of the whole."""

    metadata: Mapping[str, str]
    entries: Mapping[str, Entry]
    size: int
    whole: int


def header_size(data: bytes | bytearray | memoryview, most: int) -> int:
    """Return the size of the header, its length included, from the first eight bytes; raises `HeaderWrong`."""
    length = int.from_bytes(data[:LENGTH], "little")
    if len(data) < LENGTH or not 2 <= length <= most:
        raise HeaderWrong(f"a header has 2 to {most:,} bytes")
    return LENGTH + length


def read_header(data: bytes | bytearray | memoryview, most: int) -> Header:
    """Read the header, of at most so many bytes, at the start of `data`; raises `HeaderWrong`."""
    size = header_size(data, most)
    if size > len(data):
        raise HeaderWrong("the header is cut off")
    try:
        fields = canonical.loads(bytes(data[LENGTH:size]), most)
        metadata = fields.pop("__metadata__", {})
        entries = {name: _entry(one) for name, one in fields.items()}
    except (MalformedInput, KeyError, ValueError, TypeError, AttributeError) as error:
        raise HeaderWrong("the header is none of the safetensors format") from error
    ordered = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].size)))
    at = 0
    for entry in ordered.values():
        if entry.begin != at:
            raise HeaderWrong("tensors overlap or leave a gap")
        at += entry.size
    if not isinstance(metadata, dict) or not all(isinstance(one, str) for one in metadata.values()):
        raise HeaderWrong("metadata are texts")
    return Header(metadata, ordered, size, size + at)


def write_header(metadata: Mapping[str, str], tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """Return a header for tensors (element type, shape) in this order, spaces up to a multiple of eight bytes."""
    fields: dict[str, Json] = {"__metadata__": dict(metadata)}
    at = 0
    for name, (dtype, shape) in tensors.items():
        end = at + prod(shape) * SIZES[dtype]
        fields[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(LENGTH, "little") + text


def _entry(fields: dict[str, Json]) -> Entry:
    begin, end = fields.pop("data_offsets")
    made = Entry(fields.pop("dtype"), tuple(fields.pop("shape")), begin)
    if fields or not all(type(one) is int and one >= 0 for one in (begin, end, *made.shape)):
        raise ValueError("a tensor has a type, a shape and offsets")
    if end - begin != made.size:
        raise ValueError("a tensor's offsets are not those of its shape")
    return made
