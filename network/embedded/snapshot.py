"""A ledger as it is at one moment, for reading while later blocks commit."""

from __future__ import annotations

from collections.abc import Iterator

from fabric_protos.common import common_pb2

from goldengrain.network.embedded.chain import Chain
from goldengrain.network.embedded.state import PrivateKey, StateKey, VersionedValue
from goldengrain.network.embedded.world_state import WorldState

__all__ = ["Snapshot"]


class Snapshot:
    """The state at one height, and the blocks that led to it; `close` it after use."""

    def __init__(self, state: WorldState, chain: Chain) -> None:
        self._state = state
        self._chain = chain
        self._open = True
        self.height = state.enter()

    def get(self, key: StateKey) -> VersionedValue | None:
        """Return the value of a public or hashed key."""
        return self._state.get_at(self.height, key)

    def metadata(self, key: StateKey) -> bytes:
        """Return the metadata of a public or hashed key; empty without any or without the key."""
        return self._state.metadata_at(self.height, key)

    def range(
        self, namespace: str, start: bytes, end: bytes | None, wanted: int | None = None
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        """Public keys in [start, end); `wanted` is how many will be read at most, where that is known."""
        return self._state.range_at(self.height, namespace, start, end, wanted)

    def writers(self, namespace: str, key: bytes) -> Iterator[tuple[int, int]]:
        """(block, position) of the valid transactions that wrote a public key, the newest first."""
        return self._state.writers_at(self.height, namespace, key)

    def block(self, number: int) -> common_pb2.Block:
        """Return a committed block; shared, don't change it. Raises BlockNotFoundError."""
        return self._chain.block(number)

    def get_private(self, key: PrivateKey) -> VersionedValue | None:
        """Return the clear private value as one organisation has it."""
        return self._state.get_private_at(self.height, key)

    def private_range(
        self, owner: tuple[str, str, str], start: bytes, end: bytes | None
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        """Private keys in [start, end) of (MSP id, namespace, collection)."""
        return self._state.private_range_at(self.height, owner, start, end)

    def close(self) -> None:
        """Release it; safe to call twice."""
        if self._open:
            self._open = False
            self._state.leave(self.height)
