"""Membership: who an identity is, whether an organisation vouches for it, and in which role.

An `Msp` is built from the FabricMSPConfig in a channel's configuration. It accepts an X.509 certificate when
1. the certificate is no CA's;
2. a chain of signatures leads from it to one of the organisation's roots, through its intermediates. As in Fabric the
   chain is checked at the certificate's own time (one second after it begins), so neither "not yet valid" nor
   "expired" is judged here: expiry is a filter of its own at the doors (`Identity.expires_at`);
3. no revocation list of the certificate's issuer names it;
4. with NodeOUs on, exactly one of its organisational units names a role (client, peer, admin, orderer).

Signatures are ECDSA P-256 over SHA-256 with the smaller s; others are refused. Identities and good signatures are kept
in bounded caches, since one envelope is checked at several doors (orderer, validation, Deliver).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2, msp_config_pb2, msp_principal_pb2
from google.protobuf.message import DecodeError

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.network.embedded.blocks import P256_ORDER
from goldengrain.network.embedded.errors import ConfigError, IdentityError, PrincipalError

_IDENTITY_CACHE = 4096
_SIGNATURE_CACHE = 16384
_PREHASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
_ROLES = msp_principal_pb2.MSPRole

_verified: OrderedDict[tuple[bytes, bytes, bytes], None] = OrderedDict()


class Identity:
    """A certificate as a member of an organisation claims it: not validated until `Msp.validate` has accepted it."""

    def __init__(self, msp_id: str, certificate: x509.Certificate) -> None:
        self.msp_id = msp_id
        self.certificate = certificate
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise IdentityError("the certificate's key is not an ECDSA P-256 key")
        self._key = key

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of the DER certificate: Fabric's identifier of the identity within its organisation."""
        return hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()

    @cached_property
    def organizational_units(self) -> tuple[str, ...]:
        """The OU attributes of the certificate's subject."""
        units = self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return tuple(str(unit.value) for unit in units)

    @property
    def expires_at(self) -> datetime:
        """The end of the certificate's validity (UTC)."""
        return self.certificate.not_valid_after_utc

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether `signature` is this identity's low-s ECDSA signature over the SHA-256 of `data`."""
        digest = hashlib.sha256(data).digest()
        entry = (self.fingerprint, digest, signature)
        if entry in _verified:
            _verified.move_to_end(entry)
            return True
        if not self._verify_digest(digest, signature):
            return False
        _verified[entry] = None
        if len(_verified) > _SIGNATURE_CACHE:
            _verified.popitem(last=False)
        return True

    def _verify_digest(self, digest: bytes, signature: bytes) -> bool:
        try:
            _, s = utils.decode_dss_signature(signature)
            if s > P256_ORDER // 2:
                return False
            self._key.verify(signature, digest, _PREHASHED)
        except (ValueError, InvalidSignature):
            return False
        return True


class _Standing(NamedTuple):
    """How an organisation judges an identity: why it is refused, or the chain that vouches for it and its roles."""

    refusal: str | None
    certifier: bytes = b""
    roles: frozenset[int] = frozenset()


