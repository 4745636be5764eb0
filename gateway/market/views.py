"""What the contract's queries answer, typed.

Fields bear the contract's own names; ids, digests and accounts are bytes, times are seconds of ledger time, amounts are
smallest units. A field that a newer contract adds is passed over, so that an older client keeps reading; a missing or
malformed one is a ``MalformedInput``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, cast

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
    Record,
    Score,
    SigningKey,
    Threshold,
    Time,
    TransactionId,
    Version,
)
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.tables import DatasetState, OfferState, SlotState
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.ticket import Claim

R = TypeVar("R", bound=Record)

_MANY = 4096
Words = Annotated[tuple[Name, ...], Size(0, _MANY)]
Numbers = Annotated[tuple[Count, ...], Size(0, _MANY)]
Envelopes = Annotated[tuple[EnvelopeDigest, ...], Size(0, _MANY)]


def read(kind: type[R], document: dict[str, Any]) -> R:
    """Return a view of an answer's object. Raises MalformedInput where a field is missing or malformed."""
    return kind.from_json(_known(kind, document))


def _known(kind: type[Record], document: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a view has, in views inside it too; what the protocol itself defines is left as it is."""
    nested = _NESTED.get(kind, {})
    found = {}
    for field in fields(cast("Any", kind)):
        if field.name in document:
            found[field.name] = _stripped(nested.get(field.name), document[field.name])
    return found


def _stripped(kind: type[Record] | None, value: Any) -> Any:
    if kind is None:
        return value
    if isinstance(value, list):
        return [_stripped(kind, item) for item in value]
    return _known(kind, value) if isinstance(value, dict) else value


@dataclass(frozen=True)
class PolicyView(Record):
    """The policy in force, since when, and the transaction that made it so."""

    policy: Policy
    adopted: Time
    transaction: TransactionId


@dataclass(frozen=True)
class ProposalView(Record):
    """Something put to the vote; ``state`` is ``open`` or ``carried``, ``votes`` are MSP ids."""

    id: TransactionId
    proposal: Propose
    proposer: Digest
    proposer_msp: Name
    votes: Words
    state: Name
    proposed: Time
    expires: Time
    minted: Amount = 0
    burned: Amount = 0
    carried: TransactionId | None = None


@dataclass(frozen=True)
class CollateralView(Record):
    """Stored collateral; ``text`` is the JSON that dcap-qvl reads."""

    root: Digest
    fmspc: Fmspc
    text: Annotated[str, Text(1, 1_000_000, printable=False)]
    stored: Time
    transaction: TransactionId


@dataclass(frozen=True)
class ChallengeView(Record):
    """A challenge: who made it, when, and which enclave was registered with it."""

    id: TransactionId
    msp_id: Name
    made: Time
    used_by: Digest | None = None


@dataclass(frozen=True)
class EnclaveView(Record):
    """A registered enclave; ``expires`` is the last second in which it may work."""

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
    transaction: TransactionId
    revoked: bool = False


@dataclass(frozen=True)
class TaskStatus(Record):
    """What changes of a task: S (moved by ``shut``), the audit bond in escrow, what became of the test set."""

    last_offer: Time
    shut: bool
    audit_bond: Amount
    dataset: DatasetState
    dataset_key: Digest | None = None


@dataclass(frozen=True)
class TaskView(Record):
    """A task as opened, and its status. ``envelopes``: the test set's key sealed to enclaves."""

    id: Digest
    task: Task
    provider_msp: Name
    opened: Time
    envelopes: Envelopes
    policy_number: Version
    simulated: bool
    transaction: TransactionId
    status: TaskStatus


@dataclass(frozen=True)
class SlotView(Record):
    """A slot of a task's budget; ``amount`` is in escrow."""

    task: Digest
    index: Index
    state: SlotState
    amount: Amount
    offer: Digest | None = None


@dataclass(frozen=True)
class LockView(Record):
    """What a passing report left in an offer.

    ``deadline`` is D, None while the offer leads and after it was beaten. ``locked`` is the model's key, sealed to the
    provider and locked by r; ``secret`` is r once revealed. Both are empty after the provider has acknowledged.
    """

    score: Score
    price: Amount
    enclave: Digest
    model: Digest
    deadline: Time | None
    simulated: bool
    locked: Annotated[bytes, Bytes(0, 1 << 16)]
    secret: Annotated[bytes, Bytes(0, 32)] = b""
    acknowledged: bool = False
    reported: TransactionId | None = None
    awarded: TransactionId | None = None
    revealed: TransactionId | None = None


@dataclass(frozen=True)
class ClaimView(Record):
    """A claim; ``state`` is ``open``, ``reported`` or ``lapsed``, ``deposit`` what is left of it in escrow."""

    offer: Digest
    claim: Claim
    state: Name
    deposit: Amount
    claimed: Time
    transaction: TransactionId
    outcome: Outcome | None = None
    reported: Time | None = None
    report: TransactionId | None = None
    threshold: Threshold | None = None
    registration: TransactionId | None = None


@dataclass(frozen=True)
class OfferView(Record):
    """An offer and where it stands.

    ``bond`` and ``fee`` are what is left in escrow, ``receipts`` the organisations that hold the ciphertext, ``claims``
    all claims where one offer was asked for, the open ones in a list.
    """

    id: Digest
    order: Order
    developer_msp: Name
    provider_may_operate: bool
    state: OfferState
    bond: Amount
    fee: Amount
    offered: Time
    transaction: TransactionId
    envelopes: Envelopes
    receipts: Words = ()
    open_claims: Numbers = ()
    slot: Index | None = None
    lock: LockView | None = None
    enclaves: Count = 1
    reported_claims: Numbers = ()
    claims: Annotated[tuple[ClaimView, ...], Size(0, _MANY)] = ()

    @property
    def held(self) -> int:
        """What is in escrow for it: bond, benchmark fee, deposits of its ``claims``."""
        return self.bond + self.fee + sum(one.deposit for one in self.claims)


_NESTED: dict[type[Record], dict[str, type[Record]]] = {
    TaskView: {"status": TaskStatus},
    OfferView: {"lock": LockView, "claims": ClaimView},
}
