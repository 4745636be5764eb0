"""The genesis block: its structure as committed here, and, where they are found, field by field as recorded blocks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2, policies_pb2
from fabric_protos.msp import msp_config_pb2, msp_principal_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as raft_pb2
from fabric_protos.orderer.smartbft import configuration_pb2 as smartbft_pb2
from fabric_protos.peer import configuration_pb2 as peer_pb2
from google.protobuf.json_format import MessageToDict

from goldengrain.network.errors import NetworkIncomplete
from goldengrain.network.genesis import genesis_block, write_genesis
from goldengrain.network.home import Home
from goldengrain.network.topology import BatchSettings, Channel, Consensus, Orderer, Peer, Topology, default_topology

_VALUES = {
    "HashingAlgorithm": configuration_pb2.HashingAlgorithm,
    "BlockDataHashingStructure": configuration_pb2.BlockDataHashingStructure,
    "Capabilities": configuration_pb2.Capabilities,
    "ConsensusType": orderer_pb2.ConsensusType,
    "BatchSize": orderer_pb2.BatchSize,
    "BatchTimeout": orderer_pb2.BatchTimeout,
    "ChannelRestrictions": orderer_pb2.ChannelRestrictions,
    "Orderers": configuration_pb2.Orderers,
    "Endpoints": configuration_pb2.OrdererAddresses,
    "AnchorPeers": peer_pb2.AnchorPeers,
    "MSP": msp_config_pb2.MSPConfig,
}


def _config(block: common_pb2.Block) -> configtx_pb2.ConfigEnvelope:
    envelope = common_pb2.Envelope.FromString(block.data.data[0])
    payload = common_pb2.Payload.FromString(envelope.payload)
    return configtx_pb2.ConfigEnvelope.FromString(payload.data)


def _decode(group: configtx_pb2.ConfigGroup) -> dict[str, Any]:
    """A configuration group as plain data, messages within messages decoded."""
    values = {}
    for name, value in group.values.items():
        message = _VALUES[name].FromString(value.value)  # type: ignore[attr-defined]
        decoded: Any = MessageToDict(message, preserving_proto_field_name=True)
        if isinstance(message, msp_config_pb2.MSPConfig):
            decoded["config"] = MessageToDict(msp_config_pb2.FabricMSPConfig.FromString(message.config))
        if isinstance(message, orderer_pb2.ConsensusType):
            options = raft_pb2.ConfigMetadata if message.type == "etcdraft" else smartbft_pb2.Options
            decoded["metadata"] = MessageToDict(options.FromString(message.metadata))
        values[name] = (value.mod_policy, value.version, decoded)
    return {
        "version": group.version,
        "mod_policy": group.mod_policy,
        "values": values,
        "policies": {
            name: (policy.mod_policy, policy.version, _policy(policy.policy)) for name, policy in group.policies.items()
        },
        "groups": {name: _decode(inner) for name, inner in group.groups.items()},
    }


def _policy(policy: policies_pb2.Policy) -> Any:
    if policy.type == policies_pb2.Policy.IMPLICIT_META:
        meta = policies_pb2.ImplicitMetaPolicy.FromString(policy.value)
        return f"{policies_pb2.ImplicitMetaPolicy.Rule.Name(meta.rule)} {meta.sub_policy}"
    assert policy.type == policies_pb2.Policy.SIGNATURE
    envelope = policies_pb2.SignaturePolicyEnvelope.FromString(policy.value)
    names = [_principal(identity) for identity in envelope.identities]
    signed_by = [names[rule.signed_by] for rule in envelope.rule.n_out_of.rules]
    return (envelope.version, envelope.rule.n_out_of.n, signed_by)


def _principal(principal: msp_principal_pb2.MSPPrincipal) -> str:
    if principal.principal_classification == msp_principal_pb2.MSPPrincipal.IDENTITY:
        return principal.principal.decode(errors="replace")
    role = msp_principal_pb2.MSPRole.FromString(principal.principal)
    return f"{role.msp_identifier}.{msp_principal_pb2.MSPRole.MSPRoleType.Name(role.role)}"


def _recorded_topology(orderer_ports: list[int]) -> Topology:
    topology = default_topology()
    organizations = tuple(
        replace(organization, peers=(Peer("peer0", port),))
        for organization, port in zip(topology.organizations, (7151, 7251, 7351), strict=True)
    )
    names = ["orderer", "orderer2", "orderer3", "orderer4"]
    orderers = tuple(Orderer(name, port) for name, port in zip(names, orderer_ports, strict=False))
    return replace(
        topology,
        organizations=organizations,
        orderer=replace(topology.orderer, orderers=orderers),
        channel=Channel("market", BatchSettings(timeout_ms=300, max_messages=20)),
    )


RECORDED = [("market", [7050]), ("raft3", [7050, 7060, 7070]), ("bft4", [7050, 7060, 7070, 7080])]


@pytest.mark.parametrize(("name", "ports"), RECORDED)
def test_it_equals_the_block_that_configtxgen_made(vectors: Path, tmp_path: Path, name: str, ports: list[int]) -> None:
    home = Home(tmp_path)
    home.organizations.symlink_to(vectors / "crypto")
    recorded = common_pb2.Block.FromString((vectors / "genesis" / f"{name}.block.pb").read_bytes())
    topology = _recorded_topology(ports)
    consensus: Consensus = "smartbft" if name == "bft4" else "raft"
    ours = genesis_block(home, replace(topology, channel=replace(topology.channel, name=name, consensus=consensus)))

    config = _config(recorded)
    decoded = _decode(_config(ours).config.channel_group)
    endpoints = decoded["groups"]["Orderer"]["groups"]["OrdererOrg"]["values"]["Endpoints"][2]
    del endpoints["addresses"][1:]  # its configtx.yaml lists one endpoint only
    assert decoded == _decode(config.config.channel_group)
    assert _config(ours).config.sequence == config.config.sequence
    assert _config(ours).HasField("last_update") == config.HasField("last_update")
    assert ours.metadata == recorded.metadata
    assert ours.header.number == recorded.header.number
    assert ours.header.previous_hash == recorded.header.previous_hash
    headers = [_headers(block) for block in (ours, recorded)]
    for channel_header, signature_header in headers:
        for varying in ("timestamp", "tx_id"):
            channel_header.ClearField(varying)
        assert len(signature_header.nonce) == 24
        signature_header.ClearField("nonce")
    assert headers[0] == headers[1]


def _headers(block: common_pb2.Block) -> tuple[common_pb2.ChannelHeader, common_pb2.SignatureHeader]:
    envelope = common_pb2.Envelope.FromString(block.data.data[0])
    header = common_pb2.Payload.FromString(envelope.payload).header
    return (
        common_pb2.ChannelHeader.FromString(header.channel_header),
        common_pb2.SignatureHeader.FromString(header.signature_header),
    )


def test_the_structure_is_the_committed_one(home: Home, topology: Topology) -> None:
    decoded = _decode(_config(genesis_block(home, topology)).config.channel_group)
    expected = json.loads((Path(__file__).parent / "expected_genesis.json").read_text())
    assert _normal(decoded, topology) == expected


def _normal(value: Any, topology: Topology) -> Any:
    """Replace what differs from run to run: certificates and ports."""
    if isinstance(value, dict):
        return {key: _normal(item, topology) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(item, topology) for item in value]
    if isinstance(value, str) and value.startswith("LS0tLS1CRUdJTi"):
        return "CERTIFICATE"
    if value == topology.orderer.orderers[0].port:
        return "ORDERER PORT"
    if value in [peer.port for _, peer in topology.peers()]:
        return "PEER PORT"
    if value == topology.orderer.orderers[0].address:
        return "ORDERER ADDRESS"
    return value


def test_the_hashes_are_right(home: Home, topology: Topology) -> None:
    block = genesis_block(home, topology)
    channel_header, signature_header = _headers(block)
    assert block.header.data_hash == hashlib.sha256(b"".join(block.data.data)).digest()
    assert channel_header.tx_id == hashlib.sha256(signature_header.nonce).hexdigest()


def test_a_written_block_is_read_back(home: Home, topology: Topology) -> None:
    path = write_genesis(home, topology)
    block = common_pb2.Block.FromString(path.read_bytes())
    assert set(_config(block).config.channel_group.groups["Application"].groups) == {"Org1MSP", "Org2MSP", "Org3MSP"}


def test_a_lower_channel_capability_can_be_asked_for(home: Home, topology: Topology) -> None:
    group = _config(genesis_block(home, topology, channel_capability="V2_0")).config.channel_group
    capabilities = configuration_pb2.Capabilities.FromString(group.values["Capabilities"].value)
    assert list(capabilities.capabilities) == ["V2_0"]


def test_a_missing_certificate_is_named(home: Home, topology: Topology) -> None:
    (home.orderer(topology.orderer, topology.orderer.orderers[0]) / "tls" / "server.crt").unlink()
    with pytest.raises(NetworkIncomplete, match=r"server\.crt"):
        genesis_block(home, topology)
