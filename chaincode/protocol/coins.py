"""Coins: amounts that their owner spends whole; what is over comes back as a coin (protocol section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from goldengrain.chaincode.protocol.errors import AmountTooLarge, CoinsRefused, PaymentShort
from goldengrain.chaincode.protocol.records import MAX_AMOUNT, CoinId, Digest, Positive, Record

MAX_COINS = 16
"""Coins in, and coins out, of one transaction."""


@dataclass(frozen=True)
class Coin(Record):
    """An unspent amount."""

    id: CoinId
    owner: Digest
    amount: Positive


@dataclass(frozen=True)
class Output(Record):
    """An amount and who is to own it."""

    owner: Digest
    amount: Positive


def coin_id(transaction_id: str, index: int) -> str:
    """Return the id of the coin that a transaction makes: `transaction id:index`."""
    return f"{transaction_id}:{index}"


def total(amounts: Iterable[int]) -> int:
    """Add amounts up; raises `AmountTooLarge` beyond 2**63 - 1."""
    result = sum(amounts)
    if result > MAX_AMOUNT:
        raise AmountTooLarge(f"{result:,} is more than an amount holds")
    return result


def change(paid: Iterable[int], due: int) -> int:
    """Return what is over when coins pay an amount; raises `PaymentShort`."""
    given = total(paid)
    if given < due:
        raise PaymentShort(f"the coins hold {given:,}, {due:,} are due; add coins of {due - given:,}")
    return given - due


def choose(coins: Iterable[Coin], due: int) -> tuple[Coin, ...]:
    """Pick at most 16 coins that cover an amount, the largest first, as a client does before it pays.

    Raises `PaymentShort` when all together don't cover it, `CoinsRefused` when 16 don't: merge some by `Transfer`.
    """
    if due == 0:
        return ()
    wallet = sorted(coins, key=lambda coin: (-coin.amount, coin.id))
    picked: list[Coin] = []
    for coin in wallet[:MAX_COINS]:
        picked.append(coin)
        if sum(one.amount for one in picked) >= due:
            return tuple(picked)
    held = sum(coin.amount for coin in wallet)
    if held >= due:
        raise CoinsRefused(f"{MAX_COINS} coins don't cover {due:,}; merge coins by a transfer to yourself first")
    raise PaymentShort(f"the account holds {held:,} in coins, {due:,} are due")
