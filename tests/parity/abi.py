"""Calldata from Python values, by the types that the compiler's ABI names (static and dynamic, tuples and lists)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

WORD = 32
Abi = Mapping[str, Any]
"""One entry of a compiler's ABI, or one of its inputs or components."""


class Encoder(NamedTuple):
    """How values of a type are written; `size` in bytes of the head, None where it holds an offset."""

    size: int | None
    write: Callable[[Any], bytes]


def encoder(entry: Abi) -> Encoder:
    """Return the encoder of an argument; raises `ValueError` for types that no contract here has."""
    kind = str(entry["type"])
    if kind.endswith("[]"):
        return Encoder(None, _list(encoder({**entry, "type": kind[:-2]})))
    if kind == "tuple":
        return sequence([encoder(one) for one in entry["components"]])
    if kind == "bytes":
        return Encoder(None, lambda value: word(len(value)) + value + bytes(-len(value) % WORD))
    if kind.startswith("uint") or kind == "bool":
        return Encoder(WORD, lambda value: word(int(value)))
    if kind == "address":
        return Encoder(WORD, lambda value: bytes.fromhex(value[2:]).rjust(WORD, b"\0"))
    if kind == "bytes32":
        return Encoder(WORD, _fixed)
    raise ValueError(f"no encoder of {kind}")


def sequence(parts: Sequence[Encoder]) -> Encoder:
    """Return the encoder of several values one after the other: a tuple, or a function's arguments."""
    head = sum(part.size or WORD for part in parts)
    static = all(part.size is not None for part in parts)

    def write(values: Sequence[Any]) -> bytes:
        heads, tails, at = [], [], head
        for part, value in zip(parts, values, strict=True):
            data = part.write(value)
            if part.size is not None:
                heads.append(data)
            else:
                heads.append(word(at))
                tails.append(data)
                at += len(data)
        return b"".join(heads + tails)

    return Encoder(head if static else None, write)


def word(number: int) -> bytes:
    """Return an unsigned integer as 32 bytes."""
    return number.to_bytes(WORD, "big")


def words(data: bytes) -> list[int]:
    """Return 32-byte words as unsigned integers."""
    return [int.from_bytes(data[at : at + WORD], "big") for at in range(0, len(data), WORD)]


def signature(entry: Abi) -> str:
    """Return a function's or an event's canonical signature, whose Keccak-256 names it."""
    return f"{entry['name']}({','.join(_canonical(one) for one in entry['inputs'])})"


def _canonical(entry: Abi) -> str:
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_canonical(one) for one in entry['components'])}){kind[5:]}"


def _list(item: Encoder) -> Callable[[Any], bytes]:
    def write(values: Sequence[Any]) -> bytes:
        return word(len(values)) + sequence([item] * len(values)).write(values)

    return write


def _fixed(value: bytes) -> bytes:
    if len(value) != WORD:
        raise ValueError(f"a word has {WORD} bytes, not {len(value)}")
    return value
