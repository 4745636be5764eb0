"""Simulation: reads on a snapshot of the committed state, writes into a read-write set.

    simulator = channel.simulator(tx_id, msp_id="Org1MSP")
    try:
        simulator.get_state("golden-grain", "key")
        simulator.put_state("golden-grain", "key", b"value")
        results = simulator.results()
    finally:
        simulator.done()

Reads never see the transaction's own writes. The read-write set is ordered and serialised as Fabric's, byte for byte:
namespaces by name, keys by key (private ones by the clear key), collections by name; a range read is recorded as far as
it was read. All refusals are SimulationError with the text that Fabric's peer gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from fabric_protos.ledger.queryresult.kv_query_result_pb2 import KeyModification
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from goldengrain.network.embedded.endorsement import VALIDATION_PARAMETER, key_policy
from goldengrain.network.embedded.errors import SimulationError
from goldengrain.network.embedded.history import key_history
from goldengrain.network.embedded.rwset import RangeSummary, encode_version, kv_read
from goldengrain.network.embedded.snapshot import Snapshot
from goldengrain.network.embedded.state import (
    PrivateKey,
    StateKey,
    VersionedValue,
    decode_metadata,
)

__all__ = ["VALIDATION_PARAMETER", "KeyValue", "SimulationResults", "StateRange", "TxSimulator"]


class KeyValue(NamedTuple):
    """One record of a range."""

    key: str
    value: bytes


@dataclass(frozen=True)
class SimulationResults:
    """What a transaction has read and written.

    `public`: the serialised rwset.TxReadWriteSet for ChaincodeAction.results. `private`: the clear private writes, None
    without. `policies`: the key-level policies (serialised SignaturePolicyEnvelope) of written keys, by namespace and
    collection ("" for public keys), for choosing endorsers. `plain`: (namespace, collection) pairs in which a key
    without a policy of its own is written.
    """

    public: bytes
    private: rwset_pb2.TxPvtReadWriteSet | None
    policies: Mapping[tuple[str, str], frozenset[bytes]]
    plain: frozenset[tuple[str, str]]


@dataclass
class _Collection:
    """What is recorded of one private collection, by clear key."""

    reads: dict[str, kv_rwset_pb2.KVReadHash] = field(default_factory=dict)
    writes: dict[str, tuple[kv_rwset_pb2.KVWrite, kv_rwset_pb2.KVWriteHash]] = field(default_factory=dict)
    metadata: dict[str, Mapping[str, bytes] | None] = field(default_factory=dict)


@dataclass
class _Namespace:
    """What is recorded of one chaincode."""

    reads: dict[str, kv_rwset_pb2.KVRead] = field(default_factory=dict)
    writes: dict[str, kv_rwset_pb2.KVWrite] = field(default_factory=dict)
    metadata: dict[str, Mapping[str, bytes] | None] = field(default_factory=dict)
    ranges: list[StateRange] = field(default_factory=list)
    collections: dict[str, _Collection] = field(default_factory=dict)


class StateRange:
    """An open range. What is read of it is recorded, if it is of the public state; what is not read is not."""

    def __init__(self, start: str, end: str, rows: Iterator[tuple[bytes, VersionedValue]]) -> None:
        self._end = end
        self._rows = rows
        self._summary = RangeSummary()
        self._info = kv_rwset_pb2.RangeQueryInfo(start_key=start)

    def next(self) -> KeyValue | None:
        """Read the next record; None at the end, which marks the range as exhausted."""
        row = next(self._rows, None)
        if row is None:
            self._info.itr_exhausted = True
            self._info.end_key = self._end
            return None
        key = row[0].decode()
        self._summary.add(kv_read(key, row[1].version))
        self._info.end_key = key
        return KeyValue(key, row[1].value)

    def bookmark(self) -> str:
        """Return the key of the next record without reading it, empty at the end: Fabric's bookmark of a page."""
        row = next(self._rows, None)
        if row is None:
            return ""
        self._rows = chain([row], self._rows)
        return row[0].decode()

    def close(self) -> None:
        """Release the range; what was read stays recorded."""
        self._rows = iter(())

    def info(self) -> kv_rwset_pb2.RangeQueryInfo:
        """What was read, once: ends the range."""
        self.close()
        self._summary.finish(self._info)
        return self._info


