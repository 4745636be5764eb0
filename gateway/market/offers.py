"""Offers: from a sealed model to the money (protocol sections 5 and 6)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

from goldengrain.chaincode.protocol.commands import (
    Acknowledge,
    AwardOffer,
    Claim,
    Expire,
    Forfeit,
    Lapse,
    Receipt,
    Reveal,
    Rewrap,
    SubmitOffer,
    SubmitReport,
    WithdrawOffer,
)
from goldengrain.chaincode.protocol.errors import SlotTaken
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.queries import GetOffer, JobTicket, ListOffers, ListOpenJobs
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.chaincode.protocol.task import Award
from goldengrain.gateway.market.calls import Caller, Committed, with_some_of
from goldengrain.gateway.market.coins import Purse
from goldengrain.gateway.market.handles import SubmittedOffer
from goldengrain.gateway.market.tasks import Tasks
from goldengrain.gateway.market.views import OfferView, read
from goldengrain.gateway.market.waiting import DECIDED, wait_for_state
from goldengrain.gateway.transaction import Transaction

SLOT_ATTEMPTS = 8


class Offers:
    """``market.offers``."""

    def __init__(self, caller: Caller, purse: Purse, tasks: Tasks) -> None:
        self._caller = caller
        self._purse = purse
        self._tasks = tasks
        self._random = random.SystemRandom()

    # --- the developer's side

    async def submit(self, offer: SubmitOffer) -> SubmittedOffer:
        """Offer a sealed model; coins for bond and benchmark fee are chosen here, whatever ``offer.coins`` says.

        Raises InsufficientCoins.
        """
        task = (await self._tasks.get(offer.task)).task
        due = offer.bond + task.benchmark_fee
        done = await self._purse.pay(due, lambda coins: self._caller.send(replace(offer, coins=coins)))
        return SubmittedOffer(self, bytes.fromhex(done.answer["offer"]), done)

    async def withdraw(self, offer: bytes) -> Committed:
        """Take an offer back before a receipt."""
        return await self._caller.send(WithdrawOffer(offer))

    async def rewrap(self, offer: bytes, envelopes: Sequence[EnvelopeDigest]) -> Committed:
        """Add envelopes for further enclaves, before a claim."""
        return await self._caller.send(Rewrap(offer, tuple(envelopes)))

    async def reveal(self, offer: bytes, secret: bytes, organizations: Sequence[str] | None = None) -> Committed:
        """Publish r and be paid.

        It is endorsed by k organisations other than the provider's (or by ``organizations``), since until it is ordered
        the secret is nobody's business, least of all the provider's.
        """
        if organizations is not None:
            return await self._caller.send(Reveal(offer, secret), organizations)
        task = await self._tasks.get((await self.get(offer)).order.task)
        policy = await self._caller.policy()
        others = self._own_first(one for one in policy.organizations if one != task.provider_msp)
        return await with_some_of(
            others, policy.required, lambda chosen: self._caller.send(Reveal(offer, secret), chosen)
        )

    # --- the provider's side

    async def receipt(self, offer: bytes) -> Committed:
        """State that the caller's organisation holds the ciphertext, fetched and hashed."""
        return await self._caller.send(Receipt(offer))

    async def acknowledge(self, offer: bytes) -> Committed:
        """Confirm that the key could be read; r and the locked key leave the state."""
        return await self._caller.send(Acknowledge(offer))

    # --- the operator's side

    async def claim(self, offer: bytes, enclave: bytes, lease: int) -> Committed:
        """Claim an offer for an enclave, ``lease`` seconds from now; ``answer["claim"]`` is the claim's number.

        The coins for the deposit are chosen here; so is, for award ``each``, a free slot at random. Where another claim
        took that one meanwhile, a further one is tried.
        """
        view = await self.get(offer)
        task = (await self._tasks.get(view.order.task)).task
        for remaining in reversed(range(SLOT_ATTEMPTS)):
            slot = await self._slot(view) if task.award is Award.EACH else None
            try:
                return await self._purse.pay(
                    task.terms.deposit,
                    lambda coins, slot=slot: self._caller.send(  # type: ignore[misc]
                        Claim(offer, enclave, lease, coins, slot)
                    ),
                )
            except SlotTaken:
                if not remaining:
                    raise
        raise AssertionError("unreachable")

    async def _slot(self, offer: OfferView) -> int:
        if offer.slot is not None:
            return offer.slot
        free = await self._tasks.free_slots(offer.order.task)
        if not free:
            raise SlotTaken("the task has no free slot; wait until one is, or until the offer expires")
        return self._random.choice(free)

    async def job_ticket(
        self, offer: bytes, claim: int, enclave: bytes, nonce: bytes, organizations: Sequence[str] | None = None
    ) -> Transaction:
        """Return the endorsed transaction that an enclave takes as its job ticket (``.envelope``); it is not submitted.

        Peers of k organisations endorse it (or of exactly ``organizations``). ``nonce`` is the enclave's.
        """
        ticket = JobTicket(offer, claim, enclave, nonce)
        if organizations is not None:
            return await self._caller.endorse(ticket, organizations)
        policy = await self._caller.policy()
        members = self._own_first(policy.organizations)
        return await with_some_of(members, policy.required, lambda chosen: self._caller.endorse(ticket, chosen))

    async def report(self, report: SubmitReport) -> Committed:
        """Hand in an enclave's signed result; ``answer["state"]`` is the offer's new state."""
        return await self._caller.send(report)

    # --- ways out, for anyone

    async def lapse(self, offer: bytes, claim: int) -> Committed:
        """End a claim whose lease went by."""
        return await self._caller.send(Lapse(offer, claim))

    async def expire(self, offer: bytes) -> Committed:
        """End an offer that B overtook undecided."""
        return await self._caller.send(Expire(offer))

    async def award(self, offer: bytes) -> Committed:
        """Lock the price of an offer that leads a slot of a ``best`` task."""
        return await self._caller.send(AwardOffer(offer))

    async def forfeit(self, offer: bytes) -> Committed:
        """End a lock that was not revealed in time."""
        return await self._caller.send(Forfeit(offer))

    # --- queries

    async def get(self, offer: bytes) -> OfferView:
        """Return an offer with its claims."""
        return read(OfferView, await self._caller.ask(GetOffer(offer)))

    async def wait(
        self,
        offer: bytes,
        states: Collection[OfferState] = DECIDED,
        timeout: float = 60.0,  # noqa: ASYNC109 - the error names what was waited for
    ) -> OfferView:
        """Wait until an offer is in one of the states (default: until it is decided one way or the other).

        Looks at the ledger whenever the contract announces something about the offer. An offer that is not there yet
        is waited for too. Raises WaitInVain as soon as the offer can come to none of them any more, WaitTimeout after
        ``timeout`` seconds.
        """
        return await wait_for_state(self._caller, partial(self._look, offer), offer, states, timeout)

    async def listing(
        self, task: bytes | None = None, developer: bytes | None = None, state: OfferState | None = None
    ) -> AsyncIterator[OfferView]:
        """Yield the offers of a task, of a developer, or all; in any state or in one."""
        async for item in self._caller.pages(lambda mark: ListOffers(task, developer, state, bookmark=mark)):
            yield read(OfferView, item)

    async def open_jobs(self, enclave: bytes | None = None) -> AsyncIterator[OfferView]:
        """Yield the offers that wait for an enclave, or those that this one may claim. Raises EnclaveNotFound."""
        async for item in self._caller.pages(lambda mark: ListOpenJobs(enclave, bookmark=mark)):
            yield read(OfferView, item)

    async def _look(self, offer: bytes) -> OfferView:
        return read(OfferView, await self._caller.ask(GetOffer(offer), patient=False))

    def _own_first(self, organizations: Iterable[str]) -> list[str]:
        """Put the caller's own organisation first: its peer is the gateway, and is up if anything works."""
        own = self._caller.identity.msp_id
        return sorted(organizations, key=lambda one: (one != own, one))
