"""Wheel and sdist hold the whole product and nothing else, and what is installed from them works outside the checkout.

The packages are folders at the top, with links to them in `src/goldengrain`: what is built must hold files, not links.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("chaincode", "cli", "enclave", "gateway", "network", "wire")

pytestmark = [pytest.mark.check, pytest.mark.timeout(900)]


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Run a program without this process's Python settings; its output. Fails with all that it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=folder, env=clean | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def tracked() -> list[str]:
    """What a clone holds."""
    return run("git", "ls-files", "-z", folder=ROOT).rstrip("\0").split("\0")


def product() -> set[str]:
    """Every file of the product, as it is named once installed."""
    return {f"goldengrain/{name}" for name in tracked() if name.split("/")[0] in PARTS}


def build(source: Path, *kinds: str) -> None:
    run(sys.executable, "-m", "build", *kinds, "--outdir", source / "dist", source, folder=source)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, with wheel and sdist built from it in `dist`."""
    folder = tmp_path_factory.mktemp("clone") / "checkout"
    for name in tracked():
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    build(folder, "--sdist", "--wheel")
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path) -> Path:
    (found,) = (clone / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(clone: Path) -> Path:
    (found,) = (clone / "dist").glob("*.tar.gz")
    return found


def contents(wheel: Path) -> dict[str, int]:
    """Files of a wheel without its metadata, with their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if ".dist-info/" not in entry.filename}


def test_the_wheel_holds_every_file_of_the_product_and_no_other(wheel: Path) -> None:
    assert contents(wheel).keys() == product()
    for part in PARTS:
        assert f"goldengrain/{part}/py.typed" in contents(wheel)


def test_the_sdist_holds_files_and_no_links(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert {f"src/{name}" for name in product()} <= names
    assert {"README.md", "LICENSE", "pyproject.toml"} <= names
    others = {name.split("/")[0] for name in names} - {"src", "goldengrain.egg-info"}
    assert others <= {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "setup.cfg", "PKG-INFO", "MANIFEST.in"}


def test_a_wheel_from_the_sdist_is_the_same(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, "--wheel")
    (second,) = (source / "dist").glob("*.whl")
    assert contents(second) == contents(wheel)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of a new environment with the wheel and no extras, at the lock file's versions."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    install(folder / "venv" / "bin", str(wheel))
    return folder / "venv" / "bin"


def install(programs: Path, what: str) -> None:
    constraints = programs / "constraints.txt"
    pins = re.findall(r"^[\w.-]+==[^\s\\]+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    constraints.write_text("\n".join(pins))
    quiet = ("--quiet", "--disable-pip-version-check")
    run(programs / "python", "-m", "pip", "install", *quiet, "-c", constraints, what, folder=programs)
    run(programs / "python", "-m", "pip", "check", folder=programs)


def test_without_extras_a_network_comes_up_and_goes_down(installed: Path, tmp_path: Path) -> None:
    program = installed / "goldengrain"
    where = run(installed / "python", "-c", "import goldengrain.cli as c; print(c.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    run(program, "network", "up", "--home", "home", "--json", folder=tmp_path)
    run(program, "network", "down", "--home", "home", "--purge", "--json", folder=tmp_path)


def test_the_demonstration_runs_from_the_wheel(installed: Path, wheel: Path, tmp_path: Path) -> None:
    install(installed, f"{wheel}[enclave,models]")
    played = json.loads(run(installed / "goldengrain", "demo", "--json", "--home", "home", folder=tmp_path))
    assert played["attestation"] == "simulated"
    assert played["supply"]["minted"] == played["supply"]["held"] > 0
    assert {one["code"] for one in played["transactions"]} == {"VALID"}
    assert len({one["score_ppm"] for one in played["offers"]}) == len(played["offers"]) == 3