class TxSimulator:
    """Reads and writes of one transaction, on the peer of one organisation."""

    def __init__(self, snapshot: Snapshot, tx_id: str, msp_id: str) -> None:
        self.tx_id = tx_id
        self.msp_id = msp_id
        self._snapshot = snapshot
        self._namespaces: dict[str, _Namespace] = {}
        self._paginated = False
        self._private_ranged = False
        self._written = False
        self._done = False

    @property
    def height(self) -> int:
        """The number of blocks whose state is read."""
        return self._snapshot.height

    # -- public state ------------------------------------------------------------------------------------------------

    def get_state(self, namespace: str, key: str) -> bytes | None:
        """Return the committed value of a key; recorded as read."""
        value = self._read(namespace, key)
        return None if value is None else value.value

    def get_states(self, namespace: str, keys: Sequence[str]) -> list[bytes | None]:
        """Several at once, in the order of `keys`."""
        return [self.get_state(namespace, key) for key in keys]

    def get_state_metadata(self, namespace: str, key: str) -> dict[str, bytes]:
        """Return the metadata of a key, empty for none; recorded as a read of the key."""
        value = self._read(namespace, key)
        return {} if value is None else decode_metadata(value.metadata)

    def range(self, namespace: str, start: str, end: str, *, page_size: int | None = None) -> StateRange:
        """Open the keys in [start, end); "" as `end` is an open one.

        With a `page_size`, which says how many will be read, the transaction must be read-only.
        """
        self._check_open()
        if page_size is not None:
            if self._written:
                raise self._unsupported("Paginated queries are supported only in a read-only transaction")
            self._paginated = True
        wanted = None if page_size is None else page_size + 1  # the next page's first key is its bookmark
        rows = self._snapshot.range(namespace, start.encode(), end.encode() or None, wanted)
        opened = StateRange(start, end, rows)
        self._namespace(namespace).ranges.append(opened)
        return opened

    def history(self, namespace: str, key: str) -> Iterator[KeyModification]:
        """Tell what the transactions that wrote a key made of it, the newest first; not recorded as read."""
        self._check_open()
        return key_history(self._snapshot, namespace, key)

    def put_state(self, namespace: str, key: str, value: bytes) -> None:
        """Write a key; an empty value deletes it, as in Fabric."""
        self._check_write()
        write = kv_rwset_pb2.KVWrite(key=key, value=value, is_delete=not value)
        self._namespace(namespace).writes[key] = write

    def delete_state(self, namespace: str, key: str) -> None:
        """Delete a key, whether it is there or not."""
        self.put_state(namespace, key, b"")

    def set_state_metadata(self, namespace: str, key: str, entries: Mapping[str, bytes] | None) -> None:
        """Replace all metadata of a key; None removes them."""
        self._check_write()
        self._namespace(namespace).metadata[key] = entries

    def _read(self, namespace: str, key: str) -> VersionedValue | None:
        self._check_open()
        value = self._snapshot.get(StateKey(namespace, "", key.encode()))
        self._namespace(namespace).reads[key] = kv_read(key, None if value is None else value.version)
        return value

    # -- private data ------------------------------------------------------------------------------------------------

    def get_private(self, namespace: str, collection: str, key: str) -> bytes | None:
        """Return the committed private value, as this peer's organisation has it; recorded as read."""
        hashed = self._read_hash(namespace, collection, key)
        clear = self._snapshot.get_private(PrivateKey(self.msp_id, namespace, collection, key.encode()))
        if hashed is None:
            return None
        if clear is None or clear.version != hashed.version:
            raise SimulationError(
                "private data matching public hash version is not available. Public hash version = "
                f"{_shown(hashed)}, Private data version = {_shown(clear)}"
            )
        return clear.value

    def get_private_hash(self, namespace: str, collection: str, key: str) -> bytes | None:
        """Return SHA-256 of the private value, from the public hashed state; recorded as read."""
        value = self._read_hash(namespace, collection, key)
        return None if value is None else value.value

    def get_private_metadata(self, namespace: str, collection: str, key: str) -> dict[str, bytes]:
        """Return the metadata of a private key, empty for none; recorded as a read of the key."""
        value = self._read_hash(namespace, collection, key)
        return {} if value is None else decode_metadata(value.metadata)

    def private_range(self, namespace: str, collection: str, start: str, end: str) -> StateRange:
        """Open the private keys in [start, end) that this organisation has; the transaction must be read-only."""
        self._check_open()
        if self._written:
            raise self._unsupported("Queries on pvt data is supported only in a read-only transaction")
        self._private_ranged = True
        owner = (self.msp_id, namespace, collection)
        return StateRange(start, end, self._snapshot.private_range(owner, start.encode(), end.encode() or None))

    def put_private(self, namespace: str, collection: str, key: str, value: bytes) -> None:
        """Write a private key; an empty value deletes it."""
        self._write_private(namespace, collection, key, value, purge=False)

    def delete_private(self, namespace: str, collection: str, key: str) -> None:
        """Delete a private key."""
        self._write_private(namespace, collection, key, b"", purge=False)

    def purge_private(self, namespace: str, collection: str, key: str) -> None:
        """Delete a private key and what was ever kept of it."""
        self._write_private(namespace, collection, key, b"", purge=True)

    def set_private_metadata(
        self, namespace: str, collection: str, key: str, entries: Mapping[str, bytes] | None
    ) -> None:
        """Replace all metadata of a private key; None removes them."""
        self._check_write()
        self._collection(namespace, collection).metadata[key] = entries

    def _write_private(self, namespace: str, collection: str, key: str, value: bytes, *, purge: bool) -> None:
        self._check_write()
        gone = not value
        hashed = kv_rwset_pb2.KVWriteHash(
            key_hash=_sha256(key.encode()), is_delete=gone, value_hash=b"" if gone else _sha256(value), is_purge=purge
        )
        clear = kv_rwset_pb2.KVWrite(key=key, value=value, is_delete=gone)
        self._collection(namespace, collection).writes[key] = (clear, hashed)

    def _read_hash(self, namespace: str, collection: str, key: str) -> VersionedValue | None:
        self._check_open()
        key_hash = _sha256(key.encode())
        value = self._snapshot.get(StateKey(namespace, collection, key_hash))
        read = kv_rwset_pb2.KVReadHash(key_hash=key_hash)
        if value is not None:
            read.version.CopyFrom(encode_version(value.version))
        self._collection(namespace, collection).reads[key] = read
        return value

    # -- the end -----------------------------------------------------------------------------------------------------

    def results(self) -> SimulationResults:
        """Return the read-write set and end the simulation."""
        self._check_open()
        public, private = rwset_pb2.TxReadWriteSet(), rwset_pb2.TxPvtReadWriteSet()
        for name in _sorted(self._namespaces):
            entry = self._namespaces[name]
            clear = rwset_pb2.NsPvtReadWriteSet(namespace=name)
            public.ns_rwset.append(_encode_namespace(name, entry, clear))
            if clear.collection_pvt_rwset:
                private.ns_pvt_rwset.append(clear)
        policies, plain = self._key_policies()
        self.done()
        return SimulationResults(public.SerializeToString(), private if private.ns_pvt_rwset else None, policies, plain)

    def done(self) -> None:
        """Release the snapshot; call it always, also after errors. Calling it twice is fine."""
        self._done = True
        self._snapshot.close()

    def _key_policies(self) -> tuple[dict[tuple[str, str], frozenset[bytes]], frozenset[tuple[str, str]]]:
        policies: dict[tuple[str, str], set[bytes]] = {}
        plain: set[tuple[str, str]] = set()
        for key in self._written_keys():
            policy = key_policy(self._snapshot.metadata(key))
            if policy:
                policies.setdefault((key.namespace, key.collection), set()).add(policy)
            else:
                plain.add((key.namespace, key.collection))
        return {place: frozenset(found) for place, found in policies.items()}, frozenset(plain)

    def _written_keys(self) -> Iterator[StateKey]:
        for name, entry in self._namespaces.items():
            for key in entry.writes.keys() | entry.metadata.keys():
                yield StateKey(name, "", key.encode())
            for collection, part in entry.collections.items():
                for key in part.writes.keys() | part.metadata.keys():
                    yield StateKey(name, collection, _sha256(key.encode()))

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _namespace(self, name: str) -> _Namespace:
        return self._namespaces.setdefault(name, _Namespace())

    def _collection(self, namespace: str, name: str) -> _Collection:
        return self._namespace(namespace).collections.setdefault(name, _Collection())

    def _check_open(self) -> None:
        if self._done:
            raise SimulationError("this instance should not be used after calling Done()")

    def _check_write(self) -> None:
        self._check_open()
        if self._private_ranged:
            raise self._unsupported("Transaction has already performed queries on pvt data. Writes are not allowed")
        if self._paginated:
            raise self._unsupported("Transaction has already performed a paginated query. Writes are not allowed")
        self._written = True

    def _unsupported(self, why: str) -> SimulationError:
        return SimulationError(f"txid [{self.tx_id}]: unsuppored transaction. {why}")


