"""Whether an endorser is a peer of an organisation in the trust bundle, by the bundle alone.

Fabric's own rules for an MSP with NodeOUs: a chain to one of its roots through its intermediates, exactly one role
among the subject's OUs, nobody on a revocation list; besides, everything is valid at one given time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from goldengrain.chaincode.protocol.policy import BundleOrganization, TrustBundle
from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.enclave.errors import BundleRefused, TicketEndorserRefused

MAX_CERTIFICATE = 16_384
P256_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_BEGIN = b"-----BEGIN"


@dataclass(frozen=True)
class _Organization:
    known: BundleOrganization
    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    revoked: frozenset[tuple[bytes, int]]
    """Issuer's name (DER) and serial number."""


class Endorsers:
    """The peers that a trust bundle lets endorse. Raises `BundleRefused` for a bundle that can't be read."""

    def __init__(self, bundle: TrustBundle) -> None:
        self._organizations = {one.msp_id: _load(one) for one in bundle.organizations}

    def check(self, msp_id: str, certificate: bytes, at: int, message: bytes, signature: bytes) -> None:
        """Check one endorsement; `certificate` is PEM, `message` what was signed. Raises `TicketEndorserRefused`."""
        organization = self._organizations.get(msp_id)
        if organization is None:
            raise TicketEndorserRefused(f"{msp_id[:80]!r} is no organisation of the trust bundle")
        try:
            leaf = _one_certificate(certificate)
            time = datetime.fromtimestamp(at, UTC)
            _check_chain(leaf, organization, time)
            _check_role(leaf, organization.known)
            _check_signature(leaf, message, signature)
        except (OSError, OverflowError, *UNREADABLE) as error:  # the first two for times out of range
            raise TicketEndorserRefused("an endorser's certificate can't be read") from error


def _load(organization: BundleOrganization) -> _Organization:
    try:
        roots = tuple(x509.load_der_x509_certificate(one) for one in organization.roots)
        intermediates = tuple(x509.load_der_x509_certificate(one) for one in organization.intermediates)
        revoked = _revoked(organization, (*roots, *intermediates))
    except (TypeError, *UNREADABLE) as error:
        raise BundleRefused(f"{organization.msp_id}: {error}") from error
    for root in roots:
        if not _issued(root, root):
            raise BundleRefused(f"{organization.msp_id}: a root certificate is not signed by itself")
    return _Organization(organization, roots, intermediates, revoked)


def _revoked(organization: BundleOrganization, authorities: Sequence[x509.Certificate]) -> frozenset[tuple[bytes, int]]:
    found = set()
    for data in organization.revocation_lists:
        crl = x509.load_der_x509_crl(data)
        issuers = [one for one in authorities if one.subject == crl.issuer]
        if not any(crl.is_signature_valid(one.public_key()) for one in issuers):  # type: ignore[arg-type]
            raise BundleRefused(f"{organization.msp_id}: a revocation list is signed by none of its authorities")
        found |= {(crl.issuer.public_bytes(), entry.serial_number) for entry in crl}
    return frozenset(found)


def _one_certificate(pem: bytes) -> x509.Certificate:
    if len(pem) > MAX_CERTIFICATE or pem.count(_BEGIN) != 1:
        raise TicketEndorserRefused("an endorser is exactly one certificate in PEM")
    return x509.load_pem_x509_certificate(pem)


def _check_chain(leaf: x509.Certificate, organization: _Organization, at: datetime) -> None:
    """Walk from the leaf to a root; every certificate valid at the time, none revoked."""
    if _is_authority(leaf):
        raise TicketEndorserRefused("an endorser's certificate is that of an authority")
    current, remaining = leaf, list(organization.intermediates)
    while True:
        _check_one(current, organization, at)
        root = next((one for one in organization.roots if _issued(current, one)), None)
        if root is not None:
            _check_validity(root, at)
            return
        issuer = next((one for one in remaining if _issued(current, one)), None)
        if issuer is None:
            raise TicketEndorserRefused(
                f"an endorser's certificate doesn't chain to a root of {organization.known.msp_id}"
            )
        remaining.remove(issuer)
        current = issuer


def _check_one(certificate: x509.Certificate, organization: _Organization, at: datetime) -> None:
    if (certificate.issuer.public_bytes(), certificate.serial_number) in organization.revoked:
        raise TicketEndorserRefused("an endorser's certificate, or its authority's, is revoked")
    _check_validity(certificate, at)


def _check_validity(certificate: x509.Certificate, at: datetime) -> None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise TicketEndorserRefused("an endorser's certificate, or its authority's, isn't valid at the ticket's time")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if not _is_authority(issuer):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False


def _check_role(leaf: x509.Certificate, known: BundleOrganization) -> None:
    units = {str(unit.value) for unit in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)}
    roles = units & {known.peer_ou, known.client_ou, known.admin_ou, known.orderer_ou}
    if roles != {known.peer_ou}:
        found = ", ".join(sorted(roles)) or "none"
        raise TicketEndorserRefused(
            f"an endorser must have the OU {known.peer_ou!r}; this certificate's roles: {found}"
        )


def _check_signature(leaf: x509.Certificate, message: bytes, signature: bytes) -> None:
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TicketEndorserRefused("an endorser's key is not of the curve P-256")
    try:
        _, s = decode_dss_signature(signature)
        if s > P256_ORDER // 2:
            raise TicketEndorserRefused("an endorser's signature has a high s")
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature) as error:
        raise TicketEndorserRefused("an endorser didn't sign these bytes") from error
