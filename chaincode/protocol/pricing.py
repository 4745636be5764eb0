"""Prices and shares, in integers (protocol sections 3, 5 and 10)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

BASIS = 10_000


def price(points: Sequence[tuple[int, int]], score: int) -> int:
    """Return a score's price: linear between the points, rounded down; below the first 0, above the last its price.

    `points` are pairs of score (ppm) and price, scores strictly rising.

    >>> price([(800_000, 100), (900_000, 200)], 855_555)
    155
    """
    position = bisect_right(points, score, key=lambda point: point[0])
    if position == 0:
        return 0
    low_score, low_price = points[position - 1]
    if position == len(points):
        return low_price
    high_score, high_price = points[position]
    return low_price + (high_price - low_price) * (score - low_score) // (high_score - low_score)


def share_down(amount: int, basis_points: int) -> int:
    """Return a share in basis points, rounded down (the market fee)."""
    return amount * basis_points // BASIS


def share_up(amount: int, basis_points: int) -> int:
    """Return a share in basis points, rounded up (bonds)."""
    return -(-amount * basis_points // BASIS)


def split_forfeited(bond: int) -> tuple[int, int]:
    """Split a forfeited bond: half of it, rounded down, to the provider, the rest to the treasury."""
    provider = bond // 2
    return provider, bond - provider


def split_evenly(amount: int, parts: int) -> tuple[int, ...]:
    """Split an amount into equal shares; odd units go to the first."""
    each, odd = divmod(amount, parts)
    return tuple(each + (1 if index < odd else 0) for index in range(parts))
