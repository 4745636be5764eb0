"""What stands on the ledger. `keys` tells which key holds which record; an amount in escrow is its record's `held`.

No record is written by two swaps that have nothing to do with each other: an offer, a claim, a slot, an attempt and a
coin have a key each, and what a swap needs of a task or of the policy it only reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from goldengrain.chaincode.market.state import StateRecord
from goldengrain.chaincode.protocol.codecs import Bytes, Size, Text
from goldengrain.chaincode.protocol.commands import Propose
from goldengrain.chaincode.protocol.offer import EnvelopeDigest, Order
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.records import (
    Amount,
    Count,
    Digest,
    EncryptionKey,
    Fmspc,
    Index,
    Name,
    Positive,
    Record,
    Score,
    SigningKey,
    Threshold,
    Time,
    TransactionId,
    Version,
)
from goldengrain.chaincode.protocol.report import Outcome, Result
from goldengrain.chaincode.protocol.tables import DatasetState, OfferState, SlotState
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.ticket import Claim

MAX_ENVELOPES = 64
"""Enclaves to which one key may be sealed."""

Envelopes = Annotated[tuple[EnvelopeDigest, ...], Size(0, MAX_ENVELOPES)]
Locked = Annotated[bytes, Bytes(0, 4096)]


@dataclass(frozen=True)
class CoinRecord(StateRecord):
    """An unspent amount; the key names owner and id."""

    owner: Digest
    amount: Positive

    @property
    def held(self) -> int:
        """The coin's amount."""
        return self.amount


@dataclass(frozen=True)
class PolicyRecord(StateRecord):
    """The policy in force, and since when; each version also stands under its number."""

    policy: Policy
    adopted: Time
    transaction: TransactionId


class ProposalState(StrEnum):
    """What has become of a proposal; an open one also ends when its time is over."""

    OPEN = "open"
    CARRIED = "carried"


@dataclass(frozen=True)
class ProposalRecord(StateRecord):
    """Something that the organisations vote on; its id is the transaction that proposed it."""

    proposal: Propose
    proposer: Digest
    proposer_msp: Name
    votes: Annotated[tuple[Name, ...], Size(1, 64)]
    state: ProposalState
    proposed: Time
    expires: Time
    """The last second for votes."""
    minted: Amount = 0
    burned: Amount = 0
    carried: TransactionId | None = None


@dataclass(frozen=True)
class CollateralRecord(StateRecord):
    """Collateral of one root and FMSPC; `text` is the JSON that the verification takes."""

    root: Digest
    fmspc: Fmspc
    numbers: Annotated[tuple[Count, ...], Size(1, 8)]
    """Evaluation and CRL numbers, which only rise."""
    text: Annotated[str, Text(1, 1_000_000, printable=False)]
    stored: Time
    transaction: TransactionId


@dataclass(frozen=True)
class ChallengeRecord(StateRecord):
    """A nonce for one registration; the transaction id that made it is its id."""

    operator: Digest
    """Who is challenged."""
    msp_id: Name
    """The challenger's organisation."""
    made: Time
    used_by: Digest | None = None
    """The enclave that was registered with it."""


@dataclass(frozen=True)
class EnclaveRecord(StateRecord):
    """A registered enclave: what its quote said, and until when it may work."""

    VERSION: ClassVar[int] = 2

    id: Digest
    signing_key: SigningKey
    encryption_key: EncryptionKey
    operator: Digest
    operator_msp: Name
    root: Digest
    fmspc: Fmspc
    measurement: Digest
    status: Name
    simulated: bool
    bundle: Digest
    policy_number: Version
    registered: Time
    expires: Time
    """The last second in which it may work."""
    transaction: TransactionId
    revoked: bool = False
    collateral: TransactionId | None = None
    """The transaction that stored the collateral with which the quote was verified."""


@dataclass(frozen=True)
class TaskRecord(StateRecord):
    """A task as opened; never written again."""

    task: Task
    provider_msp: Name
    opened: Time
    envelopes: Envelopes
    """The dataset's key, sealed to enclaves."""
    policy_number: Version
    simulated: bool
    """Whether the policy accepted attestation roots other than Intel's."""
    transaction: TransactionId


@dataclass(frozen=True)
class TaskStatusRecord(StateRecord):
    """What changes of a task. Apart from the task, so that no swap under way conflicts with its provider's commands."""

    last_offer: Time
    """S, which `shut` moves forward."""
    shut: bool
    audit_bond: Amount
    """What is left of it in escrow."""
    dataset: DatasetState = DatasetState.HIDDEN
    dataset_key: Digest | None = None
    """The test set's key, once opened."""

    @property
    def held(self) -> int:
        """The audit bond in escrow."""
        return self.audit_bond


