"""A consumer of events killed 100 times at random moments."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import pytest

from goldengrain.gateway.checkpoint import SqliteCheckpointer
from goldengrain.gateway.events import ChaincodeEvent
from tests.gateway.killing import kill_again_and_again

KILLS = 100


@pytest.mark.check
@pytest.mark.timeout(300)
async def test_each_event_counts_exactly_once(tmp_path: Path) -> None:
    names, seen = await kill_again_and_again(tmp_path, "sqlite", KILLS)
    assert seen == names
    assert len(names) > KILLS


@pytest.mark.check
@pytest.mark.timeout(300)
async def test_what_was_recorded_in_a_file_is_not_seen_again_and_nothing_is_missed(tmp_path: Path) -> None:
    names, seen = await kill_again_and_again(tmp_path, "file", KILLS // 2, seed=1)
    assert [name for name, _ in itertools.groupby(seen)] == names
    assert len(seen) <= len(names) + KILLS // 2


def test_effect_and_checkpoint_are_one_transaction(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "effects.db")
    checkpoint = SqliteCheckpointer(database)
    with database:
        checkpoint.record_event(ChaincodeEvent(3, "aa", "kv", "first", b""))
    checkpoint.record_event(ChaincodeEvent(4, "bb", "kv", "second", b""))
    database.rollback()
    again = SqliteCheckpointer(database)
    assert (again.block, again.transaction_id) == (3, "aa")
    assert SqliteCheckpointer(database, "others").block is None
    database.close()
