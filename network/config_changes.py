"""Changes of a channel's configuration: each takes a channel group and returns a changed copy.

wanted = with_batch(with_member(config.channel_group, "Org4MSP", member_group(home, org4)), BatchSettings(100))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fabric_protos.common import configtx_pb2, configuration_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as raft_pb2
from google.protobuf.message import Message

from .errors import UpdateInvalid
from .genesis import anchor_peers, batch_size, batch_timeout, block_validation, capabilities
from .topology import BatchSettings, Peer

_GROUPS: Mapping[str, tuple[str, ...]] = {"channel": (), "orderer": ("Orderer",), "application": ("Application",)}


def with_member(
    group: configtx_pb2.ConfigGroup, name: str, member: configtx_pb2.ConfigGroup
) -> configtx_pb2.ConfigGroup:
    """Add a member organisation, or put another definition in place of its own."""
    return _changed(group, lambda made: made.groups["Application"].groups[name].CopyFrom(member))


def without_member(group: configtx_pb2.ConfigGroup, name: str) -> configtx_pb2.ConfigGroup:
    """Remove a member organisation. Raises UpdateInvalid if it is none."""
    _existing(group, "Application", name)
    return _changed(group, lambda made: made.groups["Application"].groups.pop(name))


def with_msp(group: configtx_pb2.ConfigGroup, config: msp_config_pb2.MSPConfig) -> configtx_pb2.ConfigGroup:
    """Replace an organisation's MSP (authorities, revocation lists) wherever it stands.

    Raises:
        UpdateInvalid: if no organisation of that MSP id is in the channel.

    """
    msp_id = msp_config_pb2.FabricMSPConfig.FromString(config.config).name
    made = _copy(group)
    places = [
        organization
        for part in ("Application", "Orderer")
        for organization in made.groups[part].groups.values()
        if _msp_id(organization) == msp_id
    ]
    if not places:
        raise UpdateInvalid(f"no organisation of the channel has the MSP id {msp_id}")
    for place in places:
        _set(place, "MSP", config)
    return made


def with_anchor_peers(group: configtx_pb2.ConfigGroup, name: str, peers: Iterable[Peer]) -> configtx_pb2.ConfigGroup:
    """Set a member's anchor peers. Raises UpdateInvalid if it is no member."""
    _existing(group, "Application", name)
    anchors = anchor_peers(peers)
    return _changed(group, lambda made: _set(made.groups["Application"].groups[name], "AnchorPeers", anchors))


def with_batch(group: configtx_pb2.ConfigGroup, batch: BatchSettings) -> configtx_pb2.ConfigGroup:
    """Set when the orderers cut a block."""
    made = _copy(group)
    _set(made.groups["Orderer"], "BatchSize", batch_size(batch))
    _set(made.groups["Orderer"], "BatchTimeout", batch_timeout(batch))
    return made


def with_capability(group: configtx_pb2.ConfigGroup, part: str, name: str) -> configtx_pb2.ConfigGroup:
    """Set the capability of `channel`, `orderer` or `application`. Raises UpdateInvalid for another part."""
    if part not in _GROUPS:
        raise UpdateInvalid(f"{part!r} has no capabilities; channel, orderer and application have")
    made = place = _copy(group)
    for step in _GROUPS[part]:
        place = place.groups[step]
    _set(place, "Capabilities", capabilities(name))
    return made


def with_orderer(
    group: configtx_pb2.ConfigGroup,
    organization: str,
    address: str,
    consenter: raft_pb2.Consenter | configuration_pb2.Consenter,
    *,
    instead_of: str | None = None,
) -> configtx_pb2.ConfigGroup:
    """Add an ordering node at HOST:PORT to the cluster and to its organisation's endpoints; `instead_of` another one.

    Raises:
        UpdateInvalid: if the organisation runs no orderers, or there is no orderer to replace.

    """
    made = without_orderer(group, organization, instead_of) if instead_of else _copy(group)
    _existing(made, "Orderer", organization)
    if isinstance(consenter, raft_pb2.Consenter):
        metadata = _raft(made)
        metadata.consenters.append(consenter)
        _set_raft(made, metadata)
    else:
        mapping = _bft(made)
        consenter.id = max((one.id for one in mapping), default=0) + 1
        _set_bft(made, [*mapping, consenter])
    _set_endpoints(made, organization, [*_endpoints(made, organization), address])
    return made


