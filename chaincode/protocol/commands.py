"""The contract's functions: one class each, whose fields are its arguments (protocol sections 3 to 7).

    Withdraw = WithdrawOffer(offer=offer_id)
    await contract.submit(*Withdraw.to_args())          # ["WithdrawOffer", b'{"offer":"..."}']

The caller is whoever signs the transaction and never an argument; times are the transaction's. Where a command pays, it
names `coins` of the caller's, and what is over goes back to the caller as a coin. Bytes are lowercase hex in JSON.
Queries are in `queries`; `parse` reads either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.codecs import Bytes, Size, Text
from goldengrain.chaincode.protocol.coins import MAX_COINS, Output
from goldengrain.chaincode.protocol.collateral import MAX_COLLATERAL
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.offer import Attempt, ChunkSize, CiphertextSize, EnvelopeDigest, Order
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.queries import QUERIES
from goldengrain.chaincode.protocol.quotes import MAX_QUOTE
from goldengrain.chaincode.protocol.records import (
    Amount,
    CoinId,
    Count,
    Digest,
    EncryptionKey,
    Fmspc,
    Index,
    Score,
    Seconds,
    Signature,
    SigningKey,
    Time,
    TransactionId,
)
from goldengrain.chaincode.protocol.report import LOCKED_SIZE, Outcome, Result
from goldengrain.chaincode.protocol.requests import Command, Request, parse_request
from goldengrain.chaincode.protocol.task import Award, BenchmarkSpec, DatasetDigests, PriceSchedule, Task, Terms
from goldengrain.chaincode.protocol.ticket import ClaimNumber

MAX_ENVELOPES = 64
"""Greatest number of enclaves that one command seals to."""

Coins = Annotated[tuple[CoinId, ...], Size(0, MAX_COINS, unique=True)]
"""Coins of the caller's; none where nothing is due."""
Envelopes = Annotated[tuple[EnvelopeDigest, ...], Size(1, MAX_ENVELOPES, unique=True)]


def _require_one_each(envelopes: tuple[EnvelopeDigest, ...]) -> None:
    enclaves = {one.enclave for one in envelopes}
    if len(enclaves) != len(envelopes):
        raise MalformedInput("give one envelope per enclave")


# --- the consortium ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bootstrap(Command):
    """Found the market with its first policy, number 1. An organisation's admin; once."""

    policy: Policy


class Action(StrEnum):
    """What can be voted."""

    POLICY = "policy"
    MINT = "mint"
    BURN = "burn"
    REVOKE = "revoke"


@dataclass(frozen=True)
class Propose(Command):
    """Propose, and vote for, one thing: the policy that follows, coins to mint, coins to burn, or an enclave to revoke.

    An admin. The proposal's id is the transaction's. It is carried out by the vote that completes a majority of the
    policy's organisations, and never fewer than k. Burnt are coins of the treasury's or of the proposer's.
    """

    action: Action
    policy: Policy | None = None
    mint: Annotated[tuple[Output, ...], Size(0, MAX_COINS)] = ()
    burn: Coins = ()
    revoke: Digest | None = None

    def check(self) -> None:
        """Refuse anything but what the action names."""
        given = {
            Action.POLICY: self.policy is not None,
            Action.MINT: bool(self.mint),
            Action.BURN: bool(self.burn),
            Action.REVOKE: self.revoke is not None,
        }
        if not given.pop(self.action) or any(given.values()):
            raise MalformedInput(f"`{self.action}` proposes exactly that: give `{self.action}` and nothing else")


@dataclass(frozen=True)
class Vote(Command):
    """Vote for a proposal; an admin, once per organisation. The one that completes the majority carries it out."""

    proposal: TransactionId


@dataclass(frozen=True)
class Transfer(Command):
    """Turn coins of the caller's into coins of others; what is over goes back to the caller."""

    coins: Annotated[tuple[CoinId, ...], Size(1, MAX_COINS, unique=True)]
    outputs: Annotated[tuple[Output, ...], Size(0, MAX_COINS)]


# --- enclaves ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PutCollateral(Command):
    """Store collateral for quotes of one FMSPC under one accepted root (`root` is its certificate's SHA-256).

    Anyone; it is verified under that root first. `collateral` is JSON as dcap-qvl reads it.
    """

    root: Digest
    collateral: Annotated[str, Text(2, MAX_COLLATERAL, printable=False)]