class Msp:
    """One organisation's membership rules."""

    def __init__(self, config: msp_config_pb2.FabricMSPConfig) -> None:
        """Raises ConfigError when a certificate or revocation list in `config` cannot be read."""
        self.msp_id = config.name
        try:
            self._roots = [x509.load_pem_x509_certificate(pem) for pem in config.root_certs]
            self._intermediates = [x509.load_pem_x509_certificate(pem) for pem in config.intermediate_certs]
            self._admins = {hashlib.sha256(_der_of(pem)).digest() for pem in config.admins}
            self._revoked = [x509.load_pem_x509_crl(pem) for pem in config.revocation_list]
        except UNREADABLE as error:
            raise ConfigError(f"the setup of MSP {config.name} cannot be read: {error}") from error
        if not self._roots:
            raise ConfigError(f"the setup of MSP {config.name} has no root certificate")
        self.tls_root_certificates: tuple[bytes, ...] = (*config.tls_root_certs, *config.tls_intermediate_certs)
        self._node_ous = self._read_node_ous(config.fabric_node_ous)
        self._ou_certifiers = {
            unit.organizational_unit_identifier: self._certifier_of(unit.certificate)
            for unit in config.organizational_unit_identifiers
        }
        self._standings: dict[bytes, _Standing] = {}

    @classmethod
    def from_bytes(cls, msp_config: bytes) -> "Msp":
        """From a serialised msp.MSPConfig of type FABRIC (0); raises ConfigError."""
        try:
            config = msp_config_pb2.MSPConfig.FromString(msp_config)
            if config.type != 0:
                raise ConfigError(f"MSP type {config.type} is not supported: only X.509 (0) is")
            return cls(msp_config_pb2.FabricMSPConfig.FromString(config.config))
        except DecodeError as error:
            raise ConfigError(f"the MSP configuration cannot be decoded: {error}") from error

    # -- identities --------------------------------------------------------------------------------------------------

    def identity(self, pem: bytes) -> Identity:
        """An identity of this organisation from a PEM certificate, not yet validated; raises IdentityError."""
        try:
            return Identity(self.msp_id, x509.load_pem_x509_certificate(pem))
        except UNREADABLE as error:
            raise IdentityError(
                f"could not decode the PEM structure of an identity of {self.msp_id}: {error}"
            ) from error

    def validate(self, identity: Identity) -> None:
        """Check chain, revocation and role; the outcome is remembered. Raises IdentityError."""
        self._standing(identity)

    def _standing(self, identity: Identity) -> "_Standing":
        """The identity's certifier and roles; raises IdentityError for one that is not valid."""
        key = identity.fingerprint
        standing = self._standings.get(key)
        if standing is None:
            if len(self._standings) >= _IDENTITY_CACHE:
                self._standings.clear()
            standing = self._standings[key] = self._judge(identity)
        if standing.refusal is not None:
            raise IdentityError(standing.refusal)
        return standing

    def _judge(self, identity: Identity) -> "_Standing":
        if identity.msp_id != self.msp_id:
            return _Standing(f"expected MSP ID {self.msp_id}, received {identity.msp_id}")
        try:
            chain = self.chain(identity.certificate)
            self._check_revocation(identity.certificate, chain[1])
            certifier = _chain_identifier(chain[1:])
            roles = self._roles_of(identity, certifier)
            self._check_units(identity, certifier, roles)
        except IdentityError as error:
            return _Standing(str(error))
        return _Standing(None, certifier, roles)

    def chain(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """The certificate, the CA that issued it, and so on to a root; raises IdentityError."""
        if _is_ca(certificate):
            raise IdentityError(
                "An X509 certificate with Basic Constraint: "
                "Certificate Authority equals true cannot be used as an identity"
            )
        at = certificate.not_valid_before_utc + timedelta(seconds=1)
        chain = self._climb([certificate], at)
        if chain is None:
            raise IdentityError("could not obtain certification chain: certificate signed by unknown authority")
        return chain

    def _climb(self, chain: list[x509.Certificate], at: datetime) -> list[x509.Certificate] | None:
        for issuer in (*self._roots, *self._intermediates):
            if issuer in chain or not _issued(issuer, chain[-1], at):
                continue
            if issuer in self._roots:
                return [*chain, issuer]
            longer = self._climb([*chain, issuer], at)
            if longer is not None:
                return longer
        return None

    def _check_revocation(self, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        key = issuer.public_key()
        for crl in self._revoked:
            if (
                crl.issuer == issuer.subject
                and crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
                and isinstance(key, ec.EllipticCurvePublicKey)
                and crl.is_signature_valid(key)
            ):
                raise IdentityError("The certificate has been revoked")

    # -- organisational units ----------------------------------------------------------------------------------------

    def _read_node_ous(self, config: msp_config_pb2.FabricNodeOUs) -> dict[int, tuple[str, bytes]]:
        """Role -> (OU name, identifier of the CA chain it must come from, empty for any); empty with NodeOUs off."""
        if not config.enable:
            return {}
        units = {
            _ROLES.CLIENT: config.client_ou_identifier,
            _ROLES.PEER: config.peer_ou_identifier,
            _ROLES.ADMIN: config.admin_ou_identifier,
            _ROLES.ORDERER: config.orderer_ou_identifier,
        }
        return {
            int(role): (unit.organizational_unit_identifier, self._certifier_of(unit.certificate))
            for role, unit in units.items()
            if unit.organizational_unit_identifier
        }

    def _certifier_of(self, pem: bytes) -> bytes:
        """The identifier of the chain that starts with this CA certificate, empty for no certificate."""
        if not pem:
            return b""
        try:
            certificate = x509.load_pem_x509_certificate(pem)
        except UNREADABLE as error:
            raise ConfigError(f"an organisational unit of MSP {self.msp_id} has a bad certificate: {error}") from error
        if certificate in self._roots:
            return _chain_identifier([certificate])
        if certificate not in self._intermediates:
            raise ConfigError(f"an organisational unit of MSP {self.msp_id} names a certificate that is no CA of it")
        chain = self._climb([certificate], certificate.not_valid_before_utc + timedelta(seconds=1))
        if chain is None:
            raise ConfigError(f"an organisational unit of MSP {self.msp_id} names a CA without a chain to a root")
        return _chain_identifier(chain)

    def _roles_of(self, identity: Identity, certifier: bytes) -> frozenset[int]:
        units = identity.organizational_units
        return frozenset(
            role for role, (name, wanted) in self._node_ous.items() if name in units and wanted in (b"", certifier)
        )

    def _check_units(self, identity: Identity, certifier: bytes, roles: frozenset[int]) -> None:
        if self._ou_certifiers and not any(
            wanted in (b"", certifier)
            for name, wanted in self._ou_certifiers.items()
            if name in identity.organizational_units
        ):
            units = _listed(identity)
            raise IdentityError(f"none of the identity's organizational units {units} are in MSP {self.msp_id}")
        if not self._node_ous or len(roles) == 1:
            return
        if not roles:
            raise IdentityError(
                "the identity does not have an OU that resolves to client, peer, orderer, or admin role. "
                f"OUs: {_listed(identity)}, MSP: [{self.msp_id}]"
            )
        raise IdentityError(
            "the identity must be a client, a peer, an orderer, or an admin identity to be valid, not a "
            f"combination of them. OUs: {_listed(identity)}, MSP: [{self.msp_id}]"
        )

    # -- principals --------------------------------------------------------------------------------------------------

    def satisfies(self, identity: Identity, principal: msp_principal_pb2.MSPPrincipal) -> None:
        """Check that the identity is valid and what `principal` asks for; raises PrincipalError or IdentityError."""
        kind = principal.principal_classification
        try:
            if kind == msp_principal_pb2.MSPPrincipal.ROLE:
                self._satisfies_role(identity, _ROLES.FromString(principal.principal))
            elif kind == msp_principal_pb2.MSPPrincipal.IDENTITY:
                self._satisfies_identity(identity, principal.principal)
            elif kind == msp_principal_pb2.MSPPrincipal.ORGANIZATION_UNIT:
                self._satisfies_unit(identity, msp_principal_pb2.OrganizationUnit.FromString(principal.principal))
            elif kind == msp_principal_pb2.MSPPrincipal.COMBINED:
                combined = msp_principal_pb2.CombinedPrincipal.FromString(principal.principal)
                if not combined.principals:
                    raise PrincipalError("no principals in CombinedPrincipal")
                for part in combined.principals:
                    self.satisfies(identity, part)
            else:
                raise PrincipalError(f"invalid principal type {kind}")
        except DecodeError as error:
            raise PrincipalError(f"could not unmarshal the principal: {error}") from error

    def satisfies_role(self, identity: Identity, role: "msp_principal_pb2.MSPRole.MSPRoleType.ValueType") -> None:
        """Short for `satisfies` with a role of this organisation."""
        self._satisfies_role(identity, _ROLES(msp_identifier=self.msp_id, role=role))

    def _satisfies_role(self, identity: Identity, wanted: msp_principal_pb2.MSPRole) -> None:
        if wanted.msp_identifier != self.msp_id:
            raise PrincipalError(
                f"the identity is a member of a different MSP (expected {wanted.msp_identifier}, got {self.msp_id})"
            )
        self.validate(identity)
        role = wanted.role
        if role == _ROLES.MEMBER:
            return
        if role == _ROLES.ADMIN:
            if identity.fingerprint in self._admins:
                return
            missing = self._lacks_role(identity, role)
            if missing:
                raise PrincipalError(f"The identity is not an admin under this MSP [{self.msp_id}]: {missing}")
            return
        missing = self._lacks_role(identity, role)
        if missing:
            name = _ROLES.MSPRoleType.Name(role) if role in _ROLES.MSPRoleType.values() else str(role)
            raise PrincipalError(f"The identity is not a [{name}] under this MSP [{self.msp_id}]: {missing}")

    def _lacks_role(self, identity: Identity, role: int) -> str:
        name = _ROLES.MSPRoleType.Name(_ROLES.MSPRoleType.ValueType(role))
        if not self._node_ous:
            return f"NodeOUs not activated. Cannot tell apart identities, MSP: [{self.msp_id}]"
        if role not in self._node_ous:
            return f"cannot test for classification, node ou for type [{name}], not defined, msp: [{self.msp_id}]"
        if role in self._standing(identity).roles:
            return ""
        return f"The identity does not contain OU [{name}], MSP: [{self.msp_id}]"

    def _satisfies_identity(self, identity: Identity, serialized: bytes) -> None:
        wanted = identities_pb2.SerializedIdentity.FromString(serialized)
        if wanted.mspid != self.msp_id or _der_of(wanted.id_bytes) != identity.certificate.public_bytes(Encoding.DER):
            raise PrincipalError("The identities do not match")
        self.validate(identity)

    def _satisfies_unit(self, identity: Identity, unit: msp_principal_pb2.OrganizationUnit) -> None:
        if unit.msp_identifier != self.msp_id:
            raise PrincipalError(
                f"the identity is a member of a different MSP (expected {unit.msp_identifier}, got {self.msp_id})"
            )
        certifier = self._standing(identity).certifier
        if unit.organizational_unit_identifier in identity.organizational_units and unit.certifiers_identifier in (
            b"",
            certifier,
        ):
            return
        raise PrincipalError("The identities do not match")


class MspManager:
    """All organisations of one channel configuration: finds the Msp of an identity, and remembers identities."""

    def __init__(self, msps: Iterable[Msp]) -> None:
        self.msps: Mapping[str, Msp] = {msp.msp_id: msp for msp in msps}
        self._identities: OrderedDict[bytes, Identity] = OrderedDict()

    def deserialize(self, serialized: bytes) -> Identity:
        """The identity in a serialised msp.SerializedIdentity, not yet validated; raises IdentityError."""
        known = self._identities.get(serialized)
        if known is not None:
            self._identities.move_to_end(serialized)
            return known
        try:
            message = identities_pb2.SerializedIdentity.FromString(serialized)
        except DecodeError as error:
            raise IdentityError(f"could not deserialize a SerializedIdentity: {error}") from error
        msp = self.msps.get(message.mspid)
        if msp is None:
            raise IdentityError(f"MSP {message.mspid} is unknown")
        identity = msp.identity(message.id_bytes)
        self._identities[serialized] = identity
        if len(self._identities) > _IDENTITY_CACHE:
            self._identities.popitem(last=False)
        return identity

    def validated(self, serialized: bytes) -> Identity:
        """As `deserialize`, and validated by its organisation; raises IdentityError."""
        identity = self.deserialize(serialized)
        self.msps[identity.msp_id].validate(identity)
        return identity

    def satisfies(self, identity: Identity, principal: msp_principal_pb2.MSPPrincipal) -> bool:
        """Whether the identity satisfies the principal, as a plain answer."""
        try:
            self.msps[identity.msp_id].satisfies(identity, principal)
        except (PrincipalError, IdentityError):
            return False
        return True


def _der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    except UNREADABLE as error:
        raise IdentityError(f"the certificate's extensions cannot be read: {error}") from error


def _issued(issuer: x509.Certificate, certificate: x509.Certificate, at: datetime) -> bool:
    if not issuer.not_valid_before_utc <= at <= issuer.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (TypeError, InvalidSignature, *UNREADABLE):
        return False
    return True


def _chain_identifier(chain: Iterable[x509.Certificate]) -> bytes:
    digest = hashlib.sha256()
    for certificate in chain:
        digest.update(certificate.public_bytes(Encoding.DER))
    return digest.digest()


def _listed(identity: Identity) -> str:
    return f"[{' '.join(identity.organizational_units)}]"
