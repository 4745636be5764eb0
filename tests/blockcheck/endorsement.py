"""Whether a transaction's endorsements satisfy what it touches: keys' own policies, collections', chaincodes'."""

from __future__ import annotations

from collections.abc import Sequence

from fabric_protos.common import policies_pb2
from fabric_protos.peer import collection_pb2, policy_pb2
from fabric_protos.peer.lifecycle import chaincode_definition_pb2, db_pb2
from google.protobuf.message import DecodeError

from tests.blockcheck.config import Config
from tests.blockcheck.encoding import Key
from tests.blockcheck.policies import Signed
from tests.blockcheck.state import State
from tests.blockcheck.transactions import Invalid, Transaction

LIFECYCLE = "_lifecycle"
SYSTEM = ("cscc", "escc", "lscc", "qscc", "vscc")
IMPLICIT = "_implicit_org_"
PARAMETER = "VALIDATION_PARAMETER"
FAILED = "ENDORSEMENT_POLICY_FAILURE"


def check(transaction: Transaction, config: Config, state: State, updated: set[Key]) -> None:
    """Check all policies.

    Args:
        transaction: what was endorsed.
        config: the configuration in force.
        state: the state before the block.
        updated: keys whose metadata an earlier, endorsed transaction of the same block writes.

    Raises:
        Invalid: a policy isn't satisfied, or a chaincode isn't defined.

    """
    written = [entry for entry in transaction.namespaces if entry.touched()]
    if any(entry.name in SYSTEM for entry in written) or len({entry.name for entry in written}) < len(written):
        raise Invalid("ILLEGAL_WRITESET")
    names = dict.fromkeys([transaction.chaincode, *(entry.name for entry in written)])
    for name in names:
        keys = [key for entry in written if entry.name == name for key in entry.touched()]
        _check_chaincode(name, keys, transaction.endorsements, config, state, updated)


def _check_chaincode(
    name: str, keys: list[Key], signed: Sequence[Signed], config: Config, state: State, updated: set[Key]
) -> None:
    policy = _chaincode_policy(name, state)
    asked_chaincode = not keys
    for key in keys:
        if key in updated:
            raise Invalid(FAILED)
        value = state.get(key)
        own = value.metadata.get(PARAMETER) if value is not None else None
        collection = _collection_policy(key, state, config)
        if own:
            _require(config.signatures(_signature_policy(own), signed))
        elif collection is not None:
            _require(_holds(collection, signed, config))
        else:
            asked_chaincode = True
    if asked_chaincode:
        _require(_holds(policy, signed, config))


def _require(satisfied: bool) -> None:
    if not satisfied:
        raise Invalid(FAILED)


def _holds(policy: policy_pb2.ApplicationPolicy, signed: Sequence[Signed], config: Config) -> bool:
    if policy.WhichOneof("Type") == "signature_policy":
        return config.signatures(policy.signature_policy, signed)
    return config.allows(policy.channel_config_policy_reference, signed)


def _signature_policy(raw: bytes) -> policies_pb2.SignaturePolicyEnvelope:
    try:
        return policies_pb2.SignaturePolicyEnvelope.FromString(raw)
    except DecodeError:
        raise Invalid(FAILED) from None


def _chaincode_policy(name: str, state: State) -> policy_pb2.ApplicationPolicy:
    if name == LIFECYCLE:
        return policy_pb2.ApplicationPolicy(channel_config_policy_reference="/Channel/Application/LifecycleEndorsement")
    raw = _field(name, "ValidationInfo", state)
    if raw is None:
        raise Invalid("INVALID_CHAINCODE")
    info = chaincode_definition_pb2.ChaincodeValidationInfo.FromString(raw)
    return policy_pb2.ApplicationPolicy.FromString(info.validation_parameter)


def _collection_policy(key: Key, state: State, config: Config) -> policy_pb2.ApplicationPolicy | None:
    if not key.collection:
        return None
    if key.collection.startswith(IMPLICIT):
        path = config.implicit_policy(key.collection.removeprefix(IMPLICIT))
        return policy_pb2.ApplicationPolicy(channel_config_policy_reference=path)
    collection = collections(key.namespace, state).get(key.collection)
    if collection is None:
        raise Invalid(FAILED)
    return collection.endorsement_policy if collection.HasField("endorsement_policy") else None


def collections(name: str, state: State) -> dict[str, collection_pb2.StaticCollectionConfig]:
    """The collections of a chaincode's definition by name."""
    raw = _field(name, "Collections", state)
    package = collection_pb2.CollectionConfigPackage.FromString(raw or b"")
    return {one.static_collection_config.name: one.static_collection_config for one in package.config}


def _field(name: str, field: str, state: State) -> bytes | None:
    value = state.get(Key(LIFECYCLE, "", f"namespaces/fields/{name}/{field}".encode()))
    return None if value is None or value.value is None else db_pb2.StateData.FromString(value.value).Bytes
