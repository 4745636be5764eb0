"""Updates of a channel's configuration: worked out from what it is and what it should be, signed, passed around.

    update = compute_update("market", config, wanted)        # what changes, and what must not have changed meanwhile
    proposal = unsigned(update)                              # a file that can be sent around
    proposal = sign(proposal, org1_admin)                    # each Admin adds a signature
    proposal = merge([proposal, signed_by_org2])             # or copies that were signed apart are put together

The file is a serialized `common.Envelope` of type CONFIG_UPDATE, as Fabric's own `peer channel signconfigtx` reads and
writes it. An update lists every element that it changes with the next version, and every group on the way to it; a
group whose members change is listed with all of them. Source: fabric-protos common/configtx.proto, Fabric's
documentation "Updating a channel configuration".
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.msp import identities_pb2
from google.protobuf.message import DecodeError

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.gateway.identity import Credentials

from .errors import UpdateInvalid

_Element = TypeVar("_Element", configtx_pb2.ConfigValue, configtx_pb2.ConfigPolicy)


@dataclass(frozen=True)
class Signed:
    """Who signed an update: MSP id, and the subject of the certificate."""

    msp_id: str
    subject: str


def compute_update(
    channel: str, config: configtx_pb2.Config, wanted: configtx_pb2.ConfigGroup
) -> configtx_pb2.ConfigUpdate:
    """Work out the update that leads from a channel's configuration to a wanted channel group.

    Versions in `wanted` are ignored.

    Raises:
        UpdateInvalid: if nothing changes.

    """
    read, write, changed = _group(config.channel_group, wanted)
    if not changed:
        raise UpdateInvalid(f"nothing changes in channel {channel}; its configuration is like that already")
    return configtx_pb2.ConfigUpdate(channel_id=channel, read_set=read, write_set=write)


def unsigned(update: configtx_pb2.ConfigUpdate) -> bytes:
    """Wrap an update up for signatures."""
    return _wrap(
        update.channel_id, configtx_pb2.ConfigUpdateEnvelope(config_update=update.SerializeToString(deterministic=True))
    )


def read(proposal: bytes) -> configtx_pb2.ConfigUpdate:
    """Unwrap an update.

    Raises:
        UpdateInvalid: if the bytes are something else.

    """
    try:
        return configtx_pb2.ConfigUpdate.FromString(_unwrap(proposal).config_update)
    except DecodeError as error:
        raise UpdateInvalid(f"it holds no update of a channel's configuration: {error}") from error


def sign(proposal: bytes, credentials: Credentials) -> bytes:
    """Add a signature; one of the same certificate takes its place.

    Raises:
        UpdateInvalid: if the bytes are no update.

    """
    envelope = _unwrap(proposal)
    header = common_pb2.SignatureHeader(creator=credentials.identity.serialized, nonce=secrets.token_bytes(24))
    header_bytes = header.SerializeToString()
    signature = configtx_pb2.ConfigSignature(
        signature_header=header_bytes,
        signature=credentials.signer.sign(hashlib.sha256(header_bytes + envelope.config_update).digest()),
    )
    return _signed(read(proposal).channel_id, envelope.config_update, [*envelope.signatures, signature])


def merge(proposals: Iterable[bytes]) -> bytes:
    """Put the signatures of copies of one update together.

    Raises:
        UpdateInvalid: if they are different updates, or none.

    """
    envelopes = [_unwrap(proposal) for proposal in proposals]
    if not envelopes:
        raise UpdateInvalid("there is no update to submit")
    if len({envelope.config_update for envelope in envelopes}) > 1:
        raise UpdateInvalid("these files hold different updates; pass copies of one, signed by different Admins")
    update = configtx_pb2.ConfigUpdate.FromString(envelopes[0].config_update)
    signatures = [signature for envelope in envelopes for signature in envelope.signatures]
    return _signed(update.channel_id, envelopes[0].config_update, signatures)


def signers(proposal: bytes) -> list[Signed]:
    """Who has signed an update so far; the signatures themselves are checked by the orderer.

    Raises:
        UpdateInvalid: if the bytes are no update.

    """
    return [_signer(signature) for signature in _unwrap(proposal).signatures]


def changes(update: configtx_pb2.ConfigUpdate) -> list[str]:
    """The elements that an update changes, such as `/Channel/Application/Org4MSP`, sorted."""
    return sorted(_changes(update.read_set, update.write_set, "/Channel"))


def _group(
    old: configtx_pb2.ConfigGroup, new: configtx_pb2.ConfigGroup
) -> tuple[configtx_pb2.ConfigGroup, configtx_pb2.ConfigGroup, bool]:
    """The read set and the write set of a group, and whether anything in it changes."""
    read = configtx_pb2.ConfigGroup(version=old.version)
    write = configtx_pb2.ConfigGroup(version=old.version, mod_policy=new.mod_policy)
    kept = all(
        set(before) == set(after)
        for before, after in ((old.groups, new.groups), (old.values, new.values), (old.policies, new.policies))
    )
    itself = not kept or old.mod_policy != new.mod_policy
    if itself:
        write.version += 1
    changed = _elements(old.values, new.values, read.values, write.values, itself)
    changed = _elements(old.policies, new.policies, read.policies, write.policies, itself) or changed
    for name, group in new.groups.items():
        if name not in old.groups:
            write.groups[name].CopyFrom(_fresh(group))
            continue
        below_read, below_write, below = _group(old.groups[name], group)
        if below:
            read.groups[name].CopyFrom(below_read)
            write.groups[name].CopyFrom(below_write)
        elif itself:
            read.groups[name].version = write.groups[name].version = old.groups[name].version
        changed = changed or below
    if not itself:
        write.mod_policy = ""
    return read, write, changed or itself


def _elements(
    old: Mapping[str, _Element],
    new: Mapping[str, _Element],
    read: Mapping[str, _Element],
    write: Mapping[str, _Element],
    list_all: bool,
) -> bool:
    """List the values or policies of a group that change, or all; whether any does."""
    changed = False
    for name, element in new.items():
        if name not in old:
            write[name].CopyFrom(element)
            write[name].version = 0
        elif _content(old[name]) != _content(element):
            changed = True
            write[name].CopyFrom(element)
            write[name].version = old[name].version + 1
        elif list_all:
            read[name].version = write[name].version = old[name].version
    return changed


def _content(element: _Element) -> tuple[object, str]:
    if isinstance(element, configtx_pb2.ConfigValue):
        return element.value, element.mod_policy
    return element.policy.SerializeToString(deterministic=True), element.mod_policy


def _fresh(group: configtx_pb2.ConfigGroup) -> configtx_pb2.ConfigGroup:
    """A group that is new, and so all in it."""
    made = configtx_pb2.ConfigGroup()
    made.CopyFrom(group)
    made.version = 0
    for value in made.values.values():
        value.version = 0
    for policy in made.policies.values():
        policy.version = 0
    for name, below in group.groups.items():
        made.groups[name].CopyFrom(_fresh(below))
    return made


def _changes(read: configtx_pb2.ConfigGroup, write: configtx_pb2.ConfigGroup, path: str) -> Iterable[str]:
    if read.version != write.version:
        yield path
    for old, new in ((read.values, write.values), (read.policies, write.policies)):
        for name in new:
            if name not in old or old[name].version != new[name].version:
                yield f"{path}/{name}"
    for name, group in write.groups.items():
        if name in read.groups:
            yield from _changes(read.groups[name], group, f"{path}/{name}")
        else:
            yield f"{path}/{name}"


def _wrap(channel: str, envelope: configtx_pb2.ConfigUpdateEnvelope) -> bytes:
    header = common_pb2.ChannelHeader(type=common_pb2.CONFIG_UPDATE, channel_id=channel)
    payload = common_pb2.Payload(
        header=common_pb2.Header(channel_header=header.SerializeToString()), data=envelope.SerializeToString()
    )
    return common_pb2.Envelope(payload=payload.SerializeToString()).SerializeToString()


def _unwrap(proposal: bytes) -> configtx_pb2.ConfigUpdateEnvelope:
    try:
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(proposal).payload)
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        if header.type != common_pb2.CONFIG_UPDATE:
            raise UpdateInvalid(
                "it holds no update of a channel's configuration; `goldengrain channel update` makes one"
            )
        return configtx_pb2.ConfigUpdateEnvelope.FromString(payload.data)
    except DecodeError as error:
        raise UpdateInvalid(f"it holds no update of a channel's configuration: {error}") from error


def _signed(channel: str, update: bytes, signatures: Iterable[configtx_pb2.ConfigSignature]) -> bytes:
    """Wrap an update with one signature, the last, of each certificate."""
    latest = {common_pb2.SignatureHeader.FromString(one.signature_header).creator: one for one in signatures}
    return _wrap(channel, configtx_pb2.ConfigUpdateEnvelope(config_update=update, signatures=latest.values()))


def _signer(signature: configtx_pb2.ConfigSignature) -> Signed:
    try:
        header = common_pb2.SignatureHeader.FromString(signature.signature_header)
        identity = identities_pb2.SerializedIdentity.FromString(header.creator)
        subject = x509.load_pem_x509_certificate(identity.id_bytes).subject.rfc4514_string()
    except (DecodeError, *UNREADABLE) as error:
        raise UpdateInvalid(f"a signature of it names no certificate: {error}") from error
    return Signed(identity.mspid, subject)
