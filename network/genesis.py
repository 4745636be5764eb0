"""The genesis block of a channel: what `configtxgen` makes, straight on the protobuf messages.

The configuration is that of Fabric 3 with the capabilities V3_0 (channel), V2_0 (orderer) and V2_5 (application). Peers
of Fabric 2.5 read the last two alike, but not a channel capability newer than they are: `channel_capability` lowers it.

    Channel                         Readers ANY, Writers ANY, Admins MAJORITY
    ├── Orderer                     the same, BlockValidation ANY Writers; etcdraft, or BFT, whose blocks a quorum of
    │   │                           consenters has to sign
    │   └── OrdererOrg              MSP, Endpoints, Readers and Writers member, Admins admin
    └── Application                 the same, Endorsement and LifecycleEndorsement MAJORITY Endorsement
        └── Org1MSP …               MSP, AnchorPeers, Readers, Writers, Admins, Endorsement

Source of names and structure: fabric-protos common/configtx.proto and common/configuration.proto.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2, policies_pb2
from fabric_protos.msp import identities_pb2, msp_config_pb2, msp_principal_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as raft_pb2
from fabric_protos.orderer.smartbft import configuration_pb2 as smartbft_pb2
from fabric_protos.peer import configuration_pb2 as peer_pb2
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from .errors import NetworkIncomplete
from .home import Home, write_atomically
from .msp_folders import read_all, read_only_file
from .signature_policy import any_of, parse_signature_policy
from .topology import BatchSettings, Channel, Orderer, OrdererOrganization, Organization, Peer, Topology

_ADMINS = "Admins"
_META = policies_pb2.ImplicitMetaPolicy
_COMMON_RULES = {
    "Readers": (_META.ANY, "Readers"),
    "Writers": (_META.ANY, "Writers"),
    "Admins": (_META.MAJORITY, "Admins"),
}
_RAFT_OPTIONS = raft_pb2.Options(
    tick_interval="100ms",
    election_tick=10,
    heartbeat_tick=1,
    max_inflight_blocks=5,
    snapshot_interval_size=16 * 1024 * 1024,
)


_BFT_OPTIONS = smartbft_pb2.Options(
    request_batch_max_interval="200ms",
    request_forward_timeout="5s",
    request_complain_timeout="20s",
    request_auto_remove_timeout="3m0s",
    view_change_resend_interval="5s",
    view_change_timeout="20s",
    leader_heartbeat_timeout="1m0s",
    collect_timeout="1s",
    incoming_message_buffer_size=200,
    request_pool_size=100_000,
    leader_heartbeat_count=10,
)


def genesis_block(
    home: Home, topology: Topology, *, channel: Channel | None = None, channel_capability: str | None = None
) -> common_pb2.Block:
    """Make block 0 of a channel.

    Args:
        home: where the organisations' certificates are.
        topology: with its ports assigned.
        channel: which channel; default: the topology's first.
        channel_capability: instead of the channel's own: `V2_0` where peers or orderers of Fabric 2.5 take part.

    Raises:
        NetworkIncomplete: if a certificate is missing.
        PolicyInvalid: if a policy of the channel does not parse.

    """
    channel = channel or topology.channel
    if channel_capability is not None:
        channel = replace(channel, capabilities=replace(channel.capabilities, channel=channel_capability))
    try:
        group = _channel_group(home, topology, channel)
    except OSError as error:
        raise NetworkIncomplete(f"a certificate cannot be read for the genesis block: {error}") from error
    return _block_zero(channel.name, configtx_pb2.Config(sequence=0, channel_group=group))


def write_genesis(
    home: Home, topology: Topology, *, channel: Channel | None = None, channel_capability: str | None = None
) -> Path:
    """Make a channel's genesis block and store it in the network's folder.

    Raises:
        NetworkIncomplete, PolicyInvalid: see `genesis_block`.

    """
    path = home.genesis_file((channel or topology.channel).name)
    block = genesis_block(home, topology, channel=channel, channel_capability=channel_capability)
    write_atomically(path, block.SerializeToString(deterministic=True))
    return path


def genesis_capability(home: Home, channel: str) -> str:
    """The channel capability that a channel began with, such as `V3_0`; empty where its genesis block has none.

    Raises:
        NetworkIncomplete: if the block is not in the folder, or damaged.

    """
    path = home.genesis_file(channel)
    try:
        envelope = common_pb2.Envelope.FromString(common_pb2.Block.FromString(path.read_bytes()).data.data[0])
        payload = common_pb2.Payload.FromString(envelope.payload)
        group = configtx_pb2.ConfigEnvelope.FromString(payload.data).config.channel_group
        found = configuration_pb2.Capabilities.FromString(group.values["Capabilities"].value).capabilities
    except (OSError, IndexError, DecodeError) as error:
        raise NetworkIncomplete(f"{path} cannot be read: {error}; restore it") from error
    return max(found, default="")


def _block_zero(channel: str, config: configtx_pb2.Config) -> common_pb2.Block:
    nonce = secrets.token_bytes(24)
    header = common_pb2.ChannelHeader(
        type=common_pb2.CONFIG,
        version=1,
        timestamp=Timestamp(seconds=int(time.time())),
        channel_id=channel,
        tx_id=hashlib.sha256(nonce).hexdigest(),
    )
    payload = common_pb2.Payload(
        header=common_pb2.Header(
            channel_header=header.SerializeToString(),
            signature_header=common_pb2.SignatureHeader(nonce=nonce).SerializeToString(),
        ),
        data=_bytes(configtx_pb2.ConfigEnvelope(config=config)),
    )
    envelope = common_pb2.Envelope(payload=payload.SerializeToString()).SerializeToString()
    last_config = common_pb2.OrdererBlockMetadata(last_config=common_pb2.LastConfig(index=0))
    signatures = common_pb2.Metadata(value=last_config.SerializeToString())
    return common_pb2.Block(
        header=common_pb2.BlockHeader(number=0, data_hash=hashlib.sha256(envelope).digest()),
        data=common_pb2.BlockData(data=[envelope]),
        metadata=common_pb2.BlockMetadata(metadata=[signatures.SerializeToString(), b"", b"", b"", b""]),
    )


def _channel_group(home: Home, topology: Topology, channel: Channel) -> configtx_pb2.ConfigGroup:
    values = {
        "HashingAlgorithm": configuration_pb2.HashingAlgorithm(name="SHA256"),
        "BlockDataHashingStructure": configuration_pb2.BlockDataHashingStructure(width=2**32 - 1),
        "Capabilities": capabilities(channel.capabilities.channel),
    }
    groups = {
        "Orderer": _orderer_group(home, topology, channel),
        "Application": _application_group(home, topology, channel),
    }
    return _group(groups, values, _meta_policies({}))


def _orderer_group(home: Home, topology: Topology, channel: Channel) -> configtx_pb2.ConfigGroup:
    values = {
        "BatchSize": batch_size(channel.batch),
        "BatchTimeout": batch_timeout(channel.batch),
        "ChannelRestrictions": orderer_pb2.ChannelRestrictions(),
        "Capabilities": capabilities(channel.capabilities.orderer),
    }
    policies = _meta_policies({"BlockValidation": (_META.ANY, "Writers")})
    if channel.consensus == "smartbft":
        mapping = [bft_consenter(home, *member, number) for number, member in enumerate(topology.orderers(), start=1)]
        values["ConsensusType"] = orderer_pb2.ConsensusType(type="BFT", metadata=_bytes(_BFT_OPTIONS))
        values["Orderers"] = configuration_pb2.Orderers(consenter_mapping=mapping)
        policies["BlockValidation"] = block_validation(mapping)
    else:
        consenters = [raft_consenter(home, *member) for member in topology.orderers()]
        metadata = raft_pb2.ConfigMetadata(consenters=consenters, options=_RAFT_OPTIONS)
        values["ConsensusType"] = orderer_pb2.ConsensusType(type="etcdraft", metadata=_bytes(metadata))
    groups = {one.name: orderer_organization_group(home, one) for one in topology.orderer_organizations}
    return _group(groups, values, policies)


def orderer_organization_group(home: Home, organization: OrdererOrganization) -> configtx_pb2.ConfigGroup:
    """The group of an organisation that runs orderers: MSP, endpoints, policies.

    Raises:
        NetworkIncomplete, OSError: if a certificate is missing.

    """
    member, admin = f"{organization.msp_id}.member", f"{organization.msp_id}.admin"
    addresses = [orderer.address for orderer in organization.orderers]
    return _group(
        {},
        {"MSP": msp_config(home, organization), "Endpoints": configuration_pb2.OrdererAddresses(addresses=addresses)},
        _signature_policies({"Readers": [member], "Writers": [member], "Admins": [admin]}),
    )


def _application_group(home: Home, topology: Topology, channel: Channel) -> configtx_pb2.ConfigGroup:
    majority = (_META.MAJORITY, "Endorsement")
    policies = _meta_policies({"Endorsement": majority, "LifecycleEndorsement": majority})
    return _group(
        {organization.msp_id: member_group(home, organization) for organization in topology.members(channel)},
        {"Capabilities": capabilities(channel.capabilities.application)},
        policies | {name: parse_channel_policy(text) for name, text in channel.policies.items()},
    )


def member_group(home: Home, organization: Organization) -> configtx_pb2.ConfigGroup:
    """The group of a member organisation: MSP, anchor peer (its first), policies.

    Raises:
        NetworkIncomplete, OSError: if a certificate is missing.

    """
    admin, peer, client = (f"{organization.msp_id}.{role}" for role in ("admin", "peer", "client"))
    return _group(
        {},
        {"MSP": msp_config(home, organization), "AnchorPeers": anchor_peers(organization.peers[:1])},
        _signature_policies(
            {
                "Readers": [admin, peer, client],
                "Writers": [admin, client],
                "Admins": [admin],
                "Endorsement": [peer],
            }
        ),
    )


def anchor_peers(peers: Iterable[Peer]) -> peer_pb2.AnchorPeers:
    """The peers at which other organisations' gossip begins."""
    return peer_pb2.AnchorPeers(anchor_peers=[peer_pb2.AnchorPeer(host=one.listen, port=one.port) for one in peers])


