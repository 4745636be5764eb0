"""A small consortium in memory: P-256 authorities, peers, and job tickets as Gateway's Endorse would return them.

`Forge.ticket` makes a good ticket; a test changes exactly one part of it, before or after it is signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID
from fabric_protos.common import common_pb2 as common
from fabric_protos.ledger.rwset import rwset_pb2 as rwset
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2 as kvrwset
from fabric_protos.msp import identities_pb2 as identities
from fabric_protos.peer import chaincode_pb2 as chaincode
from fabric_protos.peer import proposal_pb2 as proposal
from fabric_protos.peer import proposal_response_pb2 as proposal_response
from fabric_protos.peer import transaction_pb2 as transaction

from goldengrain.chaincode.protocol.policy import BundleOrganization, TrustBundle
from goldengrain.chaincode.protocol.queries import JobTicket
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave.msp import P256_ORDER

NOW = 1_900_000_000
CHANNEL, CONTRACT = "market", "golden-grain"
MSPS = ("Org1MSP", "Org2MSP", "Org3MSP")


@dataclass
class Member:
    """A key, its certificate, and whose it is."""

    msp_id: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def serialized(self) -> bytes:
        return identities.SerializedIdentity(mspid=self.msp_id, id_bytes=self.pem).SerializeToString()

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return encode_dss_signature(r, min(s, P256_ORDER - s) if s < P256_ORDER else s)


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def issue(
    name: str,
    msp_id: str,
    issuer: Member | None,
    *,
    units: tuple[str, ...] = (),
    authority: bool = False,
    curve: ec.EllipticCurve | None = None,
    start: int = NOW - 86_400,
    end: int = NOW + 365 * 86_400,
) -> Member:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), *attributes])
    signer = key if issuer is None else issuer.key
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(start))
        .not_valid_after(moment(end))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return Member(msp_id, key, certificate)


def revocation_list(issuer: Member, *serials: int) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(moment(NOW - 60))
        .next_update(moment(NOW + 86_400))
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(NOW - 60)).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@dataclass
class Consortium:
    """Three organisations, each with a root and a peer; Org3's peer is issued by an intermediate authority."""

    roots: dict[str, Member] = field(default_factory=dict)
    intermediate: Member = field(init=False)
    peers: dict[str, Member] = field(default_factory=dict)
    client: Member = field(init=False)

    def __post_init__(self) -> None:
        for msp_id in MSPS:
            self.roots[msp_id] = issue(f"ca.{msp_id}", msp_id, None, authority=True)
        self.intermediate = issue("ica.Org3MSP", "Org3MSP", self.roots["Org3MSP"], authority=True)
        for msp_id in MSPS:
            issuer = self.intermediate if msp_id == "Org3MSP" else self.roots[msp_id]
            self.peers[msp_id] = issue(f"peer0.{msp_id}", msp_id, issuer, units=("peer",))
        self.client = issue("User1", "Org1MSP", self.roots["Org1MSP"], units=("client",))

    def bundle(self, *, required: int = 2, window: int = 120, revoked: bytes | None = None) -> TrustBundle:
        organizations = tuple(
            BundleOrganization(
                msp_id,
                roots=(self.roots[msp_id].der,),
                intermediates=(self.intermediate.der,) if msp_id == "Org3MSP" else (),
                revocation_lists=(revoked,) if revoked and msp_id == "Org1MSP" else (),
            )
            for msp_id in MSPS
        )
        return TrustBundle(CHANNEL, CONTRACT, required, window, organizations)


@dataclass
class Parts:
    """Everything of a ticket that a defect may change before hashes and signatures are made."""

    header: common.ChannelHeader
    extension: proposal.ChaincodeHeaderExtension
    invocation: chaincode.ChaincodeInvocationSpec
    proposal_payload: proposal.ChaincodeProposalPayload
    action: proposal.ChaincodeAction
    sets: list[tuple[rwset.NsReadWriteSet, kvrwset.KVRWSet]]
    endorsers: list[Member]
    extra_actions: int = 0
    proposal_hash: bytes | None = None


