"""Promise 13: adding an organisation, renewing certificates, restarting: balances and offers unchanged.

Here on the embedded network; with real peers an orderer is lost and replaced, a peer begins with a snapshot and the
contract is upgraded besides, all while swaps run: `tests/network/test_operating.py`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from benchmarks.swaps import COMMANDS_OF_A_SWAP, MarketBench, Swap, connect_user, open_market
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.audit import audit
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.market import Market
from goldengrain.network import growth, runtime
from goldengrain.network.home import Home
from goldengrain.network.pki import identity_names
from goldengrain.network.renewal import node_names, renew
from goldengrain.network.topology import Organization


@dataclass(frozen=True)
class Holdings:
    """What there is: coins of each account, offers as they stand, the supply, every valid transaction."""

    coins: list[list[str]]
    offers: list[object]
    supply: object
    transactions: set[str]


async def holdings(users: list[Market], swaps: list[Swap]) -> Holdings:
    return Holdings(
        coins=[sorted(str(coin) for coin in await user.credits.coins()) for user in users],
        offers=[await users[0].offers.get(swap.offer) for swap in swaps],
        supply=await users[0].supply(),
        transactions={one.transaction_id for one in (await audit(users[0].network)).transactions if one.valid},
    )


def renew_everything(home: Home) -> None:
    for organization in home.load_topology().everyone:
        for name in [*identity_names(home, organization), *node_names(home, organization)]:
            renew(home, organization, name)


async def answering(users: list[Market]) -> None:
    """Wait until every peer can run the contract again."""
    for user in users:
        for attempt in range(100):
            try:
                await user.consortium.policy()
                break
            except GatewayError:
                if attempt == 99:
                    raise
                await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_balances_and_offers_outlive_a_new_member_new_certificates_and_a_restart() -> None:
    async with open_market(coins=6) as bench, AsyncExitStack() as stack:
        task = await bench.open_task(slots=2)
        swaps = [Swap(bench, task, organization, organization - 1) for organization in (1, 2)]
        for swap, count in zip(swaps, (1, 4), strict=True):  # one is offered, one is locked
            for step in _steps(swap)[:count]:
                await step()
        before = await holdings(bench.users, swaps)

        await growth.add_organization(bench.home, Organization("Org4", "Org4MSP", "org4.example.com"))
        await asyncio.to_thread(renew_everything, bench.home)
        await asyncio.to_thread(runtime.down, bench.home)
        await asyncio.to_thread(runtime.up, bench.home)

        renewed = [await connect_user(bench.home, stack, number, "User1") for number in range(3)]
        await answering(renewed)
        assert [one.account for one in renewed] == [one.account for one in bench.users]
        after = await holdings(renewed, swaps)
        assert (after.coins, after.offers, after.supply) == (before.coins, before.offers, before.supply)
        assert before.transactions < after.transactions
        await _finish(bench, renewed, swaps)


async def _finish(bench: MarketBench, renewed: list[Market], swaps: list[Swap]) -> None:
    """The renewed identities take the swaps to their end."""
    for enclave in bench.enclaves:
        enclave.operator = renewed[bench.users.index(enclave.operator)]
    bench.users = renewed
    for swap, count in zip(swaps, (1, 4), strict=True):
        for step in _steps(swap)[count:]:
            await step()
        assert (await renewed[0].offers.get(swap.offer)).state is OfferState.SETTLED
    assert (await renewed[0].supply()).conserved


def _steps(swap: Swap):  # type: ignore[no-untyped-def]  # the six steps, as Swap has them
    steps = (swap.submit, swap.receipt, swap.claim_it, swap.report, swap.reveal, swap.acknowledge)
    assert len(steps) == COMMANDS_OF_A_SWAP
    return steps
