"""Claims and job tickets (protocol sections 5, 8 and 9).

A job ticket is what peers of k organisations endorse when asked `JobTicket(offer, claim, enclave, nonce)`: its response
payload is a `JobTicketPayload`, from which an enclave recomputes task, order and offer digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from goldengrain.chaincode.protocol import canonical, digests
from goldengrain.chaincode.protocol.codecs import Integer
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.offer import Order
from goldengrain.chaincode.protocol.records import Digest, Index, Name, Record, Threshold, Time
from goldengrain.chaincode.protocol.task import Task

ClaimNumber = Annotated[int, Integer(1, 2**31)]
"""Claims of an offer are counted from 1; a number is never used again."""


@dataclass(frozen=True)
class Claim(Record):
    """An operator's promise to run an offer on an enclave until a time.

    It fixes the digests of the envelopes that this enclave opens. `slot` is the reserved one where the award is `each`.
    """

    number: ClaimNumber
    enclave: Digest
    operator: Digest
    operator_msp: Name
    lease_end: Time
    slot: Index | None
    model_envelope: Digest
    dataset_envelope: Digest


@dataclass(frozen=True)
class Ticket(Record):
    """The ledger's statement that an enclave is to run an offer; a pure function of its state."""

    channel: Name
    contract: Name
    order: Digest
    offer: Digest
    claim: ClaimNumber
    enclave: Digest
    bundle: Digest
    lease_end: Time
    threshold: Threshold
    model_envelope: Digest
    dataset_envelope: Digest

    @classmethod
    def of(cls, order: Order, claim: Claim, bundle: bytes, threshold: int) -> Self:
        """Make the ticket of a claim; `bundle` is the trust-bundle digest that the enclave is registered with."""
        digest = order.digest()
        return cls(
            channel=order.channel,
            contract=order.contract,
            order=digest,
            offer=digests.offer_id(digest),
            claim=claim.number,
            enclave=claim.enclave,
            bundle=bundle,
            lease_end=claim.lease_end,
            threshold=threshold,
            model_envelope=claim.model_envelope,
            dataset_envelope=claim.dataset_envelope,
        )

    def digest(self) -> bytes:
        """Return D(ticket; ...) over section 9's fields in its order; neither nonce nor height is in it."""
        return digests.digest(
            "ticket",
            self.channel,
            self.contract,
            self.order,
            self.offer,
            self.claim,
            self.enclave,
            self.bundle,
            self.lease_end,
            self.threshold,
            self.model_envelope,
            self.dataset_envelope,
        )


@dataclass(frozen=True)
class JobTicketPayload(Record):
    """The response payload that endorsers sign."""

    task: Task
    order: Order
    ticket: Ticket

    def to_bytes(self) -> bytes:
        """Write it as canonical JSON."""
        return canonical.dumps({"v": 1, **self.to_json()})

    @classmethod
    def from_bytes(cls, data: bytes, max_size: int = canonical.MAX_SIZE) -> Self:
        """Read it; raises `MalformedInput` unless the bytes are exactly what `to_bytes` writes."""
        document = canonical.loads(data, max_size)
        if not isinstance(document, dict) or document.pop("v", None) != 1:
            raise MalformedInput("not a job ticket of version 1")
        payload = cls.from_json(document)
        if payload.to_bytes() != data:
            raise MalformedInput("the job ticket is not in canonical form")
        return payload
