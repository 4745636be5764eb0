"""Tasks, orders and reports as the EVM contract hashes them, digests computed here by `protocol.digests`.

A benchmark result is signed once per ledger (protocol section 11): the words for channel, contract and accounts are
the chain's id and addresses here, and whatever is a digest over them differs with them. All other words are the
chaincode's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from goldengrain.chaincode.protocol import digests, pricing
from goldengrain.chaincode.protocol.report import Report, Result
from goldengrain.chaincode.protocol.task import BenchmarkSpec, DatasetDigests, PriceSchedule

Envelopes = tuple[tuple[bytes, bytes], ...]
"""Pairs of an enclave's id and the digest of what is sealed to it."""

WINDOW = 0
"""W: a block has one time."""
NOWHERE = "0x" + "00" * 20
OUTCOMES = ("pass", "declined", "failed", "unusable")


def number(address: str) -> int:
    """Return an address's word."""
    return int(address, 16)


@dataclass(frozen=True)
class Place:
    """Which ledger: the words for channel and contract."""

    chain_id: int
    contract: int


@dataclass(frozen=True)
class Terms:
    """What a task fixes of the policy."""

    benchmark_fee: int
    market_fee: int
    bond: int
    audit_bond: int
    deposit: int
    required: int
    guard: int
    test: bool

    def words(self) -> list[int]:
        """The list that a task's digest holds, and the fields of the contract's struct."""
        return [
            self.benchmark_fee,
            self.market_fee,
            self.bond,
            self.audit_bond,
            self.deposit,
            self.required,
            WINDOW,
            self.guard,
            int(self.test),
        ]


@dataclass(frozen=True)
class Task:
    """A task on the EVM."""

    place: Place
    provider: str
    provider_key: bytes
    spec: BenchmarkSpec
    dataset: DatasetDigests
    schedule: PriceSchedule
    award: str
    slots: int
    last_offer: int
    last_report: int
    last_opening: int
    reveal: int
    eta: int
    attempts: int
    enclaves: int
    terms: Terms
    envelopes: Envelopes

    @property
    def minimum_bond(self) -> int:
        """The least bond of an offer."""
        return pricing.share_up(self.schedule.top_price, self.terms.bond)

    @property
    def fee(self) -> int:
        """The benchmark fee of an offer."""
        return self.enclaves * self.terms.benchmark_fee

    @property
    def due(self) -> int:
        """What opening it costs."""
        budget = self.slots * self.schedule.top_price
        return budget + pricing.share_up(budget, self.terms.audit_bond)

    @property
    def points(self) -> list[int]:
        """The schedule as the contract takes it: score << 64 | price."""
        return [score << 64 | price for score, price in self.schedule.pairs]

    @cached_property
    def conditions(self) -> list[Any]:
        """Fields of the contract's `Conditions`, in the order of the digest."""
        return [
            number(self.provider),
            digests.hashed(self.provider_key),
            self.spec.digest(),
            self.dataset.digest(),
            self.schedule.digest(),
            digests.word(self.award),
            self.slots,
            self.last_offer,
            self.last_report,
            self.last_opening,
            self.reveal,
            self.eta,
            self.attempts,
            self.enclaves,
        ]

    def struct(self) -> tuple[list[Any], list[int]]:
        """The contract's `Task`."""
        return self.conditions, self.terms.words()

    def spec_struct(self) -> list[Any]:
        """The contract's `Spec`."""
        spec = self.spec
        words = (spec.interface.words(), spec.limits.words())
        tensors, limits = (digests.word(one) for one in words)
        return [digests.word(spec.metric.value), spec.wilson, spec.samples, tensors, limits, spec.seed, spec.scale]

    def digest(self) -> bytes:
        """D(task; ...), its id."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        place, terms = self.place, self.terms.words()
        return digests.digest("task", place.chain_id, place.contract, *self.conditions, digests.word(terms))


@dataclass(frozen=True)
class Order:
    """An offer's order on the EVM, with what the contract doesn't hash: bond, leave to operate, envelopes."""

    task: Task
    developer: str
    payout: str
    attempt: int
    ciphertext: bytes
    size: int
    chunk_size: int
    key_check: bytes
    secret_hash: bytes
    reserve: int
    bond: int
    provider_may_operate: bool
    envelopes: Envelopes

    def struct(self) -> list[Any]:
        """The contract's `Order`, in the order of the digest."""
        return [
            self.task.digest(),
            digests.hashed(self.task.provider_key),
            self.task.spec.digest(),
            number(self.developer),
            number(self.payout),
            self.attempt,
            self.ciphertext,
            self.size,
            self.chunk_size,
            self.key_check,
            self.secret_hash,
            self.reserve,
        ]

    def offering(self) -> list[Any]:
        """The contract's `Offering`: what a developer says of an offer."""
        return [
            self.payout,
            self.attempt,
            self.ciphertext,
            self.size,
            self.chunk_size,
            self.key_check,
            self.secret_hash,
            self.reserve,
            self.bond,
            self.provider_may_operate,
        ]

    def digest(self) -> bytes:
        """D(order; ...)."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        place = self.task.place
        return digests.digest("order", place.chain_id, place.contract, *self.struct())

    @cached_property
    def offer_id(self) -> bytes:
        """The offer's id."""
        return digests.offer_id(self.digest())


@dataclass(frozen=True)
class Ticket:
    """What an enclave is told of a claim; the contract computes it anew at the report."""

    order: Order
    claim: int
    enclave: bytes
    bundle: bytes
    lease_end: int
    threshold: int

    def digest(self) -> bytes:
        """D(ticket; ...)."""
        order, place = self.order, self.order.task.place
        return digests.digest(
            "ticket",
            place.chain_id,
            place.contract,
            order.digest(),
            order.offer_id,
            self.claim,
            self.enclave,
            self.bundle,
            self.lease_end,
            self.threshold,
            dict(order.envelopes).get(self.enclave, digests.ZERO),
            dict(order.task.envelopes).get(self.enclave, digests.ZERO),
        )

    def report(self, result: Result) -> Report:
        """The report of a result, as the enclave signs it for this ledger: the chaincode's class, other words."""
        order, task = self.order, self.order.task
        return Report(
            channel=task.place.chain_id,
            contract=task.place.contract,
            task=task.digest(),
            offer=order.offer_id,
            order=order.digest(),
            ciphertext=order.ciphertext,
            dataset=task.dataset.digest(),
            spec=task.spec.digest(),
            samples=task.spec.samples,
            ticket=self.digest(),
            claim=self.claim,
            enclave=self.enclave,
            result=result,
        )


def result_struct(enclave: bytes, result: Result, signature: bytes) -> list[Any]:
    """The contract's `Result`."""
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    outcome = 1 + OUTCOMES.index(result.outcome.value)
    return [enclave, outcome, result.score, result.model or digests.ZERO, r, s, signature[64]]


def ascending(envelopes: Iterable[tuple[bytes, bytes]]) -> Envelopes:
    """Sort envelopes as the contract takes them: by enclave."""
    return tuple(sorted(envelopes))


def bits(word: int, *widths: int) -> Sequence[int]:
    """Split a stored word into fields, the lowest first."""
    fields = []
    for width in widths:
        fields.append(word & ((1 << width) - 1))
        word >>= width
    return fields
