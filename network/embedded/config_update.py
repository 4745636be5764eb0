"""Configuration updates: from a signed common.ConfigUpdate to the next configuration, by Fabric's rules.

An update names what it was computed from (read set) and what it wants (write set), each element with a version.
1. every element of the read set has the version that the configuration has now;
2. an element of the write set whose version differs from the read set's is changed: its version must be the present one
   plus one (0 for a new element), and its present modification policy must be satisfied by the update's signatures;
3. the new configuration is the present one with the changed elements; a changed group lists what it contains.
A CONFIG transaction repeats its update; peers compute the result again and compare.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fabric_protos.common import common_pb2, configtx_pb2
from google.protobuf.message import DecodeError, Message

from goldengrain.network.embedded.config import ChannelConfig
from goldengrain.network.embedded.errors import ConfigError, PolicyError
from goldengrain.network.embedded.msp import Identity
from goldengrain.network.embedded.policies import SignedData, valid_identities

_ROOT = "Channel"


@dataclass(frozen=True)
class _Element:
    """One group, value or policy of a configuration tree."""

    kind: str
    path: tuple[str, ...]
    key: str
    message: configtx_pb2.ConfigGroup | configtx_pb2.ConfigValue | configtx_pb2.ConfigPolicy

    @property
    def name(self) -> str:
        """How Fabric writes it in messages."""
        return f"[{self.kind}]  /{'/'.join((*self.path, self.key))}"

    @property
    def policy_path(self) -> str:
        """Where the policy that guards it is found."""
        guard = self.message.mod_policy
        if guard.startswith("/"):
            return guard
        place = (*self.path, self.key) if self.kind == "Group" else self.path
        return f"/{'/'.join((*place, guard))}"


_Tree = dict[str, _Element]
_Message = TypeVar("_Message", bound=Message)


def next_config(current: ChannelConfig, update: bytes) -> configtx_pb2.ConfigEnvelope:
    """Apply a serialised envelope of type CONFIG_UPDATE; raises ConfigError with Fabric's text.

    Returns the ConfigEnvelope for the CONFIG transaction: the new configuration and the update it came from.
    """
    envelope, signed = _decode_update(update)
    try:
        config_update = configtx_pb2.ConfigUpdate.FromString(signed.config_update)
    except DecodeError as error:
        raise ConfigError(f"error authorizing update: failed to unmarshal ConfigUpdate: {error}") from error
    if config_update.channel_id != current.channel_id:
        raise ConfigError(
            f"error authorizing update: ConfigUpdate for channel '{config_update.channel_id}' but envelope for channel "
            f"'{current.channel_id}'"
        )
    present = _elements(current.config.channel_group)
    reads, writes = _elements(config_update.read_set), _elements(config_update.write_set)
    _check_reads(present, reads)
    changes = {
        name: element
        for name, element in writes.items()
        if name not in reads or reads[name].message.version != element.message.version
    }
    _check_changes(current, present, changes, valid_identities(_signed_data(signed), current.msps))
    proposed = {**present, **changes}
    config = configtx_pb2.Config(sequence=current.sequence + 1, channel_group=_assemble(proposed, (), _ROOT))
    ChannelConfig(current.channel_id, config)
    return configtx_pb2.ConfigEnvelope(config=config, last_update=envelope)


def check_config_transaction(current: ChannelConfig, envelope: bytes, block_number: int) -> ChannelConfig:
    """Judge a serialised envelope of type CONFIG that is to follow `current`; raises ConfigError."""
    proposed = ChannelConfig.from_envelope(envelope, block_number)
    if proposed.channel_id != current.channel_id:
        raise ConfigError(f"the configuration is of channel {proposed.channel_id}, not {current.channel_id}")
    if proposed.sequence != current.sequence + 1:
        raise ConfigError(
            f"config currently at sequence {current.sequence}, cannot validate config at sequence {proposed.sequence}"
        )
    payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(envelope).payload)
    update = configtx_pb2.ConfigEnvelope.FromString(payload.data).last_update
    if next_config(current, update.SerializeToString()).config != proposed.config:
        raise ConfigError("ConfigEnvelope LastUpdate did not produce the supplied config result")
    return proposed


def _decode_update(update: bytes) -> tuple[common_pb2.Envelope, configtx_pb2.ConfigUpdateEnvelope]:
    try:
        envelope = common_pb2.Envelope.FromString(update)
        payload = common_pb2.Payload.FromString(envelope.payload)
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        if header.type != common_pb2.CONFIG_UPDATE:
            raise ConfigError("error converting envelope to config update: not a CONFIG_UPDATE")
        return envelope, configtx_pb2.ConfigUpdateEnvelope.FromString(payload.data)
    except DecodeError as error:
        raise ConfigError(f"error converting envelope to config update: {error}") from error


def _signed_data(signed: configtx_pb2.ConfigUpdateEnvelope) -> list[SignedData]:
    found = []
    for entry in signed.signatures:
        try:
            creator = common_pb2.SignatureHeader.FromString(entry.signature_header).creator
        except DecodeError as error:
            raise ConfigError(f"error authorizing update: bad signature header: {error}") from error
        found.append(SignedData(entry.signature_header + signed.config_update, creator, entry.signature))
    return found


def _elements(root: configtx_pb2.ConfigGroup) -> _Tree:
    return {element.name: element for element in _walk(root, (), _ROOT)}


def _walk(group: configtx_pb2.ConfigGroup, path: tuple[str, ...], key: str) -> Iterator[_Element]:
    yield _Element("Group", path, key, group)
    below = (*path, key)
    for name, value in group.values.items():
        yield _Element("Value", below, name, value)
    for name, policy in group.policies.items():
        yield _Element("Policy", below, name, policy)
    for name, child in group.groups.items():
        yield from _walk(child, below, name)


def _check_reads(present: _Tree, reads: _Tree) -> None:
    for name, element in sorted(reads.items()):
        if name not in present:
            raise ConfigError(
                "error authorizing update: error validating ReadSet: existing config does not contain element for "
                f"{name} but was in the read set"
            )
        version = present[name].message.version
        if version != element.message.version:
            raise ConfigError(
                f"error authorizing update: error validating ReadSet: proposed update requires that key {name} be at "
                f"version {element.message.version}, but it is currently at version {version}"
            )


def _check_changes(
    current: ChannelConfig, present: _Tree, changes: Mapping[str, _Element], identities: Sequence[Identity]
) -> None:
    prefix = "error authorizing update: error validating DeltaSet: "
    if not changes:
        raise ConfigError(prefix + "delta set was empty -- update would have no effect")
    for name, element in sorted(changes.items()):
        if not element.message.mod_policy:
            raise ConfigError(f"{prefix}invalid mod_policy for element {name}: mod_policy not set")
        old = present.get(name)
        version = element.message.version
        if old is None:
            if version:
                raise ConfigError(f"{prefix}attempted to set key {name} to version {version}, but key does not exist")
            continue
        if version != old.message.version + 1:
            raise ConfigError(
                f"{prefix}attempt to set key {name} to version {version}, but key is at version {old.message.version}"
            )
        if old.policy_path not in current.policies:
            raise ConfigError(f"{prefix}unexpected missing policy {old.message.mod_policy} for item {name}")
        try:
            current.policies.get(old.policy_path).check(identities)
        except PolicyError as error:
            raise ConfigError(f"{prefix}policy for {name} not satisfied: {error}") from error


def _assemble(proposed: _Tree, path: tuple[str, ...], key: str) -> configtx_pb2.ConfigGroup:
    """Put a group together again from what it lists."""
    stated = _take(proposed, "Group", path, key, configtx_pb2.ConfigGroup)
    group = configtx_pb2.ConfigGroup(version=stated.version, mod_policy=stated.mod_policy)
    below = (*path, key)
    for name in stated.values:
        group.values[name].CopyFrom(_take(proposed, "Value", below, name, configtx_pb2.ConfigValue))
    for name in stated.policies:
        group.policies[name].CopyFrom(_take(proposed, "Policy", below, name, configtx_pb2.ConfigPolicy))
    for name in stated.groups:
        group.groups[name].CopyFrom(_assemble(proposed, below, name))
    return group


def _take(tree: _Tree, kind: str, path: tuple[str, ...], key: str, of: type[_Message]) -> _Message:
    element = tree.get(f"[{kind}]  /{'/'.join((*path, key))}")
    if element is None or not isinstance(element.message, of):
        raise ConfigError(f"error authorizing update: missing {kind.lower()} {key} in the proposed config")
    return element.message
