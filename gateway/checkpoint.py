"""Where a consumer of events got to, so that it resumes with neither a gap nor a repeat.

A checkpoint is a block's number and, within that block, the last transaction whose events are done with. Each event
counts exactly once, however often and wherever the consumer is killed, where its effect and the checkpoint are one
step:

- effects in a database, in the same transaction as the checkpoint::

    database = sqlite3.connect("orders.db")
    checkpoint = SqliteCheckpointer(database)
    async for event in network.chaincode_events("golden-grain", checkpoint=checkpoint):
        with database:
            database.execute("INSERT INTO orders …")
            checkpoint.record_event(event)

- effects in a file that grows; what was written since the last record is cut off when the file is opened again::

    checkpoint = FileCheckpointer("events.json", effects="orders.csv")
    async for event in network.chaincode_events("golden-grain", checkpoint=checkpoint):
        checkpoint.write(f"{event.payload.decode()},")
        checkpoint.record_event(event)

An effect anywhere else, a message to another system say, can't be one step with a checkpoint here. Record the event
*after* it: a consumer killed between the two sees that one event again, and ``event.transaction_id`` tells (Fabric
keeps one event of a transaction, so that its id is the event's own). Or write the message into one of the two above,
and send it from there under that id, as often as it takes.
"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from goldengrain.gateway.errors import EventsError
from goldengrain.gateway.events import ChaincodeEvent


class Checkpointer:
    """A checkpoint in memory. ``block`` is where to go on, None where nothing was recorded yet."""

    def __init__(self) -> None:
        self.block: int | None = None
        self.transaction_id = ""

    def record_event(self, event: ChaincodeEvent) -> None:
        """Record that the event, and all before it, are done with."""
        self._record(event.block, event.transaction_id)

    def record_block(self, number: int) -> None:
        """Record that the whole block, and all before it, are done with."""
        self._record(number + 1, "")

    def _record(self, block: int | None, transaction_id: str) -> None:
        self.block, self.transaction_id = block, transaction_id


class FileCheckpointer(Checkpointer):
    """A checkpoint in a file, replaced atomically and synced at each record.

    ``effects`` is a file of the consumer's that only this checkpointer writes to, created where it isn't there. What is
    written to it counts with the next record: whatever a killed consumer wrote after its last one is gone when the file
    is opened again. What the file held before its first checkpoint stays.

    Raises EventsError where the checkpoint is malformed, or ``effects`` shorter than it was.
    """

    def __init__(self, path: str | Path, effects: str | Path | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self._effects: BinaryIO | None = None
        recorded = self._load()
        if effects is not None:
            self._effects = _cut(Path(effects), recorded)
            if recorded is None:
                self._record(self.block, self.transaction_id)

    def write(self, effect: bytes | str) -> None:
        """Append to ``effects`` (text as UTF-8); it counts once the event is recorded."""
        if self._effects is None:
            raise EventsError(f"the checkpoint {self.path} was made without a file of effects to write to")
        self._effects.write(effect.encode() if isinstance(effect, str) else effect)

    def close(self) -> None:
        """Close ``effects``."""
        if self._effects is not None:
            self._effects.close()

    def __enter__(self) -> FileCheckpointer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> int | None:
        """Read the checkpoint; returns how many bytes of effects belong to it, None where it knows of none."""
        if not self.path.exists():
            return None
        try:
            saved = json.loads(self.path.read_bytes())
            self.block = None if saved["block"] is None else int(saved["block"])
            self.transaction_id = str(saved["transaction_id"])
            return None if saved.get("effects") is None else int(saved["effects"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise EventsError(f"{self.path} is not a checkpoint; remove it to start anew: {error!r}") from error

    def _record(self, block: int | None, transaction_id: str) -> None:
        saved = {"block": block, "transaction_id": transaction_id, "effects": self._synced()}
        temporary = self.path.with_name(f".{self.path.name}.new")
        with temporary.open("w", encoding="ascii") as file:
            json.dump(saved, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        super()._record(block, transaction_id)

    def _synced(self) -> int | None:
        """Put the effects on disk; returns their length in bytes."""
        if self._effects is None:
            return None
        self._effects.flush()
        os.fsync(self._effects.fileno())
        return self._effects.tell()


def _cut(path: Path, recorded: int | None) -> BinaryIO:
    """Open a file of effects at its end, without what was written after the last record."""
    path.touch()
    file = path.open("r+b")
    length = file.seek(0, os.SEEK_END)
    if recorded is not None and length < recorded:
        file.close()
        raise EventsError(
            f"{path} has {length} bytes, and its checkpoint says {recorded}: it is not the file that was written; "
            "put it back, or remove the checkpoint to start anew"
        )
    if recorded is not None:
        file.truncate(recorded)
        file.seek(recorded)
    return file


class SqliteCheckpointer(Checkpointer):
    """A checkpoint in a database of the consumer's own (table ``goldengrain_checkpoints``), one per ``name``.

    Recording takes part in the transaction that is open, and commits nothing: the consumer does, together with the
    event's effect.
    """

    def __init__(self, database: sqlite3.Connection, name: str = "events") -> None:
        super().__init__()
        self._database = database
        self._name = name
        with database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS goldengrain_checkpoints "
                "(name TEXT PRIMARY KEY, block INTEGER NOT NULL, transaction_id TEXT NOT NULL)"
            )
        query = "SELECT block, transaction_id FROM goldengrain_checkpoints WHERE name = ?"
        if found := database.execute(query, (name,)).fetchone():
            self.block, self.transaction_id = found

    def _record(self, block: int | None, transaction_id: str) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO goldengrain_checkpoints VALUES (?, ?, ?)", (self._name, block, transaction_id)
        )
        super()._record(block, transaction_id)