@dataclass
class Signed:
    """What a defect may change after it is signed."""

    payload: common.Payload
    action_payload: transaction.ChaincodeActionPayload
    extra_actions: int

    def to_bytes(self) -> bytes:
        tx = transaction.Transaction()
        for _ in range(1 + self.extra_actions):
            tx.actions.add(header=b"", payload=self.action_payload.SerializeToString())
        self.payload.data = tx.SerializeToString()
        return common.Envelope(payload=self.payload.SerializeToString(), signature=b"").SerializeToString()


Change = Callable[[Parts], object]
LateChange = Callable[[Signed], object]


@dataclass
class Forge:
    """Makes tickets of a consortium."""

    consortium: Consortium
    at: int = NOW

    def parts(self, payload: JobTicketPayload, nonce: bytes) -> Parts:
        request = JobTicket(payload.ticket.offer, payload.ticket.claim, payload.ticket.enclave, nonce)
        header = common.ChannelHeader(type=common.ENDORSER_TRANSACTION, channel_id=CHANNEL, tx_id="00" * 32)
        header.timestamp.seconds = self.at
        invocation = chaincode.ChaincodeInvocationSpec()
        invocation.chaincode_spec.type = chaincode.ChaincodeSpec.GOLANG
        invocation.chaincode_spec.chaincode_id.name = CONTRACT
        invocation.chaincode_spec.input.args.extend(request.to_args())
        action = proposal.ChaincodeAction()
        action.response.status = 200
        action.response.payload = payload.to_bytes()
        action.chaincode_id.name = CONTRACT
        action.chaincode_id.version = "1"
        own = kvrwset.KVRWSet()
        own.reads.add(key="offer", version=kvrwset.Version(block_num=3, tx_num=0))
        lifecycle = kvrwset.KVRWSet()
        lifecycle.reads.add(key=f"namespaces/fields/{CONTRACT}/Sequence")
        return Parts(
            header=header,
            extension=proposal.ChaincodeHeaderExtension(chaincode_id=chaincode.ChaincodeID(name=CONTRACT)),
            invocation=invocation,
            proposal_payload=proposal.ChaincodeProposalPayload(),
            action=action,
            sets=[
                (rwset.NsReadWriteSet(namespace="_lifecycle"), lifecycle),
                (rwset.NsReadWriteSet(namespace=CONTRACT), own),
            ],
            endorsers=[self.consortium.peers["Org1MSP"], self.consortium.peers["Org3MSP"]],
        )

    def ticket(
        self,
        payload: JobTicketPayload,
        nonce: bytes,
        change: Change | None = None,
        late: LateChange | None = None,
    ) -> bytes:
        parts = self.parts(payload, nonce)
        if change is not None:
            change(parts)
        signed = self.sign(parts)
        if late is not None:
            late(signed)
        return signed.to_bytes()

    def sign(self, parts: Parts) -> Signed:
        parts.header.extension = parts.extension.SerializeToString()
        parts.proposal_payload.input = parts.invocation.SerializeToString()
        creator = self.consortium.client.serialized
        header = common.Header(
            channel_header=parts.header.SerializeToString(),
            signature_header=common.SignatureHeader(creator=creator, nonce=bytes(24)).SerializeToString(),
        )
        proposal_payload = parts.proposal_payload.SerializeToString()
        proposal_bytes = header.channel_header + header.signature_header + proposal_payload
        sets = rwset.TxReadWriteSet(data_model=rwset.TxReadWriteSet.KV)
        for namespace, keys in parts.sets:
            namespace.rwset = keys.SerializeToString()
            sets.ns_rwset.append(namespace)
        parts.action.results = sets.SerializeToString()
        response = proposal_response.ProposalResponsePayload(
            proposal_hash=parts.proposal_hash or hashlib.sha256(proposal_bytes).digest(),
            extension=parts.action.SerializeToString(),
        ).SerializeToString()
        payload = transaction.ChaincodeActionPayload(chaincode_proposal_payload=proposal_payload)
        payload.action.proposal_response_payload = response
        for member in parts.endorsers:
            endorser = member.serialized
            payload.action.endorsements.add(endorser=endorser, signature=member.sign(response + endorser))
        return Signed(common.Payload(header=header), payload, parts.extra_actions)
