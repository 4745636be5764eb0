"""Values of the world state, and what a block changes in it.

Three kinds of keys share one shape: public ones (collection ""), hashed private ones (key = SHA-256 of the key,
value = SHA-256 of the value), and clear private ones, kept per organisation. Keys are bytes here, so that they sort
as Fabric's do.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from google.protobuf.message import DecodeError


class Version(NamedTuple):
    """The height of a key's last write: block number, and position of the transaction in it."""

    block: int
    transaction: int


class VersionedValue(NamedTuple):
    """A committed value; `metadata` as `encode_metadata` makes it, empty for none."""

    value: bytes
    metadata: bytes
    version: Version


class StateKey(NamedTuple):
    """A key of the public state (collection "") or of the hashed private state."""

    namespace: str
    collection: str
    key: bytes


class Update(NamedTuple):
    """What a block makes of a key: a new value (None deletes it), and the height of the transaction that did it."""

    value: bytes | None
    metadata: bytes
    version: Version


class PrivateKey(NamedTuple):
    """A clear private key as one organisation has it."""

    msp_id: str
    namespace: str
    collection: str
    key: bytes


class Expiry(NamedTuple):
    """A hashed private key that is to vanish when block `at` commits, unless it was written again since `version`."""

    at: int
    key: StateKey
    version: Version


class PrivateWrite(NamedTuple):
    """A clear private write as its block brought it: position of the transaction, hashed key, serialised KVWrite."""

    position: int
    key: StateKey
    write: bytes


class PublicWrite(NamedTuple):
    """A public key that a valid transaction of a block wrote or deleted: for the key's history."""

    position: int
    namespace: str
    key: bytes


@dataclass
class BlockUpdates:
    """Everything that a block changes beside its own bytes.

    `written` are the clear private writes of the block, kept beside it; `forgotten` are hashed keys that have expired,
    of which no clear write of any block is kept; `purged` are (position, hashed key) of purges, after which all that is
    left of the key's clear writes, the purge's own included, is that there were some. `history` are all public writes
    of values, those that a later transaction of the block overwrote included.
    """

    state: dict[StateKey, Update] = field(default_factory=dict)
    private: dict[PrivateKey, Update] = field(default_factory=dict)
    expiries: list[Expiry] = field(default_factory=list)
    written: list[PrivateWrite] = field(default_factory=list)
    forgotten: list[StateKey] = field(default_factory=list)
    purged: list[tuple[int, StateKey]] = field(default_factory=list)
    history: list[PublicWrite] = field(default_factory=list)


def encode_metadata(entries: Iterable[kv_rwset_pb2.KVMetadataEntry]) -> bytes:
    """The stored form of a key's metadata entries."""
    return kv_rwset_pb2.KVMetadataWrite(entries=entries).SerializeToString()


def decode_metadata(metadata: bytes) -> dict[str, bytes]:
    """Name -> value of the stored metadata entries."""
    if not metadata:
        return {}
    try:
        entries = kv_rwset_pb2.KVMetadataWrite.FromString(metadata).entries
    except DecodeError:
        return {}
    return {entry.name: entry.value for entry in entries}


def prefix_end(start: bytes) -> bytes:
    """The smallest key after `start`."""
    return start + b"\0"
