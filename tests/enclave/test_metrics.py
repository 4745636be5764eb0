"""From outputs to scores: held against scikit-learn on random inputs, and by hand where that has no say."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import scores
from goldengrain.chaincode.protocol.errors import SpecRefused
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric, ModelInterface, Tensor, TensorType
from goldengrain.enclave import metrics
from goldengrain.enclave.engine import run_model

from .market import INTERFACE, LIMITS, SAMPLES, examples, model_bytes

SCALE = 3_000_000
NAN, INF = np.nan, np.inf


def spec(metric: Metric, shape: tuple[int, ...] = (0, 3), **fields: Any) -> BenchmarkSpec:
    output = Tensor("y", fields.pop("type", TensorType.FLOAT32), shape)
    scale = SCALE if metric.is_loss else 0
    return BenchmarkSpec(metric, False, 1, ModelInterface(INTERFACE.input, output), LIMITS, scale=scale, **fields)


def _random(seed: int, samples: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities on a coarse grid, so that ties are common, and labels in which every class occurs."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 12, (samples, classes)).astype(np.float32)
    labels = rng.permutation(np.arange(samples) % classes)
    return rows / rows.sum(axis=1, keepdims=True), labels.astype(np.int64)


def _by_sklearn(metric: Metric, outputs: np.ndarray, labels: np.ndarray) -> float:
    from sklearn import metrics as sk

    classes = outputs.shape[1]
    if metric is Metric.ACCURACY:
        return float(sk.accuracy_score(labels, outputs.argmax(axis=1)))
    if metric is Metric.TOP_5:  # scikit-learn breaks ties towards the highest index
        return float(sk.top_k_accuracy_score(classes - 1 - labels, outputs[:, ::-1], k=5, labels=np.arange(classes)))
    if metric is Metric.MACRO_F1:
        predicted = outputs.argmax(axis=1)
        return float(sk.f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0))
    if metric is Metric.AUROC:
        chosen = [1] if classes == 2 else range(classes)
        return float(np.mean([sk.roc_auc_score(labels == one, outputs[:, one]) for one in chosen]))
    if metric is Metric.LOG_LOSS:
        own = outputs.astype(np.float64)
        return float(sk.log_loss(labels, own / own.sum(axis=1, keepdims=True), labels=np.arange(classes)))
    return float(sk.root_mean_squared_error(labels, outputs[:, 0]))


CLASSES = {Metric.TOP_5: (6, 12), Metric.RMSE: (1, 1)}


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("seed", range(25))
def test_scikit_learn_agrees(metric: Metric, seed: int) -> None:
    rng = np.random.default_rng(1_000 + seed)
    low, high = CLASSES.get(metric, (2, 9))
    outputs, labels = _random(seed, int(rng.integers(20, 400)), int(rng.integers(low, high + 1)))
    if metric is Metric.RMSE:
        outputs, labels = rng.normal(size=outputs.shape).astype(np.float32), rng.normal(size=len(labels))
    if metric is Metric.LOG_LOSS:  # rows need not sum to 1
        outputs = outputs * rng.uniform(0.5, 3, (len(labels), 1)).astype(np.float32)
    theirs = _by_sklearn(metric, outputs, labels)
    ours = metrics.score(spec(metric, (0, outputs.shape[1])), 1, outputs, labels)
    wanted = 1_000_000 * (1 - theirs * 1_000_000 / SCALE) if metric.is_loss else 1_000_000 * theirs
    assert abs(ours - max(0.0, wanted)) <= 1.01


@pytest.mark.parametrize("metric", [one for one in Metric if one.is_proportion])
@pytest.mark.parametrize("seed", range(25))
def test_lower_end_of_wilsons_interval_is_the_textbooks_of_scikit_learns_share(metric: Metric, seed: int) -> None:
    rng = np.random.default_rng(2_000 + seed)
    outputs, labels = _random(seed, int(rng.integers(12, 400)), int(rng.integers(6, 12)))
    p, n, z = _by_sklearn(metric, outputs, labels), len(labels), 1.96
    wanted = (p + z**2 / (2 * n) - z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)
    benchmark = replace(spec(metric, (0, outputs.shape[1])), wilson=True)
    assert metrics.score(benchmark, 1, outputs, labels) == pytest.approx(1_000_000 * wanted, abs=1.01)


@pytest.mark.parametrize("metric", Metric)
def test_how_batches_are_cut_changes_nothing(metric: Metric) -> None:
    outputs, labels = _random(7, 500, 8)
    if metric is Metric.RMSE:
        outputs, labels = outputs[:, :1], outputs[:, 1].astype(np.float64)
    benchmark = spec(metric, (0, outputs.shape[1]))
    whole = metrics.score(benchmark, 1, outputs, labels)
    for size in (1, 7, 256):
        tally = metrics.Tally.of(benchmark)
        for start in range(0, 500, size):
            tally.add(outputs[start : start + size], labels[start : start + size])
        assert tally.score(1) == whole
    assert 0 < whole < 1_000_000


@given(st.lists(st.floats(min_value=0, allow_infinity=False), min_size=1, max_size=40))
@settings(max_examples=300)
def test_sums_are_exact(values: list[float]) -> None:
    unit = Fraction(1, 2**1127)
    assert metrics.exact_sum(np.array(values)) * unit == sum((Fraction(one) for one in values), Fraction(0))


def test_ties_go_to_the_lowest_index_and_nan_is_wrong() -> None:
    outputs = np.array([[1, 1, 0], [0, NAN, 1], [NAN, NAN, NAN], [-INF, -INF, -INF], [0, INF, INF]], np.float32)
    assert metrics.predictions(outputs).tolist() == [0, metrics.WRONG, metrics.WRONG, 0, 1]
    assert metrics.count_correct(outputs, np.array([0, 2, 0, 0, 1])) == 3


def test_top_5_breaks_ties_the_same_way_and_nan_is_wrong() -> None:
    level, labels = np.zeros((7, 7), np.float32), np.arange(7)
    assert metrics.in_top(level, labels).tolist() == [True] * 5 + [False] * 2
    level[0, 6] = NAN
    assert not metrics.in_top(level, labels)[0]
    assert metrics.in_top(np.zeros((1, 3), np.float32), np.array([2])).tolist() == [True]


def test_integer_outputs_are_predictions_themselves() -> None:
    assert metrics.predictions(np.array([[2], [0]])).tolist() == [2, 0]


def test_score_follows_metric_wilson_and_eta() -> None:
    inputs, labels = examples(correct=36)
    outputs = run_model(model_bytes(), INTERFACE, LIMITS, inputs)
    benchmark = BenchmarkSpec(Metric.ACCURACY, False, SAMPLES, INTERFACE, LIMITS)
    assert metrics.score(benchmark, 1, outputs, labels) == 900_000
    assert metrics.score(benchmark, 7_000, outputs, labels) == 896_000
    assert metrics.score(replace(benchmark, wilson=True), 1, outputs, labels) == 769_479
    top = replace(benchmark, metric=Metric.TOP_5, wilson=True)
    assert metrics.score(top, 1, outputs, labels) == scores.wilson(SAMPLES, SAMPLES)


@pytest.mark.parametrize("metric", [Metric.MACRO_F1, Metric.AUROC, Metric.RMSE, Metric.LOG_LOSS])
def test_wilson_is_for_proportions_and_scales_for_losses(metric: Metric) -> None:
    with pytest.raises(SpecRefused, match="Wilson"):
        replace(spec(metric), wilson=True)
    with pytest.raises(SpecRefused, match="scale"):
        replace(spec(metric), scale=0 if metric.is_loss else 5)


def test_macro_f1_averages_over_the_classes_of_the_labels() -> None:
    one_hot = np.eye(4, dtype=np.float32)
    outputs = one_hot[[0, 0, 1, 3, 2]]
    labels = np.array([0, 0, 1, 1, 1])  # class 2 and 3 are only ever predicted
    assert metrics.score(spec(Metric.MACRO_F1, (0, 4)), 1, outputs, labels) == math.floor(10**6 * (1 + 2 / 4) / 2)


def test_auroc_ranks_ties_half_and_nan_worst() -> None:
    binary = spec(Metric.AUROC, (0, 1))

    def score(values: list[float], labels: list[int]) -> int:
        return metrics.score(binary, 1, np.array(values, np.float32)[:, None], np.array(labels))

    assert score([0.1, 0.2, 0.2, 0.9], [0, 0, 1, 1]) == 875_000
    assert score([0.5, 0.5], [0, 1]) == 500_000
    assert score([NAN, -INF], [1, 0]) == 0
    assert score([NAN, INF], [0, 1]) == 0
    assert score([-0.0, 0.0], [0, 1]) == 500_000


def test_losses_of_nonsense_score_nothing() -> None:
    column = spec(Metric.RMSE, (0, 1))
    labels = np.array([1.0, 3.0])
    assert metrics.score(column, 1, np.array([[1.0], [3.0]], np.float32), labels) == 1_000_000
    assert metrics.score(replace(column, scale=10**6), 1, np.array([[1.0], [2.0]], np.float32), labels) == 292_893
    for wrong in (NAN, INF, 1e30):
        assert metrics.score(column, 1, np.array([[1.0], [wrong]], np.float32), labels) == 0
    loss = replace(spec(Metric.LOG_LOSS), scale=40_000_000)
    right = metrics.score(loss, 1, np.array([[0.0, 1.0]], np.float32), np.array([1]))
    assert right >= 999_999
    for row, label in (([NAN, 1.0], 1), ([0.5, 0.5], 7), ([-1.0, 2.0], 1), ([0.0, 0.0], 0), ([INF, 1.0], 0)):
        worst = metrics.score(loss, 1, np.array([row], np.float32), np.array([label]))
        assert worst == math.floor(10**6 * (1 + math.log(1e-15) / 40))


def _one_class(metric: Metric, outputs: np.ndarray, labels: np.ndarray, one: int) -> float:
    """What scikit-learn says of one class, as a score in ppm."""
    from sklearn import metrics as sk

    own, predicted = labels == one, outputs.argmax(axis=1)
    if metric is Metric.ACCURACY:
        return 1e6 * float(sk.recall_score(own, predicted == one))
    if metric is Metric.MACRO_F1:
        return 1e6 * float(sk.f1_score(own, predicted == one))
    if metric is Metric.AUROC:
        return 1e6 * float(sk.roc_auc_score(own, outputs[:, one]))
    if metric is Metric.LOG_LOSS:
        rows = outputs[own].astype(np.float64)
        rows /= rows.sum(axis=1, keepdims=True)
        return 1e6 * (1 - sk.log_loss(labels[own], rows, labels=np.arange(outputs.shape[1])) * 1e6 / SCALE)
    kept = _by_sklearn(metric, outputs[own], labels[own])
    return 1e6 * kept


@pytest.mark.parametrize("metric", [one for one in Metric if one is not Metric.RMSE])
@pytest.mark.parametrize("classes", [2, 7])
def test_scikit_learn_agrees_on_each_class(metric: Metric, classes: int) -> None:
    classes = max(classes, 6) if metric is Metric.TOP_5 else classes
    outputs, labels = _random(11, 300, classes)
    labels[labels == 1] = 0 if classes > 2 else 1  # a class that no label names has no result
    tally = metrics.Tally.of(spec(metric, (0, classes)))
    for part in (slice(0, 120), slice(120, 300)):
        tally.add(outputs[part], labels[part])
    found = tally.classes()
    assert [one.label for one in found] == np.unique(labels).tolist()
    assert [one.samples for one in found] == [int((labels == one.label).sum()) for one in found]
    for one in found:
        assert one.score == pytest.approx(max(0, _one_class(metric, outputs, labels, one.label)), abs=1.01)
    if metric in (Metric.ACCURACY, Metric.MACRO_F1):
        predicted = outputs.argmax(axis=1)
        assert [one.predicted for one in found] == [int((predicted == one.label).sum()) for one in found]
        assert [one.right for one in found] == [
            int(((predicted == labels) & (labels == one.label)).sum()) for one in found
        ]


def test_values_have_no_classes_but_a_loss() -> None:
    tally = metrics.Tally.of(spec(Metric.RMSE, (0, 1)))
    tally.add(np.array([[1.0], [2.0]], np.float32), np.array([1.0, 5.0]))
    assert tally.classes() == []
    assert tally.loss() == pytest.approx(math.sqrt(4.5))
    tally.add(np.array([[NAN]], np.float32), np.array([1.0]))
    assert tally.loss() is None