@dataclass(frozen=True)
class Challenge(Command):
    """Challenge an operator to register an enclave; a client of another organisation.

    The transaction's id is the nonce, 32 bytes in hex, that the quote must hold.
    """

    operator: Digest


@dataclass(frozen=True)
class RegisterEnclave(Command):
    """Register an enclave; its operator, voted in. Checks: protocol section 4.

    `challenge` is the transaction id of a `Challenge` to this operator; `root` and `fmspc` name stored collateral;
    `bundle` is the digest of the trust bundle that the enclave believes.
    """

    challenge: TransactionId
    quote: Annotated[bytes, Bytes(1, MAX_QUOTE)]
    root: Digest
    fmspc: Fmspc
    signing_key: SigningKey
    encryption_key: EncryptionKey
    bundle: Digest

    @property
    def enclave(self) -> bytes:
        """The enclave's id."""
        return digests.enclave_id(self.signing_key)


# --- tasks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenTask(Command):
    """Open a task; whoever sends it is its provider. Coins pay slots x top price and the audit bond.

    `dataset_envelopes` are the digests of the test set's key sealed to enclaves, info = task digest. The task's id is
    its digest, which a client computes beforehand with `task`, so that it can seal before it opens.
    """

    provider_key: EncryptionKey
    spec: BenchmarkSpec
    dataset: DatasetDigests
    dataset_envelopes: Envelopes
    schedule: PriceSchedule
    award: Award
    slots: Index
    last_offer: Time
    last_report: Time
    last_opening: Time
    reveal: Seconds
    eta: Count
    attempts: Count
    enclaves: Count
    coins: Coins

    def check(self) -> None:
        """Refuse two envelopes to one enclave."""
        _require_one_each(self.dataset_envelopes)

    def task(self, channel: str, contract: str, provider: bytes, policy: Policy) -> Task:
        """Return the task that this opens under a policy; raises what a task that can't be refuses."""
        return Task(
            channel=channel,
            contract=contract,
            provider=provider,
            provider_key=self.provider_key,
            spec=self.spec,
            dataset=self.dataset,
            schedule=self.schedule,
            award=self.award,
            slots=self.slots,
            last_offer=self.last_offer,
            last_report=self.last_report,
            last_opening=self.last_opening,
            reveal=self.reveal,
            eta=self.eta,
            attempts=self.attempts,
            enclaves=self.enclaves,
            terms=Terms.of(policy),
        )


@dataclass(frozen=True)
class ShutTask(Command):
    """Move S to now; the provider."""

    task: Digest


@dataclass(frozen=True)
class RefundSlot(Command):
    """Return a free slot's amount to the provider; anyone, ts > B + G."""

    task: Digest
    slot: Index


@dataclass(frozen=True)
class OpenDataset(Command):
    """Publish the test set's key; the provider, B + G < ts <= A. The audit bond goes back."""

    task: Digest
    key: Digest


@dataclass(frozen=True)
class SlashAudit(Command):
    """Send the audit bond of a test set that was not opened to the treasury; anyone, ts > A + G."""

    task: Digest


# --- offers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SubmitOffer(Command):
    """Offer a sealed model; whoever sends it is its developer. Coins pay `bond` and the benchmark fee.

    `provider_may_operate`: an enclave of the provider's own organisation may run it. The offer's id is
    `order(task, developer).offer_id`.
    """

    task: Digest
    payout: Digest
    attempt: Attempt
    ciphertext: Digest
    size: CiphertextSize
    chunk_size: ChunkSize
    key_check: Digest
    secret_hash: Digest
    reserve: Amount
    bond: Amount
    envelopes: Envelopes
    coins: Coins
    provider_may_operate: bool = False

    def check(self) -> None:
        """Refuse two envelopes to one enclave."""
        _require_one_each(self.envelopes)

    def order(self, task: Task, developer: bytes) -> Order:
        """Return the order that this places with a task on behalf of an account."""
        return Order(
            channel=task.channel,
            contract=task.contract,
            task=self.task,
            provider_key=digests.hashed(task.provider_key),
            spec=task.spec.digest(),
            developer=developer,
            payout=self.payout,
            attempt=self.attempt,
            ciphertext=self.ciphertext,
            size=self.size,
            chunk_size=self.chunk_size,
            key_check=self.key_check,
            secret_hash=self.secret_hash,
            reserve=self.reserve,
        )


