"""The ledger's file: one SQLite database, written by one thread, read by another.

Write-ahead log with `synchronous = FULL`: what a transaction has committed survives a power cut, and a killed process
leaves either all of a block or nothing of it. A lock file beside the database keeps a second process out.

`LedgerStore` translates everything SQLite reports into LedgerError; nothing above it knows SQL.
"""

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from goldengrain.network.embedded.errors import (
    LedgerBusyError,
    LedgerCorruptError,
    LedgerError,
    LedgerForeignError,
)
from goldengrain.network.embedded.state import (
    BlockUpdates,
    Expiry,
    PrivateKey,
    PrivateWrite,
    StateKey,
    Update,
    Version,
    VersionedValue,
)

_APPLICATION_ID = 0x47474C31
_SCHEMA_VERSION = 2
_CHECKED_BYTES = 64 << 20  # a larger file is not read through at every start
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, block BLOB NOT NULL);
CREATE TABLE transactions (
    tx_id TEXT PRIMARY KEY, block INTEGER NOT NULL, position INTEGER NOT NULL, code INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE state (
    namespace TEXT NOT NULL, collection TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, metadata BLOB NOT NULL,
    block INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (namespace, collection, key)
) WITHOUT ROWID;
CREATE TABLE private (
    msp_id TEXT NOT NULL, namespace TEXT NOT NULL, collection TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    block INTEGER NOT NULL, position INTEGER NOT NULL, key_hash BLOB NOT NULL,
    PRIMARY KEY (msp_id, namespace, collection, key)
) WITHOUT ROWID;
CREATE INDEX private_by_hash ON private (namespace, collection, key_hash);
CREATE TABLE expiry (
    at INTEGER NOT NULL, namespace TEXT NOT NULL, collection TEXT NOT NULL, key BLOB NOT NULL,
    block INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (at, namespace, collection, key)
) WITHOUT ROWID;
CREATE TABLE staged (
    tx_id TEXT NOT NULL, private BLOB NOT NULL, height INTEGER NOT NULL, PRIMARY KEY (tx_id, private)
) WITHOUT ROWID;
CREATE TABLE private_writes (
    block INTEGER NOT NULL, position INTEGER NOT NULL, namespace TEXT NOT NULL, collection TEXT NOT NULL,
    key_hash BLOB NOT NULL, write BLOB NOT NULL, PRIMARY KEY (block, position, namespace, collection, key_hash)
) WITHOUT ROWID;
CREATE INDEX private_writes_by_key ON private_writes (namespace, collection, key_hash);
CREATE TABLE history (
    namespace TEXT NOT NULL, key BLOB NOT NULL, block INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (namespace, key, block, position)
) WITHOUT ROWID;
CREATE TABLE queue (sequence INTEGER PRIMARY KEY AUTOINCREMENT, envelope BLOB NOT NULL, config INTEGER NOT NULL);
"""
_METADATA_INDEX = """
CREATE INDEX IF NOT EXISTS state_with_metadata ON state (namespace, collection, key) WHERE length(metadata) > 0
"""


class TransactionRow(NamedTuple):
    """A row of the transaction index."""

    tx_id: str
    block: int
    position: int
    code: int


class QueuedRow(NamedTuple):
    """An envelope that is acknowledged but not yet in a block."""

    sequence: int
    envelope: bytes
    config_sequence: int


class BlockRow(NamedTuple):
    """A block with all that is committed together with it."""

    number: int
    hash: bytes
    block: bytes
    transactions: Sequence[TransactionRow]
    updates: BlockUpdates
    staged_done: Sequence[str]
    ordered_through: int | None


class LedgerStore:
    """The open file of one ledger."""

    def __init__(self, path: Path, lock: int, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self.path = path
        self._lock = lock
        self._writer = writer
        self._reader = reader

    # -- opening -----------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path,
        meta: Mapping[str, bytes],
        genesis: BlockRow,
        state: Iterable[tuple[StateKey, VersionedValue]] = (),
    ) -> "LedgerStore":
        """Make a new file that holds the genesis block, all or nothing; raises LedgerError if there is one already.

        `state` is what stands on the ledger from the start, as where a peer joins from a snapshot. It is read once, so
        it may be larger than memory; in the order of its keys it is written several times as fast as in any other.
        """
        if path.exists():
            raise LedgerError(f"there is already a ledger at {path.name}: open it, or purge the network first")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _take_lock(path)
        draft = path.with_suffix(".new")
        try:
            _remove(draft)
            with _translated("create"), closing(sqlite3.connect(draft, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = OFF")  # a draft that is not finished is thrown away
                connection.executescript(_SCHEMA)
                connection.execute(_METADATA_INDEX)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                connection.execute("BEGIN")
                connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
                _insert_block(connection, genesis)
                connection.executemany(
                    "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?)",
                    ((*key, found.value, found.metadata, *found.version) for key, found in state),
                )
                connection.execute("COMMIT")
            _make_durable(draft)
            draft.replace(path)
            return cls._connected(path, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open(cls, path: Path) -> "LedgerStore":
        """Open an existing file; raises LedgerError, LedgerBusyError, LedgerForeignError, LedgerCorruptError."""
        if not path.exists():
            raise LedgerError(f"there is no ledger at {path.name}: create the channel first")
        lock = _take_lock(path)
        try:
            _check_format(path)
            return cls._connected(path, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _connected(cls, path: Path, lock: int) -> "LedgerStore":
        with _translated("open"):
            writer = _connect(path)
            writer.execute(_METADATA_INDEX)
            return cls(path, lock, writer, _connect(path))

    def close(self) -> None:
        """Close the file and release the lock; safe to call twice."""
        self._reader.close()
        self._writer.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- writing (one thread at a time, not the reader's) ------------------------------------------------------------

    def write_block(self, row: BlockRow) -> None:
        """Commit a block and everything that belongs to it in one transaction."""
        with self._transaction("commit a block"):
            _insert_block(self._writer, row)

    def write_queue(self, envelopes: Sequence[tuple[bytes, int]]) -> list[int]:
        """Append (envelope, configuration sequence) to the queue; returns their sequence numbers."""
        sql = "INSERT INTO queue (envelope, config) VALUES (?, ?)"
        with self._transaction("queue envelopes"):
            return [self._writer.execute(sql, entry).lastrowid or 0 for entry in envelopes]

    def drop_queue(self, sequences: Sequence[int]) -> None:
        """Remove envelopes that are refused after all."""
        with self._transaction("drop envelopes"):
            self._writer.executemany("DELETE FROM queue WHERE sequence = ?", [(s,) for s in sequences])

    def write_staged(self, tx_id: str, height: int, private: bytes) -> None:
        """Keep a transaction's clear private writes until it commits."""
        with self._transaction("keep private data"):
            self._writer.execute("INSERT OR IGNORE INTO staged VALUES (?, ?, ?)", (tx_id, private, height))

    @contextmanager
    def _transaction(self, what: str) -> Iterator[None]:
        with _translated(what):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    # -- reading -----------------------------------------------------------------------------------------------------

    def meta(self, name: str) -> bytes:
        """One of the values that `create` was given."""
        row = self._query_one("SELECT value FROM meta WHERE name = ?", (name,))
        if row is None:
            raise LedgerCorruptError(f"{self.path.name} lacks its {name}: restore it from a copy, or purge it")
        return bytes(row[0])

    def height(self) -> int:
        """The number of blocks; raises LedgerCorruptError when one is missing."""
        row = self._query_one("SELECT count(*), max(number) FROM blocks")
        if row is None or row[0] == 0 or row[0] != row[1] + 1:
            raise LedgerCorruptError(f"{self.path.name} lacks blocks: restore it from a copy, or purge it")
        return int(row[0])

    def block(self, number: int) -> bytes | None:
        """A serialised block."""
        row = self._query_one("SELECT block FROM blocks WHERE number = ?", (number,))
        return None if row is None else row[0]

    def block_hash(self, number: int) -> bytes | None:
        """The header hash that the block was stored under."""
        row = self._query_one("SELECT hash FROM blocks WHERE number = ?", (number,))
        return None if row is None else row[0]

    def number_of(self, block_hash: bytes) -> int | None:
        """The number of the block with this header hash."""
        row = self._query_one("SELECT number FROM blocks WHERE hash = ?", (block_hash,))
        return None if row is None else row[0]

    def transaction(self, tx_id: str) -> TransactionRow | None:
        """The first transaction that was committed with this id."""
        row = self._query_one("SELECT tx_id, block, position, code FROM transactions WHERE tx_id = ?", (tx_id,))
        return None if row is None else TransactionRow(*row)

    def state(self, key: StateKey) -> VersionedValue | None:
        """The value of a public or hashed key."""
        row = self._query_one(
            "SELECT value, metadata, block, position FROM state WHERE namespace = ? AND collection = ? AND key = ?", key
        )
        return None if row is None else VersionedValue(row[0], row[1], Version(row[2], row[3]))

    def metadata(self, key: StateKey) -> bytes:
        """The metadata of a public or hashed key, empty without any or without the key.

        Few keys have some, and these have an index of their own: a key without is looked up in next to nothing.
        """
        row = self._query_one(
            "SELECT metadata FROM state INDEXED BY state_with_metadata "
            "WHERE namespace = ? AND collection = ? AND key = ? AND length(metadata) > 0",
            key,
        )
        return b"" if row is None else bytes(row[0])

    def state_range(
        self, namespace: str, start: bytes, end: bytes | None, limit: int
    ) -> list[tuple[bytes, VersionedValue]]:
        """At most `limit` public keys in [start, end), in their order; None is an open end."""
        columns = "key, value, metadata, block, position"
        sql = f"SELECT {columns} FROM state WHERE namespace = ? AND collection = '' AND key >= ?"  # noqa: S608
        rows = self._range(sql, (namespace,), start, end, limit)
        return [(r[0], VersionedValue(r[1], r[2], Version(r[3], r[4]))) for r in rows]

    def writers(self, namespace: str, key: bytes, before: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        """At most `limit` (block, position) of transactions before that place that wrote a public key, newest first."""
        rows = self._query(
            "SELECT block, position FROM history WHERE namespace = ? AND key = ? AND (block, position) < (?, ?) "
            "ORDER BY block DESC, position DESC LIMIT ?",
            (namespace, key, *before, limit),
        )
        return [(r[0], r[1]) for r in rows]

    def private(self, key: PrivateKey) -> VersionedValue | None:
        """The clear value of a private key as one organisation has it."""
        row = self._query_one(
            "SELECT value, block, position FROM private "
            "WHERE msp_id = ? AND namespace = ? AND collection = ? AND key = ?",
            key,
        )
        return None if row is None else VersionedValue(row[0], b"", Version(row[1], row[2]))

    def private_range(
        self, owner: tuple[str, str, str], start: bytes, end: bytes | None, limit: int
    ) -> list[tuple[bytes, VersionedValue]]:
        """As `state_range`, for the private keys of (MSP id, namespace, collection)."""
        where = "msp_id = ? AND namespace = ? AND collection = ? AND key >= ?"
        sql = f"SELECT key, value, block, position FROM private WHERE {where}"  # noqa: S608
        rows = self._range(sql, owner, start, end, limit)
        return [(r[0], VersionedValue(r[1], b"", Version(r[2], r[3]))) for r in rows]

    def private_keys(self, key: StateKey) -> list[tuple[PrivateKey, VersionedValue]]:
        """Who holds the clear key and value behind a hashed key."""
        rows = self._query(
            "SELECT msp_id, namespace, collection, key, value, block, position FROM private "
            "WHERE namespace = ? AND collection = ? AND key_hash = ?",
            key,
        )
        return [(PrivateKey(*r[:4]), VersionedValue(r[4], b"", Version(r[5], r[6]))) for r in rows]

    def expiring(self, at: int) -> list[Expiry]:
        """What is to vanish when block `at` commits."""
        rows = self._query("SELECT namespace, collection, key, block, position FROM expiry WHERE at = ?", (at,))
        return [Expiry(at, StateKey(r[0], r[1], r[2]), Version(r[3], r[4])) for r in rows]

    def staged(self) -> list[tuple[str, int, bytes]]:
        """All (transaction id, height, serialised TxPvtReadWriteSet) that wait for their transaction."""
        return [(r[0], r[1], r[2]) for r in self._query("SELECT tx_id, height, private FROM staged")]

    def private_writes(self, block: int) -> list[PrivateWrite]:
        """The clear private writes that are kept beside a block; that of a key purged since is empty."""
        rows = self._query(
            "SELECT position, namespace, collection, key_hash, write FROM private_writes WHERE block = ?", (block,)
        )
        return [PrivateWrite(r[0], StateKey(r[1], r[2], r[3]), r[4]) for r in rows]

    def queue(self) -> list[QueuedRow]:
        """All envelopes that are acknowledged but not in a block, in order."""
        return [QueuedRow(*r) for r in self._query("SELECT sequence, envelope, config FROM queue ORDER BY sequence")]

    def _range(
        self, sql: str, owner: tuple[str, ...], start: bytes, end: bytes | None, limit: int
    ) -> list[tuple[Any, ...]]:
        if end is None:
            return self._query(f"{sql} ORDER BY key LIMIT ?", (*owner, start, limit))
        return self._query(f"{sql} AND key < ? ORDER BY key LIMIT ?", (*owner, start, end, limit))

    def _query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with _translated("read"):
            return self._reader.execute(sql, parameters).fetchall()

    def _query_one(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
        with _translated("read"):
            row: tuple[Any, ...] | None = self._reader.execute(sql, parameters).fetchone()
            return row


def _insert_block(connection: sqlite3.Connection, row: BlockRow) -> None:
    connection.execute("INSERT INTO blocks VALUES (?, ?, ?)", (row.number, row.hash, row.block))
    connection.executemany("INSERT OR IGNORE INTO transactions VALUES (?, ?, ?, ?)", row.transactions)
    _apply_state(connection, row.updates.state)
    _apply_private(connection, row.updates.private)
    connection.execute("DELETE FROM expiry WHERE at <= ?", (row.number,))
    connection.executemany(
        "INSERT OR REPLACE INTO expiry VALUES (?, ?, ?, ?, ?, ?)",
        [(e.at, *e.key, *e.version) for e in row.updates.expiries],
    )
    connection.executemany(
        "INSERT INTO private_writes VALUES (?, ?, ?, ?, ?, ?)",
        [(row.number, w.position, *w.key, w.write) for w in row.updates.written],
    )
    connection.executemany(
        "DELETE FROM private_writes WHERE namespace = ? AND collection = ? AND key_hash = ? AND block < ?",
        [(*key, row.number) for key in row.updates.forgotten],
    )
    connection.executemany(
        "UPDATE private_writes SET write = x'' "
        "WHERE namespace = ? AND collection = ? AND key_hash = ? AND (block, position) <= (?, ?)",
        [(*key, row.number, position) for position, key in row.updates.purged],
    )
    connection.executemany(
        "INSERT INTO history VALUES (?, ?, ?, ?)",
        [(w.namespace, w.key, row.number, w.position) for w in row.updates.history],
    )
    connection.executemany("DELETE FROM staged WHERE tx_id = ?", [(tx_id,) for tx_id in row.staged_done])
    if row.ordered_through is not None:
        connection.execute("DELETE FROM queue WHERE sequence <= ?", (row.ordered_through,))


def _apply_state(connection: sqlite3.Connection, updates: Mapping[StateKey, Update]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(*k, u.value, u.metadata, *u.version) for k, u in updates.items() if u.value is not None],
    )
    connection.executemany(
        "DELETE FROM state WHERE namespace = ? AND collection = ? AND key = ?",
        [k for k, u in updates.items() if u.value is None],
    )


def _apply_private(connection: sqlite3.Connection, updates: Mapping[PrivateKey, Update]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO private VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(*k, u.value, *u.version, hashlib.sha256(k.key).digest()) for k, u in updates.items() if u.value is not None],
    )
    connection.executemany(
        "DELETE FROM private WHERE msp_id = ? AND namespace = ? AND collection = ? AND key = ?",
        [k for k, u in updates.items() if u.value is None],
    )


def _check_format(path: Path) -> None:
    with _translated("open"), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION_ID:
            raise LedgerForeignError(f"{path.name} was not made by this program: move it away")
        if version != _SCHEMA_VERSION:
            raise LedgerForeignError(f"{path.name} has format {version}, this program reads {_SCHEMA_VERSION}")
        small = path.stat().st_size <= _CHECKED_BYTES
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if small else "ok"
    if problem != "ok":
        raise LedgerCorruptError(f"{path.name} is damaged ({problem}): restore it from a copy, or purge it")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _take_lock(path: Path) -> int:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise LedgerBusyError(f"another process has {path.name} open: stop that network first") from error
    return lock


def _make_durable(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise LedgerError(f"the ledger cannot {what}: {error}") from error
        raise LedgerCorruptError(
            f"the ledger's file is damaged ({error}): restore it from a copy, or purge it"
        ) from error
