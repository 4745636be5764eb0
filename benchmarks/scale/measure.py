"""The same script and the same queries on states of several sizes, in turns, so that noise meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from benchmarks.scale.copies import Copies, Row
from benchmarks.scale.ledger import Call, SimulatedLedger, load
from benchmarks.scale.recipe import make_recipe
from benchmarks.scale.story import People, Rest, ScriptedWorld, Story
from goldengrain.chaincode.market.memory import MemoryLedger
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.requests import Query
from goldengrain.chaincode.protocol.tables import OfferState
from tests.chaincode.market.world import OPERATOR3, START, enclave3, platform, root_id

PAGE = 10
TIMES_ASKED = 3
"""How often each query is asked in a round."""
SHORT_PAGE = 3
"""For lists of one task, which don't grow with the market."""

Shown = Callable[[str, int, int], None]
"""Told a step's name, how much of it is done and how much there is to do."""


@dataclass(frozen=True)
class Sample:
    """One call in one state; `place` is the same for the same call in the others."""

    place: tuple[int, int]
    what: str
    keys: int
    rows: int
    simulate_s: float
    cpu_s: float
    store_s: float
    commit_s: float | None


@dataclass
class Measured:
    """Samples by size (offers), and how long loading took in seconds, and how large the files became in bytes."""

    samples: dict[int, list[Sample]] = field(default_factory=dict)
    load_s: dict[int, float] = field(default_factory=dict)
    file_bytes: dict[int, int] = field(default_factory=dict)


def measure(sizes: tuple[int, ...], rounds: int, shown: Shown, page: int = PAGE, warm_up: int = 1) -> Measured:
    """Load a state of each size, then play and ask in turns; pages of queries hold `page` items.

    The first `warm_up` rounds don't count.
    """
    recipe, found = make_recipe(), Measured()
    with TemporaryDirectory(prefix="goldengrain-scale-") as folder, ExitStack() as stack:
        parties: dict[int, _Party] = {}
        for size in sizes:
            began, path = time.monotonic(), Path(folder) / f"{size}.sqlite"
            copies = Copies.of_offers(recipe, size)
            load(path, _counted(copies.rows(), copies.size, f"loading {size} offers", shown))
            found.load_s[size], found.file_bytes[size] = time.monotonic() - began, path.stat().st_size
            del copies
            parties[size] = stack.enter_context(_party(path, page))
        for number in range(1 - warm_up, rounds + 1):
            for size in sizes[number % len(sizes) :] + sizes[: number % len(sizes)]:
                samples = parties[size].play(number)
                if number > 0:
                    found.samples.setdefault(size, []).extend(samples)
            shown("measuring", number, rounds)
    return found


@contextmanager
def _party(path: Path, page: int) -> Iterator[_Party]:
    ledger = SimulatedLedger(path, START)
    try:
        yield _Party(ledger, ScriptedWorld(cast("MemoryLedger", ledger)), page)
    finally:
        ledger.close()


