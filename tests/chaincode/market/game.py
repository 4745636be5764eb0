"""A market to which random things happen: six enclaves of three operators, two developers, tasks of every kind.

A step is a name and a number that decides everything else about it. Half of the steps go on with some offer as its
parties would, the other half try anything; so sequences get far, and shrink to what matters. Every refusal must be a
named one and leave the state as it was; the ledger in memory compares what is held with what was minted at each commit.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from goldengrain.chaincode.market.records import ClaimState
from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.requests import Command
from goldengrain.chaincode.protocol.tables import OfferState, offer_rules
from goldengrain.chaincode.protocol.task import Award
from tests.chaincode.market.world import (
    DATASET_KEY,
    DEVELOPER,
    OPERATOR2,
    OPERATOR3,
    OTHER_DEVELOPER,
    PROVIDER,
    STORE,
    STRANGER,
    TestEnclave,
    World,
    caller,
    enclave,
    enclave2,
    enclave3,
    word,
)

S = OfferState
OPERATOR1 = caller("operator", "Org1MSP")
PEOPLE = (PROVIDER, STORE, DEVELOPER, OTHER_DEVELOPER, OPERATOR1, OPERATOR2, OPERATOR3, STRANGER)
DEVELOPERS = (DEVELOPER, OTHER_DEVELOPER)
OUTCOMES = (*Outcome, *[Outcome.PASS] * 5)
LEASE = 600
GUARD = 300

Step = tuple[str, int]
Cell = tuple[str, str, str]
T = TypeVar("T")


def enclaves() -> tuple[TestEnclave, ...]:
    """Two of each operator."""
    second = [enclave(f"second enclave of {one.msp_id}", one) for one in (OPERATOR2, OPERATOR3)]
    return (*(enclave(f"{n} of Org1", OPERATOR1) for n in ("first", "second")), enclave2(), enclave3(), *second)


@cache
def _start() -> World:
    world = World.founded()
    world.change_policy(operators=tuple(sorted(one.account for one in (OPERATOR1, OPERATOR2, OPERATOR3))))
    world.mint(OPERATOR1)
    for one in enclaves():
        if one not in (enclave2(), enclave3()):
            by = DEVELOPER if one.operator is OPERATOR1 else PROVIDER
            world.send(one.operator, world.registration(one, world.challenge(one.operator, by)))
    return world


@dataclass
class Tally:
    """What happened in many games: accepted cells (command, state before, state after), steps, ends."""

    cells: Counter[Cell] = field(default_factory=Counter)
    accepted: int = 0
    refused: int = 0
    games: int = 0
    settled: int = 0


@dataclass
class Game:
    """One market. `paid` is what each account gave to others or got from them and by minting, apart from swaps."""

    tally: Tally
    world: World = field(default_factory=lambda: _start().fork())
    tasks: list[bytes] = field(default_factory=list)
    offers: list[bytes] = field(default_factory=list)
    reports: dict[bytes, list[int]] = field(default_factory=dict)
    paid: Counter[bytes] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.before = self.world.ledger.balances()

    def step(self, name: str, number: int) -> None:
        """Try one step; refusals are part of the game."""
        state = dict(self.world.ledger.state)
        known = len(self.world.ledger.transactions)
        try:
            getattr(self, f"do_{name}")(Dice.of(number))
        except ContractError as refusal:
            if type(refusal) is ContractError:
                raise  # without a name of its own
            if len(self.world.ledger.transactions) == known and self.world.ledger.state != state:
                raise  # half done
            self.tally.refused += 1
        except LookupError:
            pass  # nothing there yet to do it to
        else:
            self.tally.accepted += 1

    # half of the steps: somebody does what is next

    def do_go_on(self, dice: Dice) -> None:
        if not self.offers:
            return self.do_offer(dice)
        going = [one for one in self.offers if self.state(one) not in ENDED]
        offer = dice.one(going or self.offers)
        state = self.state(offer)
        if state is S.OFFERED:
            self.receipt(offer, STORE)
        elif state is S.STORED or (state is S.CLAIMED and self.wanted(offer)):
            self.claim(offer, dice, dice.one(self.able(offer)))
        elif state is S.CLAIMED:
            self.report(offer, dice, Outcome.PASS, 500_000 if dice.below(2) else None)
        elif state is S.LEADING and dice.below(6):
            self.offer(self.world.offer_record(offer).order.task, dice)
        elif state is S.LEADING:
            self.move_past(self.terms(offer).last_report + GUARD)
            self.award(offer, STRANGER)
        elif state is S.LOCKED:
            self.reveal(offer, self.developer(offer), right=True)
        elif state is S.SETTLED:
            self.command(c.Acknowledge(offer), PROVIDER, offer)
        else:
            self.do_offer(dice)
        return None

    # the other half: anything

    def do_wait(self, dice: Dice) -> None:
        self.world.at(self.world.now + dice.one([1, 60, 301]))

    def do_edge(self, dice: Dice) -> None:
        """Move to one side of some deadline or to the other."""
        offer = dice.one(self.offers)
        record, terms = self.world.offer_record(offer), self.terms(offer)
        edges = [self.lease_end(offer, number) + GUARD for number in record.open_claims]
        if record.lock is not None and record.lock.deadline is not None and record.state is S.LOCKED:
            edges += [record.lock.deadline, record.lock.deadline + GUARD]
        if not edges or dice.below(4) == 0:
            edges = [terms.last_report + GUARD, terms.last_offer, terms.last_opening, terms.last_opening + GUARD]
        self.move_past(dice.one(edges) - dice.below(2))

    def do_transfer(self, dice: Dice) -> None:
        who, to, amount = dice.one(PEOPLE), dice.one(PEOPLE), dice.below(50_000) + 1
        self.world.send(who, c.Transfer(self.world.coins(who, amount), (Output(to.account, amount),)))
        self.paid[who.account] -= amount
        self.paid[to.account] += amount

    def do_mint(self, dice: Dice) -> None:
        to, amount = dice.one(PEOPLE), dice.below(9_000) + 1
        self.world.mint(to, amount=amount)
        self.paid[to.account] += amount

    def do_policy(self, dice: Dice) -> None:
        """Change what only later tasks are to feel."""
        changes = dice.one([{"paused": True}, {"paused": False}, {"paused": False}, {"benchmark_fee": dice.below(40)}])
        self.world.change_policy(**changes)

    def do_open(self, dice: Dice) -> None:
        if len(self.tasks) == 2:
            raise LookupError("offers of many tasks seldom meet")
        award = dice.one(list(Award))
        slots, count = dice.one([1, 1, 2]), dice.one([1, 1, 2, 3])
        self.tasks.append(self.world.open_task(award=award, slots=slots, enclaves=count, eta=100, sealed_to=enclaves()))
        self.tally.cells["OpenTask", "-", "open"] += 1

    def do_shut(self, dice: Dice) -> None:
        self.task_command(c.ShutTask(dice.one(self.tasks)), dice.one([PROVIDER, PROVIDER, STRANGER]))

    def do_refund(self, dice: Dice) -> None:
        task = dice.one(self.tasks)
        if not dice.below(8):
            self.move_past(self.world.terms_of(task).last_report + GUARD)
        self.task_command(c.RefundSlot(task, dice.below(2)), dice.one(PEOPLE))

    def do_dataset(self, dice: Dice) -> None:
        task, key = dice.one(self.tasks), dice.one([DATASET_KEY, DATASET_KEY, DATASET_KEY, word("no")])
        if not dice.below(8):
            self.move_past(self.world.terms_of(task).last_report + GUARD)
        self.task_command(c.OpenDataset(task, key), PROVIDER)

    def do_slash(self, dice: Dice) -> None:
        task = dice.one(self.tasks)
        if not dice.below(8):
            self.move_past(self.world.terms_of(task).last_opening + GUARD)
        self.task_command(c.SlashAudit(task), dice.one(PEOPLE))

    def do_offer(self, dice: Dice) -> None:
        self.offer(dice.one(self.tasks), dice)

    def do_withdraw(self, dice: Dice) -> None:
        offer = self.an_offer("WithdrawOffer", dice)
        self.command(c.WithdrawOffer(offer), self.developer(offer) if dice.below(4) else dice.one(PEOPLE), offer)

    def do_rewrap(self, dice: Dice) -> None:
        offer, one = self.an_offer("Rewrap", dice), enclaves()[-1]
        self.command(c.Rewrap(offer, (EnvelopeDigest(one.id, word("again")),)), self.developer(offer), offer)

    def do_receipt(self, dice: Dice) -> None:
        self.receipt(self.an_offer("Receipt", dice), dice.one([*PEOPLE, DEVELOPER, OTHER_DEVELOPER, OPERATOR2]))

    def do_claim(self, dice: Dice) -> None:
        self.claim(self.an_offer("Claim", dice), dice, dice.one(enclaves()))

    def do_lapse(self, dice: Dice) -> None:
        offer = self.an_offer("Lapse", dice)
        number = dice.one(list(self.world.offer_record(offer).open_claims) or [1])
        if dice.below(2) and number in self.world.offer_record(offer).open_claims:
            self.move_past(self.lease_end(offer, number) + GUARD)
        self.command(c.Lapse(offer, number), dice.one(PEOPLE), offer)

    def do_report(self, dice: Dice) -> None:
        self.report(self.an_offer("SubmitReport", dice), dice, dice.one(OUTCOMES))

    def do_agree(self, dice: Dice) -> None:
        """All enclaves of an offer report the same."""
        offer = self.an_offer("SubmitReport", dice)
        outcome, score = dice.one([*Outcome, Outcome.FAILED, Outcome.DECLINED]), dice.score()
        for _ in self.world.offer_record(offer).open_claims:
            self.report(offer, dice, outcome, score)

    def do_compete(self, dice: Dice) -> None:
        """Somebody else goes all the way to a report in a task where an offer leads."""
        leading = dice.one([one for one in self.offers if self.state(one) is S.LEADING])
        self.offer(self.world.offer_record(leading).order.task, dice)
        offer = self.offers[-1]
        self.receipt(offer, STORE)
        for _ in range(self.world.offer_record(offer).enclaves):
            self.claim(offer, dice, dice.one(self.able(offer)))
        score = dice.one([500_000, dice.score()])
        for _ in range(self.world.offer_record(offer).enclaves):
            self.report(offer, dice, Outcome.PASS, score)

    def do_expire(self, dice: Dice) -> None:
        offer = self.an_offer("Expire", dice)
        if not dice.below(5):
            self.move_past(self.terms(offer).last_report + GUARD)
        self.command(c.Expire(offer), dice.one(PEOPLE), offer)

    def do_award(self, dice: Dice) -> None:
        self.award(self.an_offer("AwardOffer", dice), dice.one(PEOPLE))

    def do_reveal(self, dice: Dice) -> None:
        self.reveal(self.an_offer("Reveal", dice), dice.one(PEOPLE), right=dice.below(4) > 0)

    def do_forfeit(self, dice: Dice) -> None:
        offer = self.an_offer("Forfeit", dice)
        lock = self.world.offer_record(offer).lock
        if dice.below(2) and lock is not None and lock.deadline is not None:
            self.move_past(lock.deadline + GUARD)
        self.command(c.Forfeit(offer), dice.one(PEOPLE), offer)

    def do_acknowledge(self, dice: Dice) -> None:
        self.command(c.Acknowledge(self.an_offer("Acknowledge", dice)), dice.one([PROVIDER, STORE]), None)

    # commands, each counted by its cell

    def command(self, command: Command, who: Caller, offer: bytes | None) -> None:
        """Send a command about an offer, and count the cell of the table that accepted it."""
        name, found = type(command).__name__, offer or command.offer  # type: ignore[attr-defined]  # all of them name one
        before = self.state(found)
        self.world.send(who, command)
        if name == "Receipt":
            name = "Receipt of the provider's" if self.state(found) is not before else "Receipt of others"
        self.tally.cells[name, str(before), str(self.state(found))] += 1

    def task_command(self, command: Command, who: Caller) -> None:
        self.world.send(who, command)
        self.tally.cells[type(command).__name__, "-", "-"] += 1

    def offer(self, task: bytes, dice: Dice) -> None:
        who = dice.one(DEVELOPERS)
        changes = {"attempt": dice.one([1, 1, 2, 3]), "reserve": dice.one([0, 0, dice.below(6_000)])}
        some = enclaves() if dice.below(3) else enclaves()[:-1]
        offer = self.world.offer(task, who, provider_may_operate=dice.below(5) > 0, sealed_to=some, **changes)
        self.offers.append(offer)
        self.tally.cells["SubmitOffer", "-", str(S.OFFERED)] += 1

    def receipt(self, offer: bytes, who: Caller) -> None:
        self.command(c.Receipt(offer), who, offer)

    def claim(self, offer: bytes, dice: Dice, one: TestEnclave) -> None:
        record = self.world.offer_record(offer)
        each = self.terms(offer).award is Award.EACH
        slot = dice.below(self.terms(offer).slots) if each and record.slot is None else None
        self.command(self.world.claiming(offer, one, slot=slot, lease=LEASE), one.operator, offer)

    def report(self, offer: bytes, dice: Dice, outcome: Outcome, score: int | None = None) -> None:
        number = dice.one(list(self.world.offer_record(offer).open_claims) or [1])
        made = self.world.claim_record(offer, number).claim  # KeyError: no claim yet
        one = next(one for one in enclaves() if one.id == made.enclave)
        ticket = self.world.ticket(offer, one, number).ticket
        score = max(score or dice.score(), min(ticket.threshold, 1_000_000))
        command = self.world.report(offer, outcome, score - score % 100, one, number)
        displaced = {one: self.state(one) for one in self.offers if self.state(one) is S.LEADING}
        self.command(command, one.operator, offer)
        self.reports.setdefault(offer, []).append(number)
        for other in displaced:
            if self.state(other) is S.DISPLACED:
                self.tally.cells["SubmitReport of another", str(S.LEADING), str(S.DISPLACED)] += 1

    def award(self, offer: bytes, who: Caller) -> None:
        self.command(c.AwardOffer(offer), who, offer)

    def reveal(self, offer: bytes, who: Caller, *, right: bool) -> None:
        order = self.world.offer_record(offer).order
        secret = self.world.secret(self.developer(offer), order.attempt) if right else word("guess")
        locked = self.state(offer) is S.LOCKED
        self.command(c.Reveal(offer, secret), who, offer)
        assert locked, "revealed without a lock, or twice"
        assert right, "revealed by a guess"

    # what there is

    def state(self, offer: bytes) -> OfferState:
        return self.world.state_of(offer)

    def terms(self, offer: bytes):  # type: ignore[no-untyped-def]
        return self.world.terms_of(self.world.offer_record(offer).order.task)

    def wanted(self, offer: bytes) -> bool:
        record = self.world.offer_record(offer)
        return len(record.open_claims) + len(record.reported_claims) < record.enclaves

    def able(self, offer: bytes) -> list[TestEnclave]:
        record = self.world.offer_record(offer)
        return [
            one
            for one in enclaves()
            if one.operator.msp_id != record.developer_msp
            and one.id not in record.claimed_by
            and (record.provider_may_operate or one.operator.msp_id != "Org1MSP")
        ]

    def lease_end(self, offer: bytes, number: int) -> int:
        return self.world.claim_record(offer, number).claim.lease_end

    def developer(self, offer: bytes) -> Caller:
        account = self.world.offer_record(offer).order.developer
        return next(one for one in DEVELOPERS if one.account == account)

    def an_offer(self, command: str, dice: Dice) -> bytes:
        """An offer in a state for the command four times in five, else any."""
        fit = [one for one in self.offers if offer_rules(command, self.state(one))]
        return dice.one(fit if fit and dice.below(5) else self.offers)

    def move_past(self, moment: int) -> None:
        self.world.at(max(self.world.now, moment + 1))

    # the end

    def end(self) -> None:
        """Time goes by, and a stranger ends whatever holds money; then everybody owns what the tables say."""
        settled = any(self.state(one) is S.SETTLED for one in self.offers)
        self.tally.games += 1
        self.tally.settled += settled
        self.world.at(self.world.now + 1_000_000)
        for offer in self.offers:
            if self.state(offer) in (S.OFFERED, S.STORED, S.CLAIMED):
                self.world.send(STRANGER, c.Expire(offer))
            elif self.state(offer) is S.LEADING:
                self.world.send(STRANGER, c.AwardOffer(offer))
        self.world.at(self.world.now + 1_000_000)
        for offer in self.offers:
            if self.state(offer) is S.LOCKED:
                self.world.send(STRANGER, c.Forfeit(offer))
        for task in self.tasks:
            for index in range(self.world.terms_of(task).slots):
                if self.world.slot(task, index).held:
                    self.world.send(STRANGER, c.RefundSlot(task, index))
            if self.world.status(task).held:
                self.world.send(STRANGER, c.SlashAudit(task))
        assert sum(self.world.ledger.balances().values()) == self.world.ledger.minted
        assert self.world.ledger.balances() == self.owed()

    def owed(self) -> dict[bytes, int]:
        """What everybody has to own by the money column of section 6, from how each offer ended."""
        sums = Counter(self.before)
        sums.update(self.paid)
        for task in self.tasks:
            if self.world.status(task).dataset == "slashed":
                bond = self.world.terms_of(task).audit_bond
                sums[PROVIDER.account] -= bond
                sums[digests.TREASURY] += bond
        for offer in self.offers:
            self.add_offer(sums, offer)
        return {account: amount for account, amount in sums.items() if amount}

    def add_offer(self, sums: Counter[bytes], offer: bytes) -> None:
        record, terms = self.world.offer_record(offer), self.terms(offer)
        me, state, price = record.order.developer, record.state, record.lock.price if record.lock else 0
        bond = self.world.bond_of(offer)
        claims = [self.world.claim_record(offer, number) for number in range(1, record.claim_count + 1)]
        for one in claims:
            if one.state is ClaimState.LAPSED:
                sums[one.claim.operator] -= terms.terms.deposit
                sums[me] += terms.terms.deposit
        reported = [claims[number - 1] for number in self.reports.get(offer, [])]
        each, odd = divmod(terms.benchmark_fee, terms.enclaves)
        disagreed = state is S.VOID and {one.outcome for one in reported} != {Outcome.UNUSABLE}
        if state is S.VOID:
            sums[me] -= terms.benchmark_fee if disagreed else 0
            sums[digests.TREASURY] += terms.benchmark_fee if disagreed else 0
        else:
            for place, one in enumerate(reported):
                share = each + (1 if place < odd else 0)
                sums[one.claim.operator] += share
                sums[me] -= share
        if state is S.SETTLED:
            fee = terms.market_fee(price)
            sums[PROVIDER.account] -= price
            sums[me] += price - fee
            sums[digests.TREASURY] += fee
        elif state is S.FORFEITED:
            sums[me] -= bond
            sums[PROVIDER.account] += bond // 2
            sums[digests.TREASURY] += bond - bond // 2


ENDED = (S.WITHDRAWN, S.DECLINED, S.FAILED, S.OUTBID, S.DISPLACED, S.VOID, S.EXPIRED, S.FORFEITED)


@dataclass
class Dice:
    """A number that is used up choice by choice."""

    number: int

    @classmethod
    def of(cls, seed: int) -> Dice:
        """Dice of which small seeds, which shrinking likes, are no less mixed than others."""
        return cls(int.from_bytes(hashlib.sha256(seed.to_bytes(8, "big")).digest(), "big"))

    def below(self, bound: int) -> int:
        """Take a number under a bound."""
        self.number, taken = divmod(self.number, bound)
        return taken

    def one(self, some: list[T] | tuple[T, ...]) -> T:
        """Take one of some; LookupError where there is none."""
        if not some:
            raise LookupError("nothing there")
        return some[self.below(len(some))]

    def score(self) -> int:
        """A passing score that often equals another."""
        return 500_000 + 100 * self.below(12)


NAMES = [name.removeprefix("do_") for name in dir(Game) if name.startswith("do_")]
WEIGHTED = [
    *NAMES,
    *["offer", "agree", "report", "rewrap", "receipt", "forfeit", "expire", "compete"] * 2,
    "compete",
    "agree",
    *["go_on"] * 20,
]
