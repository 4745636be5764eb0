"""Tasks: what a provider wants to buy, fixed at opening (protocol sections 5 and 9).

A task's id is its digest: two tasks that differ in nothing can't exist beside each other, so no order, envelope or
secret of one is good for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from goldengrain.chaincode.protocol import digests, pricing
from goldengrain.chaincode.protocol.codecs import Integer, Size
from goldengrain.chaincode.protocol.errors import (
    AttemptsRefused,
    DeadlinesRefused,
    EnclaveCountRefused,
    ScheduleRefused,
    SlotsRefused,
    SpecRefused,
)
from goldengrain.chaincode.protocol.policy import MINIMUM_REVEAL, Policy
from goldengrain.chaincode.protocol.records import (
    Amount,
    BasisPoints,
    Count,
    Digest,
    EncryptionKey,
    Index,
    Name,
    Record,
    Score,
    Seconds,
    Time,
)

MAX_SLOTS = 256
MAX_SLOTS_BEST = 16
MAX_ENCLAVES = 16
"""Greatest number of enclaves that one offer may be run by."""


class Metric(StrEnum):
    """What is measured on the test set."""

    ACCURACY = "accuracy"
    TOP_5 = "top-5"
    MACRO_F1 = "macro-f1"
    AUROC = "auroc"
    RMSE = "rmse"
    LOG_LOSS = "log-loss"

    @property
    def is_proportion(self) -> bool:
        """Whether it counts successes among samples, so that Wilson's interval is defined for it."""
        return self in (Metric.ACCURACY, Metric.TOP_5)

    @property
    def is_loss(self) -> bool:
        """Whether less is better; the spec's scale turns it into a score."""
        return self in (Metric.RMSE, Metric.LOG_LOSS)


class Award(StrEnum):
    """How slots are won."""

    EACH = "each"
    """Every offer that passes takes the slot that its claim reserved."""
    BEST = "best"
    """The best offers up to B take the slots."""


class TensorType(StrEnum):
    """Element type of a model's input or output."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT64 = "int64"
    INT32 = "int32"
    UINT8 = "uint8"


@dataclass(frozen=True)
class Tensor(Record):
    """A model's input or output; the axis of samples is 0 in `shape`, the others are their sizes."""

    name: Name
    type: TensorType
    shape: Annotated[tuple[Index, ...], Size(1, 8)]

    def check(self) -> None:
        """Refuse a shape whose first axis isn't that of samples, or with a further axis of 0."""
        if self.shape[0] != 0 or 0 in self.shape[1:]:
            raise SpecRefused(f"{self.name}: the first axis is that of samples (0), the others have sizes")

    def words(self) -> digests.Field:
        """Return what the spec's digest holds of it."""
        return [self.name, self.type.value, list(self.shape)]


@dataclass(frozen=True)
class ModelInterface(Record):
    """Names, types and shapes that a model must have."""

    input: Tensor
    output: Tensor

    def words(self) -> digests.Field:
        """Return what the spec's digest holds of it."""
        return [self.input.words(), self.output.words()]


@dataclass(frozen=True)
class ModelLimits(Record):
    """What a model may cost; counted before it runs."""

    model_bytes: Annotated[int, Integer(1, 2**40)]
    """Size of the plaintext."""
    nodes: Annotated[int, Integer(1, 2**24)]
    operations: Annotated[int, Integer(1, 2**62)]
    """Multiplications and additions for one sample."""
    memory_bytes: Annotated[int, Integer(1, 2**48)]
    """Activations and parameters while one batch runs."""

    def words(self) -> digests.Field:
        """Return what the spec's digest holds of it."""
        return [self.model_bytes, self.nodes, self.operations, self.memory_bytes]


