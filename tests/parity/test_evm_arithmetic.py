"""Vyper's prices, thresholds and shares against Python's, on random values and at their edges."""

from __future__ import annotations

from random import Random

import pytest

from goldengrain.chaincode.protocol import pricing
from goldengrain.chaincode.protocol.errors import ScheduleRefused
from goldengrain.chaincode.protocol.records import MAX_AMOUNT, MAX_SCORE
from goldengrain.chaincode.protocol.task import PriceSchedule
from goldengrain.chaincode.protocol.threshold import threshold
from tests.parity.chain import CONTRACTS, Chain, Deployed

CASES = 1_500
Pairs = list[tuple[int, int]]


@pytest.fixture(scope="module")
def arithmetic() -> Deployed:
    return Chain().deploy("arithmetic.vy", folder=CONTRACTS / "testing")


def packed(pairs: Pairs) -> list[int]:
    return [score << 64 | amount for score, amount in pairs]


def amount(dice: Random) -> int:
    """An amount of any size, the edges often."""
    return dice.choice((0, 1, MAX_AMOUNT, dice.randint(0, 9), dice.randint(0, 10**6), dice.randint(0, MAX_AMOUNT)))


def schedule(dice: Random) -> Pairs:
    """1 to 16 points, some of them close to each other, some as dear as the one before."""
    width = dice.choice((20, 2_000, MAX_SCORE))
    scores = sorted(dice.sample(range(width + 1), dice.randint(1, 16)))
    most = amount(dice)
    prices = sorted(dice.randint(0, most) for _ in scores)
    prices[-1] = max(prices[-1], 1)
    return list(zip(scores, prices, strict=True))


def near(dice: Random, pairs: Pairs) -> int:
    """A score at a point, beside one, or anywhere."""
    at = dice.choice(pairs)[0] + dice.choice((-1, 0, 1))
    return min(max(dice.choice((at, dice.randint(0, MAX_SCORE))), 0), MAX_SCORE)


def test_prices(arithmetic: Deployed) -> None:
    dice = Random(1)
    for _ in range(CASES):
        pairs = schedule(dice)
        score = near(dice, pairs)
        assert arithmetic.ask("price", packed(pairs), score) == pricing.price(pairs, score), (pairs, score)


def test_thresholds(arithmetic: Deployed) -> None:
    dice = Random(2)
    for _ in range(CASES):
        pairs = schedule(dice)
        eta = dice.choice((1, 2, 100, dice.randint(1, MAX_SCORE)))
        best = dice.choice((None, near(dice, pairs)))
        top = pairs[-1][1]
        reserve = min(top, max(0, dice.choice((0, top, dice.choice(pairs)[1] + dice.choice((-1, 0, 1)), amount(dice)))))
        expected = threshold(pairs, eta, best, reserve)
        next_best = 0 if best is None else best + eta
        found = arithmetic.ask("threshold", packed(pairs), eta, next_best, reserve)
        assert found == expected, (pairs, eta, best, reserve)


@pytest.mark.parametrize("share", ["share_down", "share_up"])
def test_shares(arithmetic: Deployed, share: str) -> None:
    dice = Random(3)
    for _ in range(CASES):
        whole = amount(dice) * dice.choice((1, 256))
        points = dice.choice((0, 1, 10_000, dice.randint(0, 10_000)))
        assert arithmetic.ask(share, whole, points) == getattr(pricing, share)(whole, points), (whole, points)


def test_which_schedules_are_refused(arithmetic: Deployed) -> None:
    dice = Random(4)
    refused = 0
    for _ in range(CASES):
        count = dice.randint(1, 4)
        pairs = [(dice.randint(0, 5) * dice.randint(1, 3), dice.randint(0, 3)) for _ in range(count)]
        try:
            PriceSchedule.of(*pairs)
        except ScheduleRefused:
            refused += 1
            assert not arithmetic.ask("is_schedule", packed(pairs)), pairs
        else:
            assert arithmetic.ask("is_schedule", packed(pairs)), pairs
    assert CASES // 10 < refused < CASES * 99 // 100
