"""From a model's outputs to a score (protocol section 10). NumPy only; no engine is needed.

    tally = Tally.of(spec)
    for outputs, labels in batches:
        tally.add(outputs, labels)
    tally.score(eta)                 # ppm, floored to a multiple of eta

Outputs come a batch at a time, so that a test set may be larger than memory: counts are kept, not outputs (AUROC alone
keeps a number per sample and class, for it ranks them). How a batch is cut changes nothing: counts are integers, and
sums of losses are exact. A row that holds a NaN is wrong everywhere.

=========  ===========================================================================================================
accuracy   the greatest of a row is the prediction, ties go to the lowest index; integers are predictions themselves
top-5      the label is among the five greatest of its row, ties go to the lowest index
macro-f1   2 TP / (2 TP + FP + FN), averaged over the classes that the labels name
auroc      the chance that a positive ranks above a negative, ties count half (Mann and Whitney); with two classes of
           the second one's column, with more of each that the labels name against the rest, averaged
rmse       the root of the mean squared error
log-loss   the mean negative logarithm of the label's probability, rows normalised, kept off 0 and 1 by 10⁻¹⁵
=========  ===========================================================================================================

Accuracy and top-5 are proportions and may be scored by the lower end of Wilson's interval. Of the six only log-loss
depends on more than IEEE arithmetic: on the machine's logarithm.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from goldengrain.chaincode.protocol import scores
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
WRONG = -1
"""The prediction of a row that holds a NaN: no label is negative."""
TOP = 5
MAX_CLASSES = 2**20
"""Labels are below it, so that what is kept for each class fits into memory."""
_EPSILON = 1e-15
_MANTISSA, _HALF = 53, 27
_UNIT = 1074 + _MANTISSA
"""Every float64 is a multiple of 2^-1074; its mantissa as an integer is taken with 2^(exponent - 53)."""


@dataclass(frozen=True)
class ClassResult:
    """One class of a test set: its samples, and how the metric does on it (ppm).

    `right` and `predicted` count samples, where the metric has predictions. The score is: accuracy, top-5: the share
    that is right; macro F1: its F1; AUROC: itself against the rest; log loss: 1 - its samples' mean loss / scale.
    """

    label: int
    samples: int
    score: int
    right: int | None = None
    predicted: int | None = None

    def to_json(self) -> dict[str, int | None]:
        """Return it as JSON has it."""
        return {
            "class": self.label,
            "samples": self.samples,
            "right": self.right,
            "predicted": self.predicted,
            "score_ppm": self.score,
        }


class Tally(ABC):
    """What is known of a model's outputs so far."""

    def __init__(self, spec: BenchmarkSpec) -> None:
        self.spec = spec
        self.samples = 0

    @staticmethod
    def of(spec: BenchmarkSpec) -> Tally:
        """Return an empty tally for a benchmark spec."""
        return _TALLIES[spec.metric](spec)

    def add(self, outputs: Array, labels: Array) -> None:
        """Take in outputs (samples, …) as the spec's interface has them, and a label for each."""
        self.samples += len(labels)
        self._add(outputs, labels)

    def score(self, eta: int) -> int:
        """Return the score in ppm, floored to a multiple of eta."""
        return scores.floored(self._score(), eta)

    def classes(self) -> list[ClassResult]:
        """Return results for each class that the labels name; none where labels are values.

        For the developer and the provider alone, never for the ledger: no enclave asks for them.
        """
        return []

    def loss(self) -> float | None:
        """Return the loss behind the score; None for what is no loss, or isn't finite."""
        return None

    @abstractmethod
    def _add(self, outputs: Array, labels: Array) -> None: ...

    @abstractmethod
    def _score(self) -> int: ...


def score(spec: BenchmarkSpec, eta: int, outputs: Array, labels: Array) -> int:
    """Return the score in ppm, floored to a multiple of eta, that a benchmark spec gives to outputs."""
    tally = Tally.of(spec)
    tally.add(outputs, labels)
    return tally.score(eta)


def predictions(outputs: Array) -> Counts:
    """Return the predicted class of each sample: outputs (n, classes) of floats, or (n,) and (n, 1) of integers."""
    if np.issubdtype(outputs.dtype, np.integer):
        return outputs.reshape(len(outputs)).astype(np.int64)
    predicted: Counts = outputs.argmax(axis=1).astype(np.int64)
    predicted[np.isnan(outputs).any(axis=1)] = WRONG
    return predicted


def count_correct(outputs: Array, labels: Array) -> int:
    """Return how many predictions equal their label (labels (n,) of integers, none negative)."""
    return int(np.count_nonzero(predictions(outputs) == labels))


def in_top(outputs: Array, labels: Array) -> npt.NDArray[np.bool_]:
    """Return for each row of outputs (n, classes) whether its label is among the five greatest."""
    own = outputs[np.arange(len(outputs)), np.minimum(labels, outputs.shape[1] - 1)][:, None]
    before = (outputs > own) | ((outputs == own) & (np.arange(outputs.shape[1]) < labels[:, None]))
    found: npt.NDArray[np.bool_] = (before.sum(axis=1) < TOP) & (labels < outputs.shape[1])
    return found & ~_with_nan(outputs)


