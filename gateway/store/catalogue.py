"""Whose blobs are in a store: one SQLite file beside them, for quotas and for who may remove what.

The folder decides what is there; the catalogue is brought in line with it at every start, so that a process killed
between the two leaves nothing wrong. A blob counts for the organisation that put it first.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from goldengrain.gateway.errors import QuotaExceeded
from goldengrain.gateway.store.base import Entry
from goldengrain.gateway.store.folder import FolderStore

FILE = ".catalogue.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (
    digest BLOB PRIMARY KEY, size INTEGER NOT NULL, owner TEXT NOT NULL, stored INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blobs_by_owner ON blobs (owner, size);
"""

Quotas = Mapping[str, int | None]
"""Bytes by MSP id; None is no limit. Whoever is not named may put nothing."""


class Catalogue:
    """The catalogue of a folder store; ``keeper`` owns what nobody is known to have put."""

    def __init__(self, store: FolderStore, keeper: str) -> None:
        store.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            Path(store.folder) / FILE, isolation_level=None, check_same_thread=False, timeout=10
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(_SCHEMA)
        self._coming: dict[str, int] = {}
        self._reconcile(store, keeper)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reserved(self, owner: str, size: int, quota: int | None) -> Iterator[None]:
        """Count bytes that are about to come. Raises QuotaExceeded where they would be too many."""
        with self._lock:
            used = self._used(owner)
            if quota is not None and used + size > quota:
                raise QuotaExceeded(
                    f"{owner} has {quota} bytes in this store, {used} are taken, {size} more do not fit; "
                    "remove what the market no longer needs (`goldengrain store gc`)"
                )
            self._coming[owner] = self._coming.get(owner, 0) + size
        try:
            yield
        finally:
            with self._lock:
                self._coming[owner] -= size

    def used(self, owner: str) -> int:
        """Return how many bytes count for an organisation, those on their way included."""
        with self._lock:
            return self._used(owner)

    def add(self, entry: Entry) -> None:
        """Note a blob; whose it is already it stays."""
        with self._lock:
            self._insert(entry)

    def forget(self, digest: bytes) -> None:
        """Note that a blob is gone."""
        with self._lock:
            self._connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))

    def owner(self, digest: bytes) -> str | None:
        """Return whose a blob is, None where there is none."""
        with self._lock:
            row = self._connection.execute("SELECT owner FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else str(row[0])

    def page(self, after: bytes, limit: int) -> list[Entry]:
        """Return the blobs that follow a digest, in order."""
        sql = "SELECT digest, size, stored, owner FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?"
        with self._lock:
            return [Entry(*row) for row in self._connection.execute(sql, (after, limit))]

    def _used(self, owner: str) -> int:
        row = self._connection.execute("SELECT total(size) FROM blobs WHERE owner = ?", (owner,)).fetchone()
        return int(row[0]) + self._coming.get(owner, 0)

    def _insert(self, entry: Entry) -> None:
        self._connection.execute(
            "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)", (entry.digest, entry.size, entry.owner, entry.stored)
        )

    def _reconcile(self, store: FolderStore, keeper: str) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS present (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        for entry in store.entries():
            self._connection.execute("INSERT INTO present VALUES (?)", (entry.digest,))
            self._insert(Entry(entry.digest, entry.size, entry.stored, keeper))
        self._connection.execute("DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM present)")
        self._connection.execute("DROP TABLE present")
        self._connection.execute("COMMIT")
