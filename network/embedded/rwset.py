"""Read-write sets: Fabric's rwset.TxReadWriteSet taken apart for validation, and summaries of range reads.

A range read of more than 50 records is summarised by a tree of hashes: leaves are SHA-256 over a serialised
kvrwset.QueryReads of 51 records at a time (the rest in the last one); whenever a level holds more than 50 hashes they
are replaced by the hash of their concatenation, one level up.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from goldengrain.network.embedded.state import Version

MAX_DEGREE = 50


@dataclass(frozen=True)
class CollectionRwSet:
    """The hashed reads and writes of one private collection, and the hash of the clear write set."""

    name: str
    hashed: kv_rwset_pb2.HashedRWSet
    private_hash: bytes


@dataclass(frozen=True)
class NamespaceRwSet:
    """Reads and writes of one chaincode."""

    namespace: str
    public: kv_rwset_pb2.KVRWSet
    collections: tuple[CollectionRwSet, ...]

    @property
    def writes_anything(self) -> bool:
        """Whether there is any write, public or private, of value or metadata."""
        if self.public.writes or self.public.metadata_writes:
            return True
        return any(c.hashed.hashed_writes or c.hashed.metadata_writes for c in self.collections)


def parse(results: bytes) -> list[NamespaceRwSet]:
    """Take a serialised rwset.TxReadWriteSet apart; raises protobuf's DecodeError."""
    return [
        NamespaceRwSet(
            entry.namespace,
            kv_rwset_pb2.KVRWSet.FromString(entry.rwset),
            tuple(
                CollectionRwSet(
                    part.collection_name, kv_rwset_pb2.HashedRWSet.FromString(part.hashed_rwset), part.pvt_rwset_hash
                )
                for part in entry.collection_hashed_rwset
            ),
        )
        for entry in rwset_pb2.TxReadWriteSet.FromString(results).ns_rwset
    ]


def encode_version(version: Version) -> kv_rwset_pb2.Version:
    """The message form of a version."""
    return kv_rwset_pb2.Version(block_num=version.block, tx_num=version.transaction)


def kv_read(key: str, version: Version | None) -> kv_rwset_pb2.KVRead:
    """The read of a key: with its version, or without one where there was no such key."""
    if version is None:
        return kv_rwset_pb2.KVRead(key=key)
    return kv_rwset_pb2.KVRead(key=key, version=encode_version(version))


def read_version(read: kv_rwset_pb2.KVRead | kv_rwset_pb2.KVReadHash) -> Version | None:
    """The version that was read, None where there was no such key."""
    return Version(read.version.block_num, read.version.tx_num) if read.HasField("version") else None


class RangeSummary:
    """Collects what is read of a range; up to 50 reads stay as they are, more become hashes."""

    def __init__(self) -> None:
        self._pending: list[kv_rwset_pb2.KVRead] = []
        self._levels: dict[int, list[bytes]] = {}
        self._top = 1

    def add(self, read: kv_rwset_pb2.KVRead) -> None:
        """Record one read, in the order of keys."""
        self._pending.append(read)
        if len(self._pending) > MAX_DEGREE:
            self._flush()

    def _flush(self) -> None:
        leaf = kv_rwset_pb2.QueryReads(kv_reads=self._pending).SerializeToString()
        self._pending = []
        self._levels.setdefault(1, []).append(hashlib.sha256(leaf).digest())
        level = 1
        while len(self._levels[level]) > MAX_DEGREE:
            self._lift(level)
            level += 1

    def _lift(self, level: int) -> None:
        combined = hashlib.sha256(b"".join(self._levels.pop(level))).digest()
        self._levels.setdefault(level + 1, []).append(combined)
        self._top = max(self._top, level + 1)

    def finish(self, info: kv_rwset_pb2.RangeQueryInfo) -> None:
        """Put the reads, or their summary, into `info`."""
        if not self._levels:
            if self._pending:
                info.raw_reads.kv_reads.extend(self._pending)
            return
        if self._pending:
            self._flush()
        self._close_levels()
        info.reads_merkle_hashes.max_degree = MAX_DEGREE
        info.reads_merkle_hashes.max_level = self._top
        info.reads_merkle_hashes.max_level_hashes.extend(self._levels[self._top])

    def _close_levels(self) -> None:
        for level in range(1, self._top):
            hashes = self._levels.get(level, [])
            if len(hashes) == 1:
                self._levels.setdefault(level + 1, []).append(self._levels.pop(level)[0])
            elif hashes:
                combined = hashlib.sha256(b"".join(self._levels.pop(level))).digest()
                self._levels.setdefault(level + 1, []).append(combined)
        if len(self._levels[self._top]) > MAX_DEGREE:
            self._lift(self._top)


def summarize(reads: Iterable[kv_rwset_pb2.KVRead]) -> kv_rwset_pb2.RangeQueryInfo:
    """Reads in the order of keys as they stand in a RangeQueryInfo."""
    summary, info = RangeSummary(), kv_rwset_pb2.RangeQueryInfo()
    for read in reads:
        summary.add(read)
    summary.finish(info)
    return info
