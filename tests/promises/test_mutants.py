"""Each promise is broken once, and exactly its test fails (`make promise-mutants`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sharing import ALONE

ROOT = Path(__file__).parents[2]
PROMISES = [f"{number:02}" for number in range(1, 15)]
"""Those of the design, section 8."""
PATCHES = [*ROOT.glob("tests/promises/mutants/*.patch"), *ROOT.glob("tests/parity/bugs/*.patch")]
MUTANTS = sorted(path.stem for path in ROOT.glob("tests/promises/mutants/*.patch"))
MUTANTS.sort(key=lambda name: not name.startswith("04"))  # its test waits in vain for the longest: it begins first


def test_every_promise_has_a_test_and_a_mutant() -> None:
    folder = Path(__file__).parent
    assert sorted(path.name[5:7] for path in folder.glob("test_[0-9]*.py")) == PROMISES
    assert sorted({path.name[:2] for path in folder.glob("mutants/*.patch")}) == PROMISES


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_what_breaks_the_code_fits_it(patch: Path) -> None:
    """A patch that applies no more would be noticed in the second tier only."""
    command = ["git", "apply", "--check", "--unidiff-zero", str(patch)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"write the patch anew: {done.stderr}"


def test_mutants_are_shared_out_one_by_one() -> None:
    test = f"{Path(__file__).relative_to(ROOT).as_posix()}::{test_exactly_its_promise_fails.__name__}"
    assert test == ALONE


@pytest.mark.check
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", [*MUTANTS, "00-nothing-is-broken"])
def test_exactly_its_promise_fails(name: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / "promise_mutants.py"), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=390, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"ok   {name}: fails "), done.stdout
