"""From a model's outputs to counts (protocol section 10). NumPy only; no engine is needed.

Accuracy: a row of scores predicts its greatest one, ties go to the lowest index, and a row that holds a NaN is wrong;
an output of integers is the prediction itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from goldengrain.chaincode.protocol import scores
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric

Array = npt.NDArray[Any]
_EPSILON = 1e-15
WRONG = -1
"""The prediction of a row that holds a NaN: no label is negative."""


def predictions(outputs: Array) -> npt.NDArray[np.int64]:
    """Return the predicted class of each sample: outputs (n, classes) of floats, or (n,) and (n, 1) of integers."""
    if np.issubdtype(outputs.dtype, np.integer):
        return outputs.reshape(len(outputs)).astype(np.int64)
    predicted: npt.NDArray[np.int64] = outputs.argmax(axis=1).astype(np.int64)
    predicted[np.isnan(outputs).any(axis=1)] = WRONG
    return predicted


def count_correct(outputs: Array, labels: Array) -> int:
    """Return how many predictions equal their label (labels (n,) of integers, none negative)."""
    return int(np.count_nonzero(predictions(outputs) == labels))


def score(spec: BenchmarkSpec, eta: int, outputs: Array, labels: Array) -> int:
    """Return the score in ppm, floored to a multiple of eta, that a benchmark spec gives to outputs."""
    if spec.metric is Metric.ACCURACY:
        correct = count_correct(outputs, labels)
        return scores.proportion(correct, len(labels), wilson_lower=spec.wilson, eta=eta)
    loss = root_mean_square(outputs, labels) if spec.metric is Metric.RMSE else log_loss(outputs, labels)
    return scores.floored(scores.loss_score(loss, spec.scale), eta)


def root_mean_square(outputs: Array, labels: Array) -> float:
    """Return the root of the mean squared error; not a number where an output isn't one."""
    with np.errstate(all="ignore"):
        errors = outputs.reshape(len(labels)).astype(np.float64) - labels
        squares = np.square(errors)
    return math.sqrt(_mean(squares))


def log_loss(outputs: Array, labels: Array) -> float:
    """Return the mean negative logarithm of each label's probability, rows normalised and kept off 0 and 1.

    A label outside the classes, a row that holds a NaN, a negative number or sums to nothing costs as much as
    probability 0.
    """
    rows = outputs.astype(np.float64)
    with np.errstate(all="ignore"):
        totals = rows.sum(axis=1)
        usable = np.isfinite(totals) & (totals > 0) & (rows >= 0).all(axis=1) & (labels < rows.shape[1])
        chosen = rows[np.arange(len(rows)), np.minimum(labels, rows.shape[1] - 1)]
        probabilities = np.where(usable, chosen / totals, 0.0)
    return _mean(-np.log(np.clip(probabilities, _EPSILON, 1 - _EPSILON)))


def _mean(values: Array) -> float:
    """Return the mean with a sum that doesn't depend on its order."""
    if not np.isfinite(values).all():
        return math.nan
    return math.fsum(values.tolist()) / len(values)
