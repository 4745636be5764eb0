"""Where a consumer of events got to, so that it resumes with neither a gap nor a repeat.

A checkpoint is a block's number and, within that block, the last transaction whose events are done with. Record it
*after* an event's effect is safe: a consumer killed between the two sees that one event again::

    checkpoint = FileCheckpointer("events.json")
    async for event in network.chaincode_events("golden-grain", checkpoint=checkpoint):
        handle(event)
        checkpoint.record_event(event)

Where effect and checkpoint are one transaction of a database, there is no between, and each event counts exactly once::

    database = sqlite3.connect("orders.db")
    checkpoint = SqliteCheckpointer(database)
    async for event in network.chaincode_events("golden-grain", checkpoint=checkpoint):
        with database:
            database.execute("INSERT INTO orders …")
            checkpoint.record_event(event)
"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

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

    def _record(self, block: int, transaction_id: str) -> None:
        self.block, self.transaction_id = block, transaction_id


class FileCheckpointer(Checkpointer):
    """A checkpoint in a file, replaced atomically and synced at each record. Raises EventsError if malformed."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        if self.path.exists():
            try:
                saved = json.loads(self.path.read_bytes())
                self.block, self.transaction_id = int(saved["block"]), str(saved["transaction_id"])
            except (ValueError, KeyError, TypeError) as error:
                raise EventsError(f"{self.path} is not a checkpoint; remove it to start anew: {error!r}") from error

    def _record(self, block: int, transaction_id: str) -> None:
        temporary = self.path.with_name(f".{self.path.name}.new")
        with temporary.open("w", encoding="ascii") as file:
            json.dump({"block": block, "transaction_id": transaction_id}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        super()._record(block, transaction_id)


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

    def _record(self, block: int, transaction_id: str) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO goldengrain_checkpoints VALUES (?, ?, ?)", (self._name, block, transaction_id)
        )
        super()._record(block, transaction_id)
