"""The agents' loop: what is due is done, failures are told once and tried again, deadlines warned of in good time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from goldengrain.chaincode.protocol.errors import AlreadyStored
from goldengrain.cli.agents import agent as loop
from goldengrain.cli.agents.agent import Agent
from goldengrain.cli.agents.duty import Done, Duty, Kind, Notice
from goldengrain.cli.errors import SecretMissing
from goldengrain.gateway.errors import EvaluateError, EventsError

W = 20
OFFER = b"o" * 32


class Stream:
    """Events that a test sends; an exception breaks the stream."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.opened = 0

    async def __aenter__(self) -> Stream:
        self.opened += 1
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        event = await self.queue.get()
        if isinstance(event, Exception):
            raise event
        return SimpleNamespace(payload=event)


@dataclass
class Watched:
    """Stands for what a side sees: notes what it is told to ask for anew."""

    stream: Stream = field(default_factory=Stream)
    noted: list[bytes] = field(default_factory=list)
    doubts: int = 0

    @property
    def market(self) -> Any:
        async def height() -> int:
            return 1

        return SimpleNamespace(network=SimpleNamespace(height=height), events=lambda start: self.stream)

    def note(self, payload: bytes) -> None:
        self.noted.append(payload)

    def doubt(self) -> None:
        self.doubts += 1

    def doubt_one(self, what: str, about: bytes) -> None: ...


@dataclass
class OneSide:
    """A side that owes what a test says; its ledger may be out of reach."""

    owed: list[Duty] = field(default_factory=list)
    watch: Any = field(default_factory=Watched)
    unreachable: bool = False
    looks: int = 0

    async def refresh(self) -> None:
        self.looks += 1
        if self.unreachable:
            raise EvaluateError("no peer answers")

    def duties(self, now: int) -> list[Duty]:
        return list(self.owed)


@dataclass
class Clock:
    at: int = 1_000

    def now(self) -> int:
        return self.at


@dataclass
class Stand:
    side: OneSide = field(default_factory=OneSide)
    clock: Any = field(default_factory=Clock)
    said: list[Notice] = field(default_factory=list)

    @property
    def agent(self) -> Agent:
        return Agent(self.side, self.clock, self.said.append)

    def owes(self, do: Callable[[], Awaitable[Done | None]], **when: Any) -> Duty:
        duty = Duty("Reveal", OFFER, do, **{"window": W, **when})
        self.side.owed.append(duty)
        return duty

    def kinds(self) -> list[Kind]:
        return [one.kind for one in self.said]

    def doing(self, *outcomes: Done | Exception | None) -> Callable[[], Awaitable[Done | None]]:
        """Return what gives these outcomes one after the other, the last one again and again."""
        left = list(outcomes)

        async def do() -> Done | None:
            outcome = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is not None:
                self.side.owed.clear()
            return outcome

        return do


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setattr(loop, "LOOK_S", 0.01)
    monkeypatch.setattr(loop, "RETRY_S", (0.0, 0.01))
    return Stand()


async def comes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def working(stand: Stand, until: Callable[[], bool]) -> None:
    """Let an agent work until something holds."""
    stop = asyncio.Event()
    work = asyncio.create_task(stand.agent.work(stop))
    await comes(lambda: until() or work.done())
    stop.set()
    await work


async def test_what_is_due_is_done_and_what_is_not_yet_due_is_left(stand: Stand) -> None:
    stand.owes(stand.doing(Done("tx")), due=1_000)
    later = Duty("Forfeit", OFFER, stand.doing(Done("tx2")), due=1_001)
    stand.side.owed.append(later)
    left = await stand.agent.once()
    assert stand.kinds() == [Kind.DONE]
    assert left == []  # the double clears what it owes; a ledger would still owe the later one
    stand.side.owed.append(later)
    assert await stand.agent.once() == [later]


async def test_a_failure_is_told_once_and_tried_again(stand: Stand) -> None:
    stand.owes(stand.doing(SecretMissing("not here"), SecretMissing("not here"), Done("tx")))
    await working(stand, lambda: Kind.DONE in stand.kinds())
    assert stand.kinds() == [Kind.STARTED, Kind.FAILED, Kind.DONE, Kind.DRAINING, Kind.STOPPED]
    failed = stand.said[1].to_json()
    assert (failed["command"], failed["offer"], failed["error"]["code"]) == ("Reveal", OFFER.hex(), "SECRET_MISSING")