def batch_size(batch: BatchSettings) -> orderer_pb2.BatchSize:
    """When a block is full."""
    return orderer_pb2.BatchSize(
        max_message_count=batch.max_messages,
        absolute_max_bytes=batch.absolute_max_bytes,
        preferred_max_bytes=batch.preferred_max_bytes,
    )


def batch_timeout(batch: BatchSettings) -> orderer_pb2.BatchTimeout:
    """How long the first message of a block waits for others."""
    return orderer_pb2.BatchTimeout(timeout=f"{batch.timeout_ms}ms")


def raft_consenter(home: Home, organization: OrdererOrganization, orderer: Orderer) -> raft_pb2.Consenter:
    """An orderer as a member of a Raft cluster. Raises OSError if its certificate is missing."""
    certificate = (home.orderer(organization, orderer) / "tls" / "server.crt").read_bytes()
    return raft_pb2.Consenter(
        host=orderer.listen, port=orderer.port, client_tls_cert=certificate, server_tls_cert=certificate
    )


def bft_consenter(
    home: Home, organization: OrdererOrganization, orderer: Orderer, number: int
) -> configuration_pb2.Consenter:
    """An orderer as a member of a SmartBFT cluster, under a number from 1. Raises as `raft_consenter` does."""
    folder = home.orderer(organization, orderer)
    certificate = (folder / "tls" / "server.crt").read_bytes()
    return configuration_pb2.Consenter(
        id=number,
        host=orderer.listen,
        port=orderer.port,
        msp_id=organization.msp_id,
        identity=read_only_file(folder / "msp" / "signcerts"),
        client_tls_cert=certificate,
        server_tls_cert=certificate,
    )


