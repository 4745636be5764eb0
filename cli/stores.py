"""The content stores of a home folder: one per organisation, in ``HOME/store/ORGANISATION``.

An organisation writes into its own store only and reads the others' as anybody would: by digest, verified.
"""

from __future__ import annotations

from collections.abc import Iterable

from goldengrain.cli.errors import StoreUnknown
from goldengrain.gateway.errors import BlobNotFound
from goldengrain.gateway.store import FolderStore
from goldengrain.network.home import Home


class Stores:
    """The stores of a network's organisations. Raises NetworkNotFound where the folder holds no network."""

    def __init__(self, home: Home) -> None:
        topology = home.load_topology()
        self._folders = {one.msp_id: home.path / "store" / one.name for one in topology.organizations}

    def of(self, msp_id: str) -> FolderStore:
        """The store of an organisation. Raises StoreUnknown."""
        if msp_id not in self._folders:
            known = ", ".join(self._folders)
            raise StoreUnknown(f"no content store of {msp_id} is at hand, only those of {known}; name one with --from")
        return FolderStore(self._folders[msp_id])

    def holding(self, digest: bytes, first: Iterable[str] = ()) -> FolderStore:
        """A store that has a blob, looked for at the organisations ``first`` and then everywhere.

        Raises:
            BlobNotFound: where none has it.

        """
        for msp_id in dict.fromkeys([*first, *self._folders]):
            if msp_id in self._folders and (store := self.of(msp_id)).has(digest):
                return store
        raise BlobNotFound(f"no organisation's store has the blob {digest.hex()}; ask who made it to publish it again")
