"""Whose endorsements a simulated transaction needs: its interest, as peers report it, and the policies behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabric_protos.common import policies_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.peer import proposal_response_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.definitions import LIFECYCLE
from goldengrain.network.embedded.failures import ProposalError, proto_error
from goldengrain.network.embedded.simulator import SimulationResults

__all__ = ["Interest", "build_interest"]

_READ_ONLY_NAMESPACES = frozenset({LIFECYCLE, "lscc"})


@dataclass(frozen=True)
class Interest:
    """What a simulation touched.

    Attributes:
        message: the same as peers report it.
        chaincodes: names of the chaincodes that took part, the invoked one first.
        policies: serialised peer.ApplicationPolicy messages that the endorsers must satisfy together.
        key_policies: serialised common.SignaturePolicyEnvelope messages of single keys, likewise.
        collections: (chaincode, collection) of private data that was used.

    """

    message: proposal_response_pb2.ChaincodeInterest
    chaincodes: tuple[str, ...]
    policies: tuple[bytes, ...]
    key_policies: tuple[bytes, ...]
    collections: tuple[tuple[str, str], ...]


def build_interest(channel: Channel, results: SimulationResults, chaincode: str) -> Interest:
    """Find out what a simulation needs.

    Args:
        channel: where it was simulated.
        results: what it has read and written.
        chaincode: the invoked chaincode.

    Raises:
        ProposalError: the policy of a written key is no policy; in Fabric's words.

    """
    if chaincode == LIFECYCLE:
        return _lifecycle_interest(channel)
    collections = {
        entry.namespace: [part.collection_name for part in entry.collection_hashed_rwset]
        for entry in rwset_pb2.TxReadWriteSet.FromString(results.public).ns_rwset
    }
    others = [name for name in collections if name not in _READ_ONLY_NAMESPACES and name != chaincode]
    names = (chaincode, *others)
    message = proposal_response_pb2.ChaincodeInterest()
    policies: list[bytes] = []
    for name in names:
        asked = _asked_policies(channel, results, name)
        policies += asked
        message.chaincodes.append(_call(results, name, collections.get(name, [])))
    return Interest(
        message=message,
        chaincodes=names,
        policies=tuple(dict.fromkeys(policies)),
        key_policies=tuple(sorted({policy for own in results.policies.values() for policy in own})),
        collections=tuple((name, collection) for name in names for collection in collections.get(name, [])),
    )


def _lifecycle_interest(channel: Channel) -> Interest:
    """Give the interest of `_lifecycle` itself: its policy, whatever collections of organisations it writes."""
    message = proposal_response_pb2.ChaincodeInterest()
    message.chaincodes.add(name=LIFECYCLE)
    policy = channel.definitions.policy(channel.config, LIFECYCLE)
    return Interest(message, (LIFECYCLE,), () if policy is None else (policy,), (), ())


def _asked_policies(channel: Channel, results: SimulationResults, name: str) -> list[bytes]:
    """List the policies of a chaincode and its collections that decide; keys with policies of their own ask neither."""
    policies: list[bytes] = []
    by_chaincode = not any(namespace == name for namespace, _ in (*results.policies, *results.plain))
    for namespace, collection_name in sorted(results.plain):
        if namespace != name:
            continue
        collection = None
        if collection_name:
            collection = channel.definitions.collection(channel.config, name, collection_name)
        if collection is not None and collection.endorsement_policy:
            policies.append(collection.endorsement_policy)
        else:
            by_chaincode = True
    policy = channel.definitions.policy(channel.config, name) if by_chaincode else None
    return policies if policy is None else [*policies, policy]


def _call(results: SimulationResults, name: str, collections: Sequence[str]) -> proposal_response_pb2.ChaincodeCall:
    own = {policy for (namespace, _), keys in results.policies.items() if namespace == name for policy in keys}
    plain = any(namespace == name for namespace, _ in results.plain)
    return proposal_response_pb2.ChaincodeCall(
        name=name,
        collection_names=collections,
        key_policies=[_signature_policy(policy) for policy in sorted(own)],
        disregard_namespace_policy=bool(own) and not plain,
    )


def _signature_policy(policy: bytes) -> policies_pb2.SignaturePolicyEnvelope:
    try:
        return policies_pb2.SignaturePolicyEnvelope.FromString(policy)
    except DecodeError as error:
        raise ProposalError(
            f"error in simulation: error unmarshalling SignaturePolicyEnvelope: {proto_error(policy)}"
        ) from error
