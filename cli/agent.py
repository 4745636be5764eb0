"""An operator's agent: takes what jobs it can for its enclave, one after another, until it is told to stop.

A job that fails for the host (nothing signed, lease over) leaves its claim to lapse; the agent says so and continues.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from goldengrain.chaincode.protocol.errors import Conflict, GoldenGrainError
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.cli import operating
from goldengrain.cli.enclave_process import EnclaveHost
from goldengrain.cli.stores import Stores
from goldengrain.enclave.client import EnclaveClient
from goldengrain.enclave.errors import EnclaveUnreachable
from goldengrain.gateway.errors import EvaluateError, EventsError
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.market import Market
from goldengrain.gateway.streams import EventStream
from goldengrain.network.home import Home

LOOK_S = 2.0
"""Seconds between looks at the ledger while no event comes."""


@dataclass(frozen=True)
class JobDone:
    """What became of a job: the offer's new state and the report's transaction, or the error that stopped it.

    There is no score in it: that of a declined offer is nobody's business.
    """

    offer: bytes
    claim: int | None = None
    state: OfferState | None = None
    transaction: str | None = None
    error: GoldenGrainError | None = None


@dataclass(frozen=True)
class Agent:
    """An operator's identity, its enclave, and the seconds of its leases (None: as ``operating.claim`` has it)."""

    market: Market
    home: Home
    stores: Stores
    host: EnclaveHost
    lease: int | None = None

    async def work(self, stop: asyncio.Event) -> AsyncIterator[JobDone | None]:
        """Claim and run jobs until ``stop``; yields each when it is over, None whenever there is nothing to do.

        Raises:
            EnclaveUnreachable: where the enclave is gone.

        """
        given_up: set[bytes] = set()
        async with self.host.client() as enclave, self.market.events(await self.market.network.height()) as events:
            while not stop.is_set():
                offers = [one for one in await self._offers() if one not in given_up]
                for offer in offers:
                    given_up.add(offer)
                    if not stop.is_set() and (done := await self._job(enclave, offer)) is not None:
                        yield done
                if not offers:
                    yield None
                    await _pause(events, stop)

    async def _offers(self) -> list[bytes]:
        """Ids of the offers that may be claimed; none while the peer is out of reach."""
        try:
            return [one.id async for one in operating.open_jobs(self.market, self.home, self.host.id)]
        except EvaluateError:
            return []

    async def _job(self, enclave: EnclaveClient, offer: bytes) -> JobDone | None:
        """Run one offer; None where another operator was faster."""
        try:
            claimed = await operating.claim(self.market, self.home, self.host.id, offer, self.lease)
        except Conflict:
            return None
        except GoldenGrainError as error:
            return JobDone(offer, error=error)
        try:
            report = await operating.run(self.market, self.stores, enclave, self.host.exchange, claimed)
            done = await operating.submit(self.market, self.home, claimed, report)
        except EnclaveUnreachable:
            raise
        except GoldenGrainError as error:
            return JobDone(offer, claimed.number, error=error)
        return JobDone(offer, claimed.number, OfferState(done.answer["state"]), done.transaction_id)


async def _pause(events: EventStream[ChaincodeEvent], stop: asyncio.Event) -> None:
    """Return when the contract announces something, when ``stop`` is set, or after a while."""
    waits = [asyncio.ensure_future(_announced(events)), asyncio.ensure_future(stop.wait())]
    _, pending = await asyncio.wait(waits, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def _announced(events: EventStream[ChaincodeEvent]) -> None:
    """Wait for an event; a broken stream only means to look again in a while."""
    try:
        async for _ in events:
            return
    except EventsError:
        pass
    await asyncio.sleep(LOOK_S)