async def test_a_refusal_because_somebody_else_was_faster_is_no_news(stand: Stand) -> None:
    async def do() -> Done | None:
        stand.side.owed.clear()
        raise AlreadyStored("another agent's receipt is there")

    stand.owes(do)
    await working(stand, lambda: not stand.side.owed and stand.side.looks > 3)
    assert stand.kinds() == [Kind.STARTED, Kind.DRAINING, Kind.STOPPED]


async def test_what_cannot_be_done_right_now_is_no_failure(stand: Stand) -> None:
    stand.owes(stand.doing(None, None, Done("tx")))
    await working(stand, lambda: Kind.DONE in stand.kinds())
    assert stand.kinds() == [Kind.STARTED, Kind.DONE, Kind.DRAINING, Kind.STOPPED]


async def test_a_deadline_is_warned_of_before_and_its_miss_is_told_each_once(stand: Stand) -> None:
    tries: list[int] = []

    async def do() -> Done | None:
        tries.append(stand.clock.at)
        raise SecretMissing("not here")

    stand.owes(do, due=1_000, until=1_000 + W + 400)
    await working(stand, lambda: Kind.FAILED in stand.kinds())
    stand.said.clear()
    stand.clock.at = 1_301  # less than a quarter of 400 s left
    await working(stand, lambda: Kind.WARNING in stand.kinds())
    (warning,) = [one for one in stand.said if one.kind is Kind.WARNING]
    assert (warning.left, warning.to_json()["left_s"]) == (99, 99)
    assert "99 s left" in str(warning)
    stand.clock.at, tries[:] = 1_401, []
    await working(stand, lambda: Kind.MISSED in stand.kinds())
    assert stand.kinds().count(Kind.MISSED) == 1
    assert tries == []  # W before the end nothing is sent any more


async def test_deadlines_are_warned_of_while_the_peer_is_out_of_reach(stand: Stand) -> None:
    stand.owes(stand.doing(EvaluateError("no peer answers")), due=1_000, until=1_000 + W + 400)
    agent, stop = stand.agent, asyncio.Event()
    work = asyncio.create_task(agent.work(stop))
    await comes(lambda: stand.side.looks >= 2)
    stand.side.unreachable, stand.clock.at = True, 1_390
    await comes(lambda: Kind.WARNING in stand.kinds())
    stand.side.unreachable = False
    stop.set()
    await work
    told = [one.error.code for one in stand.said if one.duty is None and one.error is not None]
    assert told == ["EVALUATE_FAILED"]


async def test_events_are_taken_in_and_a_broken_stream_is_opened_again(stand: Stand) -> None:
    watch = stand.side.watch
    watch.stream.queue.put_nowait(b"one")
    watch.stream.queue.put_nowait(EventsError("cut"))
    watch.stream.queue.put_nowait(b"two")
    await working(stand, lambda: watch.noted == [b"one", b"two"])
    assert (watch.stream.opened, watch.doubts) == (2, 2)


async def test_a_full_disk_is_a_named_failure_and_a_fault_of_ours_ends_the_agent(stand: Stand) -> None:
    stand.owes(stand.doing(OSError(28, "No space left on device", "bought.onnx")))
    await working(stand, lambda: Kind.FAILED in stand.kinds())
    assert stand.said[1].error is not None
    assert stand.said[1].error.code == "FILE_REFUSED"
    stand.side.owed.clear()
    stand.owes(stand.doing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await working(stand, lambda: False)


async def test_no_more_than_a_few_duties_are_done_side_by_side(stand: Stand) -> None:
    running, most = 0, 0

    async def do() -> Done | None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return Done("tx")

    stand.side.owed = [Duty("Receipt", bytes([number]) * 32, do) for number in range(10)]
    done: list[bytes] = []
    agent = Agent(stand.side, stand.clock, lambda one: done.append(one.duty.about if one.duty else b""))
    await agent.once()
    assert (len(set(done)), most) == (10, loop.AT_ONCE)


async def test_what_a_last_claim_has_begun_is_ended_before_the_agent_stops(stand: Stand) -> None:
    stop, reported = asyncio.Event(), stand.doing(Done("22" * 32))

    async def claim() -> Done:
        stop.set()
        stand.side.owed[:] = [
            Duty("SubmitReport", OFFER, reported, window=W, begun=True),
            Duty("Claim", OFFER, claim, window=W, number=2),
        ]
        return Done("11" * 32)

    stand.owes(claim)
    await stand.agent.work(stop)
    done = [one.duty.command for one in stand.said if one.kind is Kind.DONE and one.duty]
    assert done == ["Reveal", "SubmitReport"]  # and no further claim
