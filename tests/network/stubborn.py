"""Clients that do not give up: a swap goes on while nodes of its network are killed, stopped, renewed, replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from benchmarks.swaps import COMMANDS_OF_A_SWAP, MarketBench, Swap
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.market import Committed

T = TypeVar("T")
S = OfferState
_AFTER = (S.OFFERED, S.STORED, S.CLAIMED, S.LOCKED, S.SETTLED, S.SETTLED)
PATIENCE_S = 120.0


async def persist(bench: MarketBench, swap: Swap, step: int) -> Committed | None:
    """Take a step of a swap, again and again until it is on the ledger; None where an earlier try turns out to be."""
    steps: Sequence[Callable[[], Awaitable[Committed]]] = (
        swap.submit,
        swap.receipt,
        swap.claim_it,
        swap.report,
        swap.reveal,
        swap.acknowledge,
    )
    deadline = time.monotonic() + PATIENCE_S
    tried = False
    while True:
        try:
            return await steps[step]()
        except (GatewayError, ContractError) as error:
            if tried and isinstance(error, ContractError) and await _is_done(bench, swap, step):
                return None
            if time.monotonic() > deadline:
                raise
            tried = True
            await asyncio.sleep(0.1)


async def play(bench: MarketBench, swap: Swap, first: int = 0) -> list[Committed]:
    """Take the rest of a swap's steps; returns what its client was told is committed."""
    done = [await persist(bench, swap, step) for step in range(first, COMMANDS_OF_A_SWAP)]
    return [one for one in done if one is not None]


async def insist(attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until peers, which may be away or behind, take it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await attempt()
        except (GatewayError, ContractError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def _is_done(bench: MarketBench, swap: Swap, step: int) -> bool:
    """Whether a step that was refused has been taken before, by what some peer says of the offer."""
    for user in bench.users:
        try:
            view = await user.offers.get(swap.offer)
        except (GatewayError, ContractError):
            continue
        if _AFTER.index(view.state) < _AFTER.index(_AFTER[step]):
            continue
        if step == COMMANDS_OF_A_SWAP - 1 and view.lock is not None and view.lock.secret:
            continue
        if step == 2 and swap.claim is None:
            swap.claim = view.claims[-1].claim
        return True
    return False
