"""The contract is upgraded in the middle of fifty swaps: all of them finish, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.swaps import COMMANDS_OF_A_SWAP, CONTRACT, Swap, open_market, start_contract, stop_contract
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.audit import audit
from goldengrain.gateway.market import Mirror
from goldengrain.network import lifecycle
from goldengrain.network.ports import free_port
from tests.network.stubborn import answering, steps_of

SWAPS = 50


async def go_on(swap: Swap, first: int, last: int) -> None:
    """Take some of a swap's steps."""
    for step in steps_of(swap)[first:last]:
        await step()


@pytest.mark.timeout(180)
async def test_fifty_swaps_at_every_stage_survive_an_upgrade_of_the_contract() -> None:
    async with open_market(coins=2 * SWAPS) as bench:
        tasks = await asyncio.gather(*(bench.open_task(slots=2) for _ in range(SWAPS // 2)))
        swaps = [Swap(bench, task, organization, organization - 1) for task in tasks for organization in (1, 2)]
        done = [1 + number % COMMANDS_OF_A_SWAP for number in range(SWAPS)]
        await asyncio.gather(*(go_on(swap, 0, steps) for swap, steps in zip(swaps, done, strict=True)))
        before = await bench.users[0].supply()
        address = f"127.0.0.1:{free_port()}"
        deployment = await lifecycle.deploy(bench.home, CONTRACT, "2", address)
        server = await asyncio.to_thread(
            start_contract, bench.home, address, deployment.package_id, "tests.network.next_contract"
        )
        try:
            await answering(bench.users)
            assert (await bench.users[0].supply()) == before
            await asyncio.gather(
                *(go_on(swap, steps, COMMANDS_OF_A_SWAP) for swap, steps in zip(swaps, done, strict=True))
            )
            views = [await bench.users[0].offers.get(one.offer) for one in swaps]
            assert {one.state for one in views} == {OfferState.SETTLED}
            after = await bench.users[0].supply()
            assert after.conserved
            assert after.minted == before.minted
            await _rebuilt_with_the_new_field(bench.users[0], [one.offer for one in swaps])
        finally:
            stop_contract(server)


async def _rebuilt_with_the_new_field(user, offers: list[bytes]) -> None:  # type: ignore[no-untyped-def]  # a Market
    mirror = Mirror()
    for one in (await audit(user.network)).transactions:
        if one.call is not None and one.call.chaincode == CONTRACT and one.valid and one.call.event is not None:
            mirror.apply(one.call.event.payload)
    state = dict(mirror.state())
    upgraded = [offer for offer in offers if b'"revision":7' in state[f"offer/{offer.hex()}"]]
    assert SWAPS // 2 < len(upgraded) < SWAPS  # those that were settled and acknowledged before are as they were
