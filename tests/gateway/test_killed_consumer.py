"""A consumer of events killed 100 times at random moments."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from goldengrain.gateway.checkpoint import FileCheckpointer, SqliteCheckpointer
from goldengrain.gateway.errors import EventsError
from goldengrain.gateway.events import ChaincodeEvent
from tests.gateway.consumer import KINDS
from tests.gateway.killing import effects, kill_again_and_again

KILLS = 100
FIRST, SECOND = ChaincodeEvent(3, "aa", "kv", "first", b""), ChaincodeEvent(4, "bb", "kv", "second", b"")


@pytest.mark.check
@pytest.mark.timeout(300)
async def test_each_event_counts_exactly_once(tmp_path: Path) -> None:
    """In a database, in a file, and elsewhere by its transaction's id."""
    folders = {kind: tmp_path / kind for kind in KINDS}
    for folder in folders.values():
        folder.mkdir()
    killing = (kill_again_and_again(folder, kind, KILLS, seed) for seed, (kind, folder) in enumerate(folders.items()))
    told = dict(zip(KINDS, await asyncio.gather(*killing), strict=True))
    for names, _ in told.values():
        assert len(names) > KILLS
    for kind in ("sqlite", "file"):
        names, seen = told[kind]
        assert seen == names
    names, seen = told["elsewhere"]
    assert len(seen) <= len(names) + KILLS
    once = dict.fromkeys(effects(folders["elsewhere"], "elsewhere"))
    assert [line.partition(" ")[2] for line in once] == names


def test_what_was_written_since_the_last_record_is_cut_off(tmp_path: Path) -> None:
    files = tmp_path / "checkpoint.json", tmp_path / "effects.txt"
    files[1].write_text("of an earlier program\n")
    with FileCheckpointer(*files) as checkpoint:
        checkpoint.write(b"never recorded, more than a buffer\n" * 1000)
    with FileCheckpointer(*files) as checkpoint:
        assert checkpoint.block is None
        checkpoint.write("first\n")
        checkpoint.record_event(FIRST)
        checkpoint.write("second\n")
    with FileCheckpointer(*files) as checkpoint:
        assert (checkpoint.block, checkpoint.transaction_id) == (3, "aa")
        checkpoint.write("second\n")
        checkpoint.record_event(SECOND)
    assert files[1].read_text() == "of an earlier program\nfirst\nsecond\n"


def test_effects_that_are_not_the_checkpoints_are_refused(tmp_path: Path) -> None:
    files = tmp_path / "checkpoint.json", tmp_path / "effects.txt"
    with FileCheckpointer(*files) as checkpoint:
        checkpoint.write("first\n")
        checkpoint.record_event(FIRST)
    files[1].write_text("")
    with pytest.raises(EventsError, match=r"has 0 bytes, and its checkpoint says 6"):
        FileCheckpointer(*files)
    with pytest.raises(EventsError, match="without a file of effects"):
        FileCheckpointer(files[0]).write("first\n")


def test_a_checkpoint_gets_effects_later(tmp_path: Path) -> None:
    files = tmp_path / "checkpoint.json", tmp_path / "effects.txt"
    FileCheckpointer(files[0]).record_event(FIRST)
    files[1].write_text("kept\n")
    with FileCheckpointer(*files) as checkpoint:
        assert (checkpoint.block, checkpoint.transaction_id) == (3, "aa")
        checkpoint.write("lost\n")
    with FileCheckpointer(*files):
        assert files[1].read_text() == "kept\n"


def test_effect_and_checkpoint_are_one_transaction(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "effects.db")
    checkpoint = SqliteCheckpointer(database)
    with database:
        checkpoint.record_event(FIRST)
    checkpoint.record_event(SECOND)
    database.rollback()
    again = SqliteCheckpointer(database)
    assert (again.block, again.transaction_id) == (3, "aa")
    assert SqliteCheckpointer(database, "others").block is None
    database.close()
