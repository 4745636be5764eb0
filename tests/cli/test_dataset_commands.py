"""`goldengrain dataset`: test sets made and looked into."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goldengrain.cli.testsets import load_test_set

from .market.running import run

TABLE = "width,depth,kind\n1.5,1,b\n2,1,a\n3,4,b\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(TABLE)
    return path


def test_a_table_becomes_a_test_set_that_a_task_takes(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.dataset"
    made = json.loads(run("dataset", "pack", table, "--out", out, "--label", "kind", "--json").out)
    assert (made["samples"], made["inputs"], made["classes"]) == (3, {"type": "float32", "shape": [2]}, ["a", "b"])
    shown = json.loads(run("dataset", "show", out, "--json").out)
    assert shown == {key: value for key, value in made.items() if key != "classes"}
    assert shown["bytes"] == out.stat().st_size
    with load_test_set(str(out)) as opened:
        assert opened.interface.output.shape == (0, 2)
    assert "samples" in run("dataset", "show", out).out


def test_what_is_there_is_not_overwritten_and_nothing_half_is_left(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.dataset"
    out.write_text("precious")
    assert run("dataset", "pack", table, "--out", out, "--json").error == "FILE_REFUSED"
    assert out.read_text() == "precious"
    table.write_text(TABLE + "x,y,z\n")
    assert run("dataset", "pack", table, "--out", out, "--force", "--json").error == "SOURCE_REFUSED"
    assert run("dataset", "pack", tmp_path, "--out", out, "--force", "--json").error == "SOURCE_REFUSED"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["rows.csv", "rows.dataset"]
    assert out.read_text() == "precious"


def test_what_is_no_container_is_refused(table: Path, tmp_path: Path) -> None:
    assert run("dataset", "show", table, "--json").error == "DATASET_MALFORMED"
    assert run("dataset", "show", tmp_path / "absent", "--json").error == "FILE_REFUSED"
