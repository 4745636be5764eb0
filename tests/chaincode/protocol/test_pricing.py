"""Prices and thresholds against exact fractions and brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import pricing
from goldengrain.chaincode.protocol.threshold import threshold

SCHEDULES = st.builds(
    lambda scores, prices: tuple(zip(sorted(scores), sorted(prices[: len(scores)]), strict=True)),
    st.sets(st.integers(0, 10**6), min_size=1, max_size=16),
    st.lists(st.integers(0, 2**63 - 1), min_size=16, max_size=16),
)
SMALL = st.builds(
    lambda scores, prices: tuple(zip(sorted(scores), sorted(prices[: len(scores)]), strict=True)),
    st.sets(st.integers(0, 60), min_size=1, max_size=5),
    st.lists(st.integers(0, 40), min_size=5, max_size=5),
)


def exact(points: tuple[tuple[int, int], ...], score: int) -> int:
    if score < points[0][0]:
        return 0
    for (s0, p0), (s1, p1) in pairwise(points):
        if s0 <= score < s1:
            return int(p0 + Fraction(p1 - p0) * (score - s0) / (s1 - s0))
    return points[-1][1]


@given(SCHEDULES, st.integers(0, 10**6))
def test_the_price_is_the_exact_one_rounded_down(points: tuple[tuple[int, int], ...], score: int) -> None:
    assert pricing.price(points, score) == exact(points, score)


@given(SCHEDULES, st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_better_score_is_never_cheaper(points: tuple[tuple[int, int], ...], one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert pricing.price(points, low) <= pricing.price(points, high)


@given(SMALL, st.integers(1, 20), st.none() | st.integers(0, 60), st.data())
def test_the_threshold_is_the_first_multiple_that_passes(
    points: tuple[tuple[int, int], ...], eta: int, best: int | None, data: st.DataObject
) -> None:
    reserve = data.draw(st.integers(0, points[-1][1]))
    score = 0
    while score < points[0][0] or (best is not None and score < best + eta) or pricing.price(points, score) < reserve:
        score += eta
    assert threshold(points, eta, best, reserve) == score


def test_the_threshold_may_be_over_every_score_and_never_under_a_reserve_above_the_top() -> None:
    assert threshold(((0, 1), (10**6, 5)), 1, 10**6, 0) == 10**6 + 1
    with pytest.raises(ValueError, match="top price"):
        threshold(((0, 1),), 1, None, 2)


def test_shares_are_rounded_as_the_protocol_says() -> None:
    assert pricing.share_down(999, 250) == 24
    assert pricing.share_up(999, 250) == 25
    assert pricing.share_up(1_000, 250) == 25
    assert pricing.split_forfeited(101) == (50, 51)


@given(st.integers(0, 2**63 - 1), st.integers(1, 16))
def test_even_shares_lose_nothing_and_odd_units_go_to_the_first(amount: int, parts: int) -> None:
    shares = pricing.split_evenly(amount, parts)
    assert sum(shares) == amount
    assert len(shares) == parts
    assert list(shares) == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] <= 1
