"""Gas as Ethereum charges it, transaction by transaction.

The EVM in this process never ends a transaction: what one has touched stays warm for the next, and a slot's
"original" value is that of the beginning. So a metered chain runs each transaction twice: once to see which slots it
touches, whose values it then reads, and once for good, with a trace in which every access to storage and to accounts is
priced anew by EIP-2929 and EIP-3529, as if all were cold. Calldata costs at least the floor of EIP-7623.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.parity.chain import Chain, Deployed, Receipt

COLD_SLOT, WARM = 2_100, 100
COLD_ACCOUNT = 2_600
SET, RESET, CLEARED = 20_000, 2_900, 4_800
"""Storing something where nothing was, storing something else, and what is given back for storing nothing."""
INTRINSIC, ZERO_BYTE, BYTE = 21_000, 4, 16
FLOOR = 10
"""Least gas for a token of calldata: a zero byte is one, any other four."""
LOG_BYTE = 8
CALLS = ("CALL", "STATICCALL")
_PRICED = re.compile(r'"opName":"(?:SLOAD|SSTORE|CALL|STATICCALL)"')
PRECOMPILED = 0x11
"""Addresses up to this one are warm from the start."""


@dataclass(frozen=True)
class Spent:
    """What a transaction costs, in gas, and how many bytes it brought and logged."""

    function: str
    gas: int
    calldata: int
    logged: int

    @property
    def logged_gas(self) -> int:
        """The part of the gas that is for logged bytes alone."""
        return LOG_BYTE * self.logged


@dataclass
class Prices:
    """One transaction's accesses, priced as they come."""

    values: dict[tuple[str, int], int]
    """Slots' values before the transaction."""
    warm_accounts: set[str]
    warm: set[tuple[str, int]] = field(default_factory=set)
    now: dict[tuple[str, int], int] = field(default_factory=dict)
    refund: int = 0

    def slot(self, slot: tuple[str, int]) -> int:
        """Price of the access alone."""
        cold = slot not in self.warm
        self.warm.add(slot)
        return COLD_SLOT if cold else WARM

    def store(self, slot: tuple[str, int], value: int) -> int:
        """Price of storing a value."""
        cold = COLD_SLOT if slot not in self.warm else 0
        self.warm.add(slot)
        original = self.values[slot]
        current = self.now.get(slot, original)
        self.now[slot] = value
        if value == current:
            return cold + WARM
        if current != original:
            self._refund_dirty(original, current, value)
            return cold + WARM
        if original and not value:
            self.refund += CLEARED
        return cold + (RESET if original else SET)

    def _refund_dirty(self, original: int, current: int, value: int) -> None:
        if original:
            self.refund += CLEARED * ((value == 0) - (current == 0))
        if value == original:
            self.refund += (RESET if original else SET) - WARM

    def account(self, address: str) -> int:
        """What a call costs more than to a warm account."""
        if address in self.warm_accounts or int(address, 16) <= PRECOMPILED:
            return 0
        self.warm_accounts.add(address)
        return COLD_ACCOUNT - WARM


class MeteredChain(Chain):
    """A chain that notes what each accepted transaction costs."""

    def __init__(self, at: int = 0) -> None:
        super().__init__(at)
        self.metered = False
        self.spent: list[Spent] = []

    def send(self, sender: str, to: Deployed, calldata: bytes, value: int) -> Receipt:
        if not self.metered:
            return super().send(sender, to, calldata, value)
        before = self.evm.snapshot()
        with self._trace() as trace:
            super().send(sender, to, calldata, value)
        self.evm.revert(before)
        slots = {slot for slot, *_ in _accesses(trace, to.address)}
        values = {(address, key): int(self.evm.storage(address, key)) for address, key in slots}
        with self._trace() as trace:
            receipt = super().send(sender, to, calldata, value)
        prices = Prices(values, {sender, to.address})
        spent = receipt.gas + receipt.refund
        for slot, operation, charged, stored in _accesses(trace, to.address):
            price = prices.slot(slot) if operation == "SLOAD" else prices.store(slot, stored)
            spent += price - charged
        spent += sum(prices.account(address) for address in _called(trace))
        spent -= min(prices.refund, spent // 5)
        names = {function.selector: name for name, function in to.artifact.functions.items()}
        logged = sum(len(event.data) for event in receipt.events)
        self.spent.append(Spent(names[calldata[:4]], max(spent, _floor(calldata)), len(calldata), logged))
        return receipt

    @contextlib.contextmanager
    def _trace(self) -> Iterator[list[dict[str, Any]]]:
        lines: list[dict[str, Any]] = []
        text = io.StringIO()
        self.evm.tracing = True
        try:
            with contextlib.redirect_stdout(text):
                yield lines
        finally:
            self.evm.tracing = False
            lines += [json.loads(line) for line in text.getvalue().splitlines() if _PRICED.search(line)]


def _accesses(trace: list[dict[str, Any]], address: str) -> Iterator[tuple[tuple[str, int], str, int, int]]:
    """Yield each access to storage: slot, operation, what the EVM charged, what was stored."""
    frames = {trace[0]["depth"]: address} if trace else {}
    for step in trace:
        stack, operation, depth = step["stack"], step["opName"], step["depth"]
        if operation in CALLS:
            frames[depth + 1] = _address(stack[-2])
        else:
            stored = int(stack[-2], 16) if operation == "SSTORE" else 0
            yield (frames[depth], int(stack[-1], 16)), operation, int(step["gasCost"], 16), stored


def _called(trace: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the address of each call."""
    for step in trace:
        if step["opName"] in CALLS:
            yield _address(step["stack"][-2])


def _address(word: str) -> str:
    return f"0x{int(word, 16) & (2**160 - 1):040x}"


def _floor(calldata: bytes) -> int:
    zeros = calldata.count(0)
    return INTRINSIC + FLOOR * (zeros + 4 * (len(calldata) - zeros))