def block_validation(consenters: Sequence[configuration_pb2.Consenter]) -> policies_pb2.Policy:
    """The policy that a block of a SmartBFT channel meets: signatures of a quorum of exactly these identities."""
    faulty = (len(consenters) - 1) // 3
    quorum = -(-(len(consenters) + faulty + 1) // 2)
    rules = [policies_pb2.SignaturePolicy(signed_by=place) for place in range(len(consenters))]
    envelope = policies_pb2.SignaturePolicyEnvelope(
        rule=policies_pb2.SignaturePolicy(n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=quorum, rules=rules)),
        identities=[
            msp_principal_pb2.MSPPrincipal(
                principal_classification=msp_principal_pb2.MSPPrincipal.IDENTITY,
                principal=_bytes(identities_pb2.SerializedIdentity(mspid=one.msp_id, id_bytes=one.identity)),
            )
            for one in consenters
        ],
    )
    return policies_pb2.Policy(type=policies_pb2.Policy.SIGNATURE, value=_bytes(envelope))


def parse_channel_policy(text: str) -> policies_pb2.Policy:
    """Read `MAJORITY Admins`, `ANY Readers`, `ALL Writers`, or a signature policy.

    Raises:
        PolicyInvalid: if it is neither.

    """
    rule, _, name = text.partition(" ")
    if rule in ("ANY", "ALL", "MAJORITY") and name.isalnum():
        return _meta_policy(_META.Rule.Value(rule), name)
    return policies_pb2.Policy(type=policies_pb2.Policy.SIGNATURE, value=_bytes(parse_signature_policy(text)))


