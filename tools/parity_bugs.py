"""Seed bugs into either market, one at a time, and see random sequences find each.

`tests/parity/bugs/SIDE-what-is-wrong.patch` breaks a rule of the chaincode's or of the EVM contract's. Each is applied
to a copy of the sources; there the differential test has to find a difference and to shrink it to a few steps, which
are printed. Needs git, to apply.

    python tools/parity_bugs.py [NAME ...]
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from broken_copy import ROOT, broken_copy, environment

BUGS = ROOT / "tests" / "parity" / "bugs"
SEQUENCES = 400
"""Sequences in which a bug has to be found."""
FOUND = re.compile(r"^seed (\d+): (.*)$", re.MULTILINE)


def found(patch: Path) -> str | None:
    """Return the difference that a bug makes, in one line; None where none is seen."""
    command = [sys.executable, "-m", "tests.parity.differential", "--sequences", str(SEQUENCES)]
    with broken_copy(patch) as copy:
        done = subprocess.run(command, cwd=copy, env=environment(copy), capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1) or done.stderr:
            raise SystemExit(f"{patch.name}: the sequences did not run:\n{done.stdout}{done.stderr}")
        told = FOUND.search(done.stdout)
        if told is None:
            return None
        (written,) = (copy / "build" / "parity").glob("*.yaml")
        steps = written.read_text().count("- who:")
        return f"seed {told[1]}, shrunk to {steps} steps: {told[2]}"


def main(wanted: list[str]) -> int:
    """Run all bugs, or some; returns the exit code."""
    missed = 0
    for patch in sorted(BUGS.glob("*.patch")):
        if wanted and patch.stem not in wanted:
            continue
        told = found(patch)
        missed += told is None
        print(f"{'ok  ' if told else 'BAD '} {patch.stem}: {told or 'not found'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
