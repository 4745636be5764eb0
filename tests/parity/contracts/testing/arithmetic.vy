# pragma version ==0.4.3
"""
@title The market's arithmetic, for tests to call
"""
import pricing


@external
@pure
def price(points: DynArray[uint256, pricing.MAX_POINTS], score: uint256) -> uint256:
    return pricing.price(points, score)


@external
@pure
def threshold(
    points: DynArray[uint256, pricing.MAX_POINTS], eta: uint256, next_best: uint256, reserve: uint256
) -> uint256:
    return pricing.threshold(points, eta, next_best, reserve)


@external
@pure
def share_down(amount: uint256, basis_points: uint256) -> uint256:
    return pricing.share_down(amount, basis_points)


@external
@pure
def share_up(amount: uint256, basis_points: uint256) -> uint256:
    return pricing.share_up(amount, basis_points)


@external
@pure
def is_schedule(points: DynArray[uint256, pricing.MAX_POINTS]) -> bool:
    return pricing.is_schedule(points)