@dataclass
class _Party:
    """A state that is played in."""

    ledger: SimulatedLedger
    world: ScriptedWorld
    page: int
    people: People = field(default_factory=lambda: People.of("of the loaded state"))

    def play(self, number: int) -> list[Sample]:
        """Play one round: the story, the rest of the commands, all queries."""
        self.ledger.calls.clear()
        Story(self.world, self.people, number).play()
        Rest(self.world, self.people, number).play()
        commands = [one for one in self.ledger.calls if one.commit_s is not None]
        samples = [_sample((number, place), one.function, one) for place, one in enumerate(commands)]
        asked = (one for one in self._queries(number) for _ in range(TIMES_ASKED))
        for place, (what, query) in enumerate(asked, start=len(samples)):
            self.ledger.calls.clear()
            answer = self.world.ask(query, OPERATOR3)
            (call,) = self.ledger.calls
            samples.append(_sample((number, place), what, call, _claims_shown(answer)))
        return samples

    def _queries(self, number: int) -> Iterator[tuple[str, Query]]:
        """Every query: lists at their first page and at one about half way, another one each round."""
        middle = f"{0x80 + number % 64:x}"
        task = self._some(q.ListTasks(page_size=1, bookmark=f"task/{middle}"))
        offer = self._some(q.ListOffers(page_size=1, bookmark=f"offer/{middle}"))
        coin = self.world.ask(q.ListCoins(page_size=1, bookmark=f"coin/{middle}"))["items"][0]
        proposal = self.world.ask(q.ListProposals(page_size=1, bookmark=f"proposal/{middle}"))["items"][0]["id"]
        yield "GetOffer", q.GetOffer(offer)
        yield "GetTask", q.GetTask(task)
        yield "GetCoin", q.GetCoin(bytes.fromhex(coin["owner"]), coin["id"])
        yield "GetProposal", q.GetProposal(proposal)
        yield "GetPolicy", q.GetPolicy()
        yield "GetEnclave", q.GetEnclave(enclave3().id)
        yield "GetCollateral", q.GetCollateral(root_id(), platform().fmspc)
        yield "ListEnclaves", q.ListEnclaves(page_size=self.page)
        yield "ListPolicies", q.ListPolicies(page_size=self.page)
        each = self._task_of_every_state(middle)
        yield "GetSlots", q.GetSlots(each)
        yield from self._pages(q.ListTasks, "task/", middle)
        yield from self._pages(q.ListOffers, "offer/", middle)
        yield from self._pages(q.ListOpenJobs, "job/", middle)
        yield from self._pages(q.ListCoins, "coin/", middle)
        yield from self._pages(q.ListProposals, "proposal/", middle)
        yield from self._pages_of_people(middle)
        yield from self._two_pages("Leaderboard", q.Leaderboard(each, SHORT_PAGE))
        yield from self._two_pages("ListOffers of a task", q.ListOffers(each, page_size=SHORT_PAGE))

    def _pages_of_people(self, middle: str) -> Iterator[tuple[str, Query]]:
        """Lists of somebody who has half of everything."""
        provider, developer = self.people.provider.account, self.people.developers["Org2MSP"].account
        yield from self._pages(q.ListTasks, f"task-by/{provider.hex()}/", middle, " of a provider", provider=provider)
        prefix = f"offer-by/{developer.hex()}/"
        yield from self._pages(q.ListOffers, prefix, middle, " of a developer", developer=developer)
        yield from self._pages(q.ListCoins, f"coin/{developer.hex()}/", middle, " of an owner", owner=developer)
        yield from self._pages(q.ListOffers, "offer/", middle, " in a state", state=OfferState.SETTLED)
        yield from self._pages(q.ListTasks, "task/", middle, " taking offers", taking_offers=True)
        yield from self._pages(q.ListOpenJobs, "job/", middle, " of an enclave", enclave=enclave3().id)

    def _pages(
        self, kind: Callable[..., Query], prefix: str, middle: str, about: str = "", **asked: Any
    ) -> Iterator[tuple[str, Query]]:
        name = kind.__name__ + about
        yield f"{name}, first page", kind(**asked, page_size=self.page)
        yield f"{name}, middle page", kind(**asked, page_size=self.page, bookmark=f"{prefix}{middle}")

    def _two_pages(self, name: str, query: q.Leaderboard | q.ListOffers) -> Iterator[tuple[str, Query]]:
        """The first two pages of a list that has no more than a few."""
        yield f"{name}, first page", query
        yield f"{name}, middle page", replace(query, bookmark=self.world.ask(query)["bookmark"])

    def _some(self, query: q.ListTasks | q.ListOffers) -> bytes:
        return bytes.fromhex(self.world.ask(query)["items"][0]["id"])

    def _task_of_every_state(self, middle: str) -> bytes:
        """A loaded task of the kind with the most offers."""
        items = self.world.ask(q.ListTasks(page_size=40, bookmark=f"task/{middle}"))["items"]
        wide = (one["id"] for one in items if one["task"]["slots"] == 8)
        return bytes.fromhex(next(wide))


def _sample(place: tuple[int, int], what: str, call: Call, left_out: int = 0) -> Sample:
    keys, rows = call.keys - left_out, call.rows - left_out
    return Sample(place, what, keys, rows, call.simulate_s, call.cpu_s, call.store_s, call.commit_s)


def _claims_shown(answer: Any) -> int:
    """Claims in a page of offers: which of them have open ones is chance, so these are not counted."""
    if "items" not in answer:
        return len(answer.get("claims", ()))
    return sum(len(item["claims"]) for item in answer["items"] if "claims" in item)


def _counted(rows: Iterator[Row], total: int, what: str, shown: Shown) -> Iterator[Row]:
    for done, row in enumerate(rows):
        if done % 5_000 == 0:
            shown(what, done, total)
        yield row
    shown(what, total, total)
