"""The tasks and offers that concern a side, kept up to date by the contract's events.

At first, and whenever events may have been missed, the peer is asked for all of them; after that only for those that an
event says have changed. What has come to its end is let go of.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from goldengrain.chaincode.protocol.errors import NotFound
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.tables import CLOSED
from goldengrain.cli.roster import is_fit
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import EnclaveView, OfferView, SlotView, TaskView

Changed = tuple[str, bytes]
POLICY, ENCLAVES, ALL = ("policy", b""), ("enclaves", b""), ("all", b"")


@dataclass
class Watch:
    """What a side sees of the market.

    ``listing`` yields its offers, ``own_tasks`` (a provider's only) its tasks; ``concerns`` tells its offers from those
    of others.
    """

    market: Market
    listing: Callable[[], AsyncIterator[OfferView]]
    concerns: Callable[[OfferView], bool]
    own_tasks: Callable[[], AsyncIterator[TaskView]] | None = None
    tasks: dict[bytes, TaskView] = field(default_factory=dict)
    offers: dict[bytes, OfferView] = field(default_factory=dict)
    slots: dict[bytes, list[SlotView]] = field(default_factory=dict)
    enclaves: list[EnclaveView] = field(default_factory=list)
    asked: int = 0
    """How often the peer was asked for something: goes up whenever something may have changed."""
    _policy: Policy | None = None
    _changed: set[Changed] = field(default_factory=lambda: {POLICY, ENCLAVES, ALL})

    @property
    def policy(self) -> Policy:
        """The policy in force, as of the last ``refresh``."""
        if self._policy is None:
            raise AssertionError("`refresh` comes first")
        return self._policy

    def fit_enclaves(self, at: int) -> list[EnclaveView]:
        """Return the enclaves that may work at a time."""
        return [one for one in self.enclaves if is_fit(one, self.policy, at)]

    def note(self, payload: bytes) -> None:
        """Take in an event of the contract: what it changes is asked for at the next ``refresh``."""
        try:
            for name in json.loads(payload)["changes"]:
                self._note(*str(name).partition("/")[::2])
        except (ValueError, KeyError, TypeError, RecursionError):
            self.doubt()

    def _note(self, kind: str, rest: str) -> None:
        """Raises ValueError where an id is none."""
        if kind in ("offer", "claim"):
            self._changed.add(("offer", bytes.fromhex(rest.partition("/")[0])))
        elif kind in ("task", "task-status", "slot"):
            self._changed.add(("task", bytes.fromhex(rest.partition("/")[0])))
        elif kind == "policy":
            self._changed.add(POLICY)
        elif kind == "enclave":
            self._changed.add(ENCLAVES)

    def doubt(self) -> None:
        """Ask for everything anew at the next ``refresh``."""
        self._changed |= {POLICY, ENCLAVES, ALL}

    def doubt_one(self, what: str, about: bytes) -> None:
        """Ask for an ``offer``, a ``task`` or the enclaves anew at the next ``refresh``; nothing else is watched."""
        if what == "enclave":
            self._changed.add(ENCLAVES)
        elif what in ("offer", "task"):
            self._changed.add((what, about))

    async def refresh(self) -> None:
        """Ask for what has changed. Raises EvaluateError; the next call asks for the rest then."""
        while self._changed:
            changed = ALL if ALL in self._changed else min(self._changed)
            self._changed.discard(changed)  # first: an event that comes meanwhile counts
            try:
                await self._ask(changed)
            except BaseException:
                self._changed.add(changed)
                raise

    async def task_of(self, offer: OfferView) -> TaskView:
        """Return an offer's task; what of it can change is up to date only for a provider's own."""
        found = self.tasks.get(offer.order.task)
        if found is None:
            found = self.tasks[offer.order.task] = await self.market.tasks.get(offer.order.task)
        return found

    async def _ask(self, changed: Changed) -> None:
        kind, name = changed
        self.asked += 1
        if changed == ALL:
            await self._ask_for_all()
        elif changed == POLICY:
            self._policy = (await self.market.consortium.policy()).policy
        elif changed == ENCLAVES:
            self.enclaves = [one async for one in self.market.enclaves.listing()]
        elif kind == "offer":
            await self._ask_for_offer(name)
        else:
            await self._ask_for_task(name)

    async def _ask_for_all(self) -> None:
        self._changed = {one for one in self._changed if one in (POLICY, ENCLAVES)}
        if self.own_tasks is not None:
            async for task in self.own_tasks():
                await self._keep_task(task)
        found = {one.id: one async for one in self.listing()}
        for gone in self.offers.keys() - found.keys():
            del self.offers[gone]
        for offer in found.values():
            await self._keep_offer(offer)

    async def _ask_for_offer(self, offer: bytes) -> None:
        try:
            await self._keep_offer(await self.market.offers.get(offer))
        except NotFound:
            self.offers.pop(offer, None)

    async def _ask_for_task(self, task: bytes) -> None:
        if self.own_tasks is None:
            return
        try:
            view = await self.market.tasks.get(task)
        except NotFound:
            return
        if view.task.provider == self.market.account:
            await self._keep_task(view)

    async def _keep_offer(self, offer: OfferView) -> None:
        if is_over(offer) or not self.concerns(offer):
            self.offers.pop(offer.id, None)
            return
        await self.task_of(offer)
        self.offers[offer.id] = offer

    async def _keep_task(self, task: TaskView) -> None:
        self.tasks[task.id] = task
        self.slots[task.id] = await self.market.tasks.slots(task.id)


def is_over(offer: OfferView) -> bool:
    """Whether nobody owes anything for an offer any more."""
    return offer.state in CLOSED or (offer.lock is not None and offer.lock.acknowledged)
