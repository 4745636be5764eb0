"""Judge a quote offline: what `goldengrain enclave verify-quote` does.

In this order: the quote verifies with its collateral under the wanted root at the given time (the very code that the
contract runs, `chaincode.protocol.quotes`), then each rule of the policy (`chaincode.protocol.quote_rules`).

    policy = AllOf((StatusIn(("UpToDate",)), NotDebug(), MeasurementIn((measurement,))))
    verdict = verify(quote, collateral, at=now, root=INTEL, policy=policy)
    verdict.accepted, verdict.simulated, verdict.refusal
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import dcap_qvl
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.errors import ContractError, GoldenGrainError, MalformedInput, QuoteRootUnknown
from goldengrain.chaincode.protocol.evidence import Tee, claims_of
from goldengrain.chaincode.protocol.policy import INTEL_ROOT
from goldengrain.chaincode.protocol.quote_rules import DEFAULT, AllOf
from goldengrain.chaincode.protocol.quotes import inspect_quote

INTEL = "intel"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_CHAINS = ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain")


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
    tee: Tee | None = None
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
            "refusal": None if self.refusal is None else _refusal(self.refusal),
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
        certificate = root_certificate(root, collateral)
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
        tee=found.tee,
        measurement=found.measurement,
        report_data=found.report_data,
        fmspc=found.fmspc,
        debug=found.debug,
        status=found.status,
        advisories=found.advisories,
        root=found.root,
    )


def parse_time(text: str) -> int:
    """Return the seconds of a time in RFC 3339; raises `MalformedInput`."""
    wanted = "a time is written as in RFC 3339, with its zone: 2026-11-22T20:00:00Z"
    if not _RFC_3339.fullmatch(text.upper()):
        raise MalformedInput(f"{text!r}: {wanted}")
    try:
        return int(datetime.fromisoformat(text.upper()).timestamp())
    except (ValueError, OverflowError) as error:
        raise MalformedInput(f"{text!r}: {wanted}") from error


def _claims(quote: bytes) -> dict[str, Any]:
    """Return what a quote claims, unverified; nothing where it doesn't parse."""
    try:
        claims = claims_of(dcap_qvl.parse_quote(quote).report)
    except ValueError:
        return {}
    return {field.name: getattr(claims, field.name) for field in fields(claims)}


def root_certificate(root: bytes | str, collateral: str) -> bytes:
    """Return a root's certificate in DER; Intel's is found in the collateral, by its digest.

    Raises `QuoteRootUnknown` where it isn't there, `MalformedInput` for what is no root.
    """
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


def _refusal(error: GoldenGrainError) -> dict[str, Json]:
    """What refuses, and the number of the check of protocol section 4 where it is one."""
    return {"code": error.code, "message": str(error), "check": getattr(error, "check", 0) or None}
