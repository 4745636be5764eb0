"""A channel's configuration as its newest configuration block states it.

`ChannelConfig` reads the group tree of a common.Config once: organisations with their MSPs and anchor peers, all
policies by path, the orderer's batch settings, capabilities. It never changes; a configuration block makes a new one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2, policies_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_configuration_pb2
from fabric_protos.peer import configuration_pb2 as peer_configuration_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.errors import ConfigError, PolicySyntaxError
from goldengrain.network.embedded.msp import Msp, MspManager
from goldengrain.network.embedded.policies import ImplicitMetaPolicy, Policy, PolicyTree, RejectAll, SignaturePolicy

APPLICATION = "Application"
ORDERER = "Orderer"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class BatchSettings:
    """When the orderer cuts a block: by count, by bytes, or `timeout` seconds after the first envelope."""

    max_message_count: int
    preferred_max_bytes: int
    absolute_max_bytes: int
    timeout: float


@dataclass(frozen=True)
class Organization:
    """A member organisation: its name in the configuration, MSP id, anchor peers (host, port) and orderer endpoints."""

    name: str
    msp_id: str
    anchor_peers: tuple[tuple[str, int], ...]
    endpoints: tuple[str, ...]


class ChannelConfig:
    """One configuration of one channel."""

    def __init__(self, channel_id: str, config: configtx_pb2.Config, block_number: int = 0) -> None:
        """Raises ConfigError when the configuration is incomplete or cannot be read."""
        self.channel_id = channel_id
        self.config = config
        self.sequence: int = config.sequence
        self.block_number = block_number
        root = config.channel_group
        try:
            self.application_organizations = _organizations(root, APPLICATION)
            self.orderer_organizations = _organizations(root, ORDERER)
            self.msps = MspManager(_msps(root))
            self.policies = PolicyTree(dict(_policies(root, "/Channel", self.msps)), self.msps)
            self.batch = _batch(root)
            self.consensus_type: str = _consensus(root)
            self.consenters: Mapping[int, bytes] = _consenters(root, self.consensus_type)
            self.orderer_addresses = _orderer_addresses(root, self.orderer_organizations)
            self.capabilities: Mapping[str, frozenset[str]] = _capabilities(root)
        except (DecodeError, PolicySyntaxError, KeyError) as error:
            raise ConfigError(f"the configuration of channel {channel_id} cannot be read: {error}") from error

    @classmethod
    def from_block(cls, block: common_pb2.Block) -> "ChannelConfig":
        """From a configuration block, the genesis block included; raises ConfigError."""
        if len(block.data.data) != 1:
            raise ConfigError(f"block {block.header.number} is no configuration block")
        return cls.from_envelope(block.data.data[0], block.header.number)

    @classmethod
    def from_envelope(cls, envelope: bytes, block_number: int) -> "ChannelConfig":
        """From a serialised envelope of type CONFIG; raises ConfigError."""
        try:
            payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(envelope).payload)
            header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
            if header.type != common_pb2.CONFIG:
                raise ConfigError(f"block {block_number} is no configuration block")
            config = configtx_pb2.ConfigEnvelope.FromString(payload.data).config
        except DecodeError as error:
            raise ConfigError(f"configuration block {block_number} cannot be decoded: {error}") from error
        return cls(header.channel_id, config, block_number)

    @property
    def application_msp_ids(self) -> list[str]:
        """The MSP ids of the application organisations, sorted."""
        return sorted(organization.msp_id for organization in self.application_organizations.values())

    def application_organization(self, msp_id: str) -> Organization | None:
        """The application organisation with this MSP id."""
        return next((o for o in self.application_organizations.values() if o.msp_id == msp_id), None)


def is_config_block(block: common_pb2.Block) -> bool:
    """Whether a block is a configuration block: one envelope of type CONFIG."""
    if len(block.data.data) != 1:
        return False
    try:
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(block.data.data[0]).payload)
        return common_pb2.ChannelHeader.FromString(payload.header.channel_header).type == common_pb2.CONFIG
    except DecodeError:
        return False


def parse_duration(text: str) -> float:
    """Seconds in a Go duration such as `300ms` or `1m30s`; raises ConfigError."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"{text!r} is not a duration such as 2s or 300ms")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _organizations(root: configtx_pb2.ConfigGroup, part: str) -> Mapping[str, Organization]:
    if part not in root.groups:
        return MappingProxyType({})
    return MappingProxyType(
        {name: _organization(name, group) for name, group in sorted(root.groups[part].groups.items())}
    )


def _organization(name: str, group: configtx_pb2.ConfigGroup) -> Organization:
    values = group.values
    if "MSP" not in values:
        raise ConfigError(f"organisation {name} has no MSP definition")
    anchors = peer_configuration_pb2.AnchorPeers()
    if "AnchorPeers" in values:
        anchors = peer_configuration_pb2.AnchorPeers.FromString(values["AnchorPeers"].value)
    endpoints = configuration_pb2.OrdererAddresses()
    if "Endpoints" in values:
        endpoints = configuration_pb2.OrdererAddresses.FromString(values["Endpoints"].value)
    return Organization(
        name=name,
        msp_id=Msp.from_bytes(values["MSP"].value).msp_id,
        anchor_peers=tuple((peer.host, peer.port) for peer in anchors.anchor_peers),
        endpoints=tuple(endpoints.addresses),
    )


