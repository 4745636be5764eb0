"""The world state of a channel: public, hashed and clear private keys as they are now, and as readers still see them.

Values come from the file, through a cache of what was used last. A block's changes are on disk a moment before they
count: from `begin` to `apply` every reader gets what was before, from the records of `RecentPast`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from goldengrain.network.embedded.recent_past import RecentPast
from goldengrain.network.embedded.state import (
    BlockUpdates,
    Expiry,
    PrivateKey,
    StateKey,
    VersionedValue,
    prefix_end,
)
from goldengrain.network.embedded.state_cache import StateCache
from goldengrain.network.embedded.store import LedgerStore

__all__ = ["WorldState"]

_RANGE_CHUNK = 128


class WorldState:
    """The state after `height` blocks, and as it was at the heights that readers have entered."""

    def __init__(self, store: LedgerStore, height: int) -> None:
        self.height = height
        self._store = store
        self._past = RecentPast()
        self._cache = StateCache()

    # -- changing ----------------------------------------------------------------------------------------------------

    def begin(self, updates: BlockUpdates) -> None:
        """The next block's changes are about to be written to the file; show none of them yet."""
        self._past.record(
            self.height,
            {key: self.get(key) for key in updates.state},
            {key: self.get_private_at(self.height, key) for key in updates.private},
        )

    def cancel(self) -> None:
        """The changes that began could not be written after all."""
        self._past.cancel(self.height)

    def apply(self, updates: BlockUpdates) -> None:
        """Show the changes that began: they are on disk."""
        self._cache.apply(updates.state)
        self.height += 1
        self._past.forget(self.height)

    def forget_cached(self) -> None:
        """Empty the cache: what is asked for next is read from the file."""
        self._cache = StateCache()

    # -- readers -----------------------------------------------------------------------------------------------------

    def enter(self) -> int:
        """A reader begins; returns the height at which it may go on reading until it leaves."""
        self._past.enter(self.height)
        return self.height

    def leave(self, height: int) -> None:
        """A reader that entered at `height` has finished."""
        self._past.leave(height)

    # -- public and hashed keys --------------------------------------------------------------------------------------

    def get(self, key: StateKey) -> VersionedValue | None:
        """Return the committed value of a public or hashed key."""
        return self.get_at(self.height, key)

    def get_public(self, namespace: str, key: str) -> VersionedValue | None:
        """Return the committed value of a public key."""
        return self.get_at(self.height, StateKey(namespace, "", key.encode()))

    def get_at(self, height: int, key: StateKey) -> VersionedValue | None:
        """Return the value of a key as it was at `height` blocks: the newest, or one that a reader has entered."""
        changed, value = self._past.find(height, key)
        if changed:
            return value
        known, value = self._cache.get(key)
        if not known:
            value = self._store.state(key)
            self._cache.put(key, value)
        return value

    def metadata(self, key: StateKey) -> bytes:
        """Return the committed metadata of a public or hashed key; empty without any or without the key."""
        return self.metadata_at(self.height, key)

    def metadata_at(self, height: int, key: StateKey) -> bytes:
        """Return a key's metadata as it was at `height` blocks; empty without any or without the key."""
        changed, value = self._past.find(height, key)
        known = changed
        if not changed:
            known, value = self._cache.get(key)
        if not known:
            return self._store.metadata(key)
        return b"" if value is None else value.metadata

    def range(self, namespace: str, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, VersionedValue]]:
        """Committed public keys in [start, end), read in chunks as they are asked for."""
        return self.range_at(self.height, namespace, start, end)

    def range_at(
        self, height: int, namespace: str, start: bytes, end: bytes | None, wanted: int | None = None
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        """Public keys in [start, end) as they were at `height` blocks, read in chunks as they are asked for.

        Whoever knows that it will read no more than `wanted` says so: no more are fetched from the file at a time.
        """
        chunk = min(wanted or _RANGE_CHUNK, _RANGE_CHUNK)
        return _merged(
            lambda at: self._store.state_range(namespace, at, end, chunk),
            lambda: self._past.changed(height, namespace),
            start,
            end,
            chunk,
        )

    def writers_at(self, height: int, namespace: str, key: bytes) -> Iterator[tuple[int, int]]:
        """(block, position) of the valid transactions below `height` that wrote a public key, the newest first."""
        before = (height, 0)
        while rows := self._store.writers(namespace, key, before, _RANGE_CHUNK):
            yield from rows
            before = rows[-1]

    # -- clear private keys ------------------------------------------------------------------------------------------

    def get_private_at(self, height: int, key: PrivateKey) -> VersionedValue | None:
        """Return the clear private value as one organisation has it."""
        changed, value = self._past.find_private(height, key)
        return value if changed else self._store.private(key)

    def private_range_at(
        self, height: int, owner: tuple[str, str, str], start: bytes, end: bytes | None
    ) -> Iterator[tuple[bytes, VersionedValue]]:
        """As `range_at`, for the private keys of (MSP id, namespace, collection)."""
        return _merged(
            lambda at: self._store.private_range(owner, at, end, _RANGE_CHUNK),
            lambda: self._past.changed_private(height, *owner),
            start,
            end,
            _RANGE_CHUNK,
        )

    def private_keys(self, key: StateKey) -> list[tuple[PrivateKey, VersionedValue]]:
        """Who holds the clear key and value behind a hashed key."""
        return self._store.private_keys(key)

    def expiring(self, at: int) -> list[Expiry]:
        """What is to vanish when block `at` commits."""
        return self._store.expiring(at)


def _merged(
    read: Callable[[bytes], list[tuple[bytes, VersionedValue]]],
    changed: Callable[[], Iterator[tuple[bytes, VersionedValue | None]]],
    start: bytes,
    end: bytes | None,
    chunk: int,
) -> Iterator[tuple[bytes, VersionedValue]]:
    """What `read` finds in the file, `chunk` rows at a time, with the values that `changed` says were there before."""
    at = start
    while end is None or at < end:
        rows = read(at)
        full = len(rows) == chunk
        then = {
            key: value
            for key, value in changed()
            if at <= key and (end is None or key < end) and (not full or key <= rows[-1][0])
        }
        if then:
            merged: dict[bytes, VersionedValue | None] = {**dict(rows), **then}
            yield from ((key, value) for key, value in sorted(merged.items()) if value is not None)
        else:
            yield from rows
        if not full:
            return
        at = prefix_end(rows[-1][0])