@dataclass(frozen=True)
class BenchmarkSpec(Record):
    """What is run, and how its result becomes a score.

    `wilson`: the score of a proportion is the lower end of Wilson's interval. `scale` (millionths) turns a loss into
    max(0, 10**6 - ceil(10**6 loss / scale)); it is 0 for what is no loss. `samples` is n, from 1 to 2**32.
    """

    metric: Metric
    wilson: bool
    samples: Annotated[int, Integer(1, 2**32)]
    interface: ModelInterface
    limits: ModelLimits
    seed: Annotated[int, Integer(0, 2**63 - 1)] = 0
    scale: Annotated[int, Integer(0, 2**62)] = 0

    def check(self) -> None:
        """Refuse a loss without a scale, a scale without a loss, and Wilson's interval for what is no proportion."""
        if self.metric.is_loss and not self.scale:
            raise SpecRefused(f"{self.metric} is a loss: it needs a scale")
        if self.scale and not self.metric.is_loss:
            raise SpecRefused(f"{self.metric} is no loss: it has no scale")
        if self.wilson and not self.metric.is_proportion:
            raise SpecRefused(f"Wilson's interval is for proportions, and {self.metric} is none")

    def digest(self) -> bytes:
        """Return D(spec; metric, Wilson flag, n, interface, limits, seed, scale)."""
        return digests.digest(
            "spec",
            self.metric.value,
            self.wilson,
            self.samples,
            self.interface.words(),
            self.limits.words(),
            self.seed,
            self.scale,
        )


@dataclass(frozen=True)
class DatasetDigests(Record):
    """SHA-256 of the test set's ciphertext, of its plaintext and of its key."""

    ciphertext: Digest
    plaintext: Digest
    key: Digest

    def digest(self) -> bytes:
        """Return D(dataset; ciphertext, plaintext, key)."""
        return digests.digest("dataset", self.ciphertext, self.plaintext, self.key)


@dataclass(frozen=True)
class PricePoint(Record):
    """A score in ppm and its price."""

    score: Score
    price: Amount


@dataclass(frozen=True)
class PriceSchedule(Record):
    """1 to 16 points, linear between them: scores rise strictly, prices weakly."""

    points: Annotated[tuple[PricePoint, ...], Size(1, 16)]

    def check(self) -> None:
        """Refuse points out of order, and a schedule that pays nothing."""
        for low, high in zip(self.points, self.points[1:], strict=False):
            if low.score >= high.score or low.price > high.price:
                raise ScheduleRefused("scores must rise strictly and prices weakly from point to point")
        if self.top_price == 0:
            raise ScheduleRefused("the last price must be over 0")

    @classmethod
    def of(cls, *points: tuple[int, int]) -> Self:
        """Make a schedule of pairs of score and price."""
        return cls(tuple(PricePoint(score, amount) for score, amount in points))

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of score and price, as `pricing.price` and `threshold` take them."""
        return tuple((point.score, point.price) for point in self.points)

    @property
    def top_price(self) -> int:
        """The highest price, which a slot holds."""
        return self.points[-1].price

    def price(self, score: int) -> int:
        """Return a score's price, rounded down."""
        return pricing.price(self.pairs, score)

    def digest(self) -> bytes:
        """Return D(schedule; scores, prices), two lists."""
        return digests.digest("schedule", [p.score for p in self.points], [p.price for p in self.points])


@dataclass(frozen=True)
class Terms(Record):
    """What a task fixes of the policy at opening; its settlement reads no policy."""

    benchmark_fee: Amount
    """Paid by the developer with the offer, for each enclave."""
    market_fee: BasisPoints
    bond: BasisPoints
    audit_bond: BasisPoints
    deposit: Amount
    required: Count
    """k."""
    window: Seconds
    """W."""
    guard: Seconds
    """G."""
    test: bool
    """W, G or R is below the protocol's minimum."""

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Take them from the policy in force."""
        return cls(
            benchmark_fee=policy.benchmark_fee,
            market_fee=policy.market_fee,
            bond=policy.bond,
            audit_bond=policy.audit_bond,
            deposit=policy.deposit,
            required=policy.required,
            window=policy.window,
            guard=policy.guard,
            test=policy.test,
        )

    def words(self) -> digests.Field:
        """Return what the task's digest holds of them."""
        return [
            self.benchmark_fee,
            self.market_fee,
            self.bond,
            self.audit_bond,
            self.deposit,
            self.required,
            self.window,
            self.guard,
            self.test,
        ]


