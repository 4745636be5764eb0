"""Bugs seeded on either side (`bugs/*.patch`) are all found by random sequences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUGS = [path.stem for path in sorted((Path(__file__).parent / "bugs").glob("*.patch"))]


def test_there_are_ten_bugs_on_either_side() -> None:
    for side in ("chaincode", "evm"):
        assert sum(one.startswith(f"{side}-") for one in BUGS) >= 10


@pytest.mark.check
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS)
def test_random_sequences_find_it(bug: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / "parity_bugs.py"), bug]
    done = subprocess.run(command, capture_output=True, text=True, timeout=590, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"ok   {bug}: seed "), done.stdout
