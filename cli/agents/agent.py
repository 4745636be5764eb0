"""The loop of every agent: look, do what is due, say what goes wrong, warn before a deadline, wait for news."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.cli.agents.duty import Done, Duty, Kind, Notice
from goldengrain.cli.agents.watch import Watch
from goldengrain.cli.errors import FileRefused
from goldengrain.gateway.errors import GatewayError

LOOK_S = 1.0
"""Seconds between looks at the ledger's clock while no event comes."""
FULL_LOOK_S = 600.0
"""Seconds after which everything is asked for anew, events or not."""
RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds after each failure in a row until a duty is tried again."""
AT_ONCE = 4
"""Duties that are done side by side, unless an agent is told to do more."""

Key = tuple[str, bytes, int | None]


class Side(Protocol):
    """A side of the market."""

    @property
    def watch(self) -> Watch:
        """What it sees of the market."""
        ...

    async def refresh(self) -> None:
        """Ask the peer for what has changed. Raises GatewayError where it is out of reach."""
        ...

    def duties(self, now: int) -> list[Duty]:
        """Return what is owed at a ledger time, due now or later, by what is known."""
        ...


@dataclass
class _Attempt:
    """A duty that could not be done: how often, when it is tried again (monotonic seconds), what was said of it."""

    count: int = 0
    again: float = 0.0
    error: GoldenGrainError | None = None
    said: str | None = None


@dataclass
class Agent:
    """Does what a side owes, ``at_once`` duties side by side. ``say`` gets every notice."""

    side: Side
    clock: LedgerClock
    say: Callable[[Notice], None]
    at_once: int = AT_ONCE
    counts: dict[Kind, int] = field(default_factory=dict)
    _running: dict[Key, asyncio.Task[None]] = field(default_factory=dict)
    _attempts: dict[Key, _Attempt] = field(default_factory=dict)
    _warned: set[tuple[Kind, Key]] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _known: bool = False
    _unreachable: GoldenGrainError | None = None
    _fault: Exception | None = None

    async def work(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; what has begun is ended first."""
        self._tell(Kind.STARTED)
        listening = asyncio.create_task(self._listen())
        full = time.monotonic() + FULL_LOOK_S
        try:
            while not stop.is_set():
                self._news.clear()
                if time.monotonic() >= full:
                    full = time.monotonic() + FULL_LOOK_S
                    self.side.watch.doubt()
                self._begin(await self._look())
                await self._pause(stop)
                self._require_whole()
            self._tell(Kind.DRAINING)
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            self._begin(one for one in await self._look() if one.begun)  # a claim was the last thing that was done
        finally:
            listening.cancel()
            await asyncio.gather(listening, *self._running.values(), return_exceptions=True)
        self._tell(Kind.STOPPED)

    async def once(self) -> list[Duty]:
        """Do what is due, each thing once, and return what is left: what failed, and what is due later.

        Raises the gateway's errors where the peer cannot be asked.
        """
        tried: set[Key] = set()
        while True:
            await self.side.refresh()
            self._known = True
            duties = self._judged(self.clock.now())
            tried.update(self._begin(one for one in duties if one.key not in tried))
            if not self._running:
                return duties
            await asyncio.gather(*self._running.values())
            self._require_whole()

    @property
    def idle(self) -> bool:
        """Whether it has looked at the ledger, and is doing nothing."""
        return self._known and not self._running

    async def _look(self) -> list[Duty]:
        """Return the duties of now; by what was known before, where peer or enclave are out of reach."""
        try:
            await self.side.refresh()
        except GoldenGrainError as error:
            if self._unreachable is None or self._unreachable.code != error.code:
                self._tell(Kind.FAILED, error=error)
            self._unreachable = error
        else:
            self._known, self._unreachable = True, None
        return self._judged(self.clock.now()) if self._known else []

    def _judged(self, now: int) -> list[Duty]:
        """Return the duties of a time, the most urgent first, having said what there is to say of them."""
        duties = sorted(self.side.duties(now), key=lambda one: (one.last is None, one.last or 0))
        owed = {one.key for one in duties}
        for key in [one for one in self._attempts if one not in owed and one not in self._running]:
            del self._attempts[key]  # done by somebody else, or not owed any more
        for duty in duties:
            self._judge(duty, now)
        return duties

    def _judge(self, duty: Duty, now: int) -> None:
        attempt = self._attempts.get(duty.key)
        if attempt is not None and attempt.error is not None and attempt.said != attempt.error.code:
            attempt.said = attempt.error.code
            self._tell(Kind.FAILED, duty, error=attempt.error)
        if now < duty.due:
            return
        if duty.is_missed(now):
            self._warn(Kind.MISSED, duty, attempt)
        elif duty.is_pressing(now):
            self._warn(Kind.WARNING, duty, attempt)

    def _warn(self, kind: Kind, duty: Duty, attempt: _Attempt | None) -> None:
        if (kind, duty.key) not in self._warned:
            self._warned.add((kind, duty.key))
            self._tell(kind, duty, error=attempt.error if attempt else None)

    def _begin(self, duties: Iterable[Duty]) -> list[Key]:
        """Start what is due, not begun and not waiting for another attempt; returns what was started."""
        now, seconds, begun = self.clock.now(), time.monotonic(), []
        for duty in duties:
            if len(self._running) >= self.at_once:
                break
            attempt = self._attempts.get(duty.key)
            waits = attempt is not None and seconds < attempt.again
            if now >= duty.due and not duty.is_missed(now) and duty.key not in self._running and not waits:
                self._running[duty.key] = asyncio.create_task(self._do(duty))
                begun.append(duty.key)
        return begun

    async def _do(self, duty: Duty) -> None:
        try:
            done = await duty.do()
        except GoldenGrainError as error:
            self._put_off(duty, error)
        except OSError as error:
            self._put_off(duty, FileRefused(f"{error.filename or 'a file'}: {error.strerror or error}"))
        except Exception as error:  # noqa: BLE001 - a fault of ours: it ends the agent, from the loop
            self._fault = error
        else:
            if done is None:
                self._put_off(duty, None)
            else:
                self._attempts.pop(duty.key, None)
                self._tell(Kind.DONE, duty, done)
                if done.warning:
                    self._tell(Kind.WARNING, duty, text=done.warning)
        finally:
            self.side.watch.doubt_one(duty.what, duty.about)
            del self._running[duty.key]
            self._news.set()

    def _require_whole(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _put_off(self, duty: Duty, error: GoldenGrainError | None) -> None:
        """Try again later. A refusal may only mean that somebody else was faster: the next look tells."""
        attempt = self._attempts.setdefault(duty.key, _Attempt())
        attempt.error = error
        waits = duty.retry or RETRY_S
        attempt.again = time.monotonic() + waits[min(attempt.count, len(waits) - 1)]
        attempt.count += 1

    async def _listen(self) -> None:
        """Take in the contract's events; where the stream breaks, everything is asked for anew."""
        watch = self.side.watch
        while True:
            try:
                height = await watch.market.network.height()
                async with watch.market.events(height) as events:
                    watch.doubt()
                    self._news.set()
                    async for event in events:
                        watch.note(event.payload)
                        self._news.set()
            except GatewayError:
                pass
            await asyncio.sleep(LOOK_S)

    async def _pause(self, stop: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(stop.wait())]
        await asyncio.wait(waits, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    def _tell(
        self,
        kind: Kind,
        duty: Duty | None = None,
        done: Done | None = None,
        error: GoldenGrainError | None = None,
        text: str = "",
    ) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.say(Notice(kind, self.clock.now(), duty, done, error, text))
