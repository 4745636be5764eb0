"""The state of a channel, rebuilt from blocks alone; of private data the hashes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from tests.blockcheck.encoding import Key, Version, digest
from tests.blockcheck.transactions import Namespace


@dataclass(frozen=True)
class Value:
    """What a key holds: its value (in a collection, the value's hash), where that was written, its metadata.

    Of a key that a block deletes the value is None; the state itself doesn't hold it any more.
    """

    value: bytes | None
    version: Version
    metadata: Mapping[str, bytes] = field(default_factory=dict)


Changes = dict[Key, Value]
"""Keys that are written or deleted, and to what."""


class State:
    """All keys with their values."""

    def __init__(self) -> None:
        self._values: dict[Key, Value] = {}
        self._order: dict[str, list[bytes]] = {}

    def get(self, key: Key) -> Value | None:
        return self._values.get(key)

    def apply(self, changes: Changes) -> None:
        for key, value in changes.items():
            keys = self._order.setdefault(key.namespace, []) if not key.collection else []
            if value.value is None:
                if self._values.pop(key, None) is not None and not key.collection:
                    keys.pop(bisect_left(keys, key.key))
                continue
            if key not in self._values and not key.collection:
                insort(keys, key.key)
            self._values[key] = value

    def keys(self, namespace: str, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """Public keys from `start` to before `end`, in order."""
        keys = self._order.get(namespace, [])
        for place in range(bisect_left(keys, start), len(keys)):
            if end is not None and keys[place] >= end:
                return
            yield keys[place]


def effects(namespaces: list[Namespace], version: Version, before: State, so_far: Changes) -> Changes:
    """What a transaction's writes change, after those of the same block before it."""

    def current(key: Key) -> Value | None:
        value = found.get(key) or so_far.get(key) or before.get(key)
        return value if value is not None and value.value is not None else None

    found: Changes = {}
    for entry in namespaces:
        for key, value in entry.writes():
            old = current(key)
            found[key] = Value(value, version, old.metadata if old and value is not None else {})
        for key, metadata in entry.metadata_writes():
            old = current(key)
            if old is not None:  # metadata of a missing key goes nowhere
                found[key] = Value(old.value, version, metadata)
    return found


class Reads:
    """Holds a transaction's reads against the state before its block and what the block has changed so far."""

    def __init__(self, state: State, so_far: Changes) -> None:
        self._state = state
        self._so_far = so_far

    def outdated(self, namespaces: list[Namespace]) -> str | None:
        """The validation code of what was read and isn't so any more, None if all is."""
        for entry in namespaces:
            if any(self._version(key) != version for key, version in entry.reads()):
                return "MVCC_READ_CONFLICT"
            if not all(self._range_holds(entry.name, query) for query in entry.public.range_queries_info):
                return "PHANTOM_READ_CONFLICT"
            if any(self._version(key) != version for key, version in entry.hashed_reads()):
                return "MVCC_READ_CONFLICT"
        return None

    def _version(self, key: Key) -> Version | None:
        value = self._so_far.get(key) or self._state.get(key)
        return value.version if value is not None and value.value is not None else None

    def _range_holds(self, namespace: str, query: kv_rwset_pb2.RangeQueryInfo) -> bool:
        end = query.end_key.encode()
        if not query.itr_exhausted:
            end += b"\x00"  # the last key that was read counts
        found = self._range(namespace, query.start_key.encode(), end or None)
        if not query.HasField("reads_merkle_hashes"):
            return found == list(query.raw_reads.kv_reads)
        summary = query.reads_merkle_hashes
        return merkle(found, summary.max_degree) == (summary.max_level, list(summary.max_level_hashes))

    def _range(self, namespace: str, start: bytes, end: bytes | None) -> list[kv_rwset_pb2.KVRead]:
        keys = set(self._state.keys(namespace, start, end))
        for key, value in self._so_far.items():
            if key.namespace == namespace and not key.collection and start <= key.key and (not end or key.key < end):
                (keys.discard if value.value is None else keys.add)(key.key)
        found = []
        for raw in sorted(keys):
            version = self._version(Key(namespace, "", raw))
            assert version is not None
            number = kv_rwset_pb2.Version(block_num=version.block, tx_num=version.transaction)
            found.append(kv_rwset_pb2.KVRead(key=raw.decode(), version=number))
        return found


def merkle(reads: list[kv_rwset_pb2.KVRead], degree: int) -> tuple[int, list[bytes]]:
    """Summary of a long range: (level, hashes). Each batch of degree+1 reads is a leaf; full levels are combined."""
    levels: dict[int, list[bytes]] = {}
    highest = 1

    def add(leaf: bytes) -> None:
        nonlocal highest
        level = 1
        levels.setdefault(level, []).append(leaf)
        while len(levels[level]) > degree:
            combined = digest(*levels.pop(level))
            level += 1
            highest = max(highest, level)
            levels.setdefault(level, []).append(combined)

    size = degree + 1
    for start in range(0, len(reads), size):
        add(digest(kv_rwset_pb2.QueryReads(kv_reads=reads[start : start + size]).SerializeToString()))
    for level in range(1, highest):
        rest = levels.pop(level, [])
        if rest:
            levels.setdefault(level + 1, []).append(rest[0] if len(rest) == 1 else digest(*rest))
    if len(levels.get(highest, [])) > degree:
        levels[highest + 1] = [digest(*levels.pop(highest))]
        highest += 1
    return highest, levels.get(highest, [])
