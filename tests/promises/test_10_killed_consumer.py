"""Promise 10: an event consumer killed anywhere resumes with neither a gap nor a repeat."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.killing import kill_again_and_again


async def test_a_consumer_that_is_killed_again_and_again_counts_each_event_once(tmp_path: Path) -> None:
    names, seen = await kill_again_and_again(tmp_path, "sqlite", 8)
    assert seen == names
    assert len(names) > 8
