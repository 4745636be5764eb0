"""Registering an enclave: what a quote must show (protocol section 4), in this order.

1. sizes of quote and keys (`QuoteTooLarge`, `KeyMalformed`, `SignatureMalformed`);
2. the challenge was sent to this operator, is unused and young enough (`QuoteRegistrationMismatch`, `ChallengeUsed`,
   `ChallengeStale`); that it is known at all the contract has seen;
3. the quote verifies to an accepted root at ts: the root is the policy's (`QuoteRootUnknown`), a quote
   (`QuoteMalformed`) of SGX or TDX (`QuoteTechnologyRefused`) with good collateral (`CollateralRefused`'s) for its TEE
   and platform (`QuotePlatformMismatch`), signatures and certificates right (`QuoteUnverified`), nothing revoked
   (`QuoteRevoked`);
4. the policy accepts the TCB status (`QuoteStatusRefused`) - dcap-qvl returns OutOfDate without a complaint;
5. not in debug mode (`QuoteDebug`; dcap-qvl refuses it first, a release that doesn't is caught here);
6. the policy accepts the measurement (`QuoteMeasurementRefused`): MRENCLAVE, or a TDX guest's digest (`evidence`);
7. `report_data[0:32]` = D(enclave; signing key, encryption key, bundle) (`QuoteKeysMismatch`);
8. `report_data[32:64]` = D(registration; channel, contract, operator, challenge) (`QuoteRegistrationMismatch`);
9. the bundle is the policy's current one (`QuoteBundleRefused`).

4 to 6 are rules that compose (`quote_rules`); gateway and command line judge by the same. A quote is never identified
by its hash: bytes of it can change without the result changing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dcap_qvl

from goldengrain.chaincode.protocol import collateral as collaterals
from goldengrain.chaincode.protocol import digests, sealing, signatures
from goldengrain.chaincode.protocol.errors import (
    ChallengeStale,
    ChallengeUsed,
    CollateralExpired,
    CollateralOfTheFuture,
    ContractError,
    QuoteBundleRefused,
    QuoteDebug,
    QuoteKeysMismatch,
    QuoteMalformed,
    QuotePlatformMismatch,
    QuoteRegistrationMismatch,
    QuoteRevoked,
    QuoteRootUnknown,
    QuoteTechnologyRefused,
    QuoteTooLarge,
    QuoteUnverified,
)
from goldengrain.chaincode.protocol.evidence import QuoteVerdict, claims_of, names_unknown_tee
from goldengrain.chaincode.protocol.policy import Policy, root_kind
from goldengrain.chaincode.protocol.quote_rules import market_rules

VERIFIER = 2
"""Version of these checks; a policy names the one that endorsers must run, so that all of them judge alike."""

MIN_QUOTE = 1_020
"""Bytes of a header, a report and the signature data's fixed parts."""
MAX_QUOTE = 16_384


@dataclass(frozen=True)
class Registration:
    """What an operator sends to register an enclave, and what the ledger knows of the challenge."""

    channel: str
    contract: str
    operator: bytes
    challenge: bytes
    """The challenge's transaction id, 32 bytes."""
    challenged: bytes
    """The operator to whom the challenge was sent."""
    challenge_made: int
    challenge_used: bool
    quote: bytes
    root: bytes
    """SHA-256 of the root's certificate."""
    signing_key: bytes
    encryption_key: bytes
    bundle: bytes

    def report_data(self) -> bytes:
        """Return the 64 bytes that the quote must bind."""
        return report_data(
            self.channel,
            self.contract,
            self.operator,
            self.challenge,
            self.signing_key,
            self.encryption_key,
            self.bundle,
        )


def report_data(
    channel: str,
    contract: str,
    operator: bytes,
    challenge: bytes,
    signing_key: bytes,
    encryption_key: bytes,
    bundle: bytes,
) -> bytes:
    """Return what an enclave binds in its quote, 64 bytes: its keys and bundle, then the registration."""
    return digests.enclave_binding(signing_key, encryption_key, bundle) + digests.registration_binding(
        channel, contract, operator, challenge
    )


def verify_registration(registration: Registration, collateral: str, policy: Policy, at: int) -> QuoteVerdict:
    """Run the checks 1 to 9 at the transaction's time; returns what is to be kept of the quote."""
    check_sizes(registration)
    check_challenge(registration, policy, at)
    root = policy.root(registration.root)
    if root is None:
        raise QuoteRootUnknown("the policy doesn't accept this attestation root; is the market one of real hardware?")
    verdict = verify_quote(registration.quote, collateral, root.certificate, at, policy)
    check_binding(verdict, registration)
    if registration.bundle != policy.bundle:
        raise QuoteBundleRefused("the enclave believes another trust bundle than the current one; give it that one")
    return verdict


