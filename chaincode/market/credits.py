"""Credits: coins that are spent whole, and how commands pay (protocol section 3).

A command that costs something names coins of its caller's. They disappear, and what is over comes back to the caller as
a new coin. Coins that a transaction makes have its id and an index, so no two can ever have the same key, and nobody
has a balance that two payments would both write.
"""

from __future__ import annotations

from collections.abc import Iterable

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.guards import require, require_client
from goldengrain.chaincode.market.records import CoinRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, Rule
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.coins import MAX_COINS, change, coin_id, total
from goldengrain.chaincode.protocol.commands import Transfer
from goldengrain.chaincode.protocol.errors import CoinNotFound, CoinsRefused


class Till:
    """Coins that one command takes and makes. `close` writes them; owners who get several amounts get one coin."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._spent: list[str] = []
        self._payments: list[tuple[bytes, int]] = []

    def take(self, found: Found, owner: bytes, coins: Iterable[str], due: int) -> None:
        """Spend an owner's coins for an amount; what is over goes back. Raises `CoinNotFound`, `PaymentShort`."""
        self.pay(owner, change(self.spend(found, owner, coins), due))

    def spend(self, found: Found, owner: bytes, coins: Iterable[str]) -> list[int]:
        """Spend an owner's coins; returns their amounts."""
        amounts = []
        for one in coins:
            key = keys.coin(owner, one)
            amounts.append(require(found, key, CoinNotFound, f"{owner.hex()} has no unspent coin {one}").amount)
            self._effects.delete(key)
            self._spent.append(one)
        return amounts

    def pay(self, owner: bytes, amount: int) -> None:
        """Pay an owner an amount, which may be 0."""
        if amount < 0:
            raise AssertionError("a negative payment")
        self._payments.append((owner, amount))

    def close(self, merge: bool = True) -> None:
        """Write the coins made, and tell of them in the event."""
        payments = _merged(self._payments) if merge else self._payments
        made: list[dict[str, Json]] = []
        for owner, amount in payments:
            if amount:
                one = coin_id(self._effects.tx.tx_id, len(made))
                self._effects.put(keys.coin(owner, one), CoinRecord(owner, amount))
                made.append({"id": one, "owner": owner.hex(), "amount": amount})
        if len(made) > MAX_COINS:
            raise CoinsRefused(f"{len(made)} coins out; at most {MAX_COINS}")
        self._effects.tell(coins={"spent": list(self._spent), "made": made})


def coin_keys(owner: bytes, coins: Iterable[str]) -> list[Key[CoinRecord]]:
    """Return the keys of an owner's coins."""
    return [keys.coin(owner, one) for one in coins]


def transfer(command: Transfer, tx: Context) -> Rule:
    """Turn coins of the caller's into coins of others: pay, split, join. Nothing is merged but the change."""
    require_client(tx.caller)
    found = yield Get(coin_keys(tx.caller.account, command.coins))
    effects = Effects(tx)
    till = Till(effects)
    amounts = till.spend(found, tx.caller.account, command.coins)
    due = total(output.amount for output in command.outputs)
    for output in command.outputs:
        till.pay(output.owner, output.amount)
    till.pay(tx.caller.account, change(amounts, due))
    till.close(merge=False)
    return effects


def _merged(payments: Iterable[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    sums: dict[bytes, int] = {}
    for owner, amount in payments:
        sums[owner] = sums.get(owner, 0) + amount
    return list(sums.items())
