"""Bytes that are hashed and signed: the block header in DER, versions, the updates behind a commit hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from fabric_protos.common import common_pb2


@dataclass(frozen=True, order=True)
class Key:
    """A key of the state: chaincode, collection ("" for public state), key (or its hash, in a collection)."""

    namespace: str
    collection: str
    key: bytes


@dataclass(frozen=True, order=True)
class Version:
    """Where a key was written: block and transaction."""

    block: int
    transaction: int


def digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def header_der(header: common_pb2.BlockHeader) -> bytes:
    """SEQUENCE { INTEGER number, OCTET STRING previous_hash, OCTET STRING data_hash }."""
    number = header.number.to_bytes(header.number.bit_length() // 8 + 1, "big")
    return _tlv(0x30, _tlv(0x02, number) + _tlv(0x04, header.previous_hash) + _tlv(0x04, header.data_hash))


def updates(changed: Iterable[tuple[Key, bytes | None, Version]]) -> bytes:
    """A block's updates as commit hashes cover them.

    One message per key, in the order of (namespace, collection, key): 1 namespace and 2 collection where they differ
    from the entry before, 3 key, 4 true for a delete, 5 value (of collections its hash), 6 version.
    """
    out, before = b"", ("", "")
    for key, value, version in sorted(changed, key=lambda entry: entry[0]):
        here = (key.namespace, key.collection)
        entry = _field(1, key.namespace.encode() if key.namespace != before[0] else b"")
        entry += _field(2, key.collection.encode() if here != before else b"")
        entry += _field(3, key.key)
        entry += b"\x20\x01" if value is None else _field(5, value)
        entry += _field(6, _ordered(version.block) + _ordered(version.transaction))
        out += _field(1, entry, always=True)
        before = here
    return out


def commit_hash(codes: bytes, changed: bytes, previous: bytes) -> bytes:
    return digest(varint(len(codes)), codes, changed, previous)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _ordered(number: int) -> bytes:
    """A number in the form whose bytes sort as numbers do: length, then big-endian digits."""
    digits = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return varint(len(digits)) + digits


def _field(number: int, content: bytes, *, always: bool = False) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content if content or always else b""


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content
