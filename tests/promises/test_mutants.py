"""Each promise is broken once, and exactly its test fails (`make promise-mutants`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISES = ("03", "04", "05", "06", "07", "08", "09", "11", "12", "14")


def test_every_promise_has_a_test_and_a_mutant() -> None:
    folder = Path(__file__).parent
    assert sorted(path.name[5:7] for path in folder.glob("test_[0-9]*.py")) == list(PROMISES)
    assert sorted({path.name[:2] for path in folder.glob("mutants/*.patch")}) == list(PROMISES)


@pytest.mark.check
@pytest.mark.timeout(1_500)
def test_each_mutant_fails_exactly_its_promise() -> None:
    command = [sys.executable, str(ROOT / "tools" / "promise_mutants.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_490, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
