"""Paying: which coins a command takes (protocol section 3).

Two payments of one account at the same time must not take the same coin, so a purse keeps those that are on their way
reserved. At most 16 coins go into a command; an account with many small ones joins them first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from goldengrain.chaincode.protocol.coins import MAX_COINS, Coin, choose
from goldengrain.chaincode.protocol.commands import Transfer
from goldengrain.chaincode.protocol.errors import CoinNotFound, CoinsRefused, PaymentShort
from goldengrain.chaincode.protocol.queries import ListCoins
from goldengrain.gateway.errors import InsufficientCoins, TransactionError
from goldengrain.gateway.market.calls import Caller, is_lost_race
from goldengrain.gateway.market.views import read

T = TypeVar("T")
ATTEMPTS = 4


class Purse:
    """The caller's coins. One per ``Market``; two markets of one account don't see each other's reservations."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._reserved: set[str] = set()
        self._choosing = asyncio.Lock()

    async def coins(self, owner: bytes | None) -> list[Coin]:
        """Return the unspent coins of an account (None: of all)."""
        return [read(Coin, item) async for item in self._caller.pages(lambda mark: ListCoins(owner, bookmark=mark))]

    async def pay(self, due: int, send: Callable[[tuple[str, ...]], Awaitable[T]]) -> T:
        """Choose coins that cover an amount and hand their ids to ``send``.

        Where somebody else spent one of them meanwhile, other coins are chosen and ``send`` is called again. After an
        error that leaves it open whether the payment went through (``may_commit``), its coins stay reserved. Raises
        InsufficientCoins, and what ``send`` raises.
        """
        for remaining in reversed(range(ATTEMPTS)):
            chosen = await self._reserve(due)
            try:
                result = await send(tuple(chosen))
            except TransactionError as error:
                if not error.may_commit:
                    self._reserved.difference_update(chosen)
                if not remaining or not is_lost_race(error):
                    raise
            except CoinNotFound:
                self._reserved.difference_update(chosen)
                if not remaining:
                    raise
            except Exception:
                self._reserved.difference_update(chosen)
                raise
            else:
                self._reserved.difference_update(chosen)
                return result
        raise AssertionError("unreachable")

    async def _reserve(self, due: int) -> Sequence[str]:
        if due == 0:
            return ()
        async with self._choosing:
            while True:
                free = [one for one in await self.coins(self._caller.account) if one.id not in self._reserved]
                try:
                    chosen = [one.id for one in choose(free, due)]
                except PaymentShort as error:
                    raise InsufficientCoins(
                        f"{due:,} are due, and the account {self._caller.account.hex()} holds "
                        f"{sum(one.amount for one in free):,} in {len(free)} coins that are not on their way elsewhere"
                    ) from error
                except CoinsRefused:
                    await self._join(free)
                    continue
                self._reserved.update(chosen)
                return chosen

    async def _join(self, free: Sequence[Coin]) -> None:
        """Turn the 16 largest coins into one."""
        largest = sorted(free, key=lambda one: -one.amount)[:MAX_COINS]
        await self._caller.send(Transfer(coins=tuple(one.id for one in largest), outputs=()))