def _encode_namespace(name: str, entry: _Namespace, clear: rwset_pb2.NsPvtReadWriteSet) -> rwset_pb2.NsReadWriteSet:
    """The public part of a namespace; the clear part of its collections is added to `clear`."""
    ranges: dict[tuple[str, str, bool], kv_rwset_pb2.RangeQueryInfo] = {}
    for opened in entry.ranges:
        info = opened.info()
        ranges.setdefault((info.start_key, info.end_key, info.itr_exhausted), info)
    public = kv_rwset_pb2.KVRWSet(
        reads=[entry.reads[key] for key in _sorted(entry.reads)],
        range_queries_info=ranges.values(),
        writes=[entry.writes[key] for key in _sorted(entry.writes)],
        metadata_writes=[
            kv_rwset_pb2.KVMetadataWrite(key=key, entries=_entries(entry.metadata[key]))
            for key in _sorted(entry.metadata)
        ],
    )
    encoded = rwset_pb2.NsReadWriteSet(namespace=name, rwset=public.SerializeToString())
    for collection in _sorted(entry.collections):
        part = entry.collections[collection]
        hashed = rwset_pb2.CollectionHashedReadWriteSet(
            collection_name=collection, hashed_rwset=_encode_hashed(part).SerializeToString()
        )
        if part.writes or part.metadata:
            secret = _encode_clear(part).SerializeToString()
            hashed.pvt_rwset_hash = _sha256(secret)
            clear.collection_pvt_rwset.add(collection_name=collection, rwset=secret)
        encoded.collection_hashed_rwset.append(hashed)
    return encoded


