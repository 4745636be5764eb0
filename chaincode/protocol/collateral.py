"""Collateral of quotes: what Intel's service, or the simulated one, signs about a kind of platform (section 4).

`read_collateral` verifies all of it under one root at one time, in this order, each refusal with its own name:

1. size, JSON, the nine fields (`CollateralMalformed`); none of them empty (`CollateralIncomplete`);
2. issuers: TCB signing certificates and the PCK CA are the root's own and not revoked (`CollateralUntrusted`);
3. signatures of TCB info, QE identity and both revocation lists (`CollateralUntrusted`);
4. times: nothing issued later than now (`CollateralOfTheFuture`), nothing past its update (`CollateralExpired`).

dcap-qvl verifies the same again with each quote; here it is done without a quote, so that nobody can store collateral
with high numbers that nobody has signed, and so that each refusal has a name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import dcap_qvl
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import (
    CollateralExpired,
    CollateralIncomplete,
    CollateralMalformed,
    CollateralOfTheFuture,
    CollateralRollback,
    CollateralUntrusted,
    MalformedInput,
)
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.unreadable import UNREADABLE

MAX_COLLATERAL = 131_072
"""Greatest size in bytes of the JSON."""

FIELDS = (
    "pck_crl_issuer_chain",
    "root_ca_crl",
    "pck_crl",
    "tcb_info_issuer_chain",
    "tcb_info",
    "tcb_info_signature",
    "qe_identity_issuer_chain",
    "qe_identity",
    "qe_identity_signature",
)
"""All text: PEM chains, JSON, and the lists and signatures in hex."""

_IDENTITIES = {Tee.SGX: "QE", Tee.TDX: "TD_QE"}
"""The quoting enclave that quotes for each TEE, as QE identity names it."""


@dataclass(frozen=True)
class Collateral:
    """Verified collateral: what it is for, how new it is, and until when it is good."""

    tee: Tee
    fmspc: bytes
    tcb_evaluation: int
    qe_evaluation: int
    root_crl_number: int
    pck_crl_number: int
    issued: int
    """When its newest part was issued."""
    expires: int
    """The last second in which all of it is good."""
    text: str
    """The JSON as it was given."""

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """Evaluation numbers of TCB info and QE identity, numbers of root and PCK revocation lists: they only rise."""
        return self.tcb_evaluation, self.qe_evaluation, self.root_crl_number, self.pck_crl_number

    def require_newer(self, stored: Sequence[int]) -> None:
        """Raise `CollateralRollback` when one of the stored collateral's numbers is higher."""
        if any(mine < theirs for mine, theirs in zip(self.numbers, stored, strict=True)):
            raise CollateralRollback(f"stored are the numbers {tuple(stored)}, these are {self.numbers}; fetch it anew")

    @cached_property
    def parsed(self) -> Any:
        """It as dcap-qvl takes it, of the nine fields alone; made once for all quotes that it judges."""
        return parse(self.text)


def parse(text: str) -> Any:
    """Return collateral as dcap-qvl takes it, unverified; raises `CollateralMalformed`."""
    fields = _fields(text)
    try:
        return dcap_qvl.QuoteCollateralV3.from_json(json.dumps({name: fields[name] for name in FIELDS}))
    except ValueError as error:
        raise CollateralMalformed(f"not a quote's collateral: {error}") from error


def read_collateral(text: str, root: bytes, at: int) -> Collateral:
    """Verify collateral under a root (DER) at a time; raises the refusals that the module names."""
    collateral = examine(text, root)
    if collateral.issued > at:
        raise CollateralOfTheFuture(f"issued at {collateral.issued}, it is {at}; check the clock")
    if collateral.expires < at:
        raise CollateralExpired(f"good until {collateral.expires}, it is {at}; fetch it anew")
    return collateral


@lru_cache(maxsize=16)
def examine(text: str, root: bytes) -> Collateral:
    """Run the checks 1 to 3, which depend on no time: the same collateral serves many quotes.

    For telling how collateral stands; what relies on it calls `read_collateral`.
    """
    try:
        return _examined(text, root)
    except UNREADABLE as error:
        raise CollateralMalformed(f"a certificate or revocation list can't be read: {error}") from error


def _examined(text: str, root: bytes) -> Collateral:
    fields = _fields(text)
    missing = [name for name in FIELDS if not fields[name]]
    if missing:
        raise CollateralIncomplete(f"the collateral lacks {', '.join(missing)}")
    authority = _certificate(root)
    root_crl = _revocation_list(fields["root_ca_crl"], authority, "root")
    pck_authority = _issuer(fields["pck_crl_issuer_chain"], authority, root_crl, "PCK CA")
    tcb_signer = _issuer(fields["tcb_info_issuer_chain"], authority, root_crl, "TCB info's signer")
    qe_signer = _issuer(fields["qe_identity_issuer_chain"], authority, root_crl, "QE identity's signer")
    pck_crl = _revocation_list(fields["pck_crl"], pck_authority, "PCK")
    tcb = _signed(fields["tcb_info"], fields["tcb_info_signature"], tcb_signer, "TCB info")
    identity = _signed(fields["qe_identity"], fields["qe_identity_signature"], qe_signer, "QE identity")
    starts = [_time(tcb, "issueDate"), _time(identity, "issueDate")]
    starts += [_seconds(one.last_update_utc) for one in (root_crl, pck_crl)]
    ends = [_time(tcb, "nextUpdate"), _time(identity, "nextUpdate"), _next_update(root_crl), _next_update(pck_crl)]
    for certificate in (authority, pck_authority, tcb_signer, qe_signer):
        starts.append(_seconds(certificate.not_valid_before_utc))
        ends.append(_seconds(certificate.not_valid_after_utc))
    return Collateral(
        tee=_tee(tcb, identity),
        fmspc=_fmspc(tcb),
        tcb_evaluation=_number(tcb, "tcbEvaluationDataNumber"),
        qe_evaluation=_number(identity, "tcbEvaluationDataNumber"),
        root_crl_number=_crl_number(root_crl),
        pck_crl_number=_crl_number(pck_crl),
        issued=max(starts),
        expires=min(ends) - 1,
        text=text,
    )


