"""What an operator owes: reports of its claims, a registration that holds, the deposit of a claim that it failed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.chaincode.protocol.task import Task
from goldengrain.cli import operating
from goldengrain.cli.agents.duty import Done, Duty
from goldengrain.cli.agents.evidence import Evidence
from goldengrain.cli.agents.watch import Watch
from goldengrain.cli.agents.ways import of_offer
from goldengrain.cli.enclave_process import EnclaveHost, EnclaveKeeper
from goldengrain.cli.roster import is_fit
from goldengrain.cli.stores import Stores
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import ClaimView, EnclaveView, OfferView
from goldengrain.network.home import Home
from goldengrain.network.processes import NetworkLock


@dataclass
class Operator:
    """An account with one enclave; ``challenger`` gives the client of another organisation that challenges it.

    ``lease`` is the seconds of its leases, None as ``operating.claim`` has it; ``parallel`` is the jobs that it holds
    at once, no more than its enclave runs at once: a lease that waits for another job would run out. ``evidence`` keeps
    its collateral where a caching service is asked for it; without, the enclave's own serves.
    """

    market: Market
    home: Home
    stores: Stores
    keeper: EnclaveKeeper
    challenger: Callable[[], Awaitable[Market]]
    lease: int | None = None
    parallel: int = 1
    evidence: Evidence | None = None
    host: EnclaveHost | None = None
    _jobs: list[OfferView] = field(default_factory=list)
    _seen: int = -1
    _tried: dict[bytes, int] = field(default_factory=dict)
    _claiming: bool = False

    @cached_property
    def watch(self) -> Watch:
        """The offers that it has claimed."""
        return Watch(self.market, self._offers, self._concerns)

    async def refresh(self) -> None:
        """Ask for what has changed; starts the enclave where it doesn't run."""
        self.host = await self.keeper.host()
        await self.watch.refresh()
        await self._renew_trust()
        if self._seen != self.watch.asked:
            seen = self.watch.asked
            self._jobs = await self._open_jobs() if self._registration else []
            self._seen = seen
        if self.evidence is not None:
            await self.evidence.refresh(self._registration, self.watch.policy)

    def duties(self, now: int) -> list[Duty]:
        """Reports until the lease's end, the registration until it ends, lapses; further claims while there is room."""
        jobs = [duty for offer in self.watch.offers.values() for duty in self._of_offer(offer, now)]
        found = [*self._to_register(now), *jobs]
        registered = self._registration is not None and is_fit(self._registration, self.watch.policy, now)
        held = sum(one.command == "SubmitReport" and not one.is_missed(now) for one in jobs)
        if registered and held < self.parallel and not self.keeper.is_outdated(self.enclave):
            found += self._claims(now)
        if self.evidence is not None:
            found += self.evidence.duties(self.watch.policy.window)
        return found

    @property
    def enclave(self) -> EnclaveHost:
        """The enclave, as of the last ``refresh``."""
        if self.host is None:
            raise AssertionError("`refresh` comes first")
        return self.host

    @property
    def _registration(self) -> EnclaveView | None:
        return next((one for one in self.watch.enclaves if one.id == self.enclave.id), None)

    async def _renew_trust(self) -> None:
        """Start the enclave again where it is to believe another trust bundle, once nothing is claimed for it."""
        if not self.keeper.is_outdated(self.enclave) or self._claiming:
            return
        claims = [one.claim for offer in self.watch.offers.values() for one in offer.claims if self._is_own(one)]
        if not any(one.enclave == self.enclave.id for one in claims):
            self.host, self._seen = await self.keeper.again(), -1

    def _to_register(self, now: int) -> Iterator[Duty]:
        """Return the first registration, or its renewal once three quarters of its time are over."""
        known, policy = self._registration, self.watch.policy
        do = partial(self._register, known)
        if known is None or not is_fit(known, policy, now):
            yield Duty("RegisterEnclave", self.enclave.id, do, what="enclave")
        else:
            due = known.expires - (known.expires - known.registered) // 4
            window = policy.window
            yield Duty(
                "RegisterEnclave", self.enclave.id, do, due=due, until=known.expires, window=window, what="enclave"
            )

    def _of_offer(self, offer: OfferView, now: int) -> Iterator[Duty]:
        task = self.watch.tasks[offer.order.task]
        own = {one.claim.number: one for one in offer.claims if self._is_own(one)}
        for number, one in own.items():
            if one.claim.enclave == self.enclave.id:
                yield Duty(
                    "SubmitReport",
                    offer.id,
                    partial(self._job, offer, number),
                    due=one.claimed,
                    until=one.claim.lease_end,
                    window=task.task.terms.window,
                    number=number,
                    begun=True,
                )
        yield from (one for one in of_offer(self.market, offer, task, now, ("Lapse",)) if one.number in own)

    def _claims(self, now: int) -> list[Duty]:
        """Return a job that may be claimed; nobody owes that, so that it has no end to be warned of.

        The one that was tried least, so that one that is always refused keeps no other waiting; among these, enclaves
        prefer different ones.
        """

        def order(offer: OfferView) -> tuple[int, bytes]:
            return self._tried.get(offer.id, 0), digests.sha256(self.enclave.id + offer.id)

        tasks = self.watch.tasks
        jobs = [one for one in self._jobs if _is_in_time(tasks[one.order.task].task, now)]
        if self._claiming or not jobs:
            return []
        job = min(jobs, key=order)
        return [Duty("Claim", job.id, partial(self._claim, job.id))]

    async def _register(self, before: EnclaveView | None) -> Done:
        async with self.enclave.client() as enclave:
            challenger = await self.challenger()
            evidence = None if self.evidence is None else self.evidence.of
            made = await operating.register(self.market, challenger, self.home, enclave, evidence)
        facts = {"expires": made.expires, "simulated": made.simulated, "renewed": before is not None}
        return Done(made.committed[-1].transaction_id, facts)

    async def _claim(self, offer: bytes) -> Done:
        self._tried[offer] = self._tried.get(offer, 0) + 1
        self._claiming = True
        try:
            made = await operating.claim(self.market, self.home, self.enclave.id, offer, self.lease)
        finally:
            self._claiming = False
        return Done(made.committed.transaction_id, {"claim": made.number, "lease_end": made.lease_end})

    async def _job(self, offer: OfferView, number: int) -> Done | None:
        """Run a job and hand its report in; None while other agents run as many on this enclave as it takes."""
        host = self.enclave
        with self._place(host) as free:
            if not free:
                return None
            self._clear(host)
            job = operating.Job.of(offer, await self.watch.task_of(offer), number)
            async with host.client() as enclave:
                report = await operating.run(self.market, self.stores, enclave, host.exchange, job)
            done = await operating.submit(self.market, self.home, job, report)
        return Done(done.transaction_id, {"claim": number, "state": done.answer["state"]})

    @contextmanager
    def _place(self, host: EnclaveHost) -> Iterator[bool]:
        """Hold one of the enclave's places, told apart by locks; False where all are taken."""
        for place in range(self.parallel):
            with NetworkLock(host.exchange.parent / ("job.lock" if not place else f"job-{place}.lock")) as lock:
                if lock.acquire():
                    yield True
                    return
        yield False

    def _clear(self, host: EnclaveHost) -> None:
        """Remove the files of jobs that are no longer claimed: an agent was killed over them."""
        held = [f"{one.id.hex()}-{claim.claim.number}" for one in self.watch.offers.values() for claim in one.claims]
        for stale in host.exchange.iterdir():
            if stale.stem not in held:
                stale.unlink(missing_ok=True)

    async def _open_jobs(self) -> list[OfferView]:
        found = [one async for one in self.market.offers.open_jobs(self.enclave.id)]
        for offer in found:
            await self.watch.task_of(offer)
        return found

    async def _offers(self) -> AsyncIterator[OfferView]:
        async for offer in self.market.offers.listing(state=OfferState.CLAIMED):
            if self._concerns(offer):
                yield offer

    def _concerns(self, offer: OfferView) -> bool:
        return any(self._is_own(one) for one in offer.claims)

    def _is_own(self, claim: ClaimView) -> bool:
        return claim.state == "open" and claim.claim.operator == self.market.account


def _is_in_time(task: Task, now: int) -> bool:
    return now + task.terms.window <= task.last_report
