"""Other Pythons on this machine, each with an environment that holds what the contract needs, and no more."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = ("coincurve", "cryptography", "dcap-qvl")
"""What the rules import besides the standard library; versions are those of `requirements.lock`."""


def find(version: str) -> Path | None:
    """Return an interpreter of a version (`3.13`) that runs: on the path, or among pyenv's."""
    home = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    on_path = shutil.which(f"python{version}")
    for candidate in (on_path, *sorted(home.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)):
        if candidate is not None and _runs(Path(candidate), version):
            return Path(candidate)
    return None


def _runs(python: Path, version: str) -> bool:
    asked = [str(python), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def equip(python: Path, folder: Path) -> Path:
    """Make an environment with what the contract needs; returns its interpreter."""
    subprocess.run([str(python), "-m", "venv", str(folder)], check=True, timeout=120)
    inside = folder / "bin" / "python"
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    wanted = [f"{name}=={pins[name]}" for name in NEEDED]
    install = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    subprocess.run([*install, *wanted], check=True, timeout=300)
    return inside