def check_sizes(registration: Registration) -> None:
    """Check 1."""
    if not MIN_QUOTE <= len(registration.quote) <= MAX_QUOTE:
        raise QuoteTooLarge(f"a quote has {MIN_QUOTE:,} to {MAX_QUOTE:,} bytes, not {len(registration.quote):,}")
    signatures.require_public_key(registration.signing_key)
    sealing.require_public_key(registration.encryption_key)


def check_challenge(registration: Registration, policy: Policy, at: int) -> None:
    """Check 2."""
    if registration.challenged != registration.operator:
        raise QuoteRegistrationMismatch("the challenge was sent to another operator; ask for one to you")
    if registration.challenge_used:
        raise ChallengeUsed("a challenge serves one registration; ask for a new one")
    age = at - registration.challenge_made
    if age > policy.challenge_age:
        raise ChallengeStale(f"the challenge is {age} s old, {policy.challenge_age} s are accepted; ask for a new one")


def verify_quote(quote: bytes, collateral: str, root: bytes, at: int, policy: Policy) -> QuoteVerdict:
    """Run the checks 3 to 6 under a root (DER) that the policy accepts."""
    if policy.root(digests.sha256(root)) is None:
        raise QuoteRootUnknown("the policy doesn't accept this attestation root")
    verdict = inspect_quote(quote, collateral, root, at)
    market_rules(policy).check(verdict)
    return verdict


def inspect_quote(quote: bytes, collateral: str, root: bytes, at: int) -> QuoteVerdict:
    """Run check 3 alone: what a quote says, verified under a root; nothing of it is judged yet."""
    parsed = _parse(quote)
    claims = claims_of(parsed.report)
    good = collaterals.read_collateral(collateral, root, at)
    fmspc = _platform(parsed)
    if fmspc != good.fmspc:
        raise QuotePlatformMismatch(f"the quote's FMSPC is {fmspc.hex()}, the collateral's {good.fmspc.hex()}")
    if claims.tee is not good.tee:
        raise QuotePlatformMismatch(f"a quote of {claims.tee}, collateral for {good.tee}; fetch {claims.tee}'s")
    try:
        verified = dcap_qvl.verify_with_root_ca(quote, good.parsed, root, at)
    except ValueError as error:
        raise _refusal(str(error)) from error
    return QuoteVerdict(
        tee=claims.tee,
        root=digests.sha256(root),
        kind=root_kind(root),
        fmspc=fmspc,
        measurement=claims.measurement,
        status=str(verified.status),
        advisories=tuple(sorted(verified.advisory_ids)),
        debug=claims.debug,
        report_data=claims.report_data,
        expires=good.expires,
    )


def check_binding(verdict: QuoteVerdict, registration: Registration) -> None:
    """Run the checks 7 and 8."""
    expected = registration.report_data()
    if verdict.report_data[:32] != expected[:32]:
        raise QuoteKeysMismatch("the quote binds other keys or another trust bundle than those registered")
    if verdict.report_data[32:] != expected[32:]:
        raise QuoteRegistrationMismatch("the quote was made for another channel, contract, operator or challenge")


def _parse(quote: bytes) -> Any:
    try:
        return dcap_qvl.parse_quote(quote)
    except ValueError as error:
        if names_unknown_tee(quote):
            raise QuoteTechnologyRefused("neither a quote of an SGX enclave nor of a TDX guest") from error
        raise QuoteMalformed("not an ECDSA quote; send what the quoting enclave returned, as bytes") from error


def _platform(parsed: Any) -> bytes:
    try:
        return bytes.fromhex(parsed.fmspc())
    except ValueError as error:
        raise QuoteMalformed("the quote holds no PCK certificate chain (certification data type 5)") from error


def _refusal(text: str) -> ContractError:
    """Name dcap-qvl's complaint; times and collateral are verified already, so what is left is the quote's own."""
    first = text.splitlines()[0] if text else ""
    lowered = text.lower()
    if "debug" in lowered:
        return QuoteDebug("the host can read a debug enclave's memory; start it in production mode")
    if "revoked" in lowered:
        return QuoteRevoked(f"certificate or TCB level revoked: {first}")
    if "future" in lowered or "notvalidyet" in lowered:
        return CollateralOfTheFuture(first)
    if "expired" in lowered:
        return CollateralExpired(first)
    return QuoteUnverified(first)
