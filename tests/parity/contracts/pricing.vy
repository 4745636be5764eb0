# pragma version ==0.4.3
"""
@title Prices and thresholds, in integers (protocol sections 5 and 10)
@notice A schedule is 1 to 16 points, scores strictly rising and prices weakly; a point is `score << 64 | price`, score
    in ppm, price in units below 2**63. Nothing here divides by a difference that can be 0.
"""

MAX_POINTS: constant(uint256) = 16
PRICE_BITS: constant(uint256) = 64
PRICE: constant(uint256) = 2**64 - 1
BASIS: constant(uint256) = 10_000


@internal
@pure
def price(points: DynArray[uint256, MAX_POINTS], score: uint256) -> uint256:
    """
    @notice Price of a score: linear between the points, rounded down; below the first 0, above the last its price.
    """
    before: uint256 = points[0]
    if score < before >> PRICE_BITS:
        return 0
    for point: uint256 in points:
        if score < point >> PRICE_BITS:
            left: uint256 = before >> PRICE_BITS
            base: uint256 = before & PRICE
            rise: uint256 = ((point & PRICE) - base) * (score - left)
            return base + rise // ((point >> PRICE_BITS) - left)
        before = point
    return before & PRICE


@internal
@pure
def threshold(points: DynArray[uint256, MAX_POINTS], eta: uint256, next_best: uint256, reserve: uint256) -> uint256:
    """
    @notice Lowest multiple of eta that passes: at least the first point, at least `next_best` (best passed score plus
        eta, 0 where none has passed), and worth the reserve, which is at most the last point's price.
    """
    lowest: uint256 = max(self._score_worth(points, reserve), next_best)
    return (lowest + eta - 1) // eta * eta


@internal
@pure
def _score_worth(points: DynArray[uint256, MAX_POINTS], reserve: uint256) -> uint256:
    """
    @notice Lowest score, from the first point on, whose price is at least the reserve.
    """
    before: uint256 = points[0]
    for point: uint256 in points:
        if point & PRICE >= reserve:
            base: uint256 = before & PRICE
            left: uint256 = before >> PRICE_BITS
            if base >= reserve:
                return left
            rise: uint256 = (point & PRICE) - base
            return left + ((reserve - base) * ((point >> PRICE_BITS) - left) + rise - 1) // rise
        before = point
    return before >> PRICE_BITS


@internal
@pure
def top(points: DynArray[uint256, MAX_POINTS]) -> uint256:
    """
    @notice The last point's price, the highest.
    """
    return points[len(points) - 1] & PRICE


@internal
@pure
def share_down(amount: uint256, basis_points: uint256) -> uint256:
    """
    @notice A share in basis points, rounded down (the market fee).
    """
    return amount * basis_points // BASIS


@internal
@pure
def share_up(amount: uint256, basis_points: uint256) -> uint256:
    """
    @notice A share in basis points, rounded up (bonds).
    """
    return (amount * basis_points + BASIS - 1) // BASIS


@internal
@pure
def is_schedule(points: DynArray[uint256, MAX_POINTS]) -> bool:
    """
    @notice Whether scores rise strictly, prices weakly, and the last price is over 0.
    """
    before: uint256 = points[0]
    for i: uint256 in range(1, len(points), bound=MAX_POINTS):
        point: uint256 = points[i]
        if point >> PRICE_BITS <= before >> PRICE_BITS or point & PRICE < before & PRICE:
            return False
        before = point
    return before & PRICE > 0
