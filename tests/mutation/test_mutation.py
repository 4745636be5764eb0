"""Nearly every small fault in what decides about money is noticed (`make mutation`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_names_of_mutants_are_their_own() -> None:
    command = [sys.executable, str(ROOT / "tools" / "mutation.py"), "--list"]
    names = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert len(set(names)) == len(names) > 400
    assert any("`OfferState.LOCKED` -> `OfferState.SETTLED`" in name for name in names)
    assert any("Rule('Forfeit'" in name and name.endswith("-> ``") for name in names)


@pytest.mark.check
@pytest.mark.timeout(1800)
def test_mutants_do_not_survive() -> None:
    command = [sys.executable, str(ROOT / "tools" / "mutation.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1790, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
