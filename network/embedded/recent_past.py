"""The recent past of the world state: how a reader keeps seeing it as it was while later blocks commit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from goldengrain.network.embedded.state import PrivateKey, StateKey, VersionedValue

__all__ = ["RecentPast"]


@dataclass
class _Undo:
    """What the keys that block `block` changed were before."""

    block: int
    state: Mapping[StateKey, VersionedValue | None]
    private: Mapping[PrivateKey, VersionedValue | None]


class RecentPast:
    """The recent past of the state: lets a reader that began at some height go on reading at that height.

    A commit first records what the keys it changes were before. A reader at height h (it sees h blocks) takes a key
    from the oldest record of a block numbered h or above, and from the current state if there is none. Records are
    dropped as soon as no reader needs them.
    """

    def __init__(self) -> None:
        self._undos: list[_Undo] = []
        self._readers: dict[int, int] = {}

    def enter(self, height: int) -> None:
        """A reader starts at `height`."""
        self._readers[height] = self._readers.get(height, 0) + 1

    def leave(self, height: int) -> None:
        """A reader at `height` has finished."""
        left = self._readers[height] - 1
        if left:
            self._readers[height] = left
        else:
            del self._readers[height]

    def record(
        self,
        block: int,
        state: Mapping[StateKey, VersionedValue | None],
        private: Mapping[PrivateKey, VersionedValue | None],
    ) -> None:
        """Block `block` is about to change these keys."""
        self._undos.append(_Undo(block, state, private))

    def forget(self, height: int) -> None:
        """Drop what no reader at `height` or at a reader's height needs."""
        oldest = min(self._readers, default=height)
        while self._undos and self._undos[0].block < min(oldest, height):
            del self._undos[0]

    def cancel(self, block: int) -> None:
        """Block `block` could not be written after all."""
        self._undos = [undo for undo in self._undos if undo.block != block]

    def find(self, height: int, key: StateKey) -> tuple[bool, VersionedValue | None]:
        """(True, value at that height) if the key was changed since, (False, None) otherwise."""
        for undo in self._undos:
            if undo.block >= height and key in undo.state:
                return True, undo.state[key]
        return False, None

    def find_private(self, height: int, key: PrivateKey) -> tuple[bool, VersionedValue | None]:
        """As `find`, for a clear private key."""
        for undo in self._undos:
            if undo.block >= height and key in undo.private:
                return True, undo.private[key]
        return False, None

    def changed(self, height: int, namespace: str) -> Iterator[tuple[bytes, VersionedValue | None]]:
        """Public keys of a namespace changed since `height`, with their values then; the last one given counts."""
        for undo in reversed(self._undos):
            if undo.block >= height:
                for key, value in undo.state.items():
                    if key.namespace == namespace and not key.collection:
                        yield key.key, value

    def changed_private(
        self, height: int, msp_id: str, namespace: str, collection: str
    ) -> Iterator[tuple[bytes, VersionedValue | None]]:
        """As `changed`, for one organisation's clear private keys of a collection."""
        for undo in reversed(self._undos):
            if undo.block >= height:
                for key, value in undo.private.items():
                    if key[:3] == (msp_id, namespace, collection):
                        yield key.key, value
