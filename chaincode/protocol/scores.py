"""Scores, in parts per million and integers only (protocol section 10).

>>> wilson(950, 1000)
934685
>>> floored(934_685, 1_000)
934000
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isfinite, isqrt

MILLION = 1_000_000
MAX_SAMPLES = 2**32
_A = 1960
"""z = 1.96 in thousandths."""


def accuracy(correct: int, samples: int) -> int:
    """Return the share of correct answers, rounded down; raises `ValueError` for counts that can't be."""
    _require_counts(correct, samples)
    return MILLION * correct // samples


def wilson(correct: int, samples: int) -> int:
    """Return the lower end of Wilson's interval at z = 1.96 for a proportion, rounded down, at least 0.

    floor(10^6 (n (2c 10^6 + a^2) - ceil(sqrt(a^2 n (a^2 n + 4 10^6 c (n - c))))) / (2n (n 10^6 + a^2))), a = 1960.
    """
    _require_counts(correct, samples)
    c, n, square = correct, samples, _A * _A
    root = ceil_sqrt(square * n * (square * n + 4 * MILLION * c * (n - c)))
    return max(0, MILLION * (n * (2 * c * MILLION + square) - root) // (2 * n * (n * MILLION + square)))


def ceil_sqrt(number: int) -> int:
    """Return the least integer whose square is at least the number."""
    root = isqrt(number)
    return root if root * root == number else root + 1


def loss_score(loss: Fraction | float, scale: int) -> int:
    """Return the score of a loss: max(0, 10^6 - ceil(10^6 loss / scale)); `scale` is in millionths.

    The enclave's only; the contract never sees a loss. A loss that is not a number, infinite or negative scores 0.
    """
    if isinstance(loss, float) and not isfinite(loss):
        return 0
    exact = Fraction(loss)
    if exact < 0:
        return 0
    millionths = exact * MILLION * MILLION / scale
    return max(0, MILLION - -(-millionths.numerator // millionths.denominator))


def floored(score: int, eta: int) -> int:
    """Return the greatest multiple of eta that is not over the score."""
    return score - score % eta


def proportion(correct: int, samples: int, *, wilson_lower: bool, eta: int) -> int:
    """Return the floored score of a proportion: its Wilson lower end where the spec says so."""
    return floored(wilson(correct, samples) if wilson_lower else accuracy(correct, samples), eta)


def argmax(values: Sequence[float]) -> int | None:
    """Return the index of the greatest value, the lowest among equals; None with a NaN, which counts as wrong."""
    if any(value != value for value in values):
        return None
    return max(range(len(values)), key=lambda index: (values[index], -index))


def _require_counts(correct: int, samples: int) -> None:
    if not 1 <= samples <= MAX_SAMPLES or not 0 <= correct <= samples:
        raise ValueError(f"{correct} of {samples} is no count; n is from 1 to 2**32")
