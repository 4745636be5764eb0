"""Train real models and export them to ONNX, the same bytes every time.

    python -m goldengrain.enclave.models.train --dataset digits --kind tree --kind mlp --out-dir models

writes `models/tree.onnx` and `models/mlp.onnx` and prints a line of JSON for each: kind, file, bytes, seconds, and the
score that the developer estimates on a part of its own training data that it kept back (by the dataset's metric, in
ppm; the provider's test set stays hidden). The kinds differ in quality:

========  ====================================================  ==============================================
kind      for classes                                           for values
========  ====================================================  ==============================================
tree      a shallow decision tree                               a shallow decision tree
logistic  logistic regression
linear                                                          ridge regression
mlp       a neural network with one hidden layer
boosted                                                         gradient boosting
========  ====================================================  ==============================================

Every model takes `input`, float32 (samples, features), and gives `probabilities`, float32 (samples, classes), or
`prediction`, float32 (samples, 1). What is written has passed the checks that the enclave will run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.task import BenchmarkSpec, ModelLimits
from goldengrain.enclave import metrics
from goldengrain.enclave.engine import run_model
from goldengrain.enclave.models.datasets import NAMES, Data, Split, load
from goldengrain.enclave.models.errors import DataMissing
from goldengrain.enclave.models.export import from_sklearn

LIMITS = ModelLimits(model_bytes=16 * 1024**2, nodes=2_000, operations=10_000_000, memory_bytes=256 * 1024**2)
"""Limits that every model of this module keeps with room to spare; a task may take them as they are."""

HELD_BACK = 0.2
"""Share of the training data on which a developer estimates its score."""
MOST_SAMPLES = 6_000
"""Training samples at most, so that training takes about a second."""
_SEED = 7


@dataclass(frozen=True)
class Trained:
    """A model ready to be sealed: ONNX bytes, and the developer's own estimate of its score in ppm."""

    kind: str
    model: bytes
    estimate: int


def _tree() -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=6, random_state=_SEED)


def _small_tree() -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=2, random_state=_SEED)


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.02, max_iter=40)


def _mlp() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((96,), learning_rate_init=0.004, batch_size=128, max_iter=24, random_state=_SEED)


def _value_tree() -> Any:
    from sklearn.tree import DecisionTreeRegressor

    return DecisionTreeRegressor(max_depth=2, random_state=_SEED)


def _linear() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge()


def _boosted() -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=30, max_depth=2, random_state=_SEED)


def _scaled(make: Callable[[], Any]) -> Callable[[], Any]:
    """An estimator behind a scaler: a table's columns are of different sizes, pixels are not."""

    def made() -> Any:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), make())

    return made


KINDS: dict[str, Callable[[], Any]] = {"tree": _tree, "logistic": _logistic, "mlp": _mlp}
"""For images by class."""
_TABLES: dict[str, Callable[[], Any]] = {"tree": _small_tree, "logistic": _scaled(_logistic), "mlp": _scaled(_mlp)}
_VALUES: dict[str, Callable[[], Any]] = {"tree": _value_tree, "linear": _scaled(_linear), "boosted": _boosted}


def kinds(dataset: str) -> dict[str, Callable[[], Any]]:
    """Return what can be trained on a dataset, the best last."""
    return _VALUES if dataset == "diabetes" else _TABLES if dataset in ("breast-cancer", "wine") else KINDS


def train(kind: str, data: Data) -> Trained:
    """Train one kind on a dataset's training part, export and check it; raises `DataMissing` for an unknown kind."""
    known = kinds(data.name)
    if kind not in known:
        raise DataMissing(f"no kind of model {kind!r} for {data.name}; there are {', '.join(known)}")
    part = Split(data.train.inputs[:MOST_SAMPLES], data.train.labels[:MOST_SAMPLES])
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    kept = int(len(part.inputs) * HELD_BACK)
    estimator = known[kind]()
    with warnings.catch_warnings(), threadpool_limits(1):  # sums depend on the number of threads
        warnings.simplefilter("ignore")  # few iterations on purpose
        estimator.fit(part.inputs[kept:], part.labels[kept:])
    model = from_sklearn(estimator, part.inputs.shape[1])
    spec = BenchmarkSpec(data.metric, False, kept, data.interface, LIMITS, scale=data.scale)
    outputs = run_model(model, data.interface, LIMITS, np.ascontiguousarray(part.inputs[:kept]))
    return Trained(kind, model, metrics.score(spec, 1, outputs, part.labels[:kept]))


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line; returns the exit code."""
    parser = argparse.ArgumentParser("python -m goldengrain.enclave.models.train", description="Train models.")
    parser.add_argument("--dataset", choices=NAMES, default="digits")
    every = list(dict.fromkeys(kind for name in NAMES for kind in kinds(name)))
    parser.add_argument("--kind", choices=every, action="append", required=True, help="may be repeated")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for KIND.onnx")
    options = parser.parse_args(arguments)
    try:
        options.out_dir.mkdir(parents=True, exist_ok=True)
        data = load(options.dataset)
        for kind in options.kind:
            _train_one(kind, data, options.out_dir / f"{kind}.onnx")
    except (GoldenGrainError, OSError) as error:
        code = error.code if isinstance(error, GoldenGrainError) else "IO"
        sys.stderr.write(f"{code}: {error}\n")
        return 1
    return 0


def _train_one(kind: str, data: Data, path: Path) -> None:
    started = time.perf_counter()
    trained = train(kind, data)
    path.write_bytes(trained.model)
    found = {
        "kind": kind,
        "dataset": data.name,
        "file": str(path),
        "bytes": len(trained.model),
        "metric": str(data.metric),
        "estimate_ppm": trained.estimate,
        "seconds": round(time.perf_counter() - started, 3),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