@dataclass(frozen=True)
class Task(Record):
    """A task as opened. `shut` moves S on the ledger only, never here.

    Deadlines: `last_offer` S, `last_report` B, `last_opening` A; `reveal` is R in seconds.
    """

    channel: Name
    contract: Name
    provider: Digest
    provider_key: EncryptionKey
    spec: BenchmarkSpec
    dataset: DatasetDigests
    schedule: PriceSchedule
    award: Award
    slots: Annotated[int, Integer(1, MAX_SLOTS)]
    last_offer: Time
    last_report: Time
    last_opening: Time
    reveal: Seconds
    eta: Annotated[int, Integer(1, 1_000_000)]
    attempts: Annotated[int, Integer(1, 2**31)]
    enclaves: Annotated[int, Integer(1, MAX_ENCLAVES)]
    terms: Terms

    def check(self) -> None:
        """Refuse deadlines that contradict each other and too many slots."""
        if self.award is Award.BEST and self.slots > MAX_SLOTS_BEST:
            raise SlotsRefused(f"award `best` has at most {MAX_SLOTS_BEST} slots")
        if self.last_offer >= self.last_report:
            raise DeadlinesRefused("S, the last offers, must lie before B, the last reports")
        if self.last_opening <= self.last_report + 2 * self.terms.guard:
            raise DeadlinesRefused(f"A must be over B + 2 G, that is over {self.last_report + 2 * self.terms.guard}")
        if self.reveal <= 2 * self.terms.guard:
            raise DeadlinesRefused(f"R must be over 2 G = {2 * self.terms.guard} s")
        if self.reveal < MINIMUM_REVEAL and not self.terms.test:
            raise DeadlinesRefused(f"R must be at least {MINIMUM_REVEAL} s")

    def validate(self, policy: Policy, at: int) -> None:
        """Refuse what the policy doesn't admit when the task is opened at a time; each with its own error."""
        if self.last_offer <= at:
            raise DeadlinesRefused("S, the last offers, must lie ahead")
        if not policy.reveal_min <= self.reveal <= policy.reveal_max:
            raise DeadlinesRefused(f"R must be from {policy.reveal_min} to {policy.reveal_max} s")
        if self.attempts > policy.attempts_max:
            raise AttemptsRefused(f"at most {policy.attempts_max} attempts per organisation")
        if self.enclaves > len(policy.operators):
            raise EnclaveCountRefused(
                f"{self.enclaves} enclaves are wanted, {len(policy.operators)} operators voted in"
            )

    @property
    def id(self) -> bytes:
        """The task's id: its digest."""
        return self.digest()

    @property
    def budget(self) -> int:
        """What the slots lock: their number times the top price."""
        return self.slots * self.schedule.top_price

    @property
    def audit_bond(self) -> int:
        """What the provider gets back for opening the test set in time."""
        return pricing.share_up(self.budget, self.terms.audit_bond)

    @property
    def minimum_bond(self) -> int:
        """The least bond of an offer."""
        return pricing.share_up(self.schedule.top_price, self.terms.bond)

    @property
    def benchmark_fee(self) -> int:
        """What a developer pays with the offer for all enclaves that the task wants."""
        return self.enclaves * self.terms.benchmark_fee

    def market_fee(self, price: int) -> int:
        """Return the treasury's share of a price."""
        return pricing.share_down(price, self.terms.market_fee)

    def digest(self) -> bytes:
        """Return D(task; ...) over section 9's fields in its order."""
        return digests.digest(
            "task",
            self.channel,
            self.contract,
            self.provider,
            digests.hashed(self.provider_key),
            self.spec.digest(),
            self.dataset.digest(),
            self.schedule.digest(),
            self.award.value,
            self.slots,
            self.last_offer,
            self.last_report,
            self.last_opening,
            self.reveal,
            self.eta,
            self.attempts,
            self.enclaves,
            self.terms.words(),
        )
