"""`goldengrain store gc`: what the market needs stays, what nobody names goes once it is not young any more."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .running import Folder

PROVIDER = "User1@org1.example.com"


def test_what_a_task_needs_is_kept_and_what_nobody_names_goes(market: Folder, tmp_path: Path) -> None:
    opened = market("task", "open", "--dataset", "digits", "--as", PROVIDER)
    (tmp_path / "junk").write_bytes(b"nobody needs this")
    junk = market("store", "put", tmp_path / "junk", "--as", PROVIDER)["blobs"][0]["digest"]
    young = market("store", "gc", "--as", PROVIDER)
    assert young["removed"] == []
    path = market.home / "store" / "Org1" / junk
    past = time.time() - 3 * 86_400
    os.utime(path, (past, past))
    tried = market("store", "gc", "--dry-run", "--as", PROVIDER)
    assert [one["digest"] for one in tried["removed"]] == [junk]
    assert path.exists()
    done = market("store", "gc", "--as", PROVIDER)
    assert [one["digest"] for one in done["removed"]] == [junk]
    assert not path.exists()
    kept = {one["digest"]: one["because"] for one in done["kept"]}
    reasons = [why for why in kept.values() if opened["task"] in why]
    assert len([why for why in reasons if why.startswith("test set of")]) == 1
    assert len([why for why in reasons if why.startswith("test set's key of")]) >= 1
    assert all((path.parent / digest).exists() for digest in kept)