@dataclass(frozen=True)
class WithdrawOffer(Command):
    """Take an offer back before a receipt; the developer. The attempt stays spent."""

    offer: Digest


@dataclass(frozen=True)
class Rewrap(Command):
    """Add envelopes for further enclaves; the developer, before a claim."""

    offer: Digest
    envelopes: Envelopes

    def check(self) -> None:
        """Refuse two envelopes to one enclave."""
        _require_one_each(self.envelopes)


@dataclass(frozen=True)
class Receipt(Command):
    """State that one's organisation holds the offer's ciphertext, fetched and hashed; the provider's first of all."""

    offer: Digest


@dataclass(frozen=True)
class Claim(Command):
    """Claim an offer for an enclave; its operator. Coins pay the deposit.

    `lease` in seconds from now. `slot` where the award is `each`: a free one, picked at random.
    """

    offer: Digest
    enclave: Digest
    lease: Seconds
    coins: Coins
    slot: Index | None = None


@dataclass(frozen=True)
class Lapse(Command):
    """End a claim whose lease went by without a report; anyone, ts > lease's end + G."""

    offer: Digest
    claim: ClaimNumber


@dataclass(frozen=True)
class SubmitReport(Command):
    """Report a job; the claim's operator, ts <= lease's end.

    Everything else that the signature covers, the contract takes from its state. `score`, `locked` and `model` (SHA-256
    of the plaintext) are there on a pass only.
    """

    offer: Digest
    claim: ClaimNumber
    outcome: Outcome
    signature: Signature
    score: Score = 0
    locked: Annotated[bytes, Bytes(0, LOCKED_SIZE)] = b""
    model: Digest | None = None

    def check(self) -> None:
        """Refuse what doesn't go with the outcome."""
        self.result()

    def result(self) -> Result:
        """Return what the enclave has found out; raises `ReportMalformed`."""
        return Result(self.outcome, self.score, self.locked, self.model)


@dataclass(frozen=True)
class Expire(Command):
    """End an offer that B overtook undecided; anyone, ts > B + G and after every open lease's end + G."""

    offer: Digest


@dataclass(frozen=True)
class AwardOffer(Command):
    """Lock the price of an offer that leads a slot of a `best` task; anyone, ts > B + G."""

    offer: Digest


@dataclass(frozen=True)
class Reveal(Command):
    """Publish r and be paid; anyone who knows it, ts <= D."""

    offer: Digest
    secret: Digest


@dataclass(frozen=True)
class Forfeit(Command):
    """Take the price and half the bond of an offer whose r was not revealed; anyone, ts > D + G."""

    offer: Digest


@dataclass(frozen=True)
class Acknowledge(Command):
    """Confirm that the key could be read; the provider. r and `locked` leave the state."""

    offer: Digest


COMMANDS: Mapping[str, type[Command]] = MappingProxyType(
    {
        kind.function(): kind
        for kind in (
            Bootstrap,
            Propose,
            Vote,
            Transfer,
            PutCollateral,
            Challenge,
            RegisterEnclave,
            OpenTask,
            ShutTask,
            RefundSlot,
            OpenDataset,
            SlashAudit,
            SubmitOffer,
            WithdrawOffer,
            Rewrap,
            Receipt,
            Claim,
            Lapse,
            SubmitReport,
            Expire,
            AwardOffer,
            Reveal,
            Forfeit,
            Acknowledge,
        )
    }
)
"""Every command by its name."""

PAUSABLE: frozenset[str] = frozenset({"OpenTask", "SubmitOffer", "Claim"})
"""What a pause refuses."""

FUNCTIONS: Mapping[str, type[Request]] = MappingProxyType({**COMMANDS, **QUERIES})
"""Every contract function by its name."""


def parse(args: Sequence[bytes]) -> Request:
    """Read a call of the contract from its arguments; raises `UnknownCommand`, `MalformedInput` or a named refusal."""
    return parse_request(FUNCTIONS, args)
