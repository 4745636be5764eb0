"""Simulation: reads on a snapshot of the committed state, writes into a read-write set (API; being filled)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fabric_protos.ledger.rwset import rwset_pb2


class KeyValue(NamedTuple):
    """One record of a range."""

    key: str
    value: bytes


@dataclass(frozen=True)
class SimulationResults:
    """`public`: the serialised rwset.TxReadWriteSet for ChaincodeAction.results; `private`: the cleartext, None without.

    `written` lists (namespace, collection or "", key or key hash in hex) of every write, for choosing endorsers
    by key-level policies.
    """

    public: bytes
    private: rwset_pb2.TxPvtReadWriteSet | None


class StateRange:
    """An open range; records what is read of it. What is not read is not in the read set."""

    def next(self) -> KeyValue | None:
        """The next record, None at the end (which marks the range as exhausted)."""
        raise NotImplementedError

    def bookmark(self) -> str:
        """The key of the next record without reading it, empty at the end: Fabric's bookmark of a page."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the range; what was read stays in the read set."""
        raise NotImplementedError


class TxSimulator:
    """Reads and writes of one transaction. Reads never see the transaction's own writes. All errors: SimulationError."""

    def get_state(self, namespace: str, key: str) -> bytes | None:
        """The committed value, recorded in the read set."""
        raise NotImplementedError

    def get_states(self, namespace: str, keys: Sequence[str]) -> list[bytes | None]:
        """Several at once."""
        raise NotImplementedError

    def get_state_metadata(self, namespace: str, key: str) -> dict[str, bytes]:
        """The metadata of a key (recorded as a read of the key), empty for none."""
        raise NotImplementedError

    def range(self, namespace: str, start: str, end: str, *, page_size: int = 0) -> StateRange:
        """Keys in [start, end), "" for an open end. With a page size the transaction must be, and stay, read-only."""
        raise NotImplementedError

    def put_state(self, namespace: str, key: str, value: bytes) -> None:
        """Write a key; an empty value deletes it."""
        raise NotImplementedError

    def delete_state(self, namespace: str, key: str) -> None:
        """Delete a key, whether it is there or not."""
        raise NotImplementedError

    def set_state_metadata(self, namespace: str, key: str, entries: Mapping[str, bytes] | None) -> None:
        """Replace all metadata of a key; None removes it."""
        raise NotImplementedError

    # -- private data
    def get_private(self, namespace: str, collection: str, key: str) -> bytes | None:
        """The committed private value, as the peer's own organisation has it."""
        raise NotImplementedError

    def get_private_hash(self, namespace: str, collection: str, key: str) -> bytes | None:
        """SHA-256 of the private value, from the public hashed state."""
        raise NotImplementedError

    def get_private_metadata(self, namespace: str, collection: str, key: str) -> dict[str, bytes]:
        """The metadata of a private key."""
        raise NotImplementedError

    def private_range(self, namespace: str, collection: str, start: str, end: str) -> StateRange:
        """Private keys in [start, end); the transaction must be, and stay, read-only."""
        raise NotImplementedError

    def put_private(self, namespace: str, collection: str, key: str, value: bytes) -> None:
        """Write a private key; an empty value deletes it."""
        raise NotImplementedError

    def delete_private(self, namespace: str, collection: str, key: str) -> None:
        """Delete a private key."""
        raise NotImplementedError

    def purge_private(self, namespace: str, collection: str, key: str) -> None:
        """Delete a private key and all that was ever kept of it."""
        raise NotImplementedError

    def set_private_metadata(
        self, namespace: str, collection: str, key: str, entries: Mapping[str, bytes] | None
    ) -> None:
        """Replace all metadata of a private key; None removes it."""
        raise NotImplementedError

    def results(self) -> SimulationResults:
        """The read-write set as Fabric orders and serialises it; ends the simulation."""
        raise NotImplementedError

    def done(self) -> None:
        """Release the snapshot; call it always, also after errors. Calling it twice is fine."""
        raise NotImplementedError
