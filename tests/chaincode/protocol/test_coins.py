from __future__ import annotations

import pytest

from goldengrain.chaincode.protocol.coins import Coin, change, choose, coin_id, total
from goldengrain.chaincode.protocol.digests import TREASURY, digest
from goldengrain.chaincode.protocol.errors import AmountTooLarge, CoinsRefused, PaymentShort

from . import samples


def wallet(*amounts: int) -> list[Coin]:
    return [Coin(coin_id(f"{n:064x}", n % 16), samples.word("me"), amount) for n, amount in enumerate(amounts)]


def test_change_is_what_is_over() -> None:
    assert change([3, 4], 5) == 2
    assert change([], 0) == 0
    with pytest.raises(PaymentShort, match="add coins of 1"):
        change([3], 4)


def test_a_sum_that_no_amount_holds_is_refused() -> None:
    assert total([2**63 - 2, 1]) == 2**63 - 1
    with pytest.raises(AmountTooLarge):
        total([2**63 - 1, 1])


def test_the_largest_coins_are_picked_first() -> None:
    assert [coin.amount for coin in choose(wallet(1, 50, 3, 20), 60)] == [50, 20]
    assert choose(wallet(1), 0) == ()


def test_too_little_and_too_many_small_coins_are_told_apart() -> None:
    with pytest.raises(PaymentShort):
        choose(wallet(1, 2), 4)
    with pytest.raises(CoinsRefused, match="merge"):
        choose(wallet(*[1] * 20), 17)


def test_no_certificate_owns_the_treasury() -> None:
    assert digest("account", "treasury") == TREASURY