def msp_config(home: Home, organization: Organization | OrdererOrganization) -> msp_config_pb2.MSPConfig:
    """What a channel knows of an organisation, from its `msp` folder: authorities, revocation lists, NodeOUs.

    Raises:
        NetworkIncomplete: if a certificate is missing.

    """
    folder = home.organization(organization) / "msp"
    root = read_only_file(folder / "cacerts")
    units = {
        f"{unit}_ou_identifier": msp_config_pb2.FabricOUIdentifier(
            certificate=root, organizational_unit_identifier=unit
        )
        for unit in ("client", "peer", "admin", "orderer")
    }
    config = msp_config_pb2.FabricMSPConfig(
        name=organization.msp_id,
        root_certs=[root],
        tls_root_certs=[read_only_file(folder / "tlscacerts")],
        revocation_list=read_all(folder / "crls"),
        crypto_config=msp_config_pb2.FabricCryptoConfig(
            signature_hash_family="SHA2", identity_identifier_hash_function="SHA256"
        ),
        fabric_node_ous=msp_config_pb2.FabricNodeOUs(enable=True, **units),
    )
    return msp_config_pb2.MSPConfig(type=0, config=_bytes(config))


def _group(
    groups: Mapping[str, configtx_pb2.ConfigGroup],
    values: Mapping[str, Message],
    policies: Mapping[str, policies_pb2.Policy],
) -> configtx_pb2.ConfigGroup:
    return configtx_pb2.ConfigGroup(
        mod_policy=_ADMINS,
        groups=groups,
        values={
            key: configtx_pb2.ConfigValue(mod_policy=_ADMINS, value=_bytes(value)) for key, value in values.items()
        },
        policies={
            key: configtx_pb2.ConfigPolicy(mod_policy=_ADMINS, policy=policy) for key, policy in policies.items()
        },
    )


def _meta_policies(
    further: Mapping[str, tuple[policies_pb2.ImplicitMetaPolicy.Rule.ValueType, str]],
) -> dict[str, policies_pb2.Policy]:
    return {name: _meta_policy(*rule) for name, rule in {**_COMMON_RULES, **further}.items()}


def _meta_policy(rule: policies_pb2.ImplicitMetaPolicy.Rule.ValueType, sub_policy: str) -> policies_pb2.Policy:
    value = _bytes(_META(rule=rule, sub_policy=sub_policy))
    return policies_pb2.Policy(type=policies_pb2.Policy.IMPLICIT_META, value=value)


def _signature_policies(principals: Mapping[str, list[str]]) -> dict[str, policies_pb2.Policy]:
    return {
        name: policies_pb2.Policy(type=policies_pb2.Policy.SIGNATURE, value=_bytes(any_of(members)))
        for name, members in principals.items()
    }


def capabilities(name: str) -> configuration_pb2.Capabilities:
    """One capability, which stands for all before it."""
    return configuration_pb2.Capabilities(capabilities={name: configuration_pb2.Capability()})


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
