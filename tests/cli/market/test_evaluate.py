"""`goldengrain task evaluate`: the provider's own measurement, the developer's once the test set is open; by class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from goldengrain.enclave.metrics import ClassResult
from goldengrain.enclave.models.datasets import load

from .conftest import USERS
from .running import Folder

PROVIDER, DEVELOPER = USERS[0], USERS[1]


@pytest.fixture(scope="module")
def task(market: Folder) -> str:
    market("credits", "mint", 10_000, "--to", PROVIDER)
    schedule = ("--schedule", "500000:100,1000000:1100", "--slots", 1, "--seed", 300)
    return str(market("task", "open", "--dataset", "digits", *schedule, "--as", PROVIDER)["task"])


@pytest.fixture
def elsewhere(market: Folder) -> Iterator[None]:
    """The provider's secrets lie in another folder, as on a developer's machine."""
    secrets = market.home / "secrets"
    secrets.rename(market.home / "secrets-of-another")
    yield
    for one in secrets.rglob("*"):
        assert not one.is_file(), one
    for one in sorted(secrets.rglob("*"), reverse=True):
        one.rmdir()
    if secrets.exists():
        secrets.rmdir()
    (market.home / "secrets-of-another").rename(secrets)


def test_the_provider_sees_each_class_as_scikit_learn_does(market: Folder, task: str, models: dict[str, Path]) -> None:
    from sklearn.metrics import confusion_matrix

    found = market("task", "evaluate", task, models["mlp"], "--classes", "--as", PROVIDER)
    test = load("digits").test
    probabilities = onnxruntime.InferenceSession(models["mlp"]).run(None, {"input": test.inputs})[-1]
    table = confusion_matrix(test.labels, np.asarray(probabilities).argmax(axis=1))
    assert [one["class"] for one in found["classes"]] == list(range(10))
    assert [one["samples"] for one in found["classes"]] == table.sum(axis=1).tolist()
    assert [one["right"] for one in found["classes"]] == table.diagonal().tolist()
    assert [one["predicted"] for one in found["classes"]] == table.sum(axis=0).tolist()
    assert found["exact_ppm"] == 1_000_000 * int(table.diagonal().sum()) // 597
    assert found["score_ppm"] == found["exact_ppm"] // 1_000 * 1_000
    assert found["price"] == 100 + (found["score_ppm"] - 500_000) // 500
    shown = market.shown("task", "evaluate", task, models["mlp"], "--classes", "--as", PROVIDER)
    assert "Results by class" in shown
    assert shown.count("█") >= 10 * 10
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert market("task", "evaluate", task, models["mlp"])["classes"] is None


@pytest.mark.usefixtures("elsewhere")
def test_a_developer_waits_until_the_test_set_is_open(
    market: Folder, task: str, models: dict[str, Path], tmp_path: Path
) -> None:
    refused = market.attempt("task", "evaluate", task, models["tree"], "--classes", "--as", DEVELOPER)
    assert (refused.code, refused.error) == (1, "DATASET_HIDDEN")
    refused = market.attempt("dataset", "open", task, "--out", tmp_path / "x.dataset", "--as", DEVELOPER)
    assert (refused.code, refused.error) == (1, "DATASET_HIDDEN")
    assert list(tmp_path.iterdir()) == []


def test_once_it_is_open_a_developer_gets_the_providers_numbers(
    market: Folder, task: str, models: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    theirs = market("task", "evaluate", task, models["tree"], "--classes", "--as", PROVIDER)
    shown = market("task", "show", task)
    market("network", "advance", 7_200 + shown["terms"]["task"]["terms"]["guard"] + 30)
    market("task", "open-dataset", task, "--as", PROVIDER)
    request.getfixturevalue("elsewhere")
    assert market("task", "evaluate", task, models["tree"], "--classes", "--as", DEVELOPER) == theirs
    opened = market("dataset", "open", task, "--out", tmp_path / "opened.dataset", "--as", DEVELOPER)
    assert (opened["samples"], opened["labels"]) == (597, "int64")
    assert (tmp_path / "opened.dataset").read_bytes() == load("digits").container()
    assert market.attempt("dataset", "open", task, "--out", tmp_path / "opened.dataset").error == "FILE_REFUSED"


def test_what_is_no_model_is_refused_as_an_enclave_refuses_it(market: Folder, task: str, tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"\x80\x04\x95 no model")
    assert market.attempt("task", "evaluate", task, tmp_path / "noise.onnx").error == "MODEL_UNPARSABLE"
    assert market.attempt("task", "evaluate", task, tmp_path / "absent.onnx").error == "FILE_REFUSED"


def test_of_many_classes_a_table_shows_the_weakest() -> None:
    from goldengrain.cli import task as commands

    results = [ClassResult(one, 10, 1_000_000 - one) for one in range(100)]
    found: Any = type(
        "Found", (), {"classes": results, "task": type("T", (), {"spec": type("S", (), {"metric": "x"})})}
    )
    (shown,) = commands._by_class(found)
    assert shown.row_count == commands.SHOWN
    assert "40 weakest of 100" in str(shown.title)
