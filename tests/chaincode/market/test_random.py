"""Random commands: money is conserved after each of them, and in the end all of it can be brought home.

The ledger in memory compares coins and escrows with what was minted at every commit, so nothing has to be asserted for
that. A refusal must be a named one and must leave the state as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldengrain.chaincode.market.records import OfferRecord, SlotRecord, TaskStatusRecord
from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.tables import LIVE, OfferState, SlotState, offer_rules
from tests.chaincode.market.world import (
    DATASET_KEY,
    DEVELOPER,
    OPERATOR2,
    OPERATOR3,
    OTHER_DEVELOPER,
    PROVIDER,
    STORE,
    STRANGER,
    World,
    enclave2,
    enclave3,
    word,
)

PEOPLE = (PROVIDER, STORE, DEVELOPER, OTHER_DEVELOPER, OPERATOR2, OPERATOR3, STRANGER)
DEVELOPERS = (DEVELOPER, OTHER_DEVELOPER)
ENCLAVES = (enclave2(), enclave3())
OUTCOMES = (*Outcome, *[Outcome.PASS] * 4)
WAITS = (1, 1, 60, 60, 301, 700, 1_001, 1_400, 9_000, 20_301)

Step = tuple[str, int, int, int]
T = TypeVar("T")


@dataclass
class Run:
    """A market to which random things happen."""

    world: World = field(default_factory=World.founded)
    tasks: list[bytes] = field(default_factory=list)
    offers: list[bytes] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def step(self, name: str, a: int, b: int, k: int) -> None:
        """Try one step; refusals are part of the game."""
        before = dict(self.world.ledger.state)
        try:
            getattr(self, f"do_{name}")(a, b, k)
        except ContractError as refusal:
            if type(refusal) is ContractError or self.world.ledger.state != before:
                raise  # without a name of its own, or half done
            self.refused[name] += 1
        except LookupError:
            pass  # nothing there yet to do it to
        else:
            self.accepted[name] += 1

    def do_wait(self, a: int, b: int, k: int) -> None:
        self.world.at(self.world.now + WAITS[a % len(WAITS)])

    def do_transfer(self, a: int, b: int, k: int) -> None:
        who, to = PEOPLE[a % len(PEOPLE)], PEOPLE[b % len(PEOPLE)]
        coins = self.world.coins(who, k % 50_000 + 1)
        self.world.send(who, c.Transfer(coins, (Output(to.account, k % 50_000 + 1),)))

    def do_mint(self, a: int, b: int, k: int) -> None:
        self.world.mint(PEOPLE[a % len(PEOPLE)], amount=k + 1)

    def do_open(self, a: int, b: int, k: int) -> None:
        self.tasks.append(self.world.open_task(slots=a % 3 + 1, eta=k % 7 + 1))

    def do_shut(self, a: int, b: int, k: int) -> None:
        if k % 4:
            raise LookupError("seldom, or there is nothing left to offer for")
        self.world.send(PROVIDER, c.ShutTask(pick(self.tasks, a)))

    def do_refund(self, a: int, b: int, k: int) -> None:
        self.world.send(self.anybody(b), c.RefundSlot(pick(self.tasks, a), k % 3))

    def do_dataset(self, a: int, b: int, k: int) -> None:
        self.world.send(PROVIDER, c.OpenDataset(pick(self.tasks, a), DATASET_KEY if k % 5 else word("no")))

    def do_slash(self, a: int, b: int, k: int) -> None:
        self.world.send(self.anybody(b), c.SlashAudit(pick(self.tasks, a)))

    def do_offer(self, a: int, b: int, k: int) -> None:
        who = DEVELOPERS[b % 2]
        changes = {"attempt": k % 4 + 1, "reserve": k % 6_000, "provider_may_operate": bool(k % 2)}
        self.offers.append(self.world.offer(pick(self.tasks, a), who, **changes))

    def do_withdraw(self, a: int, b: int, k: int) -> None:
        offer = self.an_offer("WithdrawOffer", a)
        self.world.send(self.developer(offer), c.WithdrawOffer(offer))

    def do_receipt(self, a: int, b: int, k: int) -> None:
        self.world.send(STORE if k % 4 else self.anybody(b), c.Receipt(self.an_offer("Receipt", a)))

    def do_claim(self, a: int, b: int, k: int) -> None:
        offer = self.an_offer("Claim", a)
        foreign = [one for one in ENCLAVES if one.operator.msp_id != self.world.offer_record(offer).developer_msp]
        self.world.claim(offer, pick(foreign if b % 4 else list(ENCLAVES), b), slot=k % 3, lease=60 + k % 2_000)

    def do_lapse(self, a: int, b: int, k: int) -> None:
        offer = self.an_offer("Lapse", a)
        self.world.send(self.anybody(b), c.Lapse(offer, self.world.offer_record(offer).claim_count or 1))

    def do_report(self, a: int, b: int, k: int) -> None:
        offer = self.an_offer("SubmitReport", a)
        number = self.world.offer_record(offer).claim_count or 1
        score = 300_000 + k % 700_000
        eta = self.world.terms_of(self.world.offer_record(offer).order.task).eta
        claimed_by = self.world.offer_record(offer).claimed_by
        one = next((one for one in ENCLAVES if one.id in claimed_by[-1:]), ENCLAVES[b % 2])
        changes = {"one": one, "claim": number, "score": score - score % eta}
        self.world.reported(offer, OUTCOMES[k % len(OUTCOMES)], **changes)

    def do_expire(self, a: int, b: int, k: int) -> None:
        self.world.send(self.anybody(b), c.Expire(self.an_offer("Expire", a)))

    def do_reveal(self, a: int, b: int, k: int) -> None:
        offer = self.an_offer("Reveal", a)
        order = self.world.offer_record(offer).order
        secret = self.world.secret(self.developer(offer), order.attempt) if k % 5 else word("guess")
        self.world.send(self.anybody(b), c.Reveal(offer, secret))

    def do_forfeit(self, a: int, b: int, k: int) -> None:
        self.world.send(self.anybody(b), c.Forfeit(self.an_offer("Forfeit", a)))

    def do_acknowledge(self, a: int, b: int, k: int) -> None:
        self.world.send(PROVIDER if k % 3 else self.anybody(b), c.Acknowledge(self.an_offer("Acknowledge", a)))

    def an_offer(self, command: str, a: int) -> bytes:
        """An offer in a state for the command three times in four, else any."""
        fit = [one for one in self.offers if offer_rules(command, self.world.state_of(one))]
        return pick(fit if fit and a % 4 else self.offers, a)

    def developer(self, offer: bytes) -> Caller:
        account = self.world.offer_record(offer).order.developer
        return next(one for one in DEVELOPERS if one.account == account)

    @staticmethod
    def anybody(b: int) -> Caller:
        return PEOPLE[b % len(PEOPLE)]

    def bring_everything_home(self) -> None:
        """Nobody does anything more, and time goes by: a stranger ends whatever holds money."""
        self.world.at(self.world.now + 1_000_000)
        records = list(self.world.ledger.records())
        for record in (one for _, one in records if isinstance(one, OfferRecord)):
            if record.state in LIVE:
                self.world.send(STRANGER, c.Expire(record.id))
            elif record.state is OfferState.LOCKED:
                self.world.send(STRANGER, c.Forfeit(record.id))
        for _, record in list(self.world.ledger.records()):
            if isinstance(record, SlotRecord) and record.state is SlotState.FREE:
                self.world.send(STRANGER, c.RefundSlot(record.task, record.index))
        for name, record in records:
            if isinstance(record, TaskStatusRecord) and record.held:
                self.world.send(STRANGER, c.SlashAudit(bytes.fromhex(name.rpartition("/")[2])))
        assert sum(self.world.ledger.balances().values()) == self.world.ledger.minted


def pick(some: list[T], index: int) -> T:
    """One of them; LookupError where there is none. The last ones are picked most, so that swaps get on."""
    return some[-1 - index % min(len(some), 3)] if some else some[0]


NAMES = [name.removeprefix("do_") for name in dir(Run) if name.startswith("do_")]
LIKELY = ["offer", "receipt", "claim", "report", "reveal"] * 4
numbers = st.integers(0, 2**20)
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(st.sampled_from(NAMES + LIKELY), numbers, numbers, numbers), min_size=10, max_size=40
)


PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]


def play(sequence: list[Step]) -> None:
    """Take the steps on a fresh market, then bring all money home."""
    run = Run()
    run.tasks.append(run.world.open_task())
    for step in sequence:
        run.step(*step)
    run.bring_everything_home()


@settings(max_examples=40, deadline=None, suppress_health_check=PATIENT)
@given(steps)
def test_no_sequence_of_commands_makes_or_loses_money(sequence: list[Step]) -> None:
    play(sequence)


@pytest.mark.check
@pytest.mark.timeout(900)
@settings(max_examples=1_500, deadline=None, suppress_health_check=PATIENT)
@given(steps)
def test_not_even_a_long_run_of_random_commands_makes_or_loses_money(sequence: list[Step]) -> None:
    play(sequence)


def test_the_random_commands_get_as_far_as_settled_swaps() -> None:
    """The game is worth playing: a plain course through it is accepted at every step."""
    run = Run()
    course: list[Callable[[], None]] = [
        lambda: run.step("open", 1, 0, 0),
        lambda: run.step("offer", 0, 0, 0),
        lambda: run.step("receipt", 0, 0, 1),
        lambda: run.step("claim", 0, 1, 0),
        lambda: run.step("report", 0, 1, 600_000),
        lambda: run.step("reveal", 0, 0, 1),
        lambda: run.step("acknowledge", 0, 0, 1),
    ]
    for act in course:
        act()
    assert sum(run.accepted.values()) == len(course)
    assert run.world.state_of(run.offers[0]) is OfferState.SETTLED
    run.bring_everything_home()
