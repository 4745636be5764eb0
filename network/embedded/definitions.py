"""Chaincode definitions: what the members have agreed on, read from the committed state of `_lifecycle`.

Keys there are `namespaces/metadata/NAME` (lifecycle.StateMetadata) and `namespaces/fields/NAME/FIELD`
(lifecycle.StateData) with the fields Sequence, EndorsementInfo, ValidationInfo, Collections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fabric_protos.peer import collection_pb2

    from goldengrain.network.embedded.config import ChannelConfig
    from goldengrain.network.embedded.ledger import ChannelLedger

LIFECYCLE = "_lifecycle"


@dataclass(frozen=True)
class Collection:
    """A private data collection. `members` are MSP ids; `endorsement_policy` is a peer.ApplicationPolicy, empty for none."""

    name: str
    members: frozenset[str]
    block_to_live: int
    member_only_read: bool
    member_only_write: bool
    required_peer_count: int
    maximum_peer_count: int
    endorsement_policy: bytes


@dataclass(frozen=True)
class ChaincodeDefinition:
    """A committed definition. `policy` is a serialised peer.ApplicationPolicy; `collections` by name, in declared order."""

    name: str
    sequence: int
    version: str
    init_required: bool
    endorsement_plugin: str
    validation_plugin: str
    policy: bytes
    collections: Mapping[str, Collection]
    collection_package: collection_pb2.CollectionConfigPackage


class ChaincodeDefinitions:
    """Looks definitions up in committed state; remembers them until a block touches `_lifecycle`."""

    def __init__(self, ledger: ChannelLedger) -> None:
        raise NotImplementedError

    def get(self, name: str) -> ChaincodeDefinition | None:
        """The committed definition of a chaincode; `_lifecycle` itself has a built-in one."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """All defined chaincodes, sorted, without `_lifecycle`."""
        raise NotImplementedError

    def collection(self, config: ChannelConfig, chaincode: str, name: str) -> Collection | None:
        """A collection of a chaincode, the implicit ones of organisations (`_implicit_org_MSPID`) included."""
        raise NotImplementedError
