"""What a developer owes: envelopes for enclaves registered later, r in time; and what it takes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.cli import selling
from goldengrain.cli.agents.duty import Done, Duty
from goldengrain.cli.agents.watch import Watch
from goldengrain.cli.agents.ways import of_offer
from goldengrain.cli.stores import Stores
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import OfferView, TaskView
from goldengrain.network.home import Home

REWRAPPED = (OfferState.OFFERED, OfferState.STORED)


@dataclass(frozen=True)
class Developer:
    """The account that made offers; their K and r lie in ``HOME/secrets/offers``."""

    market: Market
    home: Home
    stores: Stores

    @cached_property
    def watch(self) -> Watch:
        """Its offers."""
        return Watch(self.market, self._offers, self._concerns)

    async def refresh(self) -> None:
        """Ask for what has changed."""
        await self.watch.refresh()

    def duties(self, now: int) -> list[Duty]:
        """R until D, envelopes until a claim, and the ways back: withdraw, lapse, expire, award."""
        return [duty for offer in self.watch.offers.values() for duty in self._of_offer(offer, now)]

    def _of_offer(self, offer: OfferView, now: int) -> Iterator[Duty]:
        task = self.watch.tasks[offer.order.task]
        if offer.state is OfferState.LOCKED and offer.lock is not None and offer.lock.deadline is not None:
            yield Duty(
                "Reveal",
                offer.id,
                partial(self._reveal, offer.id),
                due=offer.lock.deadline - task.task.reveal,
                until=offer.lock.deadline,
                window=task.task.terms.window,
            )
        if offer.state in REWRAPPED and now <= task.task.last_report and self._fresh(offer, task, now):
            yield Duty("Rewrap", offer.id, partial(self._rewrap, offer.id), until=task.task.last_report)
        if offer.state is OfferState.OFFERED:
            yield Duty("WithdrawOffer", offer.id, partial(self._withdraw, offer.id), due=task.task.last_report + 1)
        else:
            yield from of_offer(self.market, offer, task, now, ("AwardOffer", "Expire", "Lapse"))

    def _fresh(self, offer: OfferView, task: TaskView, now: int) -> bool:
        known = {one.enclave for one in offer.envelopes}
        fit = self.watch.fit_enclaves(now)
        able = selling.able_to_run(fit, task, offer.developer_msp, offer.provider_may_operate)
        return any(one.id not in known for one in able)

    async def _reveal(self, offer: bytes) -> Done:
        done = await selling.reveal(self.market, self.home, offer)
        return Done(done.transaction_id, {"price": done.answer["price"]})

    async def _rewrap(self, offer: bytes) -> Done | None:
        done = await selling.rewrap(self.market, self.home, self.stores, offer)
        return None if done is None else Done(done.transaction_id)

    async def _withdraw(self, offer: bytes) -> Done:
        return Done((await self.market.offers.withdraw(offer)).transaction_id)

    def _offers(self) -> AsyncIterator[OfferView]:
        return self.market.offers.listing(developer=self.market.account)

    def _concerns(self, offer: OfferView) -> bool:
        return offer.order.developer == self.market.account
