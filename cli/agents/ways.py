"""Ways out as duties: whose money is stuck sends them (`goldengrain.cli.ways_out`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from goldengrain.cli.agents.duty import Done, Duty
from goldengrain.cli.ways_out import OFFER_WAYS, WayOut, take, ways_out_of, ways_out_of_slots
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import OfferView, SlotView, TaskView


def of_offer(
    market: Market, offer: OfferView, task: TaskView, now: int, commands: Collection[str] = OFFER_WAYS
) -> Iterator[Duty]:
    """Return the ways out of an offer, due now or later."""
    for way in ways_out_of(offer, task, now):
        if way.command in commands:
            yield Duty(way.command, offer.id, partial(_take, market, way), due=now + way.wait, number=way.claim)


def of_slots(market: Market, task: TaskView, slots: Sequence[SlotView], now: int) -> Iterator[Duty]:
    """Return the refunds of a task's free slots, due now or later."""
    for way in ways_out_of_slots(task, list(slots), now):
        yield Duty(way.command, task.id, partial(_take, market, way), due=now + way.wait, number=way.slot, what="task")


async def _take(market: Market, way: WayOut) -> Done:
    return Done((await take(market, way)).transaction_id)
