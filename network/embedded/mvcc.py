"""Conflicts and effects: which transactions of a block still hold against the state, and what they make of it.

A transaction's reads must have the versions that the state has now, with the writes of earlier valid transactions of
the same block applied (any such write is a conflict); its range reads must give the same keys and versions. Valid
transactions are applied in order: a write keeps the key's metadata unless it sets them, metadata alone keep the value,
metadata of a key that is not there do nothing, and every write raises the key's version.

The commit hash chains the updates of all blocks, so that peers can compare their states.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Protocol

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import transaction_pb2

from goldengrain.network.embedded.blocks import varint
from goldengrain.network.embedded.rwset import NamespaceRwSet, RangeSummary, kv_read, read_version
from goldengrain.network.embedded.state import StateKey, Update, Version, VersionedValue, encode_metadata

_VALID = transaction_pb2.VALID


class CommittedState(Protocol):
    """The state before the block."""

    def get(self, key: StateKey) -> VersionedValue | None:
        """Return the committed value of a key."""

    def range(self, namespace: str, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, VersionedValue]]:
        """Public keys in [start, end)."""


@dataclass
class _KeyOperation:
    """What one transaction does to one key."""

    writes: bool = False
    value: bytes | None = None
    sets_metadata: bool = False
    metadata: bytes = b""


class StateValidator:
    """Checks and applies the transactions of one block, in order."""

    def __init__(self, state: CommittedState) -> None:
        self._state = state
        self.updates: dict[StateKey, Update] = {}

    def check(self, rwsets: Iterable[NamespaceRwSet]) -> "transaction_pb2.TxValidationCode.ValueType":
        """Return VALID, MVCC_READ_CONFLICT or PHANTOM_READ_CONFLICT."""
        for entry in rwsets:
            if not all(self._is_current(entry.namespace, read) for read in entry.public.reads):
                return transaction_pb2.MVCC_READ_CONFLICT
            if not all(self._gives_the_same(entry.namespace, info) for info in entry.public.range_queries_info):
                return transaction_pb2.PHANTOM_READ_CONFLICT
            for collection in entry.collections:
                keys = (
                    (StateKey(entry.namespace, collection.name, r.key_hash), r) for r in collection.hashed.hashed_reads
                )
                if not all(self._has_version(key, read_version(read)) for key, read in keys):
                    return transaction_pb2.MVCC_READ_CONFLICT
        return _VALID

    def _is_current(self, namespace: str, read: kv_rwset_pb2.KVRead) -> bool:
        return self._has_version(StateKey(namespace, "", read.key.encode()), read_version(read))

    def _has_version(self, key: StateKey, version: Version | None) -> bool:
        if key in self.updates:
            return False
        value = self._state.get(key)
        return (None if value is None else value.version) == version

    def _gives_the_same(self, namespace: str, info: kv_rwset_pb2.RangeQueryInfo) -> bool:
        end: bytes | None = info.end_key.encode() or None
        if end is not None and not info.itr_exhausted:
            end += b"\0"
        summary, now = RangeSummary(), kv_rwset_pb2.RangeQueryInfo()
        for key, version in self._range(namespace, info.start_key.encode(), end):
            summary.add(kv_read(key.decode(), version))
        summary.finish(now)
        if info.HasField("reads_merkle_hashes"):
            return now.reads_merkle_hashes == info.reads_merkle_hashes
        return not now.HasField("reads_merkle_hashes") and now.raw_reads == info.raw_reads

    def _range(self, namespace: str, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, Version]]:
        changed = {
            key.key: update
            for key, update in self.updates.items()
            if key.namespace == namespace and not key.collection and start <= key.key and (end is None or key.key < end)
        }
        committed = ((k, v.version) for k, v in self._state.range(namespace, start, end) if k not in changed)
        if not changed:
            return committed
        written = ((k, u.version) for k, u in changed.items() if u.value is not None)
        return iter(sorted(chain(committed, written)))

    def apply(self, rwsets: Iterable[NamespaceRwSet], version: Version) -> None:
        """Apply the writes of a valid transaction."""
        applied: dict[StateKey, Update] = {}
        for key, operation in _operations(rwsets).items():
            update = self._update(key, operation, version)
            if update is not None:
                applied[key] = update
        self.updates.update(applied)

    def _update(self, key: StateKey, operation: _KeyOperation, version: Version) -> Update | None:
        if operation.writes and operation.value is None:
            return Update(None, b"", version)
        if operation.writes and operation.sets_metadata:
            return Update(operation.value, operation.metadata, version)
        value, metadata = self._latest(key)
        if operation.writes:
            return Update(operation.value, metadata, version)
        return None if value is None else Update(value, operation.metadata, version)

    def _latest(self, key: StateKey) -> tuple[bytes | None, bytes]:
        update = self.updates.get(key)
        if update is not None:
            return update.value, update.metadata
        committed = self._state.get(key)
        return (None, b"") if committed is None else (committed.value, committed.metadata)


def _operations(rwsets: Iterable[NamespaceRwSet]) -> dict[StateKey, _KeyOperation]:
    operations: dict[StateKey, _KeyOperation] = {}

    def at(namespace: str, collection: str, key: bytes) -> _KeyOperation:
        return operations.setdefault(StateKey(namespace, collection, key), _KeyOperation())

    def write(operation: _KeyOperation, value: bytes | None) -> None:
        operation.writes, operation.value = True, value

    def annotate(operation: _KeyOperation, entries: Iterable[kv_rwset_pb2.KVMetadataEntry]) -> None:
        operation.sets_metadata, operation.metadata = True, encode_metadata(entries)

    for entry in rwsets:
        for put in entry.public.writes:
            write(at(entry.namespace, "", put.key.encode()), None if put.is_delete or not put.value else put.value)
        for note in entry.public.metadata_writes:
            annotate(at(entry.namespace, "", note.key.encode()), note.entries)
        for part in entry.collections:
            for hashed in part.hashed.hashed_writes:
                gone = hashed.is_delete or hashed.is_purge or not hashed.value_hash
                write(at(entry.namespace, part.name, hashed.key_hash), None if gone else hashed.value_hash)
            for hashed_note in part.hashed.metadata_writes:
                annotate(at(entry.namespace, part.name, hashed_note.key_hash), hashed_note.entries)
    return operations


def commit_hash(flags: bytes, updates: Mapping[StateKey, Update], previous: bytes) -> bytes:
    """SHA-256 over the number of transactions, their validation codes, the updates in order, and the hash before."""
    digest = hashlib.sha256(varint(len(flags)) + flags)
    namespace, collection = "", ""
    for key in sorted(updates, key=lambda k: (k.namespace.encode(), k.collection.encode(), k.key)):
        update = updates[key]
        same = key.namespace == namespace
        body = b"" if same else _field(1, key.namespace.encode())
        if key.collection and not (same and key.collection == collection):
            body += _field(2, key.collection.encode())
        body += _field(3, key.key)
        body += b"\x20\x01" if update.value is None else _field(5, update.value)
        body += _field(6, _height_bytes(update.version))
        digest.update(b"\x0a" + varint(len(body)) + body)
        namespace, collection = key.namespace, key.collection
    digest.update(previous)
    return digest.digest()


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(value)) + value if value else b""


@lru_cache(maxsize=1024)
def _height_bytes(version: Version) -> bytes:
    """Block and transaction as order-preserving integers: the count of bytes, then these without leading zeros."""
    parts = [number.to_bytes(8, "big").lstrip(b"\0") for number in version]
    return b"".join(bytes([len(part)]) + part for part in parts)
