"""Paying: which coins a command takes (protocol section 3).

Two payments of one account at the same time must not take the same coin, so those that are on their way are reserved,
for every ``Market`` of this process that pays from the account. A payment that finds too little free

- waits for the change of those that are on their way, where that can suffice;
- splits a coin first, where other payments wait as well: each finds one of its own then, and they go on side by side;
- joins coins first, where more than 16 would be needed.

Other processes know nothing of this: who loses a race to them chooses other coins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import TypeVar

from goldengrain.chaincode.protocol.coins import MAX_COINS, Coin, Output, choose
from goldengrain.chaincode.protocol.commands import Transfer
from goldengrain.chaincode.protocol.errors import CoinNotFound, CoinsRefused, PaymentShort
from goldengrain.chaincode.protocol.queries import ListCoins
from goldengrain.gateway.errors import CommitError, InsufficientCoins, TransactionError
from goldengrain.gateway.market.calls import Caller, is_lost_race
from goldengrain.gateway.market.reservations import Reservations, reservations_of
from goldengrain.gateway.market.views import read

T = TypeVar("T")
ATTEMPTS = 4


class Purse:
    """The caller's coins, for one ``Market``."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._choosing = asyncio.Lock()

    @cached_property
    def _reserved(self) -> Reservations:
        return reservations_of(self._caller.network.channel, self._caller.contract_name, self._caller.account)

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
            try:
                return await self._pay_once(due, send)
            except (CoinNotFound, CommitError) as error:
                if not remaining or not (isinstance(error, CoinNotFound) or is_lost_race(error)):
                    raise
        raise AssertionError("unreachable")

    async def _pay_once(self, due: int, send: Callable[[tuple[str, ...]], Awaitable[T]]) -> T:
        chosen = await self._reserve(due)
        unknown = False
        try:
            return await send(tuple(chosen))
        except TransactionError as error:
            unknown = error.may_commit
            raise
        finally:
            self._reserved.give_back(chosen, unknown=unknown)

    async def _reserve(self, due: int) -> Sequence[str]:
        if due == 0:
            return ()
        self._reserved.dues.append(due)
        try:
            async with self._choosing:
                while (chosen := await self._chosen(due)) is None:
                    pass
                return chosen
        finally:
            self._reserved.dues.remove(due)

    async def _chosen(self, due: int) -> Sequence[str] | None:
        """Reserve coins for an amount; None where there are others to choose from now."""
        seen = self._reserved.changes
        held = await self.coins(self._caller.account)
        free = self._reserved.free(held)
        try:
            chosen = best_fit(free, due)
        except PaymentShort as error:
            if self._reserved.moving and sum(one.amount for one in held) >= due:
                await self._reserved.changed(seen)
                return None
            raise InsufficientCoins(
                f"{due:,} are due, and the account {self._caller.account.hex()} holds "
                f"{sum(one.amount for one in free):,} in {len(free)} coins that are not on their way elsewhere"
            ) from error
        except CoinsRefused:
            await self._join(free)
            return None
        parts = self._parts(due, free, chosen)
        if len(parts) > 1:
            await self._turn(chosen, parts)
            return None
        ids = [one.id for one in chosen]
        return ids if self._reserved.take(ids) else None

    def _parts(self, due: int, free: Sequence[Coin], chosen: Sequence[Coin]) -> list[int]:
        """Return the amounts into which the chosen coins are to be split, so that others that wait are served too."""
        others = list(self._reserved.dues)
        others.remove(due)
        unserved = unserved_by([one for one in free if one not in chosen], others)
        left, parts = sum(one.amount for one in chosen) - due, [due]
        for other in unserved[: MAX_COINS - 2]:  # one output is the change
            if other <= left:
                parts.append(other)
                left -= other
        return parts

    async def _join(self, free: Sequence[Coin]) -> None:
        """Turn the 16 largest coins into one."""
        await self._turn(sorted(free, key=lambda one: -one.amount)[:MAX_COINS], [])

    async def _turn(self, coins: Sequence[Coin], amounts: Sequence[int]) -> None:
        """Turn coins into coins of these amounts and one of what is over; nothing where they are taken meanwhile."""
        ids = [one.id for one in coins]
        if not self._reserved.take(ids):
            return
        try:
            outputs = tuple(Output(self._caller.account, one) for one in amounts)
            await self._caller.send(Transfer(coins=tuple(ids), outputs=outputs))
        finally:
            self._reserved.give_back(ids)


def best_fit(coins: Sequence[Coin], due: int) -> tuple[Coin, ...]:
    """Pick the smallest coin that covers an amount; where none does, the largest ones (``choose``).

    Raises PaymentShort and CoinsRefused.
    """
    covering = [one for one in coins if one.amount >= due]
    if covering:
        return (min(covering, key=lambda one: (one.amount, one.id)),)
    return choose(coins, due)


def unserved_by(coins: Sequence[Coin], dues: Sequence[int]) -> list[int]:
    """Return which of several payments at once these coins leave without any, the largest looked at first."""
    left, unserved = list(coins), []
    for due in sorted(dues, reverse=True):
        try:
            taken = best_fit(left, due)
        except (PaymentShort, CoinsRefused):
            unserved.append(due)
        else:
            left = [one for one in left if one not in taken]
    return unserved