@dataclass(frozen=True)
class SlotRecord(StateRecord):
    """One slot of a task's budget."""

    VERSION: ClassVar[int] = 2

    task: Digest
    index: Index
    state: SlotState
    amount: Amount
    offer: Digest | None = None
    score: Score | None = None
    """Score of the offer that leads it, `best`."""
    entry: Count = 0
    """When that offer took it: entries of a task are counted from 1, the latest is the highest."""

    @property
    def held(self) -> int:
        """The slot's amount in escrow."""
        return self.amount


@dataclass(frozen=True)
class Lock(Record):
    """What a passing report leaves in an offer until it is settled."""

    score: Score
    price: Amount
    enclave: Digest
    model: Digest
    """SHA-256 of the model's plaintext."""
    deadline: Time | None
    """D = lock + R, the last second for `reveal`; None while the offer leads, outbid or displaced."""
    simulated: bool
    """Whether the enclave's quote was verified under a root other than Intel's."""
    locked: Locked
    """The model's key, sealed to the provider and locked by r; empty once acknowledged."""
    secret: Annotated[bytes, Bytes(0, 32)] = b""
    """r, from `reveal` until it is acknowledged."""
    acknowledged: bool = False
    reported: TransactionId | None = None
    """The last report's transaction."""
    awarded: TransactionId | None = None
    revealed: TransactionId | None = None


@dataclass(frozen=True)
class OfferRecord(StateRecord):
    """An offer and where it stands."""

    VERSION: ClassVar[int] = 2

    id: Digest
    order: Order
    developer_msp: Name
    provider_may_operate: bool
    """Whether enclaves of the provider's organisation may run it."""
    state: OfferState
    bond: Amount
    fee: Amount
    """Bond and benchmark fee still in escrow."""
    offered: Time
    transaction: TransactionId
    envelopes: Envelopes
    receipts: Annotated[tuple[Name, ...], Size(0, 64)] = ()
    """Organisations that store the ciphertext."""
    claim_count: Count = 0
    """Claims made so far; the last one's number."""
    open_claims: Annotated[tuple[Count, ...], Size(0, 64)] = ()
    """Numbers of claims with neither report nor lapse."""
    claimed_by: Annotated[tuple[Digest, ...], Size(0, 4096)] = ()
    """Enclaves that ever claimed it."""
    slot: Index | None = None
    """The slot that is reserved or locked for it."""
    lock: Lock | None = None
    enclaves: Count = 1
    """Reports that the task wants, from as many enclaves."""
    reported_claims: Annotated[tuple[Count, ...], Size(0, 64)] = ()
    """Numbers of claims whose report is in while others are waited for, in the order of the reports."""

    @property
    def held(self) -> int:
        """Bond and benchmark fee in escrow."""
        return self.bond + self.fee


class ClaimState(StrEnum):
    """What has become of a claim."""

    OPEN = "open"
    REPORTED = "reported"
    LAPSED = "lapsed"


@dataclass(frozen=True)
class ClaimRecord(StateRecord):
    """A claim of an offer. What was reported is held here until the last report wanted is in."""

    VERSION: ClassVar[int] = 2

    offer: Digest
    claim: Claim
    state: ClaimState
    deposit: Amount
    """What is left of it in escrow."""
    claimed: Time
    transaction: TransactionId
    outcome: Outcome | None = None
    reported: Time | None = None
    score: Score = 0
    locked: Locked = b""
    """Empty again once the offer is decided; the counting one is then the offer's."""
    model: Digest | None = None
    threshold: Threshold | None = None
    """The ticket's, as recomputed at the report; with it anyone recomputes the ticket's digest."""
    report: TransactionId | None = None
    """The report's transaction."""
    simulated: bool = False
    """Whether the reporting enclave's quote was verified under a root other than Intel's."""
    registration: TransactionId | None = None
    """The transaction that registered the enclave as it stood at the report."""

    @property
    def result(self) -> Result:
        """What the enclave found out, while it is held for the other reports."""
        if self.outcome is None:
            raise AssertionError("a claim without a report")
        return Result(self.outcome, self.score, self.locked, self.model)

    @property
    def held(self) -> int:
        """The deposit in escrow."""
        return self.deposit


@dataclass(frozen=True)
class AttemptRecord(StateRecord):
    """An attempt of an organisation in a task, consumed for good."""

    offer: Digest


@dataclass(frozen=True)
class SellerRecord(StateRecord):
    """What one organisation has going in a task: its live offer, and the best score that passed (the Ladder's)."""

    live: Digest | None
    best_passed: Score | None = None


@dataclass(frozen=True)
class IndexRecord(StateRecord):
    """An entry of an index; what it points to is in its key, and here again."""

    id: Digest
