"""Every refusal of the market, as one tree under `GoldenGrainError`.

Each class has a stable `code`, on which programs and tests can rely, and a `status` in the manner of HTTP, which is the
status of the chaincode's response. The message is for people: it says what is wrong and what to do next.

    GoldenGrainError
    ├── ContractError                 the rules of the market refuse                                     400
    │   ├── MalformedInput            doesn't parse, has the wrong type, size or range                   400
    │   │   └── UnknownCommand, KeyMalformed
    │   ├── Forbidden                 this identity may not do it                                        403
    │   │   ├── AdminRequired, ClientRequired, DutyRefused, NotAMember
    │   │   ├── ProviderRequired, DeveloperRequired, OperatorRequired, OwnerRequired
    │   │   └── OperatorNotVotedIn, ForeignOrganizationRequired, DeveloperOrganization, ProviderOrganization
    │   ├── NotFound                  there is no such thing on the ledger                               404
    │   │   ├── PolicyNotFound, ProposalNotFound, CoinNotFound, EnclaveNotFound, CollateralNotFound
    │   │   └── ChallengeNotFound, TaskNotFound, OfferNotFound, ClaimNotFound, SlotNotFound
    │   ├── Conflict                  the ledger's state doesn't allow it (any more)                     409
    │   │   ├── AlreadyBootstrapped, AlreadyVoted, ProposalClosed, PolicyNumberStale
    │   │   ├── TaskExists, OfferExists, EnclaveExists, ChallengeUsed, CollateralRollback
    │   │   ├── AttemptSpent, AttemptsExhausted, LiveOfferExists, AlreadyStored, AlreadyClaimed, AlreadyReported
    │   │   ├── SlotTaken, SlotNotFree, ClaimsFull, EnvelopeMissing, EnvelopeExists
    │   │   ├── OfferStateRefuses     in this state the offer has no such command
    │   │   │   └── OfferNotStored, OfferNotClaimed, OfferNotLocked, OfferNotLeading, OfferNotSettled, OfferClosed
    │   │   ├── TaskStateRefuses
    │   │   │   └── TaskShut, DatasetOpened, AuditSlashed
    │   │   ├── MarketPaused
    │   │   └── EnclaveUnfit          registered, but may not work (any more)
    │   │       ├── EnclaveExpired, EnclaveRevoked, EnclaveMeasurementRetired
    │   │       └── EnclaveStatusRetired, EnclaveBundleRetired
    │   ├── TimeRefused               409
    │   │   └── ClockRefused, TooEarly, TooLate
    │   ├── RuleRefused               a value that the rules don't admit                                 422
    │   │   ├── PolicyRefused
    │   │   │   ├── PolicyBlockable, PolicySatisfiableAlone, PolicyCollusion, PolicyTiming, PolicyUnmarkedTest
    │   │   │   └── PolicyOrganizations, PolicyLimits, PolicyBundle
    │   │   ├── ScheduleRefused, DeadlinesRefused, SlotsRefused, AttemptsRefused, EtaRefused, SpecRefused
    │   │   ├── PaymentShort, CoinsRefused, AmountTooLarge, BondTooSmall, ReserveTooHigh
    │   │   ├── OperatorsTooFew, EnclaveCountRefused, LeaseRefused
    │   │   └── SecretMismatch, DatasetKeyMismatch
    │   ├── CollateralRefused         not what Intel's service (or the simulated one) signs for this root 422
    │   │   └── CollateralMalformed, CollateralUntrusted, CollateralExpired, CollateralOfTheFuture, CollateralIncomplete
    │   ├── QuoteRefused              registration's checks of protocol section 4, by their numbers      422
    │   │   ├── QuoteTooLarge (1), ChallengeStale (2), QuoteRootUnknown (3), QuoteMalformed (3)
    │   │   ├── QuoteTechnologyRefused (3), QuoteUnverified (3), QuoteRevoked (3), QuotePlatformMismatch (3)
    │   │   ├── QuoteStatusRefused (4), QuoteDebug (5), QuoteMeasurementRefused (6), QuoteKeysMismatch (7)
    │   │   ├── QuoteRegistrationMismatch (8), QuoteBundleRefused (9)
    │   │   └── VerifierMismatch          this endorser verifies with another version than the policy's
    │   └── ReportRefused             the enclave's report doesn't stand                                 422
    │       ├── ReportMalformed, SignatureMalformed, ReportSignatureInvalid, ReportTicketMismatch
    │       └── ReportOutcomeRefused, ReportScoreRefused, ReportBelowThreshold, ReportLockedRefused
    ├── SealingError                  opening what was sealed (clients, enclave)
    │   ├── StreamMalformed, StreamTruncated, StreamNotAuthentic
    │   ├── EnvelopeNotOpened, LockNotOpened
    │   └── KeyCheckMismatch
    └── ClockError                    the file that holds a test network's clock

The other parts hang their own trees under `GoldenGrainError` in their `errors` modules.
"""

from __future__ import annotations

from collections.abc import Iterator

from goldengrain.chaincode.protocol.errors.access import *  # noqa: F403
from goldengrain.chaincode.protocol.errors.attestation import *  # noqa: F403
from goldengrain.chaincode.protocol.errors.base import *  # noqa: F403
from goldengrain.chaincode.protocol.errors.base import ContractError, GoldenGrainError
from goldengrain.chaincode.protocol.errors.reports import *  # noqa: F403
from goldengrain.chaincode.protocol.errors.rules import *  # noqa: F403
from goldengrain.chaincode.protocol.errors.sealing import *  # noqa: F403
from goldengrain.chaincode.protocol.errors.state import *  # noqa: F403


def _tree(root: type[GoldenGrainError]) -> Iterator[type[GoldenGrainError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


ERRORS: dict[str, type[GoldenGrainError]] = {error.code: error for error in _tree(GoldenGrainError)}
"""Every error of the protocol by its code."""


def error_from_code(code: str, message: str) -> GoldenGrainError:
    """Rebuild a refusal from its code, as a client does with a chaincode response.

    A code that this version doesn't know (a newer contract's) becomes a plain `ContractError` whose text keeps it.
    """
    kind = ERRORS.get(code)
    if kind is None:
        return ContractError(f"{code}: {message}")
    return kind(message)


def error_from_response(message: str) -> GoldenGrainError:
    """Rebuild a refusal from a chaincode response's message `CODE: text`."""
    code, separator, text = message.partition(": ")
    return error_from_code(code, text) if separator and code.isupper() else ContractError(message)
