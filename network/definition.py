"""The definition of a chaincode: what the organisations of a channel agree on before it can be called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fabric_protos.peer import collection_pb2, policy_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2

from .signature_policy import parse_signature_policy
from .topology import MAJORITY

__all__ = ["MAJORITY", "Definition"]


@dataclass(frozen=True)
class Definition:
    """What the organisations agree on. `policy` is a signature policy or, with a leading `/`, a policy's path."""

    name: str
    version: str
    policy: str = MAJORITY
    init_required: bool = False
    collections: collection_pb2.CollectionConfigPackage | None = None

    def validation_parameter(self) -> bytes:
        """Serialize the policy as `protos.ApplicationPolicy`.

        Raises:
            PolicyInvalid: if it does not parse.

        """
        if self.policy.startswith("/"):
            return policy_pb2.ApplicationPolicy(channel_config_policy_reference=self.policy).SerializeToString()
        policy = parse_signature_policy(self.policy)
        return policy_pb2.ApplicationPolicy(signature_policy=policy).SerializeToString(deterministic=True)

    def fields(self, sequence: int) -> dict[str, Any]:
        """Give the fields that approving, checking readiness and committing have in common.

        Raises:
            PolicyInvalid: if the policy does not parse.

        """
        return {
            "sequence": sequence,
            "name": self.name,
            "version": self.version,
            "endorsement_plugin": "escc",
            "validation_plugin": "vscc",
            "validation_parameter": self.validation_parameter(),
            "collections": self.collections,
            "init_required": self.init_required,
        }

    def agrees_with(
        self,
        found: lifecycle_pb2.QueryChaincodeDefinitionResult | lifecycle_pb2.QueryApprovedChaincodeDefinitionResult,
    ) -> bool:
        """Whether a committed or approved definition says the same, whatever its sequence.

        Raises:
            PolicyInvalid: if the policy does not parse.

        """
        ours, theirs = (
            policy_pb2.ApplicationPolicy.FromString(parameter)
            for parameter in (self.validation_parameter(), found.validation_parameter)
        )
        return (
            ours == theirs
            and found.version == self.version
            and found.init_required == self.init_required
            and found.collections == (self.collections or collection_pb2.CollectionConfigPackage())
        )
