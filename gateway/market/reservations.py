"""Which coins of an account are on their way, shared by every market client of this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable, Sequence
from weakref import WeakValueDictionary

from goldengrain.chaincode.protocol.coins import Coin

UNKNOWN_S = 60.0
"""Seconds for which the coins of a payment with an unknown outcome stay taken; by then it is on the ledger, or lost."""


class Reservations:
    """The coins of one account that payments of this process have taken; safe between threads and event loops."""

    def __init__(self) -> None:
        self.dues: list[int] = []
        """Amounts of the payments that are choosing their coins."""
        self.changes = 0
        """Goes up whenever coins are given back."""
        self._lock = threading.Lock()
        self._moving: set[str] = set()
        self._unknown: dict[str, float] = {}
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def moving(self) -> bool:
        """Whether a payment is on its way, whose change will come back."""
        return bool(self._moving)

    def free(self, coins: Iterable[Coin]) -> list[Coin]:
        """Return those of the coins that nothing has taken."""
        with self._lock:
            self._forget()
            return [one for one in coins if one.id not in self._moving and one.id not in self._unknown]

    def take(self, coins: Sequence[str]) -> bool:
        """Take coins, all or none; False where one of them was taken meanwhile."""
        with self._lock:
            if any(one in self._moving or one in self._unknown for one in coins):
                return False
            self._moving.update(coins)
            return True

    def give_back(self, coins: Iterable[str], *, unknown: bool = False) -> None:
        """End a payment. ``unknown``: it may still commit, so that its coins stay taken for a while, unwaited for."""
        with self._lock:
            self._moving.difference_update(coins)
            if unknown:
                self._unknown |= dict.fromkeys(coins, time.monotonic() + UNKNOWN_S)
            self.changes += 1
            waiting, self._waiting = self._waiting, []
        for one in waiting:
            with contextlib.suppress(RuntimeError):  # a loop that was closed while somebody waited in it
                one.get_loop().call_soon_threadsafe(_wake, one)

    async def changed(self, seen: int) -> None:
        """Return once ``changes`` is above ``seen``, or nothing is on its way."""
        with self._lock:
            if self.changes != seen or not self._moving:
                return
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
        await waiter

    def _forget(self) -> None:
        now = time.monotonic()
        self._unknown = {coin: until for coin, until in self._unknown.items() if until > now}


_SHARED: WeakValueDictionary[tuple[str, str, bytes], Reservations] = WeakValueDictionary()
_SHARING = threading.Lock()


def reservations_of(channel: str, contract: str, account: bytes) -> Reservations:
    """Return the reservations of an account's coins, the same for all who ask in this process."""
    key = channel, contract, account
    with _SHARING:
        found = _SHARED.get(key)
        if found is None:
            found = _SHARED[key] = Reservations()
        return found


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
