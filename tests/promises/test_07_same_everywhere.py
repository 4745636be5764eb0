"""Promise 7: all endorsers compute the same: for random commands, under other hash seeds, locales, clocks, Pythons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaincode.market import determinism
from tests.promises import other_pythons

ROOT = Path(__file__).parents[2]
SEEDS = [{"PYTHONHASHSEED": str(seed)} for seed in range(10)]
PLACES = [{"LC_ALL": one} for one in ("C", "C.UTF-8", "tr_TR.UTF-8")]
ZONES = [{"TZ": one} for one in ("UTC", "Asia/Kathmandu", "America/St_Johns")]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Recorded games, and what they compute here."""
    calls = determinism.record(games=2)
    path = tmp_path_factory.mktemp("recording") / "games.json"
    path.write_text(json.dumps(calls), "utf-8")
    return path, determinism.replay(calls)


def computed(path: Path, environment: dict[str, str], python: str = sys.executable) -> str:
    """What another process computes of a recording."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "COV_"))}
    command = [python, "-m", "tests.chaincode.market.determinism", str(path)]
    done = subprocess.run(
        command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.timeout(180)
def test_read_write_sets_are_the_same_bytes_under_every_hash_seed_locale_and_time_zone(
    recording: tuple[Path, str],
) -> None:
    path, here = recording
    assert {computed(path, one) for one in (SEEDS[0], SEEDS[7], PLACES[2] | ZONES[1])} == {here}


@pytest.mark.check
@pytest.mark.timeout(600)
def test_the_whole_range_of_seeds_locales_and_zones(recording: tuple[Path, str]) -> None:
    path, here = recording
    for one in (*SEEDS, *PLACES, *ZONES):
        assert computed(path, one) == here, one


@pytest.mark.check
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_other_pythons_compute_the_same_bytes(version: str, recording: tuple[Path, str], tmp_path: Path) -> None:
    if version == "{}.{}".format(*sys.version_info):
        pytest.skip("it is the Python of this run")
    found = other_pythons.find(version)
    if found is None:
        pytest.skip(f"no Python {version} on this machine: read-write sets are not compared with it")
    python = other_pythons.equip(found, tmp_path / "environment")
    path, here = recording
    source = {"PYTHONPATH": str(ROOT / "src")}
    assert computed(path, source | SEEDS[3], str(python)) == here
