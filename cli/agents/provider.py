"""What a provider owes: receipts, opened test sets, refunds, and the acknowledgement of what it bought."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from goldengrain.chaincode.protocol.tables import DatasetState, OfferState
from goldengrain.cli import buying
from goldengrain.cli.agents.duty import Done, Duty
from goldengrain.cli.agents.watch import Watch
from goldengrain.cli.agents.ways import of_offer, of_slots
from goldengrain.cli.stores import Stores
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import OfferView, TaskView
from goldengrain.network.home import Home
from goldengrain.network.processes import NetworkLock


@dataclass(frozen=True)
class Provider:
    """The account that opened tasks. Models that it bought are written into a folder, as ``OFFER.onnx``."""

    market: Market
    home: Home
    stores: Stores
    bought: Path

    @cached_property
    def watch(self) -> Watch:
        """Its tasks, and the offers for them."""
        return Watch(self.market, self._offers, self._concerns, self._tasks)

    async def refresh(self) -> None:
        """Ask for what has changed."""
        await self.watch.refresh()

    def duties(self, now: int) -> list[Duty]:
        """Receipts until B, models to open and acknowledge, the test set between B + G and A, all ways out."""
        found = [duty for task in self.watch.slots for duty in self._of_task(self.watch.tasks[task], now)]
        return found + [duty for offer in self.watch.offers.values() for duty in self._of_offer(offer, now)]

    def _of_task(self, task: TaskView, now: int) -> Iterator[Duty]:
        if task.status.dataset is DatasetState.HIDDEN:
            terms = task.task.terms
            yield Duty(
                "OpenDataset",
                task.id,
                partial(self._open_dataset, task.id),
                due=task.task.last_report + terms.guard + 1,
                until=task.task.last_opening,
                window=terms.window,
                what="task",
            )
        yield from of_slots(self.market, task, self.watch.slots[task.id], now)

    def _of_offer(self, offer: OfferView, now: int) -> Iterator[Duty]:
        task = self.watch.tasks[offer.order.task]
        if offer.state is OfferState.OFFERED and now <= task.task.last_report:
            yield Duty(
                "Receipt",
                offer.id,
                partial(self._receipt, offer.id),
                due=offer.offered,
                until=task.task.last_report,
                window=task.task.terms.window,
            )
        elif offer.state is OfferState.SETTLED:
            yield Duty("Acknowledge", offer.id, partial(self._acknowledge, offer.id))
        yield from of_offer(self.market, offer, task, now)

    async def _receipt(self, offer: bytes) -> Done:
        made = await buying.receipt(self.market, self.stores, offer)
        return Done(made.committed.transaction_id, {"bytes": made.size})

    async def _acknowledge(self, offer: bytes) -> Done | None:
        """Open the model, check it, and only then confirm that it could be read.

        None while another agent opens one into the same folder.
        """
        out = self.bought / f"{offer.hex()}.onnx"
        with NetworkLock(self.bought / ".lock") as lock:
            if not lock.acquire():
                return None
            self._clear()
            model = await buying.unlock(self.market, self.home, self.stores, offer, out)
            done = await buying.acknowledge(self.market, self.home, offer)
        return Done(done.transaction_id, {"file": str(out), "score": model.score, "price": model.price})

    def _clear(self) -> None:
        """Remove what an agent that was killed has left half-written."""
        for path in self.bought.glob(".*.onnx.*"):
            path.unlink()
        for path in self.bought.glob(".ciphertext.*"):
            shutil.rmtree(path)

    async def _open_dataset(self, task: bytes) -> Done:
        return Done((await buying.open_dataset(self.market, self.home, task)).transaction_id)

    def _tasks(self) -> AsyncIterator[TaskView]:
        return self.market.tasks.listing(self.market.account)

    async def _offers(self) -> AsyncIterator[OfferView]:
        for task in list(self.watch.slots):
            async for offer in self.market.offers.listing(task):
                yield offer

    def _concerns(self, offer: OfferView) -> bool:
        return offer.order.task in self.watch.slots
