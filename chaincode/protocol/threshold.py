"""The one number that a job ticket tells an enclave: the lowest score that passes (protocol section 5, "Ticket")."""

from __future__ import annotations

from collections.abc import Sequence

from goldengrain.chaincode.protocol.pricing import price


def threshold(points: Sequence[tuple[int, int]], eta: int, best_passed: int | None, reserve: int) -> int:
    """Return the smallest multiple of eta that passes.

    It is at least the first point's score, at least the best passed score of this task and MSP plus eta (`best_passed`
    is None where none has), and its price is at least the reserve. It may be over 1,000,000, which no score reaches.
    Raises `ValueError` when the reserve is above the top price, since then there is none.
    """
    if reserve > points[-1][1]:
        raise ValueError(f"no score is worth {reserve}; the top price is {points[-1][1]}")
    floor = points[0][0]
    if best_passed is not None:
        floor = max(floor, best_passed + eta)
    low = -(-floor // eta)
    high = max(low, -(-points[-1][0] // eta))
    while low < high:  # prices rise weakly with the score: bisection
        middle = (low + high) // 2
        if price(points, middle * eta) >= reserve:
            high = middle
        else:
            low = middle + 1
    return low * eta
