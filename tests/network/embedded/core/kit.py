"""A small consortium with real certificates that endorses, signs and orders without gRPC."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import (
    chaincode_pb2,
    collection_pb2,
    policy_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)

from goldengrain.network.embedded import lifecycle_state
from goldengrain.network.embedded.blocks import BlockSigner, make_block, sign_block, sign_low_s
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.lifecycle_state import LIFECYCLE, Definition
from goldengrain.network.embedded.simulator import TxSimulator
from goldengrain.network.genesis import genesis_block
from goldengrain.network.home import Home
from goldengrain.network.msp_folders import read_only_file
from goldengrain.network.signature_policy import parse_signature_policy
from goldengrain.network.topology import Topology

CHAINCODE = "basic"
Work = Callable[[TxSimulator], object]


@dataclass(frozen=True)
class Signer:
    identity: bytes
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, msp_id: str, msp_folder: Path) -> Signer:
        key = load_pem_private_key(read_only_file(msp_folder / "keystore"), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        certificate = read_only_file(msp_folder / "signcerts")
        return cls(identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=certificate).SerializeToString(), key)

    def sign(self, data: bytes) -> bytes:
        return sign_low_s(self.key, data)


@dataclass(frozen=True)
class Prepared:
    """A transaction on its way: its id, the envelope's payload and who is to sign it."""

    tx_id: str
    payload: common_pb2.Payload
    creator: Signer

    def envelope(self) -> bytes:
        raw = self.payload.SerializeToString()
        return common_pb2.Envelope(payload=raw, signature=self.creator.sign(raw)).SerializeToString()


class Consortium:
    """Signers of every organisation, and the genesis block."""

    def __init__(self, home: Home, topology: Topology) -> None:
        self.home = home
        self.topology = topology

    @cached_property
    def genesis(self) -> common_pb2.Block:
        return genesis_block(self.home, self.topology)

    @cached_property
    def msp_ids(self) -> list[str]:
        return [organization.msp_id for organization in self.topology.organizations]

    def user(self, number: int, name: str = "User1") -> Signer:
        organization = self.topology.organizations[number - 1]
        return Signer.load(organization.msp_id, self.home.user(organization, name) / "msp")

    def peer(self, number: int) -> Signer:
        organization = self.topology.organizations[number - 1]
        return Signer.load(organization.msp_id, self.home.peer(organization, organization.peers[0]) / "msp")

    @cached_property
    def peers(self) -> list[Signer]:
        return [self.peer(number) for number in range(1, len(self.topology.organizations) + 1)]

    @cached_property
    def orderer(self) -> Signer:
        organization = self.topology.orderer
        return Signer.load(organization.msp_id, self.home.orderer(organization, organization.orderers[0]) / "msp")

    @cached_property
    def orderer_admin(self) -> Signer:
        organization = self.topology.orderer
        return Signer.load(organization.msp_id, self.home.user(organization, "Admin") / "msp")

    def block_signer(self) -> BlockSigner:
        return BlockSigner(self.orderer.identity, self.orderer.sign)

    # -- transactions

    async def prepare(
        self,
        channel: Channel,
        work: Work,
        *,
        creator: Signer | None = None,
        endorsers: Sequence[Signer] | None = None,
        chaincode: str = CHAINCODE,
        msp_id: str = "Org1MSP",
    ) -> Prepared:
        """Simulate, endorse with two organisations' peers unless told otherwise, and assemble."""
        creator = creator or self.user(1)
        header, tx_id = _header(channel.channel_id, chaincode, creator)
        simulator = channel.simulator(tx_id, msp_id)
        try:
            work(simulator)
            results = simulator.results()
        finally:
            simulator.done()
        if results.private is not None:
            await channel.stage_private(tx_id, results.private)
        version = "syscc" if chaincode == LIFECYCLE else "1"
        payload = assemble(header, chaincode, version, results.public, endorsers or self.peers[:2])
        return Prepared(tx_id, payload, creator)

    async def commit(self, channel: Channel, *transactions: Prepared | bytes) -> list[str]:
        """Put transactions into one block and commit it; returns the names of their validation codes."""
        envelopes = [t if isinstance(t, bytes) else t.envelope() for t in transactions]
        block = self.next_block(channel, envelopes)
        committed = await channel.commit(block)
        return [transaction_pb2.TxValidationCode.Name(t.code) for t in committed.transactions]

    def next_block(self, channel: Channel, envelopes: Sequence[bytes]) -> common_pb2.Block:
        block = make_block(channel.height, channel.ledger.chain.last_hash, envelopes)
        sign_block(block, self.block_signer(), channel.config.block_number)
        return block

    async def submit(self, channel: Channel, work: Work, **options: object) -> str:
        """Prepare one transaction and commit it in a block of its own."""
        return (await self.commit(channel, await self.prepare(channel, work, **options)))[0]  # type: ignore[arg-type]

    async def define(
        self,
        channel: Channel,
        name: str = CHAINCODE,
        policy: str = "",
        collections: Iterable[collection_pb2.StaticCollectionConfig] = (),
        sequence: int = 1,
    ) -> None:
        """Commit a chaincode definition, endorsed by all."""
        parameter = b""
        if policy:
            parsed = parse_signature_policy(policy)
            parameter = policy_pb2.ApplicationPolicy(signature_policy=parsed).SerializeToString()
        package = collection_pb2.CollectionConfigPackage(
            config=[collection_pb2.CollectionConfig(static_collection_config=c) for c in collections]
        )
        definition = Definition(sequence, "1", validation_parameter=parameter, collections=package).with_defaults()

        def work(simulator: TxSimulator) -> None:
            lifecycle_state.write_definition(_LifecycleState(simulator), name, definition)

        code = await self.submit(
            channel, work, creator=self.user(1, "Admin"), endorsers=self.peers, chaincode=LIFECYCLE
        )
        assert code == "VALID"


