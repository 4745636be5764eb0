"""Break each promise once, and see exactly its test fail.

`tests/promises/mutants/NN-what-is-broken.patch` breaks promise NN of the design. Each is applied to a copy of the
sources; then all of `tests/promises` runs there, and `test_NN_...` has to fail, and nothing else. Only promise 14, that
another market is the same, may fail besides, since it isn't any more. In a copy with nothing broken, 00, nothing may
fail. Needs git, to apply.

    python tools/promise_mutants.py [NAME | NN ...]
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from broken_copy import ROOT, broken_copy, environment

MUTANTS = ROOT / "tests" / "promises" / "mutants"
WHOLE = "00-nothing-is-broken"
SAME = "14"
"""The promise that compares this market with another one."""
FAILED = re.compile(r"^(?:FAILED|ERROR) tests/promises/test_(\d\d)_", re.MULTILINE)


def cases() -> dict[str, Path | None]:
    """Return what is to be broken, by its name."""
    return {WHOLE: None} | {patch.stem: patch for patch in sorted(MUTANTS.glob("*.patch"))}


def failing(patch: Path | None) -> set[str]:
    """Return the numbers of the promises whose tests fail with a patch applied (None: as things are)."""
    options = ["-m", "not check", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    with broken_copy(patch) as copy:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "tests/promises", "--ignore=tests/promises/test_mutants.py", *options],
            cwd=copy,
            env=environment(copy),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if done.returncode not in (0, 1):
        raise SystemExit(f"the tests did not run:\n{done.stdout}{done.stderr}")
    return set(FAILED.findall(done.stdout))


def as_promised(name: str, found: set[str]) -> bool:
    """Tell whether exactly the tests fail that have to."""
    promise = name[:2]
    return not found if name == WHOLE else found in ({promise}, {promise, SAME})


def main(wanted: list[str]) -> int:
    """Run all mutants, or those named in full or by their promise; returns the exit code."""
    chosen = {name: patch for name, patch in cases().items() if not wanted or {name, name[:2]} & set(wanted)}
    if not chosen:
        print(f"there is no mutant {', '.join(wanted)}; there are {', '.join(cases())}")
        return 2
    bad = 0
    for name, patch in chosen.items():
        found = failing(patch)
        good = as_promised(name, found)
        bad += not good
        print(f"{'ok  ' if good else 'BAD '} {name}: fails {', '.join(sorted(found)) or 'nothing'}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