class _Accuracy(Tally):
    """Samples, right ones and predictions by class."""

    def __init__(self, spec: BenchmarkSpec) -> None:
        super().__init__(spec)
        self.actual, self.right, self.predicted = (np.zeros(0, np.int64) for _ in range(3))

    def _add(self, outputs: Array, labels: Array) -> None:
        self._count(labels, predictions(outputs))

    def _count(self, labels: Array, predicted: Array) -> None:
        self.actual = _added(self.actual, labels)
        self.right = _added(self.right, labels[labels == predicted])
        known = (predicted >= 0) & (predicted < MAX_CLASSES)
        self.predicted = _added(self.predicted, predicted[known])

    def classes(self) -> list[ClassResult]:
        return [
            ClassResult(label, actual, scores.accuracy(right, actual), right, predicted)
            for label, actual, right, predicted in self._counts()
        ]

    def _counts(self) -> list[tuple[int, int, int, int]]:
        """Label, samples, right ones and predictions of each class that the labels name."""
        size = len(self.actual)
        columns = [np.pad(one[:size], (0, max(0, size - len(one)))) for one in (self.right, self.predicted)]
        named = np.flatnonzero(self.actual)
        return list(
            zip(*(one.tolist() for one in (named, self.actual[named], *(one[named] for one in columns))), strict=True)
        )

    def _score(self) -> int:
        correct = int(self.right.sum())
        return scores.proportion(correct, self.samples, wilson_lower=self.spec.wilson, eta=1)


class _Top5(_Accuracy):
    def _add(self, outputs: Array, labels: Array) -> None:
        self._count(labels, np.where(in_top(outputs, labels), labels, WRONG))

    def classes(self) -> list[ClassResult]:
        return [replace(one, predicted=None) for one in super().classes()]


class _MacroF1(_Accuracy):
    def classes(self) -> list[ClassResult]:
        return [
            replace(one, score=_mean_ppm([ratio])) for one, ratio in zip(super().classes(), self._f1(), strict=True)
        ]

    def _f1(self) -> list[tuple[int, int]]:
        """2 TP / (2 TP + FP + FN) of each class; what is below is its samples and its predictions."""
        return [(2 * right, actual + predicted) for _, actual, right, predicted in self._counts()]

    def _score(self) -> int:
        return _mean_ppm(self._f1())


class _Auroc(Tally):
    """Outputs and labels as they come; they are ranked at the end."""

    def __init__(self, spec: BenchmarkSpec) -> None:
        super().__init__(spec)
        self._outputs: list[Array] = []
        self._labels: list[Array] = []

    def _add(self, outputs: Array, labels: Array) -> None:
        rows = outputs.reshape(len(labels), -1)
        self._outputs.append(np.array(rows[:, 1:] if rows.shape[1] == 2 else rows))
        self._labels.append(np.array(labels))

    def classes(self) -> list[ClassResult]:
        labels, pairs = self._ranked()
        samples = np.bincount(labels)
        named = np.flatnonzero(samples).tolist()
        both = pairs * 2 if len(pairs) == 1 else pairs  # one against the other is the other against the one
        return [ClassResult(one, int(samples[one]), _mean_ppm([pair])) for one, pair in zip(named, both, strict=True)]

    def _ranked(self) -> tuple[Array, list[tuple[int, int]]]:
        """Labels, and the pairs of each class that they name, of two classes those of the second."""
        outputs, labels = np.concatenate(self._outputs), np.concatenate(self._labels)
        wrong = _with_nan(outputs)
        if outputs.shape[1] == 1:
            return labels, [_pairs(outputs[:, 0], labels == 1, wrong)]
        return labels, [_pairs(outputs[:, one], labels == one, wrong) for one in np.unique(labels).tolist()]

    def _score(self) -> int:
        return _mean_ppm(self._ranked()[1])


def _pairs(values: Array, positive: Array, wrong: Array) -> tuple[int, int]:
    """Return twice the pairs of a positive over a negative, ties once, and twice all pairs. NaN ranks worst."""
    ranks = np.zeros(len(values), np.int64)
    _, inverse = np.unique(values[~wrong], return_inverse=True)
    ranks[~wrong] = inverse + 1
    ranks[wrong & ~positive] = len(values) + 1
    size = len(values) + 2
    above, below = np.bincount(ranks[positive], minlength=size), np.bincount(ranks[~positive], minlength=size)
    wins = int(np.dot(above, np.cumsum(below) - below))
    return 2 * wins + int(np.dot(above, below)), 2 * int(above.sum()) * int(below.sum())


