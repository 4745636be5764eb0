"""Waiting for what others do with an offer, as long as that can still come about by the protocol's table."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection

from goldengrain.chaincode.protocol.errors import OfferNotFound
from goldengrain.chaincode.protocol.tables import DISPLACEMENTS, LIVE, OFFER_RULES, OfferState
from goldengrain.gateway.errors import EventsError, WaitInVain, WaitTimeout
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.market.calls import Caller
from goldengrain.gateway.market.views import OfferView
from goldengrain.gateway.streams import EventStream

DECIDED = frozenset(OfferState) - LIVE
"""States of an offer whose benchmark, if there was one, is over."""
POLL = 2.0  # seconds between looks at the ledger while no event comes
_NEXT = {
    OfferState.SETTLED: "its provider reads the model with `goldengrain model open`",
    OfferState.FORFEITED: "r was not revealed in time; another attempt is a new offer, by `goldengrain model seal`",
}
_ANOTHER = "`goldengrain offer show` tells its claims; another attempt is a new offer, by `goldengrain model seal`"


def ahead(state: OfferState) -> frozenset[OfferState]:
    """The states that may still come after one, in any number of steps of the protocol's table (section 6)."""
    found: frozenset[OfferState] = frozenset()
    last = frozenset({state})
    while last:
        last = frozenset(one for known in last for one in _steps(known)) - found
        found |= last
    return found


def _steps(state: OfferState) -> set[OfferState]:
    """The states one step after a state. A row with the same states before and after leaves each as it is."""
    rules = [rule for rule in OFFER_RULES if state in rule.states and rule.next != rule.states]
    displaced = {DISPLACEMENTS[state]} if state in DISPLACEMENTS else set()
    return displaced.union(*(rule.next for rule in rules))


async def wait_for_state(
    caller: Caller,
    get: Callable[[], Awaitable[OfferView]],
    offer: bytes,
    states: Collection[OfferState],
    seconds: float,
) -> OfferView:
    """Wait until ``get`` returns the offer in one of the states.

    Raises WaitInVain as soon as the offer can come to none of them any more, WaitTimeout after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    network = caller.network
    async with network.chaincode_events(caller.contract_name, await network.height()) as events:
        events.listener = caller.horizon.heard
        while True:
            view = await _look(get)
            if view is not None and view.state in states:
                return view
            if view is not None and ahead(view.state).isdisjoint(states):
                raise _in_vain(view, states)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                seen = view.state if view else "not there"
                raise WaitTimeout(f"offer {offer.hex()} is {seen} after {seconds:g} s, not {_either(states)}")
            await _announced(events, offer, min(POLL, remaining))


def _in_vain(view: OfferView, states: Collection[OfferState]) -> WaitInVain:
    still = ahead(view.state)
    hint = f"it may still become {_either(still)}: wait for one of these" if still else _NEXT.get(view.state, _ANOTHER)
    return WaitInVain(f"offer {view.id.hex()} is {view.state} and can't become {_either(states)} any more; {hint}")


def _either(states: Collection[OfferState]) -> str:
    return " or ".join(sorted(states))


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