def without_orderer(group: configtx_pb2.ConfigGroup, organization: str, address: str) -> configtx_pb2.ConfigGroup:
    """Remove the ordering node at HOST:PORT from the cluster and its organisation's endpoints.

    Raises:
        UpdateInvalid: if there is none at that address.

    """
    made = _copy(group)
    _existing(made, "Orderer", organization)
    if consensus_type(made) == "BFT":
        mapping = _bft(made)
        kept = [one for one in mapping if f"{one.host}:{one.port}" != address]
        found = len(kept) < len(mapping)
        _set_bft(made, kept)
    else:
        metadata = _raft(made)
        left = [one for one in metadata.consenters if f"{one.host}:{one.port}" != address]
        found = len(left) < len(metadata.consenters)
        _set_raft(made, raft_pb2.ConfigMetadata(consenters=left, options=metadata.options))
    if not found:
        raise UpdateInvalid(f"no orderer of the channel is at {address}")
    _set_endpoints(made, organization, [one for one in _endpoints(made, organization) if one != address])
    return made


def with_consenter_certificate(
    group: configtx_pb2.ConfigGroup, address: str, tls_certificate: bytes, identity: bytes
) -> configtx_pb2.ConfigGroup:
    """Replace the certificates of the ordering node at HOST:PORT, which the cluster knows it by.

    Raises:
        UpdateInvalid: if there is none at that address.

    """
    made = _copy(group)
    found = False
    if consensus_type(made) == "BFT":
        mapping = _bft(made)
        for one in mapping:
            if f"{one.host}:{one.port}" == address:
                one.client_tls_cert = one.server_tls_cert = tls_certificate
                one.identity, found = identity, True
        _set_bft(made, mapping)
    else:
        metadata = _raft(made)
        for member in metadata.consenters:
            if f"{member.host}:{member.port}" == address:
                member.client_tls_cert = member.server_tls_cert = tls_certificate
                found = True
        _set_raft(made, metadata)
    if not found:
        raise UpdateInvalid(f"no orderer of the channel is at {address}")
    return made


def consensus_type(group: configtx_pb2.ConfigGroup) -> str:
    """`etcdraft` or `BFT`."""
    return _consensus(group).type


def members_of(group: configtx_pb2.ConfigGroup) -> list[str]:
    """The names of the member organisations, sorted."""
    return sorted(group.groups["Application"].groups)


def _changed(
    group: configtx_pb2.ConfigGroup, change: Callable[[configtx_pb2.ConfigGroup], object]
) -> configtx_pb2.ConfigGroup:
    made = _copy(group)
    change(made)
    return made


def _copy(group: configtx_pb2.ConfigGroup) -> configtx_pb2.ConfigGroup:
    made = configtx_pb2.ConfigGroup()
    made.CopyFrom(group)
    return made


def _existing(group: configtx_pb2.ConfigGroup, part: str, name: str) -> None:
    known = group.groups[part].groups
    if name not in known:
        raise UpdateInvalid(f"{name} is not in the channel's {part} group; there are {', '.join(sorted(known))}")


def _set(group: configtx_pb2.ConfigGroup, name: str, value: Message) -> None:
    place = group.values[name]
    place.value = value.SerializeToString(deterministic=True)
    place.mod_policy = place.mod_policy or "Admins"


def _msp_id(organization: configtx_pb2.ConfigGroup) -> str:
    config = msp_config_pb2.MSPConfig.FromString(organization.values["MSP"].value)
    return msp_config_pb2.FabricMSPConfig.FromString(config.config).name


def _consensus(group: configtx_pb2.ConfigGroup) -> orderer_pb2.ConsensusType:
    return orderer_pb2.ConsensusType.FromString(group.groups["Orderer"].values["ConsensusType"].value)


def _raft(group: configtx_pb2.ConfigGroup) -> raft_pb2.ConfigMetadata:
    return raft_pb2.ConfigMetadata.FromString(_consensus(group).metadata)


def _set_raft(group: configtx_pb2.ConfigGroup, metadata: raft_pb2.ConfigMetadata) -> None:
    consensus = _consensus(group)
    consensus.metadata = metadata.SerializeToString(deterministic=True)
    _set(group.groups["Orderer"], "ConsensusType", consensus)


def _bft(group: configtx_pb2.ConfigGroup) -> list[configuration_pb2.Consenter]:
    orderers = configuration_pb2.Orderers.FromString(group.groups["Orderer"].values["Orderers"].value)
    return list(orderers.consenter_mapping)


def _set_bft(group: configtx_pb2.ConfigGroup, mapping: list[configuration_pb2.Consenter]) -> None:
    orderer = group.groups["Orderer"]
    _set(orderer, "Orderers", configuration_pb2.Orderers(consenter_mapping=mapping))
    orderer.policies["BlockValidation"].policy.CopyFrom(block_validation(mapping))


def _endpoints(group: configtx_pb2.ConfigGroup, organization: str) -> list[str]:
    values = group.groups["Orderer"].groups[organization].values
    return list(configuration_pb2.OrdererAddresses.FromString(values["Endpoints"].value).addresses)


def _set_endpoints(group: configtx_pb2.ConfigGroup, organization: str, addresses: list[str]) -> None:
    place = group.groups["Orderer"].groups[organization]
    _set(place, "Endpoints", configuration_pb2.OrdererAddresses(addresses=addresses))
