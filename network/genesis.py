"""The genesis block of a channel: what `configtxgen` makes, straight on the protobuf messages.

The configuration is that of Fabric 3 with the capabilities V3_0 (channel), V2_0 (orderer) and V2_5 (application). Peers
of Fabric 2.5 read the last two alike, but not a channel capability newer than they are: `channel_capability` lowers it.

    Channel                         Readers ANY, Writers ANY, Admins MAJORITY
    ├── Orderer                     the same, BlockValidation ANY Writers; etcdraft
    │   └── OrdererOrg              MSP, Endpoints, Readers and Writers member, Admins admin
    └── Application                 the same, Endorsement and LifecycleEndorsement MAJORITY Endorsement
        └── Org1MSP …               MSP, AnchorPeers, Readers, Writers, Admins, Endorsement

Source of names and structure: fabric-protos common/configtx.proto and common/configuration.proto.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2, policies_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as raft_pb2
from fabric_protos.peer import configuration_pb2 as peer_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from .errors import NetworkIncomplete
from .home import Home, write_atomically
from .msp_folders import read_only_file
from .signature_policy import any_of
from .topology import LOOPBACK, OrdererOrganization, Organization, Topology

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


def genesis_block(home: Home, topology: Topology, *, channel_capability: str = "V3_0") -> common_pb2.Block:
    """Make block 0 of the topology's channel.

    Args:
        home: where the organisations' certificates are.
        topology: with its ports assigned.
        channel_capability: `V3_0`, or `V2_0` where peers or orderers of Fabric 2.5 take part.

    Raises:
        NetworkIncomplete: if a certificate is missing.

    """
    try:
        group = _channel_group(home, topology, channel_capability)
    except OSError as error:
        raise NetworkIncomplete(f"a certificate cannot be read for the genesis block: {error}") from error
    return _block_zero(topology.channel.name, configtx_pb2.Config(sequence=0, channel_group=group))


def write_genesis(home: Home, topology: Topology, *, channel_capability: str = "V3_0") -> Path:
    """Make the genesis block and store it in the network's folder.

    Raises:
        NetworkIncomplete: if a certificate is missing.

    """
    path = home.genesis_file(topology.channel.name)
    block = genesis_block(home, topology, channel_capability=channel_capability)
    write_atomically(path, block.SerializeToString(deterministic=True))
    return path


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


def _channel_group(home: Home, topology: Topology, capability: str) -> configtx_pb2.ConfigGroup:
    values = {
        "HashingAlgorithm": configuration_pb2.HashingAlgorithm(name="SHA256"),
        "BlockDataHashingStructure": configuration_pb2.BlockDataHashingStructure(width=2**32 - 1),
        "Capabilities": _capabilities(capability),
    }
    groups = {"Orderer": _orderer_group(home, topology), "Application": _application_group(home, topology)}
    return _group(groups, values, _meta_policies({}))


def _orderer_group(home: Home, topology: Topology) -> configtx_pb2.ConfigGroup:
    batch = topology.channel.batch
    values = {
        "ConsensusType": orderer_pb2.ConsensusType(type="etcdraft", metadata=_bytes(_raft(home, topology.orderer))),
        "BatchSize": orderer_pb2.BatchSize(
            max_message_count=batch.max_messages,
            absolute_max_bytes=batch.absolute_max_bytes,
            preferred_max_bytes=batch.preferred_max_bytes,
        ),
        "BatchTimeout": orderer_pb2.BatchTimeout(timeout=f"{batch.timeout_ms}ms"),
        "ChannelRestrictions": orderer_pb2.ChannelRestrictions(),
        "Capabilities": _capabilities("V2_0"),
    }
    organization = topology.orderer
    member, admin = f"{organization.msp_id}.member", f"{organization.msp_id}.admin"
    addresses = [orderer.address for orderer in organization.orderers]
    groups = {
        organization.name: _group(
            {},
            {
                "MSP": _msp(home, organization),
                "Endpoints": configuration_pb2.OrdererAddresses(addresses=addresses),
            },
            _signature_policies({"Readers": [member], "Writers": [member], "Admins": [admin]}),
        )
    }
    return _group(groups, values, _meta_policies({"BlockValidation": (_META.ANY, "Writers")}))


def _application_group(home: Home, topology: Topology) -> configtx_pb2.ConfigGroup:
    majority = (_META.MAJORITY, "Endorsement")
    return _group(
        {organization.msp_id: _member_group(home, organization) for organization in topology.organizations},
        {"Capabilities": _capabilities("V2_5")},
        _meta_policies({"Endorsement": majority, "LifecycleEndorsement": majority}),
    )


def _member_group(home: Home, organization: Organization) -> configtx_pb2.ConfigGroup:
    admin, peer, client = (f"{organization.msp_id}.{role}" for role in ("admin", "peer", "client"))
    anchors = [peer_pb2.AnchorPeer(host=LOOPBACK, port=node.port) for node in organization.peers[:1]]
    return _group(
        {},
        {"MSP": _msp(home, organization), "AnchorPeers": peer_pb2.AnchorPeers(anchor_peers=anchors)},
        _signature_policies(
            {
                "Readers": [admin, peer, client],
                "Writers": [admin, client],
                "Admins": [admin],
                "Endorsement": [peer],
            }
        ),
    )


def _raft(home: Home, organization: OrdererOrganization) -> raft_pb2.ConfigMetadata:
    consenters = []
    for orderer in organization.orderers:
        certificate = (home.orderer(organization, orderer) / "tls" / "server.crt").read_bytes()
        consenters.append(
            raft_pb2.Consenter(
                host=LOOPBACK, port=orderer.port, client_tls_cert=certificate, server_tls_cert=certificate
            )
        )
    return raft_pb2.ConfigMetadata(consenters=consenters, options=_RAFT_OPTIONS)


def _msp(home: Home, organization: Organization | OrdererOrganization) -> msp_config_pb2.MSPConfig:
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
    return {
        name: policies_pb2.Policy(
            type=policies_pb2.Policy.IMPLICIT_META, value=_bytes(_META(rule=rule, sub_policy=sub_policy))
        )
        for name, (rule, sub_policy) in {**_COMMON_RULES, **further}.items()
    }


def _signature_policies(principals: Mapping[str, list[str]]) -> dict[str, policies_pb2.Policy]:
    return {
        name: policies_pb2.Policy(type=policies_pb2.Policy.SIGNATURE, value=_bytes(any_of(members)))
        for name, members in principals.items()
    }


def _capabilities(name: str) -> configuration_pb2.Capabilities:
    return configuration_pb2.Capabilities(capabilities={name: configuration_pb2.Capability()})


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
