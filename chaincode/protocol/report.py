"""Reports: an enclave's signed result for one job (protocol sections 5 and 9).

A benchmark result is signed once per ledger: on Fabric `channel` and `contract` are names, on the EVM the chain's id
and the contract's address as an integer; only these words, the accounts' and the digests over them differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from goldengrain.chaincode.protocol import digests, signatures
from goldengrain.chaincode.protocol.errors import (
    ReportBelowThreshold,
    ReportMalformed,
    ReportScoreRefused,
    ReportSignatureInvalid,
    SignatureMalformed,
)
from goldengrain.chaincode.protocol.offer import Order
from goldengrain.chaincode.protocol.records import MAX_SCORE
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.ticket import Ticket

LOCKED_SIZE = 1168 + 16
"""Bytes of `locked`: HPKE of 32 bytes to the provider, and AES-GCM's tag over it."""


class Outcome(StrEnum):
    """What an enclave may say of a job."""

    PASS = "pass"  # noqa: S105 - not a password
    DECLINED = "declined"
    FAILED = "failed"
    """The developer's fault."""
    UNUSABLE = "unusable"
    """The provider's fault."""


@dataclass(frozen=True)
class Result:
    """What an enclave finds out; the rest of a report is on the ledger.

    `score` is floored and, with `locked` and `model` (SHA-256 of the plaintext), only there on a pass.
    """

    outcome: Outcome
    score: int = 0
    locked: bytes = b""
    model: bytes | None = None

    def __post_init__(self) -> None:
        passed = self.outcome is Outcome.PASS
        if isinstance(self.score, bool) or not 0 <= self.score <= MAX_SCORE:
            raise ReportMalformed("a score is an integer from 0 to 1,000,000")
        if not passed and (self.score or self.locked or self.model is not None):
            raise ReportMalformed(f"`{self.outcome}` carries neither score nor locked key nor model digest")
        if passed and (len(self.locked) != LOCKED_SIZE or self.model is None or len(self.model) != digests.WORD):
            raise ReportMalformed(f"a pass carries {LOCKED_SIZE} locked bytes and the model's digest")


@dataclass(frozen=True)
class Report:
    """Everything that a report's signature covers."""

    channel: str | int
    contract: str | int
    task: bytes
    offer: bytes
    order: bytes
    ciphertext: bytes
    dataset: bytes
    spec: bytes
    samples: int
    ticket: bytes
    claim: int
    enclave: bytes
    result: Result

    @classmethod
    def of(cls, task: Task, order: Order, ticket: Ticket, result: Result) -> Self:
        """Make the report of a job on Fabric: what the enclave signs and what the contract rebuilds from its state."""
        return cls(
            channel=task.channel,
            contract=task.contract,
            task=task.digest(),
            offer=ticket.offer,
            order=ticket.order,
            ciphertext=order.ciphertext,
            dataset=task.dataset.digest(),
            spec=task.spec.digest(),
            samples=task.spec.samples,
            ticket=ticket.digest(),
            claim=ticket.claim,
            enclave=ticket.enclave,
            result=result,
        )

    def digest(self) -> bytes:
        """Return D(report; ...) over section 9's fields in its order."""
        result = self.result
        return digests.digest(
            "report",
            self.channel,
            self.contract,
            self.task,
            self.offer,
            self.order,
            self.ciphertext,
            self.dataset,
            self.spec,
            result.outcome.value,
            result.score,
            self.samples,
            digests.sha256(result.locked) if result.locked else None,
            result.model,
            self.ticket,
            self.claim,
            self.enclave,
        )

    def sign(self, private_key: bytes) -> bytes:
        """Sign with the enclave's key of 32 bytes; returns 65 bytes r, s, v."""
        return signatures.sign(private_key, self.digest())

    def verify(self, signature: bytes) -> None:
        """Raise `ReportSignatureInvalid` unless the report's own enclave made the signature."""
        try:
            signer = signatures.recover(self.digest(), signature)
        except SignatureMalformed as error:
            raise ReportSignatureInvalid(f"the report's signature is malformed: {error}") from error
        if digests.enclave_id(signer) != self.enclave:
            raise ReportSignatureInvalid(
                "the report is not signed by this claim's enclave over this offer, ticket and result; "
                "don't change a report, and get a new ticket when the ledger has moved on"
            )


def check_score(result: Result, eta: int, threshold: int) -> None:
    """Refuse a passing score that is not a multiple of eta or under the ticket's threshold."""
    if result.outcome is not Outcome.PASS:
        return
    if result.score % eta:
        raise ReportScoreRefused(f"the score {result.score} is not a multiple of eta = {eta}")
    if result.score < threshold:
        raise ReportBelowThreshold(f"a score under the threshold {threshold} doesn't pass")


def agreed(results: Sequence[Result], eta: int) -> Result | None:
    """Return what several enclaves agree on: equal outcomes, scores within eta; the lowest counts. None is `void`."""
    first = results[0]
    if any(result.outcome is not first.outcome for result in results):
        return None
    lowest = min(results, key=lambda result: result.score)
    if max(result.score for result in results) - lowest.score > eta:
        return None
    return lowest