def _encode_hashed(part: _Collection) -> kv_rwset_pb2.HashedRWSet:
    return kv_rwset_pb2.HashedRWSet(
        hashed_reads=[part.reads[key] for key in _sorted(part.reads)],
        hashed_writes=[part.writes[key][1] for key in _sorted(part.writes)],
        metadata_writes=[
            kv_rwset_pb2.KVMetadataWriteHash(key_hash=_sha256(key.encode()), entries=_entries(part.metadata[key]))
            for key in _sorted(part.metadata)
        ],
    )


def _encode_clear(part: _Collection) -> kv_rwset_pb2.KVRWSet:
    return kv_rwset_pb2.KVRWSet(
        writes=[part.writes[key][0] for key in _sorted(part.writes)],
        metadata_writes=[kv_rwset_pb2.KVMetadataWrite(key=key) for key in _sorted(part.metadata)],
    )


def _shown(value: VersionedValue | None) -> str:
    if value is None:
        return "<nil>"
    return f"{{BlockNum: {value.version.block}, TxNum: {value.version.transaction}}}"


def _entries(entries: Mapping[str, bytes] | None) -> list[kv_rwset_pb2.KVMetadataEntry]:
    if entries is None:
        return []
    return [kv_rwset_pb2.KVMetadataEntry(name=name, value=entries[name]) for name in _sorted(entries)]


def _sorted(names: Mapping[str, object]) -> list[str]:
    """Names by code point, which is also the order of their UTF-8 bytes, Fabric's order."""
    return sorted(names)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
