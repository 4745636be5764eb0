"""Clients that do not give up: a swap goes on while nodes of its network are killed, stopped, renewed, replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

from benchmarks.swaps import COIN, COMMANDS_OF_A_SWAP, Enclave, MarketBench, Swap, connect_user, word
from goldengrain.chaincode.protocol.coins import Output, coin_id
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.chaincode.protocol.task import Task
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.market import Committed, Market
from goldengrain.network.home import Home
from goldengrain.network.pki import identity_names
from goldengrain.network.renewal import node_names, renew

T = TypeVar("T")
S = OfferState
_AFTER = (S.OFFERED, S.STORED, S.CLAIMED, S.LOCKED, S.SETTLED, S.SETTLED)
PATIENCE_S = 120.0


def steps_of(swap: Swap) -> Sequence[Callable[[], Awaitable[Committed]]]:
    """The six steps of a swap."""
    steps = (swap.submit, swap.receipt, swap.claim_it, swap.report, swap.reveal, swap.acknowledge)
    assert len(steps) == COMMANDS_OF_A_SWAP
    return steps


async def persist(bench: MarketBench, swap: Swap, step: int) -> Committed | None:
    """Take a step of a swap, again and again until it is on the ledger; None where an earlier try turns out to be."""
    steps = steps_of(swap)
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


async def play(bench: MarketBench, swap: Swap, first: int = 0, last: int = COMMANDS_OF_A_SWAP) -> list[Committed]:
    """Take some of a swap's steps, or all; returns what its client was told is committed."""
    done = [await persist(bench, swap, step) for step in range(first, last)]
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


async def open_task(bench: MarketBench, slots: int = 1) -> Task:
    """Open a task of Org1's, as the ledger has it: by what policy depends on when it is ordered."""
    opening = bench.opening(slots, bench.coin(bench.users[0]))
    committed = await bench.send(bench.users[0], opening)
    return (await insist(partial(bench.users[0].tasks.get, bytes.fromhex(committed.answer["task"])))).task


async def answering(users: list[Market]) -> None:
    """Wait until every user's peer can run the contract again."""
    for user in users:
        await insist(user.consortium.policy)


async def reconnect(bench: MarketBench, stack: AsyncExitStack, deadlines: Deadlines | None = None) -> None:
    """Everybody comes back, with a renewed certificate or not, as the same account."""
    renewed = [await connect_user(bench.home, stack, number, "User1", deadlines) for number in range(3)]
    await answering(renewed)
    assert [one.account for one in renewed] == [one.account for one in bench.users]
    for enclave in bench.enclaves:
        enclave.operator = renewed[bench.users.index(enclave.operator)]
    bench.users[:] = renewed
    bench.admins[:] = [await connect_user(bench.home, stack, number, "Admin", deadlines) for number in range(3)]


async def with_new_keys(bench: MarketBench, bundle: bytes) -> None:
    """Start the enclaves again under another trust bundle: other keys, registered anew; running swaps keep the old."""
    fresh = [Enclave(f"{one.name} again", one.operator, word(f"{one.name} again"), bundle) for one in bench.enclaves]
    for one in fresh:
        await insist(partial(bench.register, one))
    bench.enclaves[:] = fresh


async def sold_by_the_new_member(bench: MarketBench, member: Market) -> Swap:
    """A whole swap in which Org4's user sells to Org1."""
    outputs = [Output(member.account, COIN)]
    proposed = await insist(partial(bench.admins[0].consortium.propose_mint, outputs))
    voted = proposed
    for admin in bench.admins[1:]:
        voted = await insist(partial(admin.consortium.vote, proposed.transaction_id))
    assert voted.answer["carried"]
    bench.piles[member.account] = [coin_id(voted.transaction_id, 0)]
    bench.users.append(member)
    swap = Swap(bench, await insist(partial(open_task, bench)), 3)
    await play(bench, swap)
    assert (await member.offers.get(swap.offer)).state is OfferState.SETTLED
    return swap


def renew_everything(home: Home) -> None:
    """Renew the certificates of every user and node."""
    for organization in home.load_topology().everyone:
        for name in [*identity_names(home, organization), *node_names(home, organization)]:
            renew(home, organization, name)


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
