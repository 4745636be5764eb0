"""Break each promise once, and see exactly its test fail.

`tests/promises/mutants/NN-what-is-broken.patch` breaks promise NN of the design. Each is applied to a copy of the
sources; then all of `tests/promises` runs there, and `test_NN_...` has to fail, and nothing else. Only promise 14, that
another market is the same, may fail besides, since it isn't any more. Needs git, to apply.

    python tools/promise_mutants.py [NN ...]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MUTANTS = ROOT / "tests" / "promises" / "mutants"
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".goldengrain", "*_cache", "__pycache__", ".coverage*", "build")
SAME = "14"
"""The promise that compares this market with another one."""
FAILED = re.compile(r"^(?:FAILED|ERROR) tests/promises/test_(\d\d)_", re.MULTILINE)


def failing(patch: Path | None) -> set[str]:
    """Return the numbers of the promises whose tests fail with a patch applied (None: as things are)."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_OUT)
        if patch is not None:
            subprocess.run(["git", "apply", "--unidiff-zero", str(patch)], cwd=copy, check=True)
        command = [sys.executable, "-m", "pytest", "tests/promises", "-m", "not check", "-q", "--tb=no", "-rfE"]
        environment = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider"],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise SystemExit(f"the tests did not run:\n{done.stdout}{done.stderr}")
        return set(FAILED.findall(done.stdout))


def main(wanted: list[str]) -> int:
    """Run all mutants, or those of some promises; returns the exit code."""
    if broken := failing(None):
        print(f"without any mutant the tests of {', '.join(sorted(broken))} fail")
        return 1
    survived = 0
    for patch in sorted(MUTANTS.glob("*.patch")):
        promise = patch.name[:2]
        if wanted and promise not in wanted:
            continue
        found = failing(patch)
        good = found in ({promise}, {promise, SAME})
        survived += not good
        print(f"{'ok  ' if good else 'BAD '} {patch.stem}: fails {', '.join(sorted(found)) or 'nothing'}", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