class _Loss(Tally):
    """The exact sum of a loss that every sample has."""

    def __init__(self, spec: BenchmarkSpec) -> None:
        super().__init__(spec)
        self._sum = 0
        self._finite = True

    def _add(self, outputs: Array, labels: Array) -> None:
        self._take(self._losses(outputs, labels))

    def _take(self, losses: Array) -> None:
        self._finite = self._finite and bool(np.isfinite(losses).all())
        if self._finite:
            self._sum += exact_sum(losses)

    @property
    def mean(self) -> Fraction | None:
        """The mean loss; None where one isn't a finite number."""
        return Fraction(self._sum, self.samples << _UNIT) if self._finite else None

    def loss(self) -> float | None:
        return None if self.mean is None else float(self.mean)

    @abstractmethod
    def _losses(self, outputs: Array, labels: Array) -> Array: ...


class _Rmse(_Loss):
    def loss(self) -> float | None:
        return None if self.mean is None else math.sqrt(self.mean)

    def _losses(self, outputs: Array, labels: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.square(outputs.reshape(len(labels)).astype(np.float64) - labels)

    def _score(self) -> int:
        """Count in integers: ceil(10⁶ √m / scale) is the least k whose square is at least 10²⁴ m / scale²."""
        mean = self.mean
        if mean is None:
            return 0
        square = mean * scores.MILLION**4 / self.spec.scale**2
        return max(0, scores.MILLION - scores.ceil_sqrt(math.ceil(square)))


class _LogLoss(_Loss):
    def __init__(self, spec: BenchmarkSpec) -> None:
        super().__init__(spec)
        self._samples_of: Counts = np.zeros(0, np.int64)
        self._losses_of: Array = np.zeros(0)

    def classes(self) -> list[ClassResult]:
        return [
            ClassResult(one, int(samples), scores.loss_score(float(self._losses_of[one] / samples), self.spec.scale))
            for one, samples in enumerate(self._samples_of)
            if samples
        ]

    def _add(self, outputs: Array, labels: Array) -> None:
        losses = self._losses(outputs, labels)
        self._take(losses)
        self._samples_of = _added(self._samples_of, labels)
        sums: Array = np.bincount(labels, losses, minlength=len(self._losses_of))
        sums[: len(self._losses_of)] += self._losses_of
        self._losses_of = sums

    def _losses(self, outputs: Array, labels: Array) -> Array:
        rows = outputs.astype(np.float64)
        with np.errstate(all="ignore"):
            totals = rows.sum(axis=1)
            usable = np.isfinite(totals) & (totals > 0) & (rows >= 0).all(axis=1) & (labels < rows.shape[1])
            chosen = rows[np.arange(len(rows)), np.minimum(labels, rows.shape[1] - 1)]
            probabilities = np.where(usable, chosen / totals, 0.0)
        losses: Array = -np.log(np.clip(probabilities, _EPSILON, 1 - _EPSILON))
        return losses

    def _score(self) -> int:
        mean = self.mean
        return 0 if mean is None else scores.loss_score(mean, self.spec.scale)


_TALLIES: dict[Metric, type[Tally]] = {
    Metric.ACCURACY: _Accuracy,
    Metric.TOP_5: _Top5,
    Metric.MACRO_F1: _MacroF1,
    Metric.AUROC: _Auroc,
    Metric.RMSE: _Rmse,
    Metric.LOG_LOSS: _LogLoss,
}


def exact_sum(values: Array) -> int:
    """Return the exact sum of finite float64 numbers, in units of 2^-1127, at most 2^26 of them.

    Mantissas are added as integers, in two halves by exponent, so that neither order nor cut matters.
    """
    fractions, exponents = np.frexp(values.astype(np.float64))
    mantissas = np.ldexp(fractions, _MANTISSA).astype(np.int64)
    low = int(exponents.min(initial=0))
    places = exponents - low
    halves = [(mantissas >> _HALF, _HALF), (mantissas & (2**_HALF - 1), 0)]
    total = 0
    for half, shift in halves:
        for place, part in enumerate(np.bincount(places, weights=half.astype(np.float64)).tolist()):
            total += int(part) << (place + low + shift + _UNIT - _MANTISSA)
    return total


def _added(counts: Counts, values: Array) -> Counts:
    """Count values (none negative, all below `MAX_CLASSES`) on top of counts."""
    found: Counts = np.bincount(values, minlength=len(counts)).astype(np.int64)
    found[: len(counts)] += counts
    return found


def _mean_ppm(ratios: Iterable[tuple[int, int]]) -> int:
    """Return the mean of ratios in ppm, rounded down; exact, for equal denominators are added first."""
    sums: dict[int, int] = defaultdict(int)
    number = 0
    for above, below in ratios:
        sums[below] += above
        number += 1
    mean = sum((Fraction(above, below) for below, above in sums.items()), Fraction(0)) / number
    return math.floor(mean * scores.MILLION)


def _with_nan(outputs: Array) -> npt.NDArray[np.bool_]:
    if np.issubdtype(outputs.dtype, np.integer):
        return np.zeros(len(outputs), np.bool_)
    return np.asarray(np.isnan(outputs).any(axis=1))
