"""Judge a quote offline: what `goldengrain enclave verify-quote` does.

In this order: the quote verifies with its collateral under the wanted root at the given time (the very code that the
contract runs, `chaincode.protocol.quotes`), then each rule of the policy. Policies compose: `AllOf` refuses when one of
its rules refuses, and an empty one refuses always.

    policy = AllOf(StatusIn("UpToDate"), NotDebug())              # the default; it accepts any measurement
    verdict = verify(quote, collateral, at=now, root=INTEL, policy=policy)
    verdict.accepted, verdict.simulated, verdict.refusal
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import dcap_qvl
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.errors import (
    ContractError,
    GoldenGrainError,
    MalformedInput,
    QuoteDebug,
    QuoteMeasurementRefused,
    QuoteRefused,
    QuoteRootUnknown,
    QuoteStatusRefused,
)
from goldengrain.chaincode.protocol.policy import INTEL_ROOT
from goldengrain.chaincode.protocol.quotes import QuoteVerdict, inspect_quote

INTEL = "intel"
_DEBUG = 0x02
_CHAINS = ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain")


class Rule(Protocol):
    """One demand on a verified quote."""

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise a refusal unless the quote meets it."""

    def describe(self) -> str:
        """Say in words what is demanded."""


@dataclass(frozen=True)
class StatusIn:
    """The TCB status is one of these."""

    statuses: tuple[str, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteStatusRefused` for another one."""
        if verdict.status not in self.statuses:
            raise QuoteStatusRefused(
                f"the TCB status is {verdict.status}; accepted: {', '.join(self.statuses) or 'none'}"
            )

    def describe(self) -> str:
        """Say which."""
        return f"TCB status {' or '.join(self.statuses)}"


@dataclass(frozen=True)
class NotDebug:
    """Not a debug enclave."""

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteDebug` for one."""
        if verdict.debug:
            raise QuoteDebug("a debug enclave: its host can read its memory")

    def describe(self) -> str:
        """Say so."""
        return "no debug enclave"


@dataclass(frozen=True)
class MeasurementIn:
    """The measurement (MRENCLAVE) is one of these."""

    measurements: tuple[bytes, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteMeasurementRefused` for another one."""
        if verdict.measurement not in self.measurements:
            raise QuoteMeasurementRefused(f"the measurement {verdict.measurement.hex()} is not accepted")

    def describe(self) -> str:
        """Say how many."""
        return f"one of {len(self.measurements)} measurements"


@dataclass(frozen=True)
class NoAdvisory:
    """None of these security advisories applies."""

    advisories: tuple[str, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise `QuoteStatusRefused` where one applies."""
        found = sorted(set(self.advisories).intersection(verdict.advisories))
        if found:
            raise QuoteStatusRefused(f"the advisory {found[0]} applies to this platform")

    def describe(self) -> str:
        """Say which."""
        return f"none of {', '.join(self.advisories)}"


@dataclass(frozen=True)
class AllOf:
    """Every rule; without a rule it refuses."""

    rules: tuple[Rule, ...]

    def check(self, verdict: QuoteVerdict) -> None:
        """Raise the first refusal; `QuoteRefused` without a rule."""
        if not self.rules:
            raise QuoteRefused("an empty policy accepts nothing; name at least one rule")
        for rule in self.rules:
            rule.check(verdict)

    def describe(self) -> str:
        """Say all."""
        return ", ".join(rule.describe() for rule in self.rules) or "empty: accepts nothing"


DEFAULT = AllOf((StatusIn(("UpToDate",)), NotDebug()))
"""Status UpToDate, no debug, any measurement."""


@dataclass(frozen=True)
class Verdict:
    """What is known of a quote, and whether it is accepted.

    `verified` tells whether signatures, certificates and times hold; without it the other fields are only what the
    quote claims. `simulated` tells that it rests on a root other than Intel's, or would.
    """

    accepted: bool
    refusal: GoldenGrainError | None
    verified: bool
    simulated: bool
    policy: str
    at: int
    tee: str | None = None
    measurement: bytes | None = None
    report_data: bytes | None = None
    fmspc: bytes | None = None
    debug: bool | None = None
    status: str | None = None
    advisories: tuple[str, ...] = ()
    root: bytes | None = None

    def to_json(self) -> dict[str, Json]:
        """Return it as JSON has it, bytes as hex, the time also in RFC 3339."""
        binary = {name: getattr(self, name) for name in ("measurement", "report_data", "fmspc", "root")}
        return {
            "verdict": "accepted" if self.accepted else "refused",
            "refusal": None if self.refusal is None else {"code": self.refusal.code, "message": str(self.refusal)},
            "verified": self.verified,
            "simulated": self.simulated,
            "policy": self.policy,
            "at": datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tee": self.tee,
            **{name: None if value is None else value.hex() for name, value in binary.items()},
            "debug": self.debug,
            "tcb_status": self.status,
            "advisories": list(self.advisories),
        }


def verify(quote: bytes, collateral: str, *, at: int, root: bytes | str = INTEL, policy: AllOf = DEFAULT) -> Verdict:
    """Judge a quote at a time (seconds) under a root: `intel`, or a certificate in DER or PEM. It never raises."""
    claims = _claims(quote)
    try:
        certificate = _root(root, collateral)
        found = inspect_quote(quote, collateral, certificate, at)
    except ContractError as error:
        simulated = root != INTEL and _digest(root) != INTEL_ROOT
        return Verdict(False, error, False, simulated, policy.describe(), at, **claims)
    refusal: ContractError | None = None
    try:
        policy.check(found)
    except ContractError as error:
        refusal = error
    return Verdict(
        accepted=refusal is None,
        refusal=refusal,
        verified=True,
        simulated=found.simulated,
        policy=policy.describe(),
        at=at,
        tee="SGX",
        measurement=found.measurement,
        report_data=found.report_data,
        fmspc=found.fmspc,
        debug=found.debug,
        status=found.status,
        advisories=found.advisories,
        root=found.root,
    )


def read_policy(document: Json) -> AllOf:
    """Make a policy of its JSON; raises `MalformedInput`.

    Either a market's policy as `GetPolicy` gives it, or an object of any of `statuses`, `measurements` (hex),
    `reject_advisories` (lists of text) and `unsafe_allow_debug` (true). Debug enclaves are refused without the last;
    without `statuses` only UpToDate is accepted.
    """
    if not isinstance(document, dict):
        raise MalformedInput("a policy is a JSON object")
    known = {"statuses", "measurements", "reject_advisories", "unsafe_allow_debug"}
    if "organizations" not in document and set(document) - known:
        raise MalformedInput(f"a policy has {', '.join(sorted(known))}; not {min(set(document) - known)!r}")
    if not known.intersection(document):
        return AllOf(())
    rules: list[Rule] = [] if document.get("unsafe_allow_debug") is True else [NotDebug()]
    rules.append(StatusIn(_texts(document, "statuses") if "statuses" in document else ("UpToDate",)))
    if "measurements" in document:
        rules.append(MeasurementIn(_measurements(_texts(document, "measurements"))))
    if "reject_advisories" in document:
        rules.append(NoAdvisory(_texts(document, "reject_advisories")))
    return AllOf(tuple(rules))


def parse_time(text: str) -> int:
    """Return the seconds of a time in RFC 3339; raises `MalformedInput`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedInput(f"{text!r} is no time in RFC 3339, such as 2026-11-22T20:00:00Z") from error
    if moment.tzinfo is None:
        raise MalformedInput(f"{text!r} lacks its zone: end it with Z or an offset")
    return int(moment.timestamp())


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    values = document[name]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise MalformedInput(f"{name} is a list of texts")
    return tuple(values)


def _measurements(texts: Sequence[str]) -> tuple[bytes, ...]:
    try:
        return tuple(bytes.fromhex(text) for text in texts)
    except ValueError as error:
        raise MalformedInput("measurements are in hex") from error


def _claims(quote: bytes) -> dict[str, Any]:
    """Return what a quote claims, unverified; nothing where it doesn't parse."""
    try:
        parsed = dcap_qvl.parse_quote(quote)
        if not parsed.is_sgx():
            return {"tee": "TDX"}
        report = parsed.report
        return {
            "tee": "SGX",
            "measurement": bytes(report.mr_enclave),
            "report_data": bytes(report.report_data),
            "debug": bool(report.attributes[0] & _DEBUG),
        }
    except (ValueError, AttributeError):
        return {}


def _root(root: bytes | str, collateral: str) -> bytes:
    """Return the root's certificate in DER; Intel's is found in the collateral, by its digest."""
    if isinstance(root, bytes):
        return _der(root)
    if root != INTEL:
        raise MalformedInput(f"a root is {INTEL!r} or a certificate")
    try:
        document = json.loads(collateral)
        chains = "".join(document[name] for name in _CHAINS)
        certificates = x509.load_pem_x509_certificates(chains.encode())
    except (ValueError, KeyError, TypeError) as error:
        raise QuoteRootUnknown("the collateral holds no certificate chain that leads to Intel's root") from error
    for certificate in certificates:
        der = certificate.public_bytes(Encoding.DER)
        if digests.sha256(der) == INTEL_ROOT:
            return der
    raise QuoteRootUnknown("the collateral doesn't lead to Intel's root; is it simulated?")


def _der(certificate: bytes) -> bytes:
    if not certificate.lstrip().startswith(b"-----BEGIN"):
        return certificate
    try:
        return x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    except ValueError as error:
        raise MalformedInput("the root is no certificate in PEM") from error


def _digest(root: bytes | str) -> bytes:
    try:
        return digests.sha256(_der(root)) if isinstance(root, bytes) else INTEL_ROOT
    except MalformedInput:
        return bytes(32)
