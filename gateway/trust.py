"""Who may sign what on a channel: its organisations' certificate authorities and its consenters, from a config block.

Roles are read from the certificates' organisational units where the MSP has NodeOUs enabled (``peer``, ``orderer``,
``client``, ``admin``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2
from fabric_protos.msp import identities_pb2, msp_config_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from google.protobuf.message import DecodeError

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.gateway.errors import BlockError
from goldengrain.gateway.identity import is_low_s

_MAX_CHAIN = 5


@dataclass(frozen=True)
class Msp:
    """An organisation's MSP: id, CA certificates (roots and intermediates), and the unit's name of each role.

    ``roles`` is empty where the MSP has no NodeOUs; then every certificate may do everything.
    """

    msp_id: str
    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()
    roles: dict[str, str] = field(default_factory=dict)
    revoked: frozenset[int] = frozenset()

    def admits(self, certificate: x509.Certificate, role: str | None) -> str | None:
        """Why a certificate is not one of this MSP in that role (None: any), or None if it is."""
        if certificate.serial_number in self.revoked:
            return "its certificate is revoked"
        if not self._chains(certificate, _MAX_CHAIN):
            return f"its certificate was not issued by a CA of {self.msp_id}"
        if role and self.roles:
            units = {
                str(unit.value) for unit in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
            }
            if self.roles.get(role, role) not in units:
                return f"its certificate is not one of a {role}"
        return None

    def _chains(self, certificate: x509.Certificate, depth: int) -> bool:
        if any(_issued(certificate, root) for root in self.roots):
            return True
        return depth > 0 and any(
            _issued(certificate, one) and self._chains(one, depth - 1)
            for one in self.intermediates
            if one != certificate
        )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (TypeError, InvalidSignature, *UNREADABLE):
        return False
    return True


@dataclass(frozen=True)
class ChannelTrust:
    """What a channel's configuration says about signatures.

    ``organizations`` and ``orderers`` are MSPs by id. ``consenters`` are identities of a SmartBFT channel by number
    (empty on Raft), ``quorum`` how many of them sign a block.
    """

    channel: str
    organizations: dict[str, Msp]
    orderers: dict[str, Msp]
    consenters: dict[int, bytes] = field(default_factory=dict)
    quorum: int = 1

    @classmethod
    def from_config_block(cls, block: common_pb2.Block) -> ChannelTrust:
        """Return the trust that a genesis or other config block states; whether to believe it is the caller's matter.

        Raises BlockError where it holds no configuration.
        """
        try:
            envelope = common_pb2.Envelope.FromString(block.data.data[0])
            payload = common_pb2.Payload.FromString(envelope.payload)
            header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
            if header.type != common_pb2.CONFIG:
                raise BlockError(f"block {block.header.number} is not a config block")
            group = configtx_pb2.ConfigEnvelope.FromString(payload.data).config.channel_group
            return cls._from_group(header.channel_id, group)
        except (DecodeError, IndexError, *UNREADABLE) as error:
            raise BlockError(f"block {block.header.number} holds no configuration: {error}") from error

    @classmethod
    def _from_group(cls, channel: str, group: configtx_pb2.ConfigGroup) -> ChannelTrust:
        orderer = group.groups["Orderer"]
        consensus = orderer_pb2.ConsensusType.FromString(orderer.values["ConsensusType"].value)
        consenters: dict[int, bytes] = {}
        if consensus.type == "BFT":
            listed = configuration_pb2.Orderers.FromString(orderer.values["Orderers"].value)
            for one in listed.consenter_mapping:
                identity = identities_pb2.SerializedIdentity(mspid=one.msp_id, id_bytes=one.identity)
                consenters[one.id] = identity.SerializeToString()
        return cls(
            channel,
            _msps(group.groups["Application"].groups.values()) if "Application" in group.groups else {},
            _msps(orderer.groups.values()),
            consenters,
            _bft_quorum(len(consenters)) if consenters else 1,
        )

    def check(self, identity: bytes, signature: bytes, message: bytes, role: str | None, orderer: bool = False) -> str:
        """Raise BlockError unless ``identity`` (SerializedIdentity) is a member in that role and signed ``message``.

        Returns the MSP id. The signature has to be ECDSA P-256 over SHA-256 with low s.
        """
        try:
            parsed = identities_pb2.SerializedIdentity.FromString(identity)
            certificate = _certificate(parsed.id_bytes)
        except (DecodeError, *UNREADABLE) as error:
            raise BlockError(f"a signer's identity is malformed: {error}") from error
        msp = (self.orderers if orderer else self.organizations | self.orderers).get(parsed.mspid)
        if msp is None:
            raise BlockError(f"{parsed.mspid} is not an organisation of channel {self.channel}")
        if reason := _admitted(msp, certificate, role):
            raise BlockError(f"a signer of {parsed.mspid} is refused: {reason}")
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not is_low_s(signature):
            raise BlockError(f"a signature of {parsed.mspid} is not ECDSA with low s")
        try:
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise BlockError(f"a signature of {parsed.mspid} does not verify") from None
        return parsed.mspid


@lru_cache(maxsize=1024)
def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


_ADMITTED: dict[tuple[int, bytes, str | None], tuple[Msp, str | None]] = {}


def _admitted(msp: Msp, certificate: x509.Certificate, role: str | None) -> str | None:
    """``msp.admits`` with a memory: a chain holds a handful of signers and very many signatures."""
    key = (id(msp), certificate.fingerprint(hashes.SHA256()), role)
    if key not in _ADMITTED:
        if len(_ADMITTED) > 4096:
            _ADMITTED.clear()
        _ADMITTED[key] = (msp, msp.admits(certificate, role))
    return _ADMITTED[key][1]


def _msps(groups: Iterable[configtx_pb2.ConfigGroup]) -> dict[str, Msp]:
    found = {}
    for group in groups:
        raw = msp_config_pb2.MSPConfig.FromString(group.values["MSP"].value)
        msp = msp_from_config(msp_config_pb2.FabricMSPConfig.FromString(raw.config))
        found[msp.msp_id] = msp
    return found


def msp_from_config(config: msp_config_pb2.FabricMSPConfig) -> Msp:
    """Return an MSP from Fabric's message. Raises ValueError where a certificate does not parse."""
    units = config.fabric_node_ous
    roles = {
        name: getattr(units, f"{name}_ou_identifier").organizational_unit_identifier
        for name in ("client", "peer", "admin", "orderer")
    }
    revoked = [entry.serial_number for pem in config.revocation_list for entry in x509.load_pem_x509_crl(pem)]
    return Msp(
        config.name,
        tuple(x509.load_pem_x509_certificate(pem) for pem in config.root_certs),
        tuple(x509.load_pem_x509_certificate(pem) for pem in config.intermediate_certs),
        {name: unit for name, unit in roles.items() if unit} if units.enable else {},
        frozenset(revoked),
    )


def _bft_quorum(consenters: int) -> int:
    """How many of n SmartBFT consenters sign: ceil((n + f + 1) / 2) with f = (n - 1) div 3."""
    faulty = (consenters - 1) // 3
    return (consenters + faulty + 2) // 2
