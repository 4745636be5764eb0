"""Organisations, and whether a certificate is one of theirs in a role."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2, msp_config_pb2, msp_principal_pb2
from google.protobuf.message import DecodeError

HALF_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2
ROLES = {
    msp_principal_pb2.MSPRole.CLIENT: "client",
    msp_principal_pb2.MSPRole.PEER: "peer",
    msp_principal_pb2.MSPRole.ADMIN: "admin",
    msp_principal_pb2.MSPRole.ORDERER: "orderer",
}


@dataclass(frozen=True)
class Identity:
    """A certificate that its organisation vouches for, and its roles."""

    serialized: bytes
    msp_id: str
    certificate: x509.Certificate
    roles: frozenset[str]

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Whether this is its signature: ECDSA with SHA-256, the smaller s."""
        return valid_signature(self.certificate, data, signature)

    @cached_property
    def units(self) -> frozenset[str]:
        found = self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return frozenset(str(one.value) for one in found)

    def satisfies(self, principal: msp_principal_pb2.MSPPrincipal) -> bool:
        """Whether a policy's principal is this identity."""
        kinds = msp_principal_pb2.MSPPrincipal
        match principal.principal_classification:
            case kinds.ROLE:
                role = msp_principal_pb2.MSPRole.FromString(principal.principal)
                is_member = role.role == msp_principal_pb2.MSPRole.MEMBER
                return role.msp_identifier == self.msp_id and (is_member or ROLES.get(role.role) in self.roles)
            case kinds.ORGANIZATION_UNIT:
                unit = msp_principal_pb2.OrganizationUnit.FromString(principal.principal)
                return unit.msp_identifier == self.msp_id and unit.organizational_unit_identifier in self.units
            case kinds.IDENTITY:
                return principal.principal == self.serialized
        return False


def valid_signature(certificate: x509.Certificate, data: bytes, signature: bytes) -> bool:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        _, s = utils.decode_dss_signature(signature)
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return s <= HALF_ORDER


class Organization:
    """One MSP of a configuration. Chains of one or two certificates are followed, as in Fabric's own tools."""

    def __init__(self, config: msp_config_pb2.FabricMSPConfig) -> None:
        self.msp_id = config.name
        self._authorities = [
            x509.load_pem_x509_certificate(pem) for pem in (*config.root_certs, *config.intermediate_certs)
        ]
        self._units = {}
        units = config.fabric_node_ous
        if units.enable:
            for role in ("client", "peer", "admin", "orderer"):
                named = getattr(units, f"{role}_ou_identifier").organizational_unit_identifier
                self._units[role] = named or role
        self._admins = set(config.admins)
        self._revoked = {entry.serial_number for pem in config.revocation_list for entry in x509.load_pem_x509_crl(pem)}

    def identity(self, serialized: bytes, pem: bytes) -> Identity | None:
        """The identity of a certificate; None if this organisation doesn't vouch for it."""
        try:
            return self._identity(serialized, pem, x509.load_pem_x509_certificate(pem))
        except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
            return None

    def _identity(self, serialized: bytes, pem: bytes, certificate: x509.Certificate) -> Identity | None:
        if certificate.serial_number in self._revoked or not any(_issued(certificate, a) for a in self._authorities):
            return None
        identity = Identity(serialized, self.msp_id, certificate, frozenset())
        roles = {role for role, unit in self._units.items() if unit in identity.units}
        if self._units and len(roles) != 1:
            return None
        if pem in self._admins:
            roles.add("admin")
        return Identity(serialized, self.msp_id, certificate, frozenset(roles))


class Organizations:
    """All organisations of a channel. What was looked up is remembered: certificates repeat in every block."""

    def __init__(self, organizations: dict[str, Organization]) -> None:
        self._organizations = organizations
        self._known: dict[bytes, Identity | None] = {}

    def identity(self, serialized: bytes) -> Identity | None:
        """The valid identity of a serialised msp.SerializedIdentity, or None."""
        if serialized not in self._known:
            self._known[serialized] = self._look_up(serialized)
        return self._known[serialized]

    def _look_up(self, serialized: bytes) -> Identity | None:
        try:
            named = identities_pb2.SerializedIdentity.FromString(serialized)
        except DecodeError:
            return None
        organization = self._organizations.get(named.mspid)
        return organization.identity(serialized, named.id_bytes) if organization else None


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
