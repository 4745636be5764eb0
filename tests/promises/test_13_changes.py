"""Promise 13: adding an organisation, renewing certificates, restarting: balances and offers unchanged.

Here on the embedded network; with real peers an orderer is lost and replaced, a peer begins with a snapshot and the
contract is upgraded besides, all while swaps run: `tests/network/test_operating.py`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from benchmarks.swaps import CONTRACT, Swap, connect_user, open_market
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.cli.following import follow
from goldengrain.gateway.audit import audit
from goldengrain.gateway.market import Market
from goldengrain.network import growth, lifecycle, runtime
from goldengrain.network.topology import Organization
from tests.network.stubborn import play, reconnect, renew_everything, sold_by_the_new_member, with_new_keys


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


@pytest.mark.timeout(120)
async def test_balances_and_offers_outlive_a_new_member_new_certificates_and_a_restart() -> None:
    """The new member's trust bundle is voted, and the enclaves start again with other keys, in the middle of swaps."""
    async with open_market(coins=6) as bench, AsyncExitStack() as stack:
        task = await bench.open_task(slots=2)
        swaps = [Swap(bench, task, organization, organization - 1) for organization in (1, 2)]
        done = (3, 4)  # one is claimed for an enclave of the old bundle, one is locked
        for swap, count in zip(swaps, done, strict=True):
            await play(bench, swap, last=count)
        before = await holdings(bench.users, swaps)

        await growth.add_organization(bench.home, Organization("Org4", "Org4MSP", "org4.example.com"))
        assert (await lifecycle.deploy(bench.home, CONTRACT, "1", bench.contract_address)).sequence == 1
        followed = await follow(bench.home)
        assert followed is not None
        assert followed.carried
        await asyncio.to_thread(renew_everything, bench.home)
        await asyncio.to_thread(runtime.down, bench.home)
        await asyncio.to_thread(runtime.up, bench.home)

        await reconnect(bench, stack)
        after = await holdings(bench.users, swaps)
        assert (after.coins, after.offers, after.supply) == (before.coins, before.offers, before.supply)
        assert before.transactions < after.transactions
        await with_new_keys(bench, followed.bundle)
        for swap, count in zip(swaps, done, strict=True):
            await play(bench, swap, first=count)
            assert (await bench.users[0].offers.get(swap.offer)).state is OfferState.SETTLED
        await sold_by_the_new_member(bench, await connect_user(bench.home, stack, 3, "User1"))
        assert (await bench.users[0].supply()).conserved
