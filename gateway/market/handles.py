"""A task and an offer to act on: what ``market.tasks`` and ``market.offers`` do, with the id kept.

::

    task = await market.tasks.open(opening)      # or market.task(id)
    offer = await market.offers.submit(sealed)   # or market.offer(id)
    view = await offer.wait({OfferState.LOCKED})
    await offer.reveal(secret)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.market.calls import Committed
from goldengrain.gateway.market.views import OfferView, SlotView, TaskView
from goldengrain.gateway.market.waiting import DECIDED
from goldengrain.gateway.transaction import Transaction

if TYPE_CHECKING:
    from goldengrain.gateway.market.offers import Offers
    from goldengrain.gateway.market.tasks import Tasks


@dataclass(frozen=True)
class TaskHandle:
    """A task by its id."""

    tasks: Tasks
    id: bytes

    async def get(self) -> TaskView:
        """Return the task and what has become of it."""
        return await self.tasks.get(self.id)

    async def slots(self) -> list[SlotView]:
        """Return the slots of its budget."""
        return await self.tasks.slots(self.id)

    def leaderboard(self) -> AsyncIterator[OfferView]:
        """Return what passed, the highest scores first."""
        return self.tasks.leaderboard(self.id)

    async def shut(self) -> Committed:
        """Take no further offers; the provider."""
        return await self.tasks.shut(self.id)

    async def refund_slot(self, slot: int) -> Committed:
        """Return a free slot's amount to the provider; anyone, after B + G."""
        return await self.tasks.refund_slot(self.id, slot)

    async def open_dataset(self, key: bytes) -> Committed:
        """Publish the test set's key; the provider, between B + G and A."""
        return await self.tasks.open_dataset(self.id, key)

    async def slash_audit(self) -> Committed:
        """Send the audit bond of an unopened test set to the treasury; anyone, after A + G."""
        return await self.tasks.slash_audit(self.id)


@dataclass(frozen=True)
class OpenedTask(TaskHandle):
    """A task that was just opened, and the transaction that did it."""

    committed: Committed


@dataclass(frozen=True)
class OfferHandle:
    """An offer by its id."""

    offers: Offers
    id: bytes

    async def get(self) -> OfferView:
        """Return the offer with its claims."""
        return await self.offers.get(self.id)

    async def wait(
        self,
        states: Collection[OfferState] = DECIDED,
        timeout: float = 60.0,  # noqa: ASYNC109 - the error names what was waited for
    ) -> OfferView:
        """Wait until it is in one of the states (default: until it is decided). Raises WaitInVain, WaitTimeout."""
        return await self.offers.wait(self.id, states, timeout)

    async def withdraw(self) -> Committed:
        """Take it back before a receipt."""
        return await self.offers.withdraw(self.id)

    async def rewrap(self, envelopes: Sequence[EnvelopeDigest]) -> Committed:
        """Add envelopes for further enclaves, before a claim."""
        return await self.offers.rewrap(self.id, envelopes)

    async def reveal(self, secret: bytes, organizations: Sequence[str] | None = None) -> Committed:
        """Publish r and be paid."""
        return await self.offers.reveal(self.id, secret, organizations)

    async def receipt(self) -> Committed:
        """State that the caller's organisation holds the ciphertext, fetched and hashed."""
        return await self.offers.receipt(self.id)

    async def acknowledge(self) -> Committed:
        """Confirm that the key could be read; r and the locked key leave the state."""
        return await self.offers.acknowledge(self.id)

    async def claim(self, enclave: bytes, lease: int) -> Committed:
        """Claim it for an enclave, ``lease`` seconds from now; ``answer["claim"]`` is the claim's number."""
        return await self.offers.claim(self.id, enclave, lease)

    async def job_ticket(
        self, claim: int, enclave: bytes, nonce: bytes, organizations: Sequence[str] | None = None
    ) -> Transaction:
        """Return the endorsed transaction that an enclave takes as its job ticket; it is not submitted."""
        return await self.offers.job_ticket(self.id, claim, enclave, nonce, organizations)

    async def lapse(self, claim: int) -> Committed:
        """End a claim whose lease went by."""
        return await self.offers.lapse(self.id, claim)

    async def expire(self) -> Committed:
        """End it once B overtook it undecided."""
        return await self.offers.expire(self.id)

    async def award(self) -> Committed:
        """Lock its price where it leads a slot of a ``best`` task."""
        return await self.offers.award(self.id)

    async def forfeit(self) -> Committed:
        """End a lock that was not revealed in time."""
        return await self.offers.forfeit(self.id)


@dataclass(frozen=True)
class SubmittedOffer(OfferHandle):
    """An offer that was just sent, and the transaction that did it."""

    committed: Committed
