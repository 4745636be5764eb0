"""Waiting for what others do with an offer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection

from goldengrain.chaincode.protocol.errors import OfferNotFound
from goldengrain.chaincode.protocol.tables import LIVE, OfferState
from goldengrain.gateway.errors import EventsError, WaitTimeout
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.market.calls import Caller
from goldengrain.gateway.market.views import OfferView
from goldengrain.gateway.streams import EventStream

DECIDED = frozenset(OfferState) - LIVE
"""States of an offer whose benchmark, if there was one, is over."""
POLL = 2.0  # seconds between looks at the ledger while no event comes


async def wait_for_state(
    caller: Caller,
    get: Callable[[], Awaitable[OfferView]],
    offer: bytes,
    states: Collection[OfferState],
    seconds: float,
) -> OfferView:
    """Wait until ``get`` returns the offer in one of the states. Raises WaitTimeout."""
    deadline = time.monotonic() + seconds
    network = caller.network
    async with network.chaincode_events(caller.contract_name, await network.height()) as events:
        events.listener = caller.horizon.heard
        while True:
            view = await _look(get)
            if view is not None and view.state in states:
                return view
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                wanted = " or ".join(sorted(states))
                seen = view.state if view else "not there"
                raise WaitTimeout(f"offer {offer.hex()} is {seen} after {seconds:g} s, not {wanted}")
            await _announced(events, offer, min(POLL, remaining))


async def _look(get: Callable[[], Awaitable[OfferView]]) -> OfferView | None:
    try:
        return await get()
    except OfferNotFound:
        return None


async def _announced(events: EventStream[ChaincodeEvent], offer: bytes, seconds: float) -> None:
    """Return when an event about the offer came, or after some seconds; a broken stream only means to look again."""
    try:
        async with asyncio.timeout(seconds):
            async for event in events:
                if _concerns(event, offer):
                    return
            await asyncio.sleep(seconds)
    except TimeoutError:
        return
    except EventsError:
        await asyncio.sleep(seconds)


def _concerns(event: ChaincodeEvent, offer: bytes) -> bool:
    try:
        return bool(json.loads(event.payload).get("offer") == offer.hex())
    except (ValueError, AttributeError, RecursionError):
        return True
