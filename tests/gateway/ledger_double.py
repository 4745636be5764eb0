"""A ledger for tests: endorses a key-value contract, validates (versions, duplicates), chains and signs blocks.

It follows Fabric's formats to the byte, so that the client's own checks run against it as against a real network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import configuration_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)

from goldengrain.gateway.blocks import header_bytes, header_hash, transactions
from goldengrain.gateway.identity import Credentials
from tests.gateway.certificates import Ca

CHANNEL = "market"
CHAINCODE = "keys"


class RefusedError(Exception):
    """The contract answered with an error status."""


@dataclass
class Organization:
    msp_id: str
    ca: Ca
    user: Credentials
    node: Credentials


def organization(msp_id: str, role: str) -> Organization:
    ca = Ca(msp_id)
    return Organization(msp_id, ca, ca.credentials(msp_id, "User1", "client"), ca.credentials(msp_id, f"{role}0", role))


def sign(who: Credentials, message: bytes) -> bytes:
    return who.signer.sign(sha256(message).digest())


@dataclass
class LedgerDouble:
    members: list[Organization] = field(
        default_factory=lambda: [organization("Org1MSP", "peer"), organization("Org2MSP", "peer")]
    )
    orderer: Organization = field(default_factory=lambda: organization("OrdererMSP", "orderer"))
    state: dict[str, tuple[bytes, tuple[int, int]]] = field(default_factory=dict)
    blocks: list[common_pb2.Block] = field(default_factory=list)
    committed: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._append([self._genesis()], signed=False)

    def simulate(
        self, spec: chaincode_pb2.ChaincodeSpec, asked: common_pb2.ChannelHeader, creator: bytes
    ) -> proposal_pb2.ChaincodeAction:
        """Run one function of the key-value contract."""
        function, *arguments = spec.input.args
        reads, writes, events, payload = [], [], b"", b""
        if function in {b"get", b"append"}:
            key = arguments[0].decode()
            value, version = self.state.get(key, (b"", None))
            at = kv_rwset_pb2.Version(block_num=version[0], tx_num=version[1]) if version else None
            reads.append(kv_rwset_pb2.KVRead(key=key, version=at))
            payload = value
        if function == b"append":
            payload += arguments[1]
            writes.append(kv_rwset_pb2.KVWrite(key=arguments[0].decode(), value=payload))
        if function == b"put":
            writes.append(kv_rwset_pb2.KVWrite(key=arguments[0].decode(), value=arguments[1]))
        if function == b"announce":
            events = chaincode_event_pb2.ChaincodeEvent(
                chaincode_id=CHAINCODE, tx_id=asked.tx_id, event_name=arguments[0].decode(), payload=arguments[1]
            ).SerializeToString()
        if function == b"refuse":
            raise RefusedError(f"chaincode response {arguments[0].decode()}, {arguments[1].decode()}")
        public = kv_rwset_pb2.KVRWSet(reads=reads, writes=writes).SerializeToString()
        sets = rwset_pb2.TxReadWriteSet(ns_rwset=[rwset_pb2.NsReadWriteSet(namespace=CHAINCODE, rwset=public)])
        return proposal_pb2.ChaincodeAction(
            results=sets.SerializeToString(),
            events=events,
            response=proposal_response_pb2.Response(status=200, payload=payload),
            chaincode_id=spec.chaincode_id,
        )

    def run(self, signed: proposal_pb2.SignedProposal) -> proposal_pb2.ChaincodeAction:
        proposal = proposal_pb2.Proposal.FromString(signed.proposal_bytes)
        header = common_pb2.Header.FromString(proposal.header)
        channel_header = common_pb2.ChannelHeader.FromString(header.channel_header)
        asked = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
        spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(asked.input).chaincode_spec
        creator = common_pb2.SignatureHeader.FromString(header.signature_header).creator
        return self.simulate(spec, channel_header, creator)

    def endorse(self, signed: proposal_pb2.SignedProposal, msp_ids: list[str]) -> common_pb2.Envelope:
        proposal = proposal_pb2.Proposal.FromString(signed.proposal_bytes)
        header = common_pb2.Header.FromString(proposal.header)
        asked = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
        stripped = proposal_pb2.ChaincodeProposalPayload(input=asked.input).SerializeToString()
        response_payload = proposal_response_pb2.ProposalResponsePayload(
            proposal_hash=sha256(header.channel_header + header.signature_header + stripped).digest(),
            extension=self.run(signed).SerializeToString(),
        ).SerializeToString()
        endorsements = []
        for member in self.members:
            if member.msp_id in msp_ids or not msp_ids:
                creator = member.node.identity.serialized
                signature = sign(member.node, response_payload + creator)
                endorsements.append(proposal_response_pb2.Endorsement(endorser=creator, signature=signature))
        action = transaction_pb2.ChaincodeActionPayload(
            chaincode_proposal_payload=stripped,
            action=transaction_pb2.ChaincodeEndorsedAction(
                proposal_response_payload=response_payload, endorsements=endorsements
            ),
        )
        one = transaction_pb2.TransactionAction(header=header.signature_header, payload=action.SerializeToString())
        data = transaction_pb2.Transaction(actions=[one]).SerializeToString()
        return common_pb2.Envelope(payload=common_pb2.Payload(header=header, data=data).SerializeToString())

    def order(self, *envelopes: common_pb2.Envelope) -> common_pb2.Block:
        """Cut one block of these and commit it."""
        return self._append([one.SerializeToString() for one in envelopes])

    def _append(self, data: list[bytes], signed: bool = True) -> common_pb2.Block:
        previous = header_hash(self.blocks[-1].header) if self.blocks else b""
        block = common_pb2.Block(
            header=common_pb2.BlockHeader(
                number=len(self.blocks), previous_hash=previous, data_hash=sha256(b"".join(data)).digest()
            ),
            data=common_pb2.BlockData(data=data),
            metadata=common_pb2.BlockMetadata(metadata=[b"", b"", bytes(len(data)), b"", b""]),
        )
        if signed:
            block.metadata.metadata[common_pb2.SIGNATURES] = self._block_signature(block)
        block.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] = self._validate(block)
        self.blocks.append(block)
        return block

    def _block_signature(self, block: common_pb2.Block) -> bytes:
        creator = common_pb2.SignatureHeader(creator=self.orderer.node.identity.serialized, nonce=b"n" * 24)
        header = creator.SerializeToString()
        signature = sign(self.orderer.node, header + header_bytes(block.header))
        one = common_pb2.MetadataSignature(signature_header=header, signature=signature)
        return common_pb2.Metadata(signatures=[one]).SerializeToString()

    def _validate(self, block: common_pb2.Block) -> bytes:
        codes = bytearray()
        for one in transactions(block):
            code: int = transaction_pb2.VALID
            if one.call is not None:
                stale = any(read.version != self.state.get(read.key, (b"", None))[1] for read in one.call.reads)
                code = transaction_pb2.MVCC_READ_CONFLICT if stale else code
                if one.transaction_id in self.committed:
                    code = transaction_pb2.DUPLICATE_TXID
                self.committed.setdefault(one.transaction_id, (int(code), block.header.number))
                for write in one.call.writes if code == transaction_pb2.VALID else ():
                    if write.value is None:
                        self.state.pop(write.key, None)
                    else:
                        self.state[write.key] = (write.value, (block.header.number, one.index))
            codes.append(code)
        return bytes(codes)

    def _genesis(self) -> bytes:
        group = configtx_pb2.ConfigGroup()
        for section, listed in (("Application", self.members), ("Orderer", [self.orderer])):
            for one in listed:
                config = msp_config_pb2.FabricMSPConfig(name=one.msp_id, root_certs=[one.ca.pem])
                config.fabric_node_ous.enable = True
                for role in ("client", "peer", "admin", "orderer"):
                    getattr(config.fabric_node_ous, f"{role}_ou_identifier").organizational_unit_identifier = role
                raw = msp_config_pb2.MSPConfig(config=config.SerializeToString()).SerializeToString()
                group.groups[section].groups[one.msp_id].values["MSP"].value = raw
        consensus = configuration_pb2.ConsensusType(type="etcdraft").SerializeToString()
        group.groups["Orderer"].values["ConsensusType"].value = consensus
        config_envelope = configtx_pb2.ConfigEnvelope(config=configtx_pb2.Config(channel_group=group))
        channel_header = common_pb2.ChannelHeader(type=common_pb2.CONFIG, channel_id=CHANNEL)
        header = common_pb2.Header(channel_header=channel_header.SerializeToString())
        payload = common_pb2.Payload(header=header, data=config_envelope.SerializeToString())
        return common_pb2.Envelope(payload=payload.SerializeToString()).SerializeToString()
