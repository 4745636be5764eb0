"""Refusals by the ledger's state and time."""

from __future__ import annotations

from goldengrain.chaincode.protocol.errors.base import ContractError


class Conflict(ContractError):
    """The ledger's state doesn't allow it, or no longer."""

    code = "CONFLICT"
    status = 409


class AlreadyBootstrapped(Conflict):
    """`Bootstrap` runs once; change the policy by `Propose` and `Vote`."""

    code = "ALREADY_BOOTSTRAPPED"


class AlreadyVoted(Conflict):
    """The organisation has voted on the proposal."""

    code = "ALREADY_VOTED"


class ProposalClosed(Conflict):
    """The proposal was carried out, or its time is over."""

    code = "PROPOSAL_CLOSED"


class PolicyNumberStale(Conflict):
    """The proposed policy doesn't follow the one in force; propose it again on top of that."""

    code = "POLICY_NUMBER_STALE"


class TaskExists(Conflict):
    """The very same task is open; change its seed or a deadline."""

    code = "TASK_EXISTS"


class OfferExists(Conflict):
    """The very same offer was made."""

    code = "OFFER_EXISTS"


class EnclaveExists(Conflict):
    """These keys are registered to another operator."""

    code = "ENCLAVE_EXISTS"


class ChallengeUsed(Conflict):
    """A challenge serves one registration; ask for a new one."""

    code = "CHALLENGE_USED"


class CollateralRollback(Conflict):
    """Newer collateral is stored; evaluation and CRL numbers only rise."""

    code = "COLLATERAL_ROLLBACK"


class AttemptSpent(Conflict):
    """The attempt number is consumed by an earlier offer of the organisation; take the next one."""

    code = "ATTEMPT_SPENT"


class AttemptsExhausted(Conflict):
    """The organisation has used all attempts that the task grants."""

    code = "ATTEMPTS_EXHAUSTED"


class LiveOfferExists(Conflict):
    """The organisation has an offer in this task that is not decided yet."""

    code = "LIVE_OFFER_EXISTS"


class AlreadyStored(Conflict):
    """The organisation has given its receipt."""

    code = "ALREADY_STORED"


class AlreadyClaimed(Conflict):
    """The enclave has claimed the offer before."""

    code = "ALREADY_CLAIMED"


class AlreadyReported(Conflict):
    """A report on this claim is in."""

    code = "ALREADY_REPORTED"


class SlotTaken(Conflict):
    """The slot is reserved, locked or spent; pick another one at random."""

    code = "SLOT_TAKEN"


class SlotNotFree(Conflict):
    """Only a free slot is refunded; settle, forfeit or expire what holds it."""

    code = "SLOT_NOT_FREE"


class ClaimsFull(Conflict):
    """As many enclaves as the task wants have claimed the offer."""

    code = "CLAIMS_FULL"


class EnvelopeMissing(Conflict):
    """No envelope is sealed to this enclave; the developer may `Rewrap`."""

    code = "ENVELOPE_MISSING"


class EnvelopeExists(Conflict):
    """An envelope to this enclave is on the ledger."""

    code = "ENVELOPE_EXISTS"


class OfferStateRefuses(Conflict):
    """In its state the offer has no such command (protocol section 6)."""

    code = "OFFER_STATE_REFUSES"


class OfferNotStored(OfferStateRefuses):
    """No receipt of the provider's organisation yet."""

    code = "OFFER_NOT_STORED"


class OfferNotClaimed(OfferStateRefuses):
    """The offer has no claim."""

    code = "OFFER_NOT_CLAIMED"


class OfferNotLocked(OfferStateRefuses):
    """No price is locked for the offer."""

    code = "OFFER_NOT_LOCKED"


class OfferNotLeading(OfferStateRefuses):
    """The offer doesn't lead a slot of a `best` task."""

    code = "OFFER_NOT_LEADING"


class OfferNotSettled(OfferStateRefuses):
    """The offer is not settled."""

    code = "OFFER_NOT_SETTLED"


class OfferClosed(OfferStateRefuses):
    """The offer has reached its end; nothing more can be done with it."""

    code = "OFFER_CLOSED"


class TaskStateRefuses(Conflict):
    """In its state the task has no such command (protocol section 7)."""

    code = "TASK_STATE_REFUSES"


class TaskShut(TaskStateRefuses):
    """The provider has shut the task."""

    code = "TASK_SHUT"


class DatasetOpened(TaskStateRefuses):
    """The test set is open, the audit bond returned."""

    code = "DATASET_OPENED"


class AuditSlashed(TaskStateRefuses):
    """The test set was not opened in time, the audit bond is gone."""

    code = "AUDIT_SLASHED"


class MarketPaused(Conflict):
    """The policy pauses `OpenTask`, `SubmitOffer` and `Claim`; everything else goes on."""

    code = "MARKET_PAUSED"


class EnclaveUnfit(Conflict):
    """The enclave is registered, but may not work, or no longer."""

    code = "ENCLAVE_UNFIT"


class EnclaveExpired(EnclaveUnfit):
    """The registration is over; register again."""

    code = "ENCLAVE_EXPIRED"


class EnclaveRevoked(EnclaveUnfit):
    """The organisations have revoked it; its keys can't be registered again."""

    code = "ENCLAVE_REVOKED"


class EnclaveMeasurementRetired(EnclaveUnfit):
    """The policy no longer accepts its measurement."""

    code = "ENCLAVE_MEASUREMENT_RETIRED"


class EnclaveStatusRetired(EnclaveUnfit):
    """The policy no longer accepts its TCB status."""

    code = "ENCLAVE_STATUS_RETIRED"


class EnclaveBundleRetired(EnclaveUnfit):
    """The policy no longer names its trust bundle."""

    code = "ENCLAVE_BUNDLE_RETIRED"


class TimeRefused(ContractError):
    """Not at this time (protocol section 2)."""

    code = "TIME_REFUSED"
    status = 409


class ClockRefused(TimeRefused):
    """The transaction's time differs from the peer's clock by more than W."""

    code = "CLOCK_REFUSED"


class TooEarly(TimeRefused):
    """The time has not come yet."""

    code = "TOO_EARLY"


class TooLate(TimeRefused):
    """The deadline is over."""

    code = "TOO_LATE"
