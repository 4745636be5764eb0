"""Credits: coins, payments, and the sum of everything (protocol section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from goldengrain.chaincode.protocol.coins import Coin, Output
from goldengrain.chaincode.protocol.commands import Transfer
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.queries import GetCoin
from goldengrain.gateway.market.calls import Caller, Committed
from goldengrain.gateway.market.coins import Purse
from goldengrain.gateway.market.views import read


class Credits:
    """``market.credits``."""

    def __init__(self, caller: Caller, purse: Purse) -> None:
        self._caller = caller
        self._purse = purse

    async def coins(self, owner: bytes | None = None) -> list[Coin]:
        """Return the unspent coins of an account (default: the caller's)."""
        return await self._purse.coins(owner or self._caller.account)

    async def coin(self, owner: bytes, coin: str) -> Coin:
        """Return one unspent coin. Raises CoinNotFound."""
        return read(Coin, await self._caller.ask(GetCoin(owner, coin)))

    async def balance(self, owner: bytes | None = None) -> int:
        """Return the sum of an account's coins (default: the caller's)."""
        return sum(one.amount for one in await self.coins(owner))

    async def treasury(self) -> int:
        """Return what the treasury holds."""
        return await self.balance(TREASURY)

    async def transfer(self, outputs: Sequence[Output]) -> Committed:
        """Pay others; what is over comes back. Raises InsufficientCoins."""
        due = sum(one.amount for one in outputs)
        return await self._purse.pay(due, lambda coins: self._caller.send(Transfer(coins, tuple(outputs))))

    async def pay(self, owner: bytes, amount: int) -> Committed:
        """Pay one account an amount. Raises InsufficientCoins."""
        return await self.transfer([Output(owner, amount)])


@dataclass(frozen=True, slots=True)
class Supply:
    """The sum of everything: ``minted`` (less burned) has to equal ``held``.

    ``coins`` are all coins but the treasury's; ``escrow`` is what tasks, offers and claims hold.
    """

    minted: int
    coins: int
    escrow: int
    treasury: int

    @property
    def held(self) -> int:
        """Coins, escrow and treasury together."""
        return self.coins + self.escrow + self.treasury

    @property
    def conserved(self) -> bool:
        """Whether not a unit was lost or made up."""
        return self.minted == self.held
