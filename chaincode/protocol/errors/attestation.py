"""Refusals of collateral and quotes; the numbers are those of protocol section 4."""

from __future__ import annotations

from typing import ClassVar

from goldengrain.chaincode.protocol.errors.base import ContractError


class CollateralRefused(ContractError):
    """Collateral that can't be relied on."""

    code = "COLLATERAL_REFUSED"
    status = 422
    check: ClassVar[int] = 3


class CollateralMalformed(CollateralRefused):
    """Not the JSON of a quote's collateral, or too large."""

    code = "COLLATERAL_MALFORMED"


class CollateralUntrusted(CollateralRefused):
    """A certificate, CRL or signature that doesn't chain to the root."""

    code = "COLLATERAL_UNTRUSTED"


class CollateralExpired(CollateralRefused):
    """TCB info, QE identity, a CRL or a certificate is past its time; fetch it anew."""

    code = "COLLATERAL_EXPIRED"


class CollateralOfTheFuture(CollateralRefused):
    """Issued after the transaction's time; check the clock."""

    code = "COLLATERAL_OF_THE_FUTURE"


class CollateralIncomplete(CollateralRefused):
    """A CRL or an issuer's chain is missing."""

    code = "COLLATERAL_INCOMPLETE"


class QuoteRefused(ContractError):
    """An attestation that doesn't hold (protocol section 4)."""

    code = "QUOTE_REFUSED"
    status = 422
    check: ClassVar[int] = 0
    """The number of the check in protocol section 4 that refuses; 0 where it is none of them."""


class VerifierMismatch(QuoteRefused):
    """An endorser runs another version of the quote verification than the policy names; upgrade one of them."""

    code = "VERIFIER_MISMATCH"


class QuoteTooLarge(QuoteRefused):
    """Check 1: quote or key of a size that can't be."""

    code = "QUOTE_TOO_LARGE"
    check = 1


class ChallengeStale(QuoteRefused):
    """Check 2: the challenge is older than the policy's age; ask for a new one."""

    code = "CHALLENGE_STALE"
    check = 2


class QuoteRootUnknown(QuoteRefused):
    """Check 3: the policy doesn't accept this attestation root."""

    code = "QUOTE_ROOT_UNKNOWN"
    check = 3


class QuoteMalformed(QuoteRefused):
    """Check 3: not an ECDSA quote."""

    code = "QUOTE_MALFORMED"
    check = 3


class QuoteTechnologyRefused(QuoteRefused):
    """Check 3: neither of an SGX enclave nor of a TDX guest."""

    code = "QUOTE_TECHNOLOGY_REFUSED"
    check = 3


class QuoteUnverified(QuoteRefused):
    """Check 3: a signature or a certificate of the quote is wrong."""

    code = "QUOTE_UNVERIFIED"
    check = 3


class QuoteRevoked(QuoteRefused):
    """Check 3: certificate or TCB level revoked."""

    code = "QUOTE_REVOKED"
    check = 3


class QuotePlatformMismatch(QuoteRefused):
    """Check 3: the collateral is for another kind of platform."""

    code = "QUOTE_PLATFORM_MISMATCH"
    check = 3


class QuoteStatusRefused(QuoteRefused):
    """Check 4: the policy doesn't accept this TCB status."""

    code = "QUOTE_STATUS_REFUSED"
    check = 4


class QuoteDebug(QuoteRefused):
    """Check 5: a debug enclave or guest, whose memory its host can read."""

    code = "QUOTE_DEBUG"
    check = 5


class QuoteMeasurementRefused(QuoteRefused):
    """Check 6: the policy doesn't accept this measurement."""

    code = "QUOTE_MEASUREMENT_REFUSED"
    check = 6


class QuoteKeysMismatch(QuoteRefused):
    """Check 7: the quote was not made for these keys and this bundle."""

    code = "QUOTE_KEYS_MISMATCH"
    check = 7


class QuoteRegistrationMismatch(QuoteRefused):
    """Check 8: the quote was not made for this channel, contract, operator and challenge."""

    code = "QUOTE_REGISTRATION_MISMATCH"
    check = 8


class QuoteBundleRefused(QuoteRefused):
    """Check 9: the trust bundle is not the current one."""

    code = "QUOTE_BUNDLE_REFUSED"
    check = 9
