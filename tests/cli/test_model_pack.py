"""`goldengrain model pack`: from what was trained to what an enclave takes."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.numpy

from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric
from goldengrain.enclave.dataset import pack as pack_dataset
from goldengrain.enclave.evaluate import evaluate
from goldengrain.enclave.models.datasets import load
from tests.conftest import need
from tests.enclave.nets import CONFIGS, weights

from .market.running import run

SKLEARN = """
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
import numpy as np
from goldengrain.enclave.models.datasets import load

def classifier():
    data = load("digits").train
    return LogisticRegression(C=0.02, max_iter=20).fit(data.inputs[:600], data.labels[:600])

def regressor():
    inputs = np.random.default_rng(1).random((80, 3)).astype(np.float32)
    return Ridge(1e-6).fit(inputs, inputs @ [1.0, -2.0, 0.5])

def tumours():
    data = load("breast-cancer").train
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.02)).fit(data.inputs, data.labels)

def growers():
    data = load("wine").train
    return DecisionTreeClassifier(max_depth=2, random_state=1).fit(data.inputs, data.labels)

def illness():
    data = load("diabetes").train
    return RandomForestRegressor(20, max_depth=4, random_state=1).fit(data.inputs, data.labels)

def from_one():
    data = load("wine").train
    return DecisionTreeClassifier(max_depth=2, random_state=1).fit(data.inputs, data.labels + 1)

def nothing():
    return 5
