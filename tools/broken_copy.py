"""A copy of the sources with one thing broken in it, to see tests fail there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRACTS = Path("build", "contracts")
LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", ".goldengrain", ".hypothesis", "*_cache", "*.pyc.*", ".coverage*"),
    *("build", "recorded", "node_modules"),
)
PATCHED = re.compile(r"^\+\+\+ b/(.*)$", re.MULTILINE)


@contextmanager
def broken_copy(patch: Path | None) -> Iterator[Path]:
    """Copy the sources, apply a patch to the copy (None: leave it whole), and return its folder.

    What takes long to make comes along: bytecode, but for the folders that are patched, and compiled contracts, which
    are named by what they were compiled from.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_OUT)
        (ROOT / CONTRACTS).mkdir(parents=True, exist_ok=True)
        (copy / CONTRACTS).parent.mkdir()
        (copy / CONTRACTS).symlink_to(ROOT / CONTRACTS)
        if patch is not None:
            subprocess.run(["git", "apply", "--unidiff-zero", str(patch)], cwd=copy, check=True)
            for name in PATCHED.findall(patch.read_text()):
                shutil.rmtree((copy / name).parent / "__pycache__", ignore_errors=True)
        yield copy


def environment(copy: Path) -> dict[str, str]:
    """Return the environment in which Python imports the copy, and compiles each module of it once."""
    return os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": ""}
