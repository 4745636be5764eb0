"""Promise 10: an event consumer killed anywhere resumes with neither a gap nor a repeat."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.gateway.killing import kill_again_and_again


async def test_a_consumer_that_is_killed_again_and_again_counts_each_event_once(tmp_path: Path) -> None:
    folders = {kind: tmp_path / kind for kind in ("sqlite", "file")}
    for folder in folders.values():
        folder.mkdir()
    killing = (kill_again_and_again(folder, kind, 8) for kind, folder in folders.items())
    for names, seen in await asyncio.gather(*killing):
        assert seen == names
        assert len(names) > 8
