"""What `_lifecycle` asks of a definition before it reads any state: names, versions, collections."""

from __future__ import annotations

import re

from fabric_protos.peer import collection_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.failures import LifecycleError
from goldengrain.network.embedded.lifecycle_state import LIFECYCLE

__all__ = ["SYSTEM_CHAINCODES", "check_definition"]

SYSTEM_CHAINCODES = frozenset({LIFECYCLE, "cscc", "lscc", "qscc", "escc", "vscc"})
_NAME = re.compile(r"[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*")
_VERSION = re.compile(r"[A-Za-z0-9_.+-]+")
_COLLECTION = re.compile(r"[A-Za-z0-9_-]+")
_PREFIX = "error validating chaincode definition: "


def check_definition(name: str, version: str, collections: collection_pb2.CollectionConfigPackage) -> None:
    """Check the static parts of a definition.

    Raises:
        LifecycleError: in Fabric's words.

    """
    if not name:
        raise LifecycleError(f"{_PREFIX}invalid chaincode name ''. Names must not be empty")
    if not _NAME.fullmatch(name):
        raise LifecycleError(
            f"{_PREFIX}invalid chaincode name '{name}'. Names can only consist of alphanumerics, '_', and '-' and can "
            "only begin with alphanumerics"
        )
    if name in SYSTEM_CHAINCODES:
        raise LifecycleError(f"{_PREFIX}chaincode name '{name}' is the name of a system chaincode")
    if not _VERSION.fullmatch(version):
        raise LifecycleError(
            f"{_PREFIX}invalid chaincode version '{version}'. Versions can only consist of alphanumerics, '_', '-', "
            "'+', and '.'"
        )
    _check_collections(collections)


def _check_collections(collections: collection_pb2.CollectionConfigPackage) -> None:
    names: set[str] = set()
    for config in collections.config:
        if config.WhichOneof("payload") != "static_collection_config":
            raise LifecycleError(f"{_PREFIX}unknown collection configuration type")
        static = config.static_collection_config
        if not _COLLECTION.fullmatch(static.name) or static.name.startswith("_"):
            raise LifecycleError(
                f"{_PREFIX}invalid collection name '{static.name}'. Names can only consist of alphanumerics, '_', and "
                "'-' and cannot begin with '_'"
            )
        if static.name in names:
            raise LifecycleError(
                f"{_PREFIX}collection-name: {static.name} -- found duplicate in collection configuration"
            )
        names.add(static.name)
        _check_collection(static)


def _check_collection(static: collection_pb2.StaticCollectionConfig) -> None:
    prefix = f"{_PREFIX}collection-name: {static.name} -- "
    if static.maximum_peer_count < static.required_peer_count:
        raise LifecycleError(
            f"{prefix}maximum peer count ({static.maximum_peer_count}) cannot be less than the required peer count "
            f"({static.required_peer_count})"
        )
    if static.required_peer_count < 0:
        raise LifecycleError(f"{prefix}requiredPeerCount ({static.required_peer_count}) cannot be less than zero")
    try:
        policy = static.member_orgs_policy.signature_policy
    except DecodeError as error:  # pragma: no cover - the message was parsed as a whole
        raise LifecycleError(f"{prefix}collection member policy is not set") from error
    if not static.HasField("member_orgs_policy") or not policy.identities:
        raise LifecycleError(f"{prefix}collection member policy is not set")
