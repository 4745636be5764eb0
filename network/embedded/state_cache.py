"""The part of the world state that is kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from goldengrain.network.embedded.state import StateKey, Update, VersionedValue

__all__ = ["StateCache"]

_CACHE_BYTES = 32 << 20
_CACHE_ENTRY = 200


class StateCache:
    """What was read or written last, missing keys included, up to a number of bytes."""

    def __init__(self) -> None:
        self._entries: OrderedDict[StateKey, VersionedValue | None] = OrderedDict()
        self._bytes = 0

    def get(self, key: StateKey) -> tuple[bool, VersionedValue | None]:
        """(True, what is on the ledger) of a key that is remembered, (False, None) of any other."""
        if key not in self._entries:
            return False, None
        self._entries.move_to_end(key)
        return True, self._entries[key]

    def put(self, key: StateKey, value: VersionedValue | None) -> None:
        """Remember a key's value (None: it has none), and forget what was used longest ago if need be."""
        if key in self._entries:
            self._bytes -= _cost(key, self._entries.pop(key))
        self._entries[key] = value
        self._bytes += _cost(key, value)
        while self._bytes > _CACHE_BYTES and len(self._entries) > 1:
            self._bytes -= _cost(*self._entries.popitem(last=False))

    def apply(self, updates: Mapping[StateKey, Update]) -> None:
        """Remember what a block has made of its keys."""
        for key, (value, metadata, version) in updates.items():
            self.put(key, None if value is None else VersionedValue(value, metadata, version))


def _cost(key: StateKey, value: VersionedValue | None) -> int:
    return _CACHE_ENTRY + len(key.key) + (len(value.value) + len(value.metadata) if value else 0)
