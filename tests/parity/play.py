"""Random sequences of steps that get far: half of them go on as the parties would, the other half try anything.

A player looks at the chaincode's ledger to choose, and yields one step after another; what it yields depends on its
seed alone. Times cluster at deadlines and the second after, scores meet, enclaves are few, so that rules get into each
other's way. At the end time goes by and everything that holds money is ended, as strangers may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from goldengrain.chaincode.protocol.tables import OfferState, SlotState
from goldengrain.chaincode.protocol.task import Award
from goldengrain.chaincode.protocol.threshold import threshold
from tests.parity.fabric import FabricLedger
from tests.parity.ledger import ACCOUNTS, ENCLAVES, NEWCOMER, OPERATORS, SEALED_TO, TAMPERINGS, Step, Value
from tests.parity.watch import GUARD, Watch

S = OfferState
Steps = Iterator[Step]

DEVELOPERS = ("developer", "rival", "colleague")
ADMINS = ("admin1", "admin2", "admin3")
PEOPLE = tuple(one for one in ACCOUNTS if one not in ADMINS)
ENDED = (S.WITHDRAWN, S.DECLINED, S.FAILED, S.OUTBID, S.DISPLACED, S.VOID, S.EXPIRED, S.FORFEITED)
OUTCOMES = ("pass", "declined", "failed", "unusable", *["pass"] * 5)
LENGTH = (24, 44)
"""Least and greatest number of moves; a move is one step or a few."""


@dataclass
class Player(Watch):
    """One sequence, told step by step."""

    proposals: int = 0
    made: int = 0
    """How many tasks and offers were named."""

    def steps(self) -> Steps:
        """Yield the sequence; each step is to be run on the ledger before the next one is asked for."""
        yield from self.open()
        length = self.dice.randint(*LENGTH)
        late = self.dice.randrange(length // 3, length)
        for index in range(length):
            self.late = index >= late
            yield from self.dice.choice(WEIGHTED)(self)
        yield from self.end()

    # time

    def wait(self) -> Steps:
        self.now += self.dice.choice((1, 60, 301))
        yield from ()

    def edge(self) -> Steps:
        """Move to some deadline, or to the second after it."""
        edges: list[int] = []
        for offer in self.offers:
            record = self.record(offer)
            edges += [self.lease_end(offer, one) + guard for one in record.open_claims for guard in (0, GUARD)]
            if record.state is S.LOCKED and record.lock is not None and record.lock.deadline is not None:
                deadline = self.seconds(record.lock.deadline)
                edges += [deadline, deadline + GUARD]
        if self.late and (not edges or self.chance(40)):
            for task in self.ledger.names.tasks.values():
                last = task.last_offer, task.last_report, task.last_opening
                edges += [self.seconds(last[0]), self.seconds(last[1]) + GUARD, self.seconds(last[2])]
                edges += [self.seconds(last[2]) + GUARD] if self.chance(50) else []
        ahead = [one for one in edges if one >= self.now]
        if ahead:
            nearest = sorted(ahead)[:3] if self.chance(80) else ahead
            self.move_to(self.dice.choice(nearest) + self.dice.randrange(2))
        yield from ()

    # half of the moves: somebody does what is next

    def go_on(self) -> Steps:
        going = [one for one in self.offers if self.state(one) not in ENDED]
        if not going:
            yield from self.offer()
            return
        offer = self.dice.choice(going)
        state = self.state(offer)
        if state is S.OFFERED:
            yield self.step("Receipt", "store", offer=offer)
        elif state is S.STORED or (state is S.CLAIMED and self.wanted(offer)):
            yield self.claiming(offer)
        elif state is S.CLAIMED:
            yield from self.report_on(offer, "pass", self.dice.choice((None, 500_000)), odd=self.chance(40))
        elif state is S.LEADING and not (self.late and self.chance(50)):
            yield from self.offer(self.task_name(offer))
        elif state is S.LEADING:
            self.move_to(self.seconds(self.task_of(offer).last_report) + GUARD + 1)
            yield self.step("AwardOffer", "stranger", offer=offer)
        elif state is S.LOCKED:
            yield self.step("Reveal", self.dice.choice((self.developer(offer), "stranger")), offer=offer)
        elif self.chance(40):
            yield self.step("Acknowledge", "provider", offer=offer)
        else:
            yield from self.offer()

    # the provider's

    def open(self) -> Steps:
        if len(self.tasks) == 2:
            return
        self.made += 1
        award = self.dice.choice(list(Award))
        arguments: dict[str, Any] = {
            "task": f"T{self.made}",
            "award": str(award),
            "slots": self.dice.choice((1, 1, 2, 3)),
            "S": self.now + 10_000,
            "B": self.now + 20_000,
            "A": self.now + 30_000,
            "enclaves": self.dice.choice((1, 1, 2, 3)),
            "seed": self.made,
        }
        if self.chance(10):
            arguments["S"], arguments["B"] = self.now + 2_000, self.now + 4_000
        if self.tasks and self.chance(30):
            arguments.update(self.dice.choice(self.odd_terms()))
        step = self.step("OpenTask", "provider" if self.chance(95) else self.dice.choice(PEOPLE), **arguments)
        yield step
        if step["task"] in self.ledger.names.tasks:
            self.tasks.append(step["task"])

    def odd_terms(self) -> list[dict[str, Any]]:
        """Terms at the edges of what is admitted, on both sides."""
        after = self.now + 20_000 + 2 * GUARD
        return [
            {"S": self.now},
            {"S": self.now + 1},
            {"S": self.now + 20_000},
            {"S": self.now + 19_999},
            {"A": after},
            {"A": after + 1},
            {"reveal": 699},
            {"reveal": 700},
            {"reveal": 7_000},
            {"reveal": 7_001},
            {"attempts": 5},
            {"attempts": 6},
            {"award": "best", "slots": 16, "schedule": ((500_000, 10), (900_000, 51))},
            {"award": "best", "slots": 17, "schedule": ((500_000, 10), (900_000, 51))},
            {"enclaves": 4},
            {"sealed_to": ("E3a", "E3b")},
            {"sealed_to": ("E2a", "E3b")},
            {"sealed_to": ("E2a", NEWCOMER)},
            {"eta": 1},
            {"eta": 70_000},
            {"slots": 30},
            {"pay": "nothing"},
            {"schedule": ((0, 1_000),)},
            {"schedule": ((500_000, 1_000), (500_100, 1_000), (500_333, 2_000), (1_000_000, 3_333))},
            {"schedule": ((500_000, 0), (500_400, 777))},
            {"schedule": ((500_000, 1_000), (500_000, 2_000))},
            {"schedule": ((500_000, 1_000), (600_000, 999))},
            {"schedule": ((500_000, 0),)},
        ]

    def shut(self) -> Steps:
        yield self.step("ShutTask", self.dice.choice(("provider", "provider", "stranger")), task=self.a_task())

    def refund(self) -> Steps:
        task = self.a_task()
        self.perhaps_after_reports(task)
        yield self.step("RefundSlot", self.dice.choice(PEOPLE), task=task, slot=self.dice.randrange(3))

    def open_dataset(self) -> Steps:
        task = self.a_task()
        self.perhaps_after_reports(task)
        sender = "provider" if self.chance(90) else self.dice.choice(PEOPLE)
        yield self.step("OpenDataset", sender, task=task, key="right" if self.chance(75) else "wrong")

    def perhaps_after_reports(self, task: str) -> None:
        terms = self.terms(task)
        if terms is not None and self.late and self.chance(40):
            self.move_to(self.seconds(terms.last_report) + GUARD + 1)

    def slash(self) -> Steps:
        task = self.a_task()
        terms = self.terms(task)
        if terms is not None and self.late and self.chance(40):
            self.move_to(self.seconds(terms.last_opening) + GUARD + 1)
        yield self.step("SlashAudit", self.dice.choice(PEOPLE), task=task)

    # the developer's

    def offer(self, task: str | None = None, sender: str | None = None, attempt: int | None = None) -> Steps:
        """An offer, with luck an admissible one; of a developer and attempt where they are given."""
        task = task or self.a_task()
        self.made += 1
        arguments: dict[str, Any] = {
            "offer": f"O{self.made}",
            "task": task,
            "attempt": self.dice.choice((1, 1, 2, 3)),
            "provider_may_operate": self.chance(80),
        }
        if self.chance(30):
            arguments["reserve"] = self.dice.choice((self.dice.randrange(6_000), 5_001, 5_002, 1_000, 1_001))
        if self.chance(25):
            arguments["bond"] = self.dice.choice((500, 501, 502, 1_001, 0))
        if self.chance(8):
            arguments["payout"] = self.dice.choice(PEOPLE)
        if self.chance(30):
            arguments["sealed_to"] = self.dice.choice((SEALED_TO[:-1], ("E2a", "E3a", "E1a"), ("E3a", NEWCOMER)))
        if self.chance(2):
            arguments["pay"] = "nothing"
        if self.chance(3):
            arguments["attempt"] = self.dice.choice((4, 5, 6))
        if sender is None:
            sender = self.dice.choice(DEVELOPERS) if self.chance(95) else self.dice.choice(PEOPLE)
        if attempt is not None:
            arguments["attempt"] = attempt
        yield self.step("SubmitOffer", sender, **arguments)
        if arguments["offer"] in self.ledger.names.orders:
            self.offers.append(arguments["offer"])

    def withdraw(self) -> Steps:
        offer = self.an_offer("WithdrawOffer")
        sender = self.developer(offer) if offer in self.offers and self.chance(75) else self.dice.choice(PEOPLE)
        yield self.step("WithdrawOffer", sender, offer=offer)

    def rewrap(self) -> Steps:
        offer = self.an_offer("Rewrap")
        sender = self.developer(offer) if offer in self.offers and self.chance(90) else self.dice.choice(PEOPLE)
        sealed_to = self.dice.choice((("E3c",), ("E3c",), ("E1b", "E2b"), (NEWCOMER,), ("E3a",)))
        yield self.step("Rewrap", sender, offer=offer, sealed_to=sealed_to)

    def receipt(self) -> Steps:
        sender = self.dice.choice((*PEOPLE, "developer", "rival", "operator2"))
        yield self.step("Receipt", sender, offer=self.an_offer("Receipt"))

    # the operators'

    def claiming(self, offer: str, enclave: str | None = None) -> Step:
        """A claim as an operator would make it; now and then with an odd lease, slot or payment."""
        enclave = enclave or self.dice.choice(self.able(offer))
        arguments: dict[str, Any] = {"offer": offer, "enclave": enclave}
        task, record = self.task_of(offer), self.record(offer)
        if task.award is Award.EACH and record.slot is None:
            free = [i for i in range(task.slots) if self.ledger.slot(self.task_name(offer), i) == SlotState.FREE]
            arguments["slot"] = self.dice.choice(free) if free and self.chance(90) else self.dice.randrange(4)
        if self.chance(10):
            left = self.seconds(task.last_report) - self.now
            odd = (59, 60, 3_600, 3_601, min(left, 3_600), max(0, left + 1))
            arguments["lease"] = max(0, self.dice.choice(odd))
        if self.chance(2):
            arguments["pay"] = "nothing"
        return self.step("Claim", ENCLAVES[enclave], **arguments)

    def claim(self) -> Steps:
        offer = self.an_offer("Claim")
        enclave = self.dice.choice(tuple(ENCLAVES))
        if offer in self.offers and self.chance(70):
            step = self.claiming(offer, enclave if self.chance(40) else None)
            odd_slot = self.chance(15)
            if odd_slot:
                step.arguments["slot"] = self.dice.choice((None, 0, 1, 2, 3))  # type: ignore[index]  # a dict, made above
            yield step
        else:
            sender = self.dice.choice(PEOPLE)
            yield self.step("Claim", sender, offer=offer, enclave=enclave, slot=self.dice.randrange(3))

    def lapse(self) -> Steps:
        offer = self.an_offer("Lapse")
        number = self.dice.choice((1, 2, 3))
        if offer in self.offers:
            record = self.record(offer)
            if record.open_claims and self.chance(85):
                number = self.dice.choice(record.open_claims)
                if self.chance(50):
                    self.move_to(self.lease_end(offer, number) + GUARD + 1)
        yield self.step("Lapse", self.dice.choice(PEOPLE), offer=offer, claim=number)

    def report(self) -> Steps:
        offer = self.an_offer("SubmitReport")
        if offer not in self.offers:
            yield self.step("SubmitReport", self.dice.choice(OPERATORS), offer=offer, score=500_000)
            return
        yield from self.report_on(offer, self.dice.choice(OUTCOMES), None, odd=True)

    def report_on(self, offer: str, outcome: str, score: int | None, odd: bool = False) -> Steps:
        record, task = self.record(offer), self.task_of(offer)
        number = self.dice.choice(record.open_claims or (1, 2))
        arguments: dict[str, Any] = {"offer": offer, "claim": number, "outcome": outcome}
        if outcome == "pass":
            order = self.ledger.names.orders[offer]
            best = self.ledger.best_passed(order)
            least = min(threshold(task.schedule.pairs, task.eta, best, order.reserve), 1_000_000)
            least -= least % task.eta
            likely = 500_000 + 100 * self.dice.randrange(12) if score is None else score
            arguments["score"] = max(least, min(1_000_000, likely - likely % task.eta))
            if odd and self.chance(15):
                low, high = max(0, least - task.eta), min(1_000_000, arguments["score"] + 1)
                arguments["score"] = self.dice.choice((low, high, 0, 900_000, 1_000_000))
        if odd and self.chance(12):
            arguments["tamper"] = self.dice.choice(tuple(TAMPERINGS))
        sender = self.operator(offer, number)
        if odd and self.chance(8):
            sender = self.dice.choice(PEOPLE)
        yield self.step("SubmitReport", sender, **arguments)

    def report_all(self, offer: str, outcome: str, scores: tuple[int, ...]) -> Steps:
        """Have enclaves claim an offer that is stored, and report, all that are wanted."""
        if self.state(offer) is S.OFFERED:
            yield self.step("Receipt", "provider", offer=offer)
        while self.wanted(offer) and self.state(offer) in (S.STORED, S.CLAIMED):
            before = self.record(offer).claim_count
            yield self.claiming(offer)
            if self.record(offer).claim_count == before:
                return
        for score in scores:
            if self.state(offer) is S.CLAIMED and self.record(offer).open_claims:
                yield from self.report_on(offer, outcome, score)

    def agree(self) -> Steps:
        """Enclaves that nearly agree: scores eta apart or more."""
        offer = self.an_offer("Claim")
        if offer not in self.offers:
            return
        far = self.dice.choice((0, 100, 100, 200))
        outcome = self.dice.choice(("pass", "pass", "pass", "declined", "failed", "unusable"))
        yield from self.report_all(offer, outcome, (500_500, 500_500 + far, 500_500))

    def compete(self) -> Steps:
        """Offers of two organisations in turn for the places of one `best` task, with scores that often are equal."""
        best = [one for one in self.tasks if self.ledger.names.tasks[one].award is Award.BEST]
        if not best:
            return
        task = self.dice.choice(best)
        sellers = self.dice.sample(("developer", "rival"), 2)
        for turn in range(self.dice.choice((1, 2, 3, 3))):
            sender = sellers[turn % 2]
            yield from self.offer(task, sender, self.next_attempt(task, sender))
            offer = self.offers[-1] if self.offers else None
            if offer is None or self.state(offer) is not S.OFFERED or self.developer(offer) != sender:
                continue
            score = 500_000 + 100 * self.dice.randrange(3)
            yield from self.report_all(offer, "pass", (score,) * 3)

    def next_attempt(self, task: str, sender: str) -> int:
        """The number that follows the attempts of a developer's organisation in a task."""
        mine, found = ACCOUNTS[sender].organization, self.ledger.names.task(task)
        records = [self.record(one) for one in self.offers]
        return 1 + max(
            (r.order.attempt for r in records if (r.order.task, r.developer_msp) == (found, mine)), default=0
        )

    # anyone's

    def expire(self) -> Steps:
        offer = self.an_offer("Expire")
        if offer in self.offers and self.late and self.chance(50):
            self.move_to(self.seconds(self.task_of(offer).last_report) + GUARD + 1)
        yield self.step("Expire", self.dice.choice(PEOPLE), offer=offer)

    def award(self) -> Steps:
        offer = self.an_offer("AwardOffer")
        if offer in self.offers and self.late and self.chance(60):
            self.move_to(self.seconds(self.task_of(offer).last_report) + GUARD + 1)
        yield self.step("AwardOffer", self.dice.choice(PEOPLE), offer=offer)

    def reveal(self) -> Steps:
        secret = "right" if self.chance(75) else "wrong"
        yield self.step("Reveal", self.dice.choice(PEOPLE), offer=self.an_offer("Reveal"), secret=secret)

    def forfeit(self) -> Steps:
        offer = self.an_offer("Forfeit")
        if offer in self.offers and self.state(offer) is S.LOCKED and self.chance(50):
            lock = self.record(offer).lock
            assert lock is not None
            assert lock.deadline is not None
            self.move_to(self.seconds(lock.deadline) + GUARD + 1)
        yield self.step("Forfeit", self.dice.choice(PEOPLE), offer=offer)

    def acknowledge(self) -> Steps:
        yield self.step("Acknowledge", self.dice.choice(("provider", "store")), offer=self.an_offer("Acknowledge"))

    # the consortium's

    def vote(self) -> Steps:
        """Change the policy, or revoke an enclave; what hinders everything is soon voted away again."""
        change = self.dice.choice(self.changes())
        yield from self.carried(**change)
        if "paused" in str(change) or "operators" in str(change):
            yield from self.go_on()
            yield from self.offer()
            yield from self.carried(policy={"paused": False, "operators": OPERATORS})

    def changes(self) -> list[dict[str, Any]]:
        amount = self.dice.randrange(40)
        return [
            {"policy": {"paused": True}},
            {"policy": {"benchmark_fee": amount, "deposit": 3 * amount}},
            {"policy": {"market_fee": 13 * amount, "bond": 100 * amount}},
            {"policy": {"audit_bond": 7 * amount}},
            {"policy": {"lease_min": 50, "lease_max": 700}},
            {"policy": {"attempts_max": 2 + amount % 4}},
            {"policy": {"operators": self.dice.choice((OPERATORS[:2], OPERATORS[1:]))}},
            {"policy": {"reveal_min": 800, "reveal_max": 1_000 + amount % 2}},
            {"revoke": self.dice.choice(("E1b", "E2b", "E3c", "E3b", NEWCOMER))},
        ]

    def carried(self, **change: Value) -> Steps:
        """Two admins, or more or the wrong ones, vote for something."""
        self.proposals += 1
        name = f"P{self.proposals}"
        yield self.step("Propose", "admin1" if self.chance(92) else self.dice.choice(PEOPLE), proposal=name, **change)
        if self.chance(6):
            self.now += self.dice.choice((3_600, 3_601))
        if self.chance(10):
            name = f"P{self.dice.randrange(self.proposals + 2)}"
        yield self.step("Vote", "admin2" if self.chance(85) else self.dice.choice(tuple(ACCOUNTS)), proposal=name)
        if self.chance(20):
            yield self.step("Vote", self.dice.choice(ADMINS), proposal=name)

    def register(self) -> Steps:
        if self.chance(30):
            enclave = self.dice.choice(tuple(ENCLAVES))
            yield self.step("RegisterEnclave", ENCLAVES[enclave], enclave=enclave)

    # the end

    def end(self) -> Steps:
        """Time goes by, and strangers end whatever holds money."""
        self.now += 1_000_000
        for offer in self.offers:
            if self.state(offer) in (S.OFFERED, S.STORED, S.CLAIMED):
                yield self.step("Expire", "stranger", offer=offer)
            elif self.state(offer) is S.LEADING:
                yield self.step("AwardOffer", "stranger", offer=offer)
        self.now += 1_000_000
        for offer in self.offers:
            if self.state(offer) is S.LOCKED:
                yield self.step("Forfeit", "stranger", offer=offer)
        for name in self.tasks:
            task = self.ledger.names.tasks[name]
            for index in range(task.slots):
                if self.ledger.slot(name, index) == SlotState.FREE:
                    yield self.step("RefundSlot", "stranger", task=name, slot=index)
            if self.ledger.dataset(name) == "hidden":
                yield self.step("SlashAudit", "stranger", task=name)


Move = Callable[[Player], Steps]
ONCE: tuple[Move, ...] = (
    Player.open,
    Player.wait,
    Player.edge,
    Player.shut,
    Player.refund,
    Player.open_dataset,
    Player.slash,
    Player.offer,
    Player.withdraw,
    Player.rewrap,
    Player.receipt,
    Player.claim,
    Player.lapse,
    Player.report,
    Player.agree,
    Player.compete,
    Player.expire,
    Player.award,
    Player.reveal,
    Player.forfeit,
    Player.acknowledge,
    Player.vote,
    Player.register,
)
OFTEN: tuple[Move, ...] = (
    Player.offer,
    Player.report,
    Player.receipt,
    Player.rewrap,
    Player.lapse,
    Player.agree,
    Player.compete,
    Player.edge,
)
WEIGHTED: tuple[Move, ...] = (*ONCE, *OFTEN * 2, *(Player.go_on,) * 18)


def player(ledger: FabricLedger, seed: int) -> Player:
    """A player of a seed's sequence."""
    return Player(ledger, Random(seed))
