"""Swaps over the network at once: no conflict that was not a real race, and a market that its events rebuild."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.swaps import CONTRACT, MarketBench, Swap, open_market
from goldengrain.chaincode.protocol.errors import SlotTaken
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.audit import audit
from goldengrain.gateway.errors import CommitError
from goldengrain.gateway.market import Mirror

SWAPS = 64


@asynccontextmanager
async def market(coins: int) -> AsyncIterator[MarketBench]:
    async with open_market(coins) as bench:
        yield bench


async def swaps(bench: MarketBench, count: int) -> list[Swap]:
    """As many swaps as asked, no two of the same task and organisation."""
    tasks = await asyncio.gather(*(bench.open_task(slots=2) for _ in range(count // 2)))
    return [Swap(bench, task, organization, organization - 1) for task in tasks for organization in (1, 2)]


@pytest.mark.timeout(120)
async def test_64_swaps_at_once_have_no_conflict_and_their_events_rebuild_the_market() -> None:
    async with market(coins=2 * SWAPS) as bench:
        all_swaps = await swaps(bench, SWAPS)
        await asyncio.gather(*(one.play() for one in all_swaps))
        views = [await bench.users[0].offers.get(one.offer) for one in all_swaps]
        assert {one.state for one in views} == {OfferState.SETTLED}
        assert (await bench.users[0].supply()).conserved
        await _rebuilt(bench, len(all_swaps))


async def _rebuilt(bench: MarketBench, count: int) -> None:
    """Rebuild the state from the events in the blocks, and compare it with the write sets of the same blocks."""
    mirror, written, invalid = Mirror(), dict[str, bytes](), []
    for one in (await audit(bench.users[0].network)).transactions:
        if one.call is None or one.call.chaincode != CONTRACT:
            continue
        if not one.valid:
            invalid.append(one.code_name)
            continue
        assert one.call.event is not None
        mirror.apply(one.call.event.payload)
        for write in one.call.writes:
            if write.value is None:
                written.pop(write.key)
            elif write.namespace == CONTRACT:
                written[write.key] = write.value
    assert invalid == []
    assert dict(mirror.state()) == written
    assert sum(one.state is OfferState.SETTLED for one in mirror.offers()) == count
    assert sum(one.amount for one in mirror.coins()) == sum(
        [one.amount for user in bench.users for one in await user.credits.coins()],
        await bench.users[0].credits.treasury(),
    )


@pytest.mark.timeout(120)
async def test_three_offers_race_for_two_slots_two_settle_and_one_is_refused_cleanly() -> None:
    async with market(coins=24) as bench:
        task = await bench.open_task(slots=2)
        # an organisation has one live offer in a task, so Org1's own developer is the third to race
        racing = [Swap(bench, task, organization) for organization in (0, 1, 2)]
        for one in racing:
            await one.submit()
            await one.receipt()
        outcomes = await asyncio.gather(*(_claimed(one) for one in racing))
        assert sorted(outcomes) == [False, True, True]
        winners = [one for one, won in zip(racing, outcomes, strict=True) if won]
        for one in winners:
            await one.report()
            await one.reveal()
        views = [await bench.users[0].offers.get(one.offer) for one in racing]
        assert sorted(one.state for one in views) == [OfferState.SETTLED, OfferState.SETTLED, OfferState.STORED]
        assert sorted(one.slot for one in views if one.slot is not None) == [0, 1]
        assert (await bench.users[0].supply()).conserved


async def _claimed(swap: Swap) -> bool:
    """Claim a slot as a client does: sent anew after a lost race, the next one where another was quicker."""
    for slot in range(swap.task.slots):
        swap.slot = slot
        for _ in range(4):
            try:
                await swap.claim_it()
            except SlotTaken:
                break
            except CommitError as error:
                if not error.is_read_conflict:
                    raise
            else:
                return True
    return False
