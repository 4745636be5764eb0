"""Real models on real data: what the demo trades with."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goldengrain.chaincode.protocol import scores
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric
from goldengrain.enclave.dataset import unpack
from goldengrain.enclave.evaluate import evaluate
from goldengrain.enclave.models import datasets
from goldengrain.enclave.models.datasets import BUNDLED, NAMES, Data, Split, available, load, read_idx
from goldengrain.enclave.models.errors import DataMissing
from goldengrain.enclave.models.export import from_sklearn
from goldengrain.enclave.models.train import KINDS, LIMITS, Trained, kinds, main, train


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits")


@pytest.fixture(scope="module")
def trained(digits: Data) -> dict[str, Trained]:
    return {kind: train(kind, digits) for kind in KINDS}


def test_digits_are_scikit_learns(digits: Data) -> None:
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    ours = np.concatenate([digits.test.inputs, digits.train.inputs])
    theirs = (inputs / 16).astype(np.float32)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))
    assert (
        np.bincount(np.concatenate([digits.test.labels, digits.train.labels])).tolist() == np.bincount(labels).tolist()
    )


def test_tables_are_scikit_learns() -> None:
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

    for name, theirs in {"breast-cancer": load_breast_cancer, "wine": load_wine, "diabetes": load_diabetes}.items():
        inputs, labels = theirs(return_X_y=True, **({"scaled": False} if name == "diabetes" else {}))
        ours = load(name)
        rows = np.concatenate([ours.test.inputs, ours.train.inputs])
        known = {bytes(row): label for row, label in zip(inputs.astype(np.float32), labels.tolist(), strict=True)}
        assert [known[bytes(row)] for row in rows] == np.concatenate([ours.test.labels, ours.train.labels]).tolist()
        assert len(known) == len(rows) == len(inputs)
        assert len(ours.test.labels) == len(inputs) // 3


def test_container_holds_the_hidden_part_alone(digits: Data) -> None:
    dataset = unpack(digits.container())
    assert (dataset.inputs == digits.test.inputs).all()
    assert dataset.samples == 597
    seen = {bytes(row) for row in digits.train.inputs}
    assert not any(bytes(row) in seen for row in dataset.inputs)


def test_three_models_of_clearly_different_quality(digits: Data, trained: dict[str, Trained]) -> None:
    spec = BenchmarkSpec(Metric.ACCURACY, False, 597, digits.interface, LIMITS)
    container = digits.container()
    found = {kind: evaluate(one.model, container, spec, 1) for kind, one in trained.items()}
    assert 700_000 < found["tree"] < 820_000 < found["logistic"] < 935_000 < found["mlp"] < 1_000_000
    for kind, one in trained.items():
        assert abs(one.estimate - found[kind]) < 60_000


def test_engine_agrees_with_scikit_learn(digits: Data) -> None:
    estimator = KINDS["tree"]()
    estimator.fit(digits.train.inputs, digits.train.labels)
    spec = BenchmarkSpec(Metric.ACCURACY, False, 597, digits.interface, LIMITS)
    correct = int((estimator.predict(digits.test.inputs) == digits.test.labels).sum())
    ours = evaluate(from_sklearn(estimator, 64), digits.container(), spec, 1)
    assert ours == scores.accuracy(correct, 597)


def test_training_gives_the_same_bytes_in_another_process(
    trained: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PYTHONHASHSEED", "30"
    )  # one of those in which skl2onnx names its operator sets in another order
    arguments = [argument for kind in KINDS for argument in ("--kind", kind)]
    command = [sys.executable, "-m", "goldengrain.enclave.models.train", *arguments, "--out-dir", str(tmp_path)]
    output = subprocess.run(command, capture_output=True, check=True, text=True, timeout=90).stdout
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["kind"] for line in lines] == list(KINDS)
    for line in lines:
        own = trained[line["kind"]]
        written = Path(line["file"]).read_bytes()
        assert hashlib.sha256(written).hexdigest() == hashlib.sha256(own.model).hexdigest()
        assert line["estimate_ppm"] == own.estimate


def test_unknown_names_are_refused(digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataMissing):
        load("imagenet")
    with pytest.raises(DataMissing):
        train("oracle", digits)
    (tmp_path / "file").write_text("")
    assert main(["--kind", "tree", "--out-dir", str(tmp_path / "file")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def _idx(path: Path, magic: int, shape: tuple[int, ...], values: bytes) -> None:
    head = magic.to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in shape)
    path.write_bytes(gzip.compress(head + values))


def test_fashion_mnist_is_read_from_debians_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files' format on a stand-in of three images; `available` says whether the real ones are here."""
    for part in ("train", "t10k"):
        _idx(tmp_path / f"{part}-images-idx3-ubyte.gz", 0x803, (3, 28, 28), bytes(range(3)) * 784)
        _idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", 0x801, (3,), b"\x00\x09\x04")
    monkeypatch.setattr(datasets, "FASHION_FOLDERS", (tmp_path / "absent", tmp_path))
    assert available() == list(NAMES)
    data = load("fashion-mnist")
    assert data.train.inputs.shape == (3, 784)
    assert data.test.labels.tolist() == [0, 9, 4]
    assert data.test.inputs.max() == np.float32(2 / 255)
    monkeypatch.setattr(datasets, "FASHION_FOLDERS", ())
    assert available() == list(BUNDLED)
    with pytest.raises(DataMissing, match="apt-get"):
        load("fashion-mnist")


def test_broken_idx_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    for magic, values in ((0x0D03, bytes(9)), (0x803, bytes(8))):
        _idx(path, magic, (1, 3, 3), values)
        with pytest.raises(DataMissing):
            read_idx(path)


@pytest.mark.check
def test_models_differ_on_every_dataset_that_is_here() -> None:
    for name in available():
        data = load(name)
        part = replace(data, test=Split(data.test.inputs[:2_000], data.test.labels[:2_000]))
        spec = BenchmarkSpec(data.metric, False, len(part.test.labels), data.interface, LIMITS, scale=data.scale)
        first, *_, last = (evaluate(train(kind, data).model, part.container(), spec, 1) for kind in kinds(name))
        assert first + 40_000 < last
