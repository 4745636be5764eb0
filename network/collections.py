"""Private data collections, from the topology's form to the lifecycle's."""

from __future__ import annotations

from collections.abc import Iterable

from fabric_protos.peer import collection_pb2, policy_pb2

from .signature_policy import parse_signature_policy
from .topology import Collection


def collection_package(collections: Iterable[Collection]) -> collection_pb2.CollectionConfigPackage | None:
    """Describe collections as a chaincode definition holds them; None for none.

    Raises:
        PolicyInvalid: if a policy does not parse.

    """
    configs = [collection_pb2.CollectionConfig(static_collection_config=_static(one)) for one in collections]
    return collection_pb2.CollectionConfigPackage(config=configs) if configs else None


def _static(collection: Collection) -> collection_pb2.StaticCollectionConfig:
    members = collection_pb2.CollectionPolicyConfig(signature_policy=parse_signature_policy(collection.policy))
    return collection_pb2.StaticCollectionConfig(
        name=collection.name,
        member_orgs_policy=members,
        required_peer_count=collection.required_peers,
        maximum_peer_count=collection.max_peers,
        block_to_live=collection.block_to_live,
        member_only_read=collection.member_only_read,
        member_only_write=collection.member_only_write,
        endorsement_policy=_endorsement(collection.endorsement_policy),
    )


def _endorsement(text: str) -> policy_pb2.ApplicationPolicy | None:
    if not text:
        return None
    if text.startswith("/"):
        return policy_pb2.ApplicationPolicy(channel_config_policy_reference=text)
    return policy_pb2.ApplicationPolicy(signature_policy=parse_signature_policy(text))
