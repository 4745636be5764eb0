"""Collateral of an operator's enclave: asked of a caching service every day, brought to the ledger before the old ends.

===============  ===================================================================================================
duty             what it does, and when
===============  ===================================================================================================
FetchCollateral  asks the service, daily by the ledger's time: whether it answers, whether platforms are rated anew
PutCollateral    stores newer collateral, from two thirds of the stored one's time on, or at once at a TCB recovery
===============  ===================================================================================================

A service that is out of reach, or that gives what does not verify or what the ledger has already, is a failure that is
told and tried again, ever more rarely; the enclave works on while what is stored is good. Registrations are renewed by
the operator's own duty, with what was fetched last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dcap_qvl

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.collateral import Collateral, examine
from goldengrain.chaincode.protocol.errors import CollateralNotFound, GoldenGrainError, QuoteMalformed, QuoteRootUnknown
from goldengrain.chaincode.protocol.evidence import Tee, tee_of
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.chaincode.protocol.quotes import inspect_quote
from goldengrain.cli.agents.duty import Done, Duty
from goldengrain.cli.errors import FileRefused
from goldengrain.enclave.verify import INTEL, root_certificate
from goldengrain.gateway.collateral import Warned, outlook
from goldengrain.gateway.collateral.cache import Cache
from goldengrain.gateway.errors import PccsStale
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import EnclaveView
from goldengrain.network.home import write_atomically

LOOK_S = 86_400
"""Seconds of ledger time between two looks at what the service gives."""
RETRY_S = (1.0, 4.0, 15.0, 60.0, 300.0)

Quoting = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True)
class Platform:
    """What collateral is for: a kind of platform and a TEE, under a root."""

    root: AttestationRoot
    fmspc: bytes
    tee: Tee


@dataclass
class Evidence:
    """Keeps the collateral of one enclave's platform.

    ``cache_of`` gives the cache of what is signed under a root, ``quoting`` a quote of the enclave. ``file`` is where
    its host keeps collateral, None where it needs none.
    """

    market: Market
    clock: LedgerClock
    cache_of: Callable[[AttestationRoot], Cache]
    quoting: Quoting
    file: Path | None = None
    newest: Collateral | None = None
    stored: Collateral | None = None
    platform: Platform | None = None
    _looked: int | None = None
    _known: str = ""

    async def refresh(self, known: EnclaveView | None, policy: Policy) -> None:
        """Ask the ledger what is stored for a registered enclave, whenever its registration is another."""
        root = None if known is None else policy.root(known.root)
        if known is None or root is None or known.transaction == self._known:
            return
        if self.platform is None:
            self.platform = Platform(root, known.fmspc, tee_of(await self.quoting()))
        await self._ask_ledger(self.platform)
        self._known = known.transaction

    def duties(self, window: int) -> Iterator[Duty]:
        """Return what is owed for a registered enclave's collateral."""
        if self.platform is None or self.stored is None:
            return
        now, about = self.clock.now(), self.platform.fmspc
        due = 0 if self._looked is None else self._looked + LOOK_S
        yield Duty("FetchCollateral", about, self._fetch, due=due, what="collateral", retry=RETRY_S)
        view = outlook(self.stored, now, self.newest)
        life = self.stored.expires - self.stored.issued
        due = 0 if Warned.TCB_RECOVERY in view.warnings else self.stored.issued + life * 2 // 3
        until = self.stored.expires if now <= self.stored.expires - window else None
        yield Duty(
            "PutCollateral", about, self._put, due=due, until=until, window=window, what="collateral", retry=RETRY_S
        )

    async def renew_file(self) -> None:
        """Write the host's own collateral anew where it has run out: without it no enclave is believed.

        Raises FileRefused where the file can't be read, and what the service raises.
        """
        if self.file is None:
            return
        try:
            text = self.file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise FileRefused(f"{self.file} cannot be read: {error}") from error
        root = AttestationRoot(root_certificate(INTEL, text))
        kept = examine(text, root.certificate)
        if outlook(kept, self.clock.now()).left < 0:
            found = await self._asked(Platform(root, kept.fmspc, kept.tee), anew=True)
            write_atomically(self.file, found.text.encode())

    async def of(self, quote: bytes, policy: Policy) -> str:
        """Return the service's collateral for a quote, under whichever root of the policy it verifies.

        Raises the service's errors and those of what it gave, where there is none.
        """
        tee, refusal = tee_of(quote), None
        try:
            fmspc = bytes.fromhex(dcap_qvl.parse_quote(quote).fmspc())
        except ValueError as error:
            raise QuoteMalformed("the enclave's quote holds no PCK certificate chain; look at its source") from error
        for root in policy.roots:
            try:
                found = await self._asked(Platform(root, fmspc, tee), anew=self.newest is None)
            except GoldenGrainError as error:
                refusal = error
            else:
                self.newest = found
                return found.text
        raise refusal or QuoteRootUnknown("the policy accepts no attestation root")

    async def _fetch(self) -> Done:
        platform, stored = self._require()
        newest = await self._asked(platform, anew=True)
        self.newest, self._looked = newest, self.clock.now()
        if self.file is not None:
            write_atomically(self.file, newest.text.encode())
        facts = {"evaluation": newest.tcb_evaluation, "expires": newest.expires}
        return Done(None, facts, await self._warning(platform, stored, newest))

    async def _put(self) -> Done | None:
        """Store what is newer; None where somebody else was faster."""
        platform, _ = self._require()
        newest = await self._asked(platform, anew=True)
        stored = await self._ask_ledger(platform)
        if stored is not None and newest.expires <= stored.expires:
            view = outlook(stored, self.clock.now(), newest)
            if Warned.TCB_RECOVERY not in view.warnings:
                if view.due:
                    raise PccsStale("the service gives nothing that ends later than the ledger's; ask whoever runs it")
                return None
        done = await self.market.enclaves.put_collateral(platform.root.id, newest.text)
        self.newest = newest
        await self._ask_ledger(platform)
        return Done(done.transaction_id, {"evaluation": newest.tcb_evaluation, "expires": newest.expires})

    async def _asked(self, platform: Platform, *, anew: bool) -> Collateral:
        """Ask the service through the cache. Raises its failure, even where what is kept is good."""
        cache = self.cache_of(platform.root)
        ask, root = cache.get, platform.root.certificate
        found = await asyncio.to_thread(ask, platform.fmspc, platform.tee, root, self.clock.now(), anew=anew)
        if anew and cache.failure is not None:
            raise cache.failure
        return found

    async def _ask_ledger(self, platform: Platform) -> Collateral | None:
        try:
            view = await self.market.enclaves.collateral(platform.root.id, platform.fmspc, platform.tee)
        except CollateralNotFound:
            self.stored = None
        else:
            self.stored = examine(view.text, platform.root.certificate)
        return self.stored

    async def _warning(self, platform: Platform, stored: Collateral, newest: Collateral) -> str:
        """What somebody has to be told of the service's collateral beside the ledger's; empty: nothing."""
        now = self.clock.now()
        warnings = outlook(stored, now, newest).warnings
        if Warned.TCB_RECOVERY in warnings:
            verdict = inspect_quote(await self.quoting(), newest.text, platform.root.certificate, now)
            return (
                f"{Warned.TCB_RECOVERY}: platforms are rated anew (evaluation {stored.tcb_evaluation} to "
                f"{newest.tcb_evaluation}); this machine is {verdict.status} by it, which its next registration is "
                "judged by"
            )
        return ", ".join(f"{one}: the ledger's collateral ends at {stored.expires}" for one in warnings)

    def _require(self) -> tuple[Platform, Collateral]:
        if self.platform is None or self.stored is None:
            raise AssertionError("`refresh` comes first")
        return self.platform, self.stored
