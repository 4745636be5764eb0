"""Chaincode definitions and collections as validation and services look them up in committed state.

`lifecycle_state` knows how definitions are stored; this module remembers what was read until a block changes
`_lifecycle`, adds what is built in (`_lifecycle` itself, each organisation's implicit collection), and says who is a
member of a collection.
"""

from __future__ import annotations

from dataclasses import dataclass

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import collection_pb2, policy_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.config import ChannelConfig
from goldengrain.network.embedded.lifecycle_state import LIFECYCLE, NAMESPACES, Definition, read_definition
from goldengrain.network.embedded.state import BlockUpdates
from goldengrain.network.embedded.world_state import WorldState
from goldengrain.network.signature_policy import any_of

__all__ = ["LIFECYCLE", "ChaincodeDefinitions", "Collection", "Definition"]

_IMPLICIT = "_implicit_org_"
_FIELDS = f"{NAMESPACES}/metadata/"


@dataclass(frozen=True)
class Collection:
    """A private data collection: `members` are MSP ids; `endorsement_policy` a peer.ApplicationPolicy, empty for none.

    `block_to_live` 0 keeps private data for ever.
    """

    name: str
    members: frozenset[str]
    block_to_live: int = 0
    member_only_read: bool = False
    member_only_write: bool = False
    required_peer_count: int = 0
    maximum_peer_count: int = 0
    endorsement_policy: bytes = b""


class _Committed:
    """The committed public state of `_lifecycle`, as `lifecycle_state` reads it."""

    def __init__(self, state: WorldState) -> None:
        self._state = state

    def get(self, key: str) -> bytes | None:
        value = self._state.get_public(LIFECYCLE, key)
        return None if value is None else value.value


class ChaincodeDefinitions:
    """Looks definitions up; remembers them until `committed` reports a change of `_lifecycle`."""

    def __init__(self, state: WorldState) -> None:
        self._state = state
        self._lifecycle = _Committed(state)
        self._known: dict[str, Definition | None] = {}
        self._collections: dict[str, dict[str, Collection]] = {}

    def get(self, name: str) -> Definition | None:
        """Return the committed definition of a chaincode, None if there is none (`_lifecycle` has none either)."""
        if name not in self._known:
            try:
                self._known[name] = read_definition(self._lifecycle, name)
            except DecodeError:
                self._known[name] = None
        return self._known[name]

    def names(self) -> list[str]:
        """All defined chaincodes, sorted."""
        start = _FIELDS.encode()
        end = start[:-1] + bytes([start[-1] + 1])
        rows = self._state.range(LIFECYCLE, start, end)
        return [key[len(start) :].decode() for key, _ in rows]

    def policy(self, config: ChannelConfig, name: str) -> bytes | None:
        """Return the endorsement policy of a chaincode as a peer.ApplicationPolicy, None for an undefined one."""
        if name == LIFECYCLE:
            return _reference(config, "/Channel/Application/LifecycleEndorsement", "/Channel/Application/Endorsement")
        definition = self.get(name)
        return None if definition is None else definition.validation_parameter

    def collection(self, config: ChannelConfig, chaincode: str, name: str) -> Collection | None:
        """Return a collection, None if undefined; organisations' implicit ones (`_implicit_org_MSPID`) included."""
        if name.startswith(_IMPLICIT):
            return _implicit(config, name)
        if chaincode not in self._collections:
            definition = self.get(chaincode)
            package = definition.collections if definition else collection_pb2.CollectionConfigPackage()
            self._collections[chaincode] = {c.name: c for c in collections_of(package)}
        return self._collections[chaincode].get(name)

    def committed(self, updates: BlockUpdates) -> None:
        """Forget what a block has changed."""
        if any(key.namespace == LIFECYCLE for key in updates.state):
            self._known.clear()
            self._collections.clear()


def collections_of(package: collection_pb2.CollectionConfigPackage) -> list[Collection]:
    """The collections that a definition declares, in their order."""
    found = []
    for entry in package.config:
        static = entry.static_collection_config
        policy = static.endorsement_policy.SerializeToString() if static.HasField("endorsement_policy") else b""
        found.append(
            Collection(
                name=static.name,
                members=_members(static.member_orgs_policy.signature_policy),
                block_to_live=static.block_to_live,
                member_only_read=static.member_only_read,
                member_only_write=static.member_only_write,
                required_peer_count=static.required_peer_count,
                maximum_peer_count=static.maximum_peer_count,
                endorsement_policy=policy,
            )
        )
    return found


def _members(policy: policies_pb2.SignaturePolicyEnvelope) -> frozenset[str]:
    found = set()
    for principal in policy.identities:
        if principal.principal_classification == msp_principal_pb2.MSPPrincipal.ROLE:
            found.add(msp_principal_pb2.MSPRole.FromString(principal.principal).msp_identifier)
        elif principal.principal_classification == msp_principal_pb2.MSPPrincipal.ORGANIZATION_UNIT:
            found.add(msp_principal_pb2.OrganizationUnit.FromString(principal.principal).msp_identifier)
    return frozenset(found)


def _implicit(config: ChannelConfig, name: str) -> Collection | None:
    organization = config.application_organization(name.removeprefix(_IMPLICIT))
    if organization is None:
        return None
    path = f"/Channel/Application/{organization.name}/Endorsement"
    if path in config.policies:
        policy = policy_pb2.ApplicationPolicy(channel_config_policy_reference=path)
    else:
        policy = policy_pb2.ApplicationPolicy(signature_policy=any_of([f"{organization.msp_id}.member"]))
    return Collection(
        name=name,
        members=frozenset({organization.msp_id}),
        endorsement_policy=policy.SerializeToString(),
    )


def _reference(config: ChannelConfig, *paths: str) -> bytes:
    path = next((path for path in paths if path in config.policies), paths[-1])
    return policy_pb2.ApplicationPolicy(channel_config_policy_reference=path).SerializeToString()