"""


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trained_here", raising=False)
    (tmp_path / "trained_here.py").write_text(SKLEARN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pack(*arguments: object) -> Any:
    result = run("model", "pack", *arguments, "--json")
    assert result.code == 0, result.err
    return json.loads(result.out)


@pytest.mark.filterwarnings("ignore")
def test_estimate_of_a_scikit_learn_classifier_is_what_an_enclave_finds(trained: Path) -> None:
    digits = load("digits")
    (trained / "own.dataset").write_bytes(digits.container())
    made = pack("trained_here:classifier", "--out", "model.onnx", "--data", "own.dataset")
    assert made["kind"] == "ONNX, from scikit-learn"
    spec = BenchmarkSpec(Metric.ACCURACY, False, 597, digits.interface, _limits())
    found = evaluate((trained / "model.onnx").read_bytes(), digits.container(), spec, 1)
    assert made["estimate_ppm"] == found > 800_000
    assert made["samples"] == 597
    lower = pack("trained_here:classifier", "--out", "m2.onnx", "--data", "own.dataset", "--wilson")["estimate_ppm"]
    assert lower < found


def _limits() -> Any:
    from goldengrain.cli.testsets import LIMITS

    return LIMITS


def test_a_regressor_is_scored_by_its_loss(trained: Path) -> None:
    inputs = np.random.default_rng(2).random((50, 3)).astype(np.float32)
    (trained / "own.dataset").write_bytes(pack_dataset(inputs, inputs @ np.array([1.0, -2.0, 0.5]), name="plane"))
    made = pack(
        "trained_here:regressor", "--out", "m.onnx", "--data", "own.dataset", "--metric", "rmse", "--scale", 1_000_000
    )
    assert made["estimate_ppm"] > 999_000
    assert made["interface"]["output"] == {"name": "prediction", "shape": [0, 1], "type": "float32"}


def _worth(name: str, dataset: str, metric: str) -> float:
    """What scikit-learn says of an estimator on a hidden part, as a score in ppm."""
    from sklearn import metrics as sk

    estimator = getattr(importlib.import_module("trained_here"), name)()
    test = load(dataset).test
    if metric == "rmse":
        return 1e6 * (1 - float(sk.root_mean_squared_error(test.labels, estimator.predict(test.inputs))) / 77)
    rows, predicted = estimator.predict_proba(test.inputs), estimator.predict(test.inputs)
    found = {
        "accuracy": lambda: sk.accuracy_score(test.labels, predicted),
        "macro-f1": lambda: sk.f1_score(test.labels, predicted, average="macro"),
        "auroc": lambda: sk.roc_auc_score(test.labels, rows[:, 1]),
        "log-loss": lambda: 1 - sk.log_loss(test.labels, rows),
        "top-5": lambda: sk.top_k_accuracy_score(test.labels, rows, k=5),
    }
    return 1e6 * float(found[metric]())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "dataset", "metric"),
    [
        ("classifier", "digits", "top-5"),
        ("growers", "wine", "macro-f1"),
        ("growers", "wine", "accuracy"),
        ("tumours", "breast-cancer", "auroc"),
        ("tumours", "breast-cancer", "log-loss"),
        ("illness", "diabetes", "rmse"),
    ],
)
def test_estimates_by_every_metric_are_scikit_learns(name: str, dataset: str, metric: str, trained: Path) -> None:
    told = ("--metric", metric, *(("--scale", 1_000_000) if metric == "log-loss" else ()))
    made = pack(f"trained_here:{name}", "--out", "m.onnx", "--data", dataset, *told)
    sys.modules.pop("trained_here", None)
    assert made["estimate_ppm"] == pytest.approx(_worth(name, dataset, metric), abs=60)  # float32 moves a near tie
    assert made["metric"] == metric
    assert (made["loss"] is None) == (metric not in ("rmse", "log-loss"))
    assert (trained / "m.onnx").exists()


def test_weights_become_onnx_or_stay_weights(tmp_path: Path) -> None:
    config = CONFIGS["lenet"]
    source = tmp_path / "state.safetensors"
    safetensors.numpy.save_file(weights(config), source)
    told = ("--architecture", "lenet", "--image", "1x28x28", "--outputs", 10)
    made = pack(source, "--out", tmp_path / "a.onnx", *told)
    assert made["kind"] == "ONNX, from weights for lenet"
    assert onnx.load(tmp_path / "a.onnx").graph.node[0].op_type == "Conv"
    kept = pack(source, "--out", tmp_path / "a.safetensors", "--weights", *told)
    assert kept["kind"] == "weights for lenet"
    assert kept["operations"] == pytest.approx(made["operations"], rel=0.01)
    shown = json.loads(run("model", "inspect", tmp_path / "a.safetensors", "--json").out)
    assert (shown["accepted"], shown["operations"]) == (True, kept["operations"])
    assert shown["operators"]["Conv"] == 2
    again = pack(tmp_path / "a.safetensors", "--out", tmp_path / "b.onnx")
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "a.onnx").read_bytes()
    assert again["sha256"] == made["sha256"]


REFUSED = {
    "what is no model": (("trained_here:nothing",), "COMMAND_LINE"),
    "what isn't there": (("trained_here:absent",), "COMMAND_LINE"),
    "classes that are not numbered from 0": (("trained_here:from_one",), "EXPORT_FAILED"),
    "a module that isn't there": (("absent_module:model",), "COMMAND_LINE"),
    "a pickle": (("model.pkl",), "COMMAND_LINE"),
    "a file that isn't there": (("absent.onnx",), "FILE_REFUSED"),
    "an ONNX file that is a pickle": (("pickle.onnx",), "MODEL_UNPARSABLE"),
    "weights that are a pickle": (("pickle.safetensors",), "MODEL_UNPARSABLE"),
    "tensors that are a pickle": (("pickle.safetensors", "--architecture", "lenet"), "FILE_REFUSED"),
    "weights of which nothing is told": (("state.safetensors", "--architecture", "mlp"), "COMMAND_LINE"),
    "weights of another architecture": (
        ("state.safetensors", "--architecture", "lenet", "--image", "1x28x28", "--outputs", 10),
        "MODEL_STRUCTURE_WRONG",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_packed_is_refused_by_name_and_leaves_nothing(name: str, trained: Path) -> None:
    for kind in ("onnx", "safetensors"):
        (trained / f"pickle.{kind}").write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}.")
    safetensors.numpy.save_file({"x": np.zeros(3, np.float32)}, trained / "state.safetensors")
    arguments, code = REFUSED[name]
    result = run("model", "pack", *arguments, "--out", "out.onnx", "--json")
    assert (result.code, result.error) == (1, code)
    assert not (trained / "out.onnx").exists()


@pytest.mark.check
def test_a_torch_module_is_exported_and_scored(trained: Path) -> None:
    need("torch", importlib.util.find_spec("torch"), "run `make torch`")
    (trained / "torch_here.py").write_text(
        "import torch\n"
        "def net():\n    torch.manual_seed(1)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.Softmax(-1))\n"
        "class Named(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.fc1, self.fc2 = torch.nn.Linear(64, 8), torch.nn.Linear(8, 10)\n"
    )
    (trained / "torch_values.py").write_text(
        "import torch\n"
        "def net():\n    torch.manual_seed(1)\n"
        "    return torch.nn.Sequential(torch.nn.Linear(10, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))\n"
    )
    values = pack("torch_values:net", "--out", "v.onnx", "--data", "diabetes")
    assert (values["kind"], values["metric"], values["interface"]["output"]["shape"]) == (
        "ONNX, from torch",
        "rmse",
        [0, 1],
    )
    assert values["loss"] > 50
    (trained / "own.dataset").write_bytes(load("digits").container())
    made = pack("torch_here:net", "--out", "net.onnx", "--data", "own.dataset")
    assert made["kind"] == "ONNX, from torch"
    assert 0 < made["estimate_ppm"] < 1_000_000
    assert pack("torch_here:net", "--out", "n2.onnx", "--image", "64")["operations"] == made["operations"]
    told = ("--architecture", "mlp", "--image", "64", "--outputs", 10, "--hidden", "8", "--data", "own.dataset")
    onnx_made = pack("torch_here:Named", "--out", "n3.onnx", *told)
    kept = pack("torch_here:Named", "--out", "n3.safetensors", "--weights", *told)
    assert kept["kind"] == "weights for mlp"
    assert 0 < kept["estimate_ppm"] < 1_000_000
    assert 0 < onnx_made["estimate_ppm"] < 1_000_000
