"""Tasks: what providers want to buy (protocol sections 5 and 7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from goldengrain.chaincode.protocol.commands import OpenDataset, OpenTask, RefundSlot, ShutTask, SlashAudit
from goldengrain.chaincode.protocol.queries import GetSlots, GetTask, Leaderboard, ListTasks
from goldengrain.chaincode.protocol.tables import SlotState
from goldengrain.chaincode.protocol.task import Task
from goldengrain.gateway.market.calls import Caller, Committed
from goldengrain.gateway.market.coins import Purse
from goldengrain.gateway.market.handles import OpenedTask
from goldengrain.gateway.market.views import OfferView, SlotView, TaskView, read


class Tasks:
    """``market.tasks``."""

    def __init__(self, caller: Caller, purse: Purse) -> None:
        self._caller = caller
        self._purse = purse

    async def preview(self, opening: OpenTask) -> Task:
        """Return the task that an opening makes under the policy in force: its digest is needed to seal the test set.

        Raises what a task that can't be is refused with.
        """
        policy = await self._caller.policy()
        return opening.task(self._caller.network.channel, self._caller.contract_name, self._caller.account, policy)

    async def open(self, opening: OpenTask) -> OpenedTask:
        """Open a task; coins for slots and audit bond are chosen here, whatever ``opening.coins`` says.

        Raises InsufficientCoins.
        """
        task = await self.preview(opening)
        due = task.budget + task.audit_bond
        done = await self._purse.pay(due, lambda coins: self._caller.send(replace(opening, coins=coins)))
        return OpenedTask(self, bytes.fromhex(done.answer["task"]), done)

    async def shut(self, task: bytes) -> Committed:
        """Take no further offers; the provider."""
        return await self._caller.send(ShutTask(task))

    async def refund_slot(self, task: bytes, slot: int) -> Committed:
        """Return a free slot's amount to the provider; anyone, after B + G."""
        return await self._caller.send(RefundSlot(task, slot))

    async def open_dataset(self, task: bytes, key: bytes) -> Committed:
        """Publish the test set's key; the provider, between B + G and A."""
        return await self._caller.send(OpenDataset(task, key))

    async def slash_audit(self, task: bytes) -> Committed:
        """Send the audit bond of an unopened test set to the treasury; anyone, after A + G."""
        return await self._caller.send(SlashAudit(task))

    async def get(self, task: bytes) -> TaskView:
        """Return a task and what has become of it."""
        return read(TaskView, await self._caller.ask(GetTask(task)))

    async def listing(self, provider: bytes | None = None, taking_offers: bool = False) -> AsyncIterator[TaskView]:
        """Yield all tasks or a provider's; with ``taking_offers`` only those whose S is to come."""
        async for item in self._caller.pages(lambda mark: ListTasks(provider, taking_offers, bookmark=mark)):
            yield read(TaskView, item)

    async def leaderboard(self, task: bytes) -> AsyncIterator[OfferView]:
        """Yield what passed in a task, the highest scores first."""
        async for item in self._caller.pages(lambda mark: Leaderboard(task, bookmark=mark)):
            yield read(OfferView, item)

    async def slots(self, task: bytes) -> list[SlotView]:
        """Return the slots of a task's budget."""
        return [read(SlotView, item) for item in (await self._caller.ask(GetSlots(task)))["items"]]

    async def free_slots(self, task: bytes) -> list[int]:
        """Return the numbers of the slots that a claim may take."""
        return [one.index for one in await self.slots(task) if one.state is SlotState.FREE]