def _fields(text: str) -> dict[str, str]:
    if len(text) > MAX_COLLATERAL:
        raise CollateralMalformed(f"{len(text):,} characters; at most {MAX_COLLATERAL:,} are read")
    document = _object(text, "the collateral")
    absent = [name for name in FIELDS if name not in document]
    if absent:
        raise CollateralIncomplete(f"the collateral lacks {', '.join(absent)}")
    wrong = [name for name in FIELDS if not isinstance(document[name], str)]
    if wrong:
        raise CollateralMalformed(f"{', '.join(wrong)} must be text")
    return document


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        document = canonical.loads(text.encode("utf-8", "surrogatepass"), MAX_COLLATERAL)
    except MalformedInput as error:
        raise CollateralMalformed(f"{what} can't be read: {error}") from error
    if not isinstance(document, dict):
        raise CollateralMalformed(f"{what} is not a JSON object")
    return document


def _signed(text: str, signature: str, signer: x509.Certificate, what: str) -> dict[str, Any]:
    """Return a signed document once its signature, raw r and s over the exact text, is verified."""
    try:
        raw = bytes.fromhex(signature)
    except ValueError as error:
        raise CollateralMalformed(f"the signature of {what} is not hex") from error
    if len(raw) != 64:
        raise CollateralMalformed(f"the signature of {what} has {len(raw)} bytes instead of 64")
    encoded = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        _public_key(signer).verify(encoded, text.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise CollateralUntrusted(f"the signature of {what} is wrong") from error
    return _object(text, what)


def _issuer(
    chain: str, authority: x509.Certificate, root_crl: x509.CertificateRevocationList, what: str
) -> x509.Certificate:
    """Return the first certificate of a chain, which the root must have issued."""
    try:
        certificate = x509.load_pem_x509_certificates(chain.encode())[0]
    except ValueError as error:
        raise CollateralMalformed(f"the chain of the {what} is not PEM") from error
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise CollateralUntrusted(f"the certificate of the {what} is not this root's") from error
    if root_crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        raise CollateralUntrusted(f"the certificate of the {what} is revoked")
    return certificate


def _revocation_list(text: str, issuer: x509.Certificate, what: str) -> x509.CertificateRevocationList:
    try:
        revoked = x509.load_der_x509_crl(bytes.fromhex(text))
    except ValueError as error:
        raise CollateralMalformed(f"the {what} revocation list is not DER in hex") from error
    if revoked.issuer != issuer.subject or not _signs(issuer, revoked):
        raise CollateralUntrusted(f"the {what} revocation list is not signed by its issuer")
    return revoked


def _signs(issuer: x509.Certificate, revoked: x509.CertificateRevocationList) -> bool:
    try:
        return revoked.is_signature_valid(_public_key(issuer))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _certificate(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise CollateralUntrusted("the attestation root is not a certificate in DER") from error


def _public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CollateralMalformed("a certificate's key can't be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CollateralUntrusted("attestation certificates have P-256 keys")
    return key


def _crl_number(revoked: x509.CertificateRevocationList) -> int:
    try:
        return revoked.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError) as error:
        raise CollateralMalformed("a revocation list has no number") from error


def _next_update(revoked: x509.CertificateRevocationList) -> int:
    if revoked.next_update_utc is None:
        raise CollateralMalformed("a revocation list doesn't say when the next comes")
    return _seconds(revoked.next_update_utc)


def _time(document: dict[str, Any], name: str) -> int:
    try:
        moment = datetime.fromisoformat(document[name])
    except (KeyError, TypeError, ValueError) as error:
        raise CollateralMalformed(f"{name} is missing or not a time") from error
    return _seconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _number(document: dict[str, Any], name: str) -> int:
    number = document.get(name)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**31:
        raise CollateralMalformed(f"{name} is missing or not a number")
    return number


def _tee(tcb: dict[str, Any], identity: dict[str, Any]) -> Tee:
    """Return the TEE that TCB info and QE identity are for; both must be for the same."""
    for tee, quoting_enclave in _IDENTITIES.items():
        if (tcb.get("id"), identity.get("id")) == (tee, quoting_enclave):
            return tee
    raise CollateralMalformed("TCB info and QE identity are not both for SGX, nor both for TDX")


def _fmspc(tcb: dict[str, Any]) -> bytes:
    try:
        fmspc = bytes.fromhex(tcb["fmspc"])
    except (KeyError, TypeError, ValueError) as error:
        raise CollateralMalformed("TCB info has no FMSPC") from error
    if len(fmspc) != 6:
        raise CollateralMalformed(f"an FMSPC has 6 bytes, not {len(fmspc)}")
    return fmspc
