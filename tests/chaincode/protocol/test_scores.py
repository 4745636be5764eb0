"""Scores against decimal arithmetic of a hundred digits."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import scores

COUNTS = st.integers(1, 2**32).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def decimal_wilson(correct: int, samples: int) -> Decimal:
    """The textbook's formula."""
    c, n, z = Decimal(correct), Decimal(samples), Decimal("1.96")
    p = c / n
    centre = p + z * z / (2 * n)
    return (centre - z * (p * (1 - p) / n + z * z / (4 * n * n)).sqrt()) / (1 + z * z / n)


@given(COUNTS)
def test_wilsons_lower_end_is_the_textbooks(counts: tuple[int, int]) -> None:
    with localcontext() as context:
        context.prec = 100
        exact = max(Decimal(0), decimal_wilson(*counts) * 10**6)
        floor = int(exact.to_integral_value(ROUND_FLOOR))
    got = scores.wilson(*counts)
    # The square root is rounded up, so an end on the very integer may fall one short of it.
    assert got == floor or (got == floor - 1 and exact - floor < Decimal("1e-6")) or (got == 0 and exact < 1)


@pytest.mark.parametrize(
    ("correct", "samples", "expected"), [(0, 1, 0), (1, 1, 206_543), (950, 1_000, 934_685), (360, 360, 989_441)]
)
def test_known_scores(correct: int, samples: int, expected: int) -> None:
    with localcontext() as context:
        context.prec = 50
        assert int(decimal_wilson(correct, samples) * 10**6) == expected
    assert scores.wilson(correct, samples) == expected


@given(COUNTS)
def test_a_score_is_one_and_wilson_never_over_the_accuracy(counts: tuple[int, int]) -> None:
    assert 0 <= scores.wilson(*counts) <= scores.accuracy(*counts) <= 10**6


@pytest.mark.parametrize(("correct", "samples"), [(2, 1), (-1, 1), (0, 0), (0, 2**32 + 1)])
def test_counts_that_cannot_be_are_refused(correct: int, samples: int) -> None:
    for call in (scores.wilson, scores.accuracy):
        with pytest.raises(ValueError, match="no count"):
            call(correct, samples)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_flooring_goes_to_the_multiple_below(score: int, eta: int) -> None:
    floored = scores.floored(score, eta)
    assert floored % eta == 0
    assert floored <= score < floored + eta


@given(st.integers(0, 10**40))
def test_the_root_is_rounded_up(number: int) -> None:
    root = scores.ceil_sqrt(number)
    assert root * root >= number
    assert root == 0 or (root - 1) ** 2 < number


def test_losses_become_scores() -> None:
    assert scores.loss_score(Fraction(1, 4), 1_000_000) == 750_000
    assert scores.loss_score(0.0, 1) == 10**6
    assert scores.loss_score(Fraction(1, 3), 1_000_000) == 666_666
    assert scores.loss_score(5.0, 1_000_000) == 0
    assert [scores.loss_score(loss, 1) for loss in (nan, inf, -1.0)] == [0, 0, 0]


def test_ties_go_to_the_lowest_index_and_nan_to_none() -> None:
    assert scores.argmax([1.0, 3.0, 3.0]) == 1
    assert scores.argmax([nan, 1.0]) is None


def test_a_proportion_is_floored_after_wilson() -> None:
    assert scores.proportion(950, 1_000, wilson_lower=True, eta=1_000) == 934_000
    assert scores.proportion(950, 1_000, wilson_lower=False, eta=100_000) == 900_000