def _msps(root: configtx_pb2.ConfigGroup) -> Iterator[Msp]:
    seen: dict[str, bytes] = {}
    for _, part in sorted(root.groups.items()):
        for _, group in sorted(part.groups.items()):
            raw = group.values["MSP"].value
            msp = Msp.from_bytes(raw)
            if seen.setdefault(msp.msp_id, raw) != raw:
                raise ConfigError(f"two different MSP definitions have the id {msp.msp_id}")
            yield msp


def _policies(group: configtx_pb2.ConfigGroup, path: str, msps: MspManager) -> Iterator[tuple[str, Policy]]:
    children: dict[str, dict[str, Policy]] = {}
    for name in sorted(group.groups):
        below = dict(_policies(group.groups[name], f"{path}/{name}", msps))
        children[name] = below
        yield from below.items()
    for name, entry in sorted(group.policies.items()):
        yield f"{path}/{name}", _policy(entry.policy, path, children, msps)


def _policy(
    policy: policies_pb2.Policy, path: str, children: Mapping[str, Mapping[str, Policy]], msps: MspManager
) -> Policy:
    if policy.type == policies_pb2.Policy.SIGNATURE:
        return SignaturePolicy.from_bytes(policy.value, msps)
    if policy.type != policies_pb2.Policy.IMPLICIT_META:
        raise PolicySyntaxError(f"policy type {policy.type} at {path} is not supported")
    meta = policies_pb2.ImplicitMetaPolicy.FromString(policy.value)
    wanted = {name: f"{path}/{name}/{meta.sub_policy}" for name in children}
    return ImplicitMetaPolicy(meta, [children[name].get(at) or RejectAll(at) for name, at in wanted.items()])


def _batch(root: configtx_pb2.ConfigGroup) -> BatchSettings:
    values = root.groups[ORDERER].values if ORDERER in root.groups else {}
    if "BatchSize" not in values or "BatchTimeout" not in values:
        raise ConfigError("the configuration has no Orderer group with BatchSize and BatchTimeout")
    size = orderer_configuration_pb2.BatchSize.FromString(values["BatchSize"].value)
    timeout = orderer_configuration_pb2.BatchTimeout.FromString(values["BatchTimeout"].value)
    settings = BatchSettings(
        size.max_message_count, size.preferred_max_bytes, size.absolute_max_bytes, parse_duration(timeout.timeout)
    )
    if settings.max_message_count < 1 or settings.absolute_max_bytes < 1 or settings.timeout <= 0:
        raise ConfigError("batch size, batch bytes and batch timeout must all be above zero")
    if settings.preferred_max_bytes > settings.absolute_max_bytes:
        raise ConfigError("PreferredMaxBytes must not be above AbsoluteMaxBytes")
    return settings


def _consensus(root: configtx_pb2.ConfigGroup) -> str:
    values = root.groups[ORDERER].values
    if "ConsensusType" not in values:
        raise ConfigError("the configuration's Orderer group has no ConsensusType")
    value = values["ConsensusType"].value
    return orderer_configuration_pb2.ConsensusType.FromString(value).type


def _consenters(root: configtx_pb2.ConfigGroup, kind: str) -> Mapping[int, bytes]:
    """Certificates (PEM) of the SmartBFT consenters by number; none with Raft, where one orderer signs by name."""
    values = root.groups[ORDERER].values
    if kind != "BFT" or "Orderers" not in values:
        return MappingProxyType({})
    mapping = configuration_pb2.Orderers.FromString(values["Orderers"].value).consenter_mapping
    return MappingProxyType({one.id: one.identity for one in mapping})


def _orderer_addresses(root: configtx_pb2.ConfigGroup, organizations: Mapping[str, Organization]) -> tuple[str, ...]:
    addresses = [endpoint for organization in organizations.values() for endpoint in organization.endpoints]
    if not addresses and "OrdererAddresses" in root.values:
        addresses = list(configuration_pb2.OrdererAddresses.FromString(root.values["OrdererAddresses"].value).addresses)
    return tuple(addresses)


def _capabilities(root: configtx_pb2.ConfigGroup) -> Mapping[str, frozenset[str]]:
    groups = {"Channel": root}
    groups |= {name: root.groups[name] for name in (APPLICATION, ORDERER) if name in root.groups}
    found: dict[str, frozenset[str]] = {}
    for name, group in groups.items():
        if "Capabilities" in group.values:
            message = configuration_pb2.Capabilities.FromString(group.values["Capabilities"].value)
            found[name] = frozenset(message.capabilities)
    return MappingProxyType(found)
