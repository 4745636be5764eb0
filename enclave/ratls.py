"""RA-TLS: a TLS certificate that carries the quote of the enclave whose key it is, as `gramine-ratls` makes it.

The certificate is self-signed, of a fresh P-384 key, with the quote in two extensions: TCG DICE tagged evidence (OID
2.23.133.5.4.9: CBOR tag 60000 of [quote, claims], where claims are a map of `pubkey-hash` to the CBOR of [1, SHA-256 of
the public key's DER], and the quote binds SHA-256(claims)), and the older form (the bare quote, which binds the key's
hash). Whoever ends the TLS handshake with that key therefore runs in the enclave that the quote tells of. `check` does:

1. one certificate, signed by its own key on P-256 or P-384, good at this time         `CertificateMalformed`
2. the evidence is there once, and is what the above says                              `CertificateMalformed`
3. the claims are about this certificate's key                                         `CertificateKeyMismatch`
4. the quote verifies under an accepted root, and meets the rules (`protocol.quotes`)  quotes' own refusals
5. the quote binds the claims, and nothing besides                                     `CertificateKeyMismatch`

Example::

    made = certify(source.quote)                                   # inside the enclave
    check(made.certificate, trust, collateral, at=clock.now())     # on the other side, before a byte is believed
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from goldengrain.chaincode.protocol.errors import ContractError, QuoteRootUnknown
from goldengrain.chaincode.protocol.evidence import QuoteVerdict
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.quote_rules import Rule, market_rules
from goldengrain.chaincode.protocol.quotes import inspect_quote
from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.enclave.errors import CertificateKeyMismatch, CertificateMalformed

EVIDENCE = x509.ObjectIdentifier("2.23.133.5.4.9")
OLDER = x509.ObjectIdentifier("0.6.9.42.840.113741.1337.6")
"""Gramine's own, whose first two bytes are a slip that it keeps."""
MAX_CERTIFICATE = 65_536
_TAG = 60_000
_SHA256 = 1
"""IANA's named-information registry."""
_CLAIM = "pubkey-hash"
_NAME = x509.Name.from_rfc4514_string("CN=RATLS,O=Golden Grain")
_START, _END = datetime(2001, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""No end of its own (RFC 5280, section 4.1.2.5): the quote's collateral ends it. Gramine's ends with 2030."""


@dataclass(frozen=True, repr=False)
class Certified:
    """A certificate (DER) and its private key."""

    certificate: bytes
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Trust:
    """Whose certificates are believed: quotes under one of these roots (DER) that meet the rules."""

    roots: tuple[bytes, ...]
    rules: Rule

    @classmethod
    def of(cls, policy: Policy) -> Trust:
        """Believe what a market's policy accepts."""
        return cls(tuple(one.certificate for one in policy.roots), market_rules(policy))


def certify(quote: Callable[[bytes], bytes]) -> Certified:
    """Make a key and its certificate; `quote` returns quotes that bind 64 bytes."""
    key = ec.generate_private_key(ec.SECP384R1())
    public = key.public_key()
    digest = _key_hash(public)
    claims = cbor2.dumps({_CLAIM: cbor2.dumps([_SHA256, digest])})
    evidence = cbor2.dumps(cbor2.CBORTag(_TAG, [quote(_padded(hashlib.sha256(claims).digest())), claims]))
    builder = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(_START)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(x509.UnrecognizedExtension(OLDER, quote(_padded(digest))), critical=False)
        .add_extension(x509.UnrecognizedExtension(EVIDENCE, evidence), critical=False)
    )
    made = builder.sign(key, hashes.SHA256())
    return Certified(made.public_bytes(serialization.Encoding.DER), key)


def check(certificate: bytes, trust: Trust, collateral: str, at: int) -> QuoteVerdict:
    """Run the checks 1 to 5 on a certificate in DER at a time in seconds; returns what its quote says.

    Raises `CertificateMalformed`, `CertificateKeyMismatch`, and the refusals of quotes and collateral.
    """
    parsed = _parse(certificate, at)  # 1
    quote, claims = _evidence(parsed)  # 2
    if _claimed_hash(claims) != _key_hash(parsed.public_key()):  # 3
        raise CertificateKeyMismatch("the certificate's claims are about another key than its own")
    verdict = _verdict(quote, trust, collateral, at)  # 4
    if verdict.report_data != _padded(hashlib.sha256(claims).digest()):  # 5
        raise CertificateKeyMismatch("the certificate's quote binds other claims than those it comes with")
    return verdict


def _parse(certificate: bytes, at: int) -> x509.Certificate:
    if len(certificate) > MAX_CERTIFICATE:
        raise CertificateMalformed(f"a certificate of {len(certificate):,} bytes; at most {MAX_CERTIFICATE:,} are read")
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        key = parsed.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            raise CertificateMalformed("a certificate for RA-TLS has a key on P-256 or P-384")
        parsed.verify_directly_issued_by(parsed)
        good = parsed.not_valid_before_utc.timestamp() <= at <= parsed.not_valid_after_utc.timestamp()
    except (TypeError, InvalidSignature, *UNREADABLE) as error:
        raise CertificateMalformed("not a certificate that is signed by its own key") from error
    if not good:
        raise CertificateMalformed("the certificate isn't good at this time; restart the enclave, or check the clock")
    return parsed


def _evidence(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """Return quote and claims from the evidence extension, and nothing that isn't exactly of its shape."""
    try:
        extension = certificate.extensions.get_extension_for_oid(EVIDENCE).value
    except (x509.ExtensionNotFound, *UNREADABLE) as error:
        raise CertificateMalformed("the certificate carries no evidence: it is of no enclave's RA-TLS") from error
    match _decoded(extension.public_bytes()):
        case cbor2.CBORTag(tag=tag, value=[bytes(quote), bytes(claims)]) if tag == _TAG:
            return quote, claims
    raise CertificateMalformed("the certificate's evidence is not a quote with its claims")


def _claimed_hash(claims: bytes) -> bytes:
    match _decoded(claims):
        case {"pubkey-hash": bytes(entry), **others} if not others:
            match _decoded(entry):
                case [int(algorithm), bytes(digest)] if algorithm == _SHA256:
                    return digest
    raise CertificateMalformed("the certificate's claims are not the SHA-256 of a public key")


def _decoded(data: bytes) -> Any:
    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, RecursionError) as error:
        raise CertificateMalformed("the certificate's evidence is no CBOR") from error


def _verdict(quote: bytes, trust: Trust, collateral: str, at: int) -> QuoteVerdict:
    refusal: ContractError = QuoteRootUnknown("no attestation root is accepted; name at least one")
    for root in trust.roots:
        try:
            verdict = inspect_quote(quote, collateral, root, at)
        except ContractError as error:
            refusal = error
        else:
            trust.rules.check(verdict)
            return verdict
    raise refusal


def _key_hash(key: Any) -> bytes:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


def _padded(digest: bytes) -> bytes:
    return digest + bytes(64 - len(digest))