class _LifecycleState:
    def __init__(self, simulator: TxSimulator) -> None:
        self._simulator = simulator

    def get(self, key: str) -> bytes | None:
        return self._simulator.get_state(LIFECYCLE, key)

    def put(self, key: str, value: bytes) -> None:
        self._simulator.put_state(LIFECYCLE, key, value)

    def delete(self, key: str) -> None:
        self._simulator.delete_state(LIFECYCLE, key)


def collection(
    name: str, members: str, *, block_to_live: int = 0, policy: str = ""
) -> collection_pb2.StaticCollectionConfig:
    config = collection_pb2.StaticCollectionConfig(
        name=name,
        member_orgs_policy=collection_pb2.CollectionPolicyConfig(signature_policy=parse_signature_policy(members)),
        block_to_live=block_to_live,
    )
    if policy:
        config.endorsement_policy.signature_policy.CopyFrom(parse_signature_policy(policy))
    return config


def put(key: str, value: str) -> Work:
    return lambda simulator: simulator.put_state(CHAINCODE, key, value.encode())


def increment(key: str) -> Work:
    def work(simulator: TxSimulator) -> None:
        value = int(simulator.get_state(CHAINCODE, key) or b"0")
        simulator.put_state(CHAINCODE, key, str(value + 1).encode())

    return work


def _header(channel_id: str, chaincode: str, creator: Signer) -> tuple[common_pb2.Header, str]:
    nonce = os.urandom(24)
    tx_id = hashlib.sha256(nonce + creator.identity).hexdigest()
    extension = proposal_pb2.ChaincodeHeaderExtension(chaincode_id=chaincode_pb2.ChaincodeID(name=chaincode))
    channel_header = common_pb2.ChannelHeader(
        type=common_pb2.ENDORSER_TRANSACTION,
        channel_id=channel_id,
        tx_id=tx_id,
        extension=extension.SerializeToString(),
    )
    signature_header = common_pb2.SignatureHeader(creator=creator.identity, nonce=nonce)
    return (
        common_pb2.Header(
            channel_header=channel_header.SerializeToString(), signature_header=signature_header.SerializeToString()
        ),
        tx_id,
    )


def assemble(
    header: common_pb2.Header, chaincode: str, version: str, results: bytes, endorsers: Sequence[Signer]
) -> common_pb2.Payload:
    """The payload of an endorser transaction, as a gateway assembles it."""
    proposal = proposal_pb2.ChaincodeProposalPayload(input=b"input").SerializeToString()
    digest = hashlib.sha256(header.channel_header + header.signature_header + proposal).digest()
    action = proposal_pb2.ChaincodeAction(
        results=results,
        response=proposal_response_pb2.Response(status=200),
        chaincode_id=chaincode_pb2.ChaincodeID(name=chaincode, version=version),
    )
    response = proposal_response_pb2.ProposalResponsePayload(
        proposal_hash=digest, extension=action.SerializeToString()
    ).SerializeToString()
    endorsed = transaction_pb2.ChaincodeEndorsedAction(
        proposal_response_payload=response,
        endorsements=[
            proposal_response_pb2.Endorsement(endorser=e.identity, signature=e.sign(response + e.identity))
            for e in endorsers
        ],
    )
    content = transaction_pb2.ChaincodeActionPayload(chaincode_proposal_payload=proposal, action=endorsed)
    transaction = transaction_pb2.Transaction(
        actions=[transaction_pb2.TransactionAction(header=header.signature_header, payload=content.SerializeToString())]
    )
    return common_pb2.Payload(header=header, data=transaction.SerializeToString())


def signed_update(channel_id: str, update: configtx_pb2.ConfigUpdate, *signers: Signer) -> bytes:
    raw = update.SerializeToString()
    envelope = configtx_pb2.ConfigUpdateEnvelope(config_update=raw)
    for signer in signers:
        header = common_pb2.SignatureHeader(creator=signer.identity, nonce=b"nonce").SerializeToString()
        envelope.signatures.add(signature_header=header, signature=signer.sign(header + raw))
    header = common_pb2.ChannelHeader(type=common_pb2.CONFIG_UPDATE, channel_id=channel_id)
    payload = common_pb2.Payload(
        header=common_pb2.Header(
            channel_header=header.SerializeToString(),
            signature_header=common_pb2.SignatureHeader(
                creator=signers[-1].identity, nonce=b"nonce"
            ).SerializeToString(),
        ),
        data=envelope.SerializeToString(),
    ).SerializeToString()
    return common_pb2.Envelope(payload=payload, signature=signers[-1].sign(payload)).SerializeToString()


def leave_update(channel: Channel, msp_id: str, *admins: Signer) -> bytes:
    """A configuration update by which an organisation leaves the channel."""
    group = channel.config.config.channel_group.groups["Application"]
    update = configtx_pb2.ConfigUpdate(channel_id=channel.channel_id)
    for name, child in group.groups.items():
        update.read_set.groups["Application"].groups[name].version = child.version
    for name, value in group.values.items():
        update.read_set.groups["Application"].values[name].version = value.version
    for name, policy in group.policies.items():
        update.read_set.groups["Application"].policies[name].version = policy.version
    update.write_set.CopyFrom(update.read_set)
    del update.write_set.groups["Application"].groups[msp_id]
    update.write_set.groups["Application"].version = group.version + 1
    update.write_set.groups["Application"].mod_policy = "Admins"
    return signed_update(channel.channel_id, update, *admins)
