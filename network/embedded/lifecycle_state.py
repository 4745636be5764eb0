"""How `_lifecycle` writes chaincode definitions into state, byte for byte as Fabric does.

A structure NAME in a namespace NS is several keys: `NS/metadata/NAME` (its type and the names of its fields) and one
`NS/fields/NAME/FIELD` per field. Committed definitions are public state. What an organisation approves is private data
of its implicit collection `_implicit_org_<MSP id>`, under `NAME#SEQUENCE`: others see hashes only, which is enough to
find out whether two organisations agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Protocol

from fabric_protos.peer import collection_pb2, policy_pb2
from fabric_protos.peer.lifecycle import chaincode_definition_pb2, db_pb2
from google.protobuf.message import Message

__all__ = [
    "LIFECYCLE",
    "NAMESPACES",
    "SOURCES",
    "Definition",
    "HashState",
    "ReadState",
    "WriteState",
    "field_key",
    "implicit_collection",
    "metadata_key",
    "mismatches",
    "private_name",
    "read_definition",
    "read_fields",
    "read_package_id",
    "read_parameters",
    "read_sequence",
    "write_approval",
    "write_definition",
]

LIFECYCLE = "_lifecycle"
NAMESPACES, SOURCES = "namespaces", "chaincode-sources"
_DEFINITION, _PARAMETERS, _PACKAGE = "ChaincodeDefinition", "ChaincodeParameters", "ChaincodeLocalPackage"
_DEFAULT_POLICY = policy_pb2.ApplicationPolicy(channel_config_policy_reference="/Channel/Application/Endorsement")


class ReadState(Protocol):
    """State that a lifecycle function may read."""

    def get(self, key: str) -> bytes | None:
        """Give the value of `key`, or None."""


class WriteState(ReadState, Protocol):
    """State that it may also write."""

    def put(self, key: str, value: bytes) -> None:
        """Set `key`."""

    def delete(self, key: str) -> None:
        """Delete `key`."""


class HashState(Protocol):
    """Another organisation's private state: hashes of values only."""

    def get_hash(self, key: str) -> bytes | None:
        """Give the SHA-256 of the value of `key`, or None."""


@dataclass(frozen=True)
class Definition:
    """What organisations agree on: a chaincode's version, policies and collections at a sequence."""

    sequence: int
    version: str
    endorsement_plugin: str = ""
    validation_plugin: str = ""
    validation_parameter: bytes = b""
    collections: collection_pb2.CollectionConfigPackage = dataclass_field(
        default_factory=collection_pb2.CollectionConfigPackage
    )
    init_required: bool = False

    def with_defaults(self) -> Definition:
        """Fill in what was left empty: Fabric's plugins, and the channel's own endorsement policy."""
        return replace(
            self,
            endorsement_plugin=self.endorsement_plugin or "escc",
            validation_plugin=self.validation_plugin or "vscc",
            validation_parameter=self.validation_parameter or _DEFAULT_POLICY.SerializeToString(),
        )

    def parameters(self) -> dict[str, bytes]:
        """Fields of the parameters, which is what is approved and compared, as they are stored."""
        endorsement = chaincode_definition_pb2.ChaincodeEndorsementInfo(
            version=self.version, init_required=self.init_required, endorsement_plugin=self.endorsement_plugin
        )
        validation = chaincode_definition_pb2.ChaincodeValidationInfo(
            validation_plugin=self.validation_plugin, validation_parameter=self.validation_parameter
        )
        return {
            "EndorsementInfo": _data(endorsement),
            "ValidationInfo": _data(validation),
            "Collections": _data(self.collections),
        }

    def difference(self, other: Definition) -> str | None:
        """Name the first parameter in which `other` differs, in Fabric's words; None if there is no difference."""
        pairs = (
            ("Version", self.version, other.version),
            ("EndorsementPlugin", self.endorsement_plugin, other.endorsement_plugin),
            ("InitRequired", str(self.init_required).lower(), str(other.init_required).lower()),
            ("ValidationPlugin", self.validation_plugin, other.validation_plugin),
        )
        for name, mine, passed in pairs:
            if mine != passed:
                return f"expected {name} '{mine}' does not match passed {name} '{passed}'"
        if self.validation_parameter != other.validation_parameter:
            return (
                f"expected ValidationParameter '{self.validation_parameter.hex()}' does not match passed "
                f"ValidationParameter '{other.validation_parameter.hex()}'"
            )
        return None if self.collections == other.collections else "Expected Collections do not match passed Collections"


def implicit_collection(msp_id: str) -> str:
    """Name of the private collection that an organisation has in every chaincode."""
    return f"_implicit_org_{msp_id}"


def private_name(name: str, sequence: int) -> str:
    """Name under which an organisation keeps its approval of a definition."""
    return f"{name}#{sequence}"


def metadata_key(namespace: str, name: str) -> str:
    """Key of a structure's type."""
    return f"{namespace}/metadata/{name}"


def field_key(namespace: str, name: str, field: str) -> str:
    """Key of a structure's field."""
    return f"{namespace}/fields/{name}/{field}"


def read_sequence(state: ReadState, name: str) -> int:
    """Read the committed sequence of a chaincode; 0 if there is none."""
    raw = state.get(field_key(NAMESPACES, name, "Sequence"))
    return db_pb2.StateData.FromString(raw).Int64 if raw else 0


def read_fields(state: ReadState, namespace: str, name: str, metadata: bytes | None = None) -> dict[str, bytes] | None:
    """Read all fields of a structure, whose metadata may be known already; None if it doesn't exist."""
    raw = state.get(metadata_key(namespace, name)) if metadata is None else metadata
    if raw is None:
        return None
    names = db_pb2.StateMetadata.FromString(raw).fields
    return {field: state.get(field_key(namespace, name, field)) or b"" for field in names}


def read_definition(state: ReadState, name: str) -> Definition | None:
    """Read a committed definition; None if the chaincode is not defined."""
    fields = read_fields(state, NAMESPACES, name)
    if fields is None:
        return None
    return _definition(db_pb2.StateData.FromString(fields["Sequence"]).Int64, fields)


def read_parameters(state: ReadState, name: str, sequence: int, metadata: bytes | None = None) -> Definition | None:
    """Read what an organisation has approved for that sequence; None if it has not. `metadata`: see `read_fields`."""
    fields = read_fields(state, NAMESPACES, private_name(name, sequence), metadata)
    return None if fields is None else _definition(sequence, fields)


def read_package_id(state: ReadState, name: str, sequence: int) -> str | None:
    """Read the package id that an organisation approved ("" for none); None if it has not approved."""
    fields = read_fields(state, SOURCES, private_name(name, sequence))
    return None if fields is None else db_pb2.StateData.FromString(fields["PackageID"]).String


def _package_fields(package_id: str) -> dict[str, bytes]:
    """Fields of the structure that holds an approval's package id."""
    return {"PackageID": db_pb2.StateData(String=package_id).SerializeToString()}


def _write_fields(state: WriteState, namespace: str, name: str, kind: str, fields: Mapping[str, bytes]) -> None:
    """Store a structure, writing only what differs from what is there."""
    key = metadata_key(namespace, name)
    metadata = db_pb2.StateMetadata.FromString(state.get(key) or b"")
    existing = {field: state.get(field_key(namespace, name, field)) for field in metadata.fields}
    for field, value in fields.items():
        if field not in existing or existing[field] != value:
            state.put(field_key(namespace, name, field), value)
    gone = existing.keys() - fields.keys()
    if gone or metadata.datatype != kind or len(metadata.fields) != len(fields):
        state.put(key, db_pb2.StateMetadata(datatype=kind, fields=fields.keys()).SerializeToString())
    for field in sorted(gone):
        state.delete(field_key(namespace, name, field))


def write_definition(state: WriteState, name: str, definition: Definition) -> None:
    """Store a committed definition."""
    sequence = db_pb2.StateData(Int64=definition.sequence).SerializeToString()
    _write_fields(state, NAMESPACES, name, _DEFINITION, {"Sequence": sequence, **definition.parameters()})


def write_approval(state: WriteState, name: str, definition: Definition, package_id: str) -> None:
    """Store an organisation's approval."""
    approved = private_name(name, definition.sequence)
    _write_fields(state, NAMESPACES, approved, _PARAMETERS, definition.parameters())
    _write_fields(state, SOURCES, approved, _PACKAGE, _package_fields(package_id))


def mismatches(state: HashState, name: str, definition: Definition) -> Sequence[str]:
    """Compare an organisation's approval with a definition by hashes alone.

    Returns the names of the parameters that differ; `ChaincodeParameters` alone where nothing was approved.
    """
    approved = private_name(name, definition.sequence)
    fields = definition.parameters()
    metadata = db_pb2.StateMetadata(datatype=_PARAMETERS, fields=fields.keys()).SerializeToString()
    agreed = state.get_hash(metadata_key(NAMESPACES, approved)) == hashlib.sha256(metadata).digest()
    different = [
        field
        for field, value in fields.items()
        if state.get_hash(field_key(NAMESPACES, approved, field)) != hashlib.sha256(value).digest()
    ]
    return different if agreed else [_PARAMETERS]


def _definition(sequence: int, fields: Mapping[str, bytes]) -> Definition:
    endorsement = chaincode_definition_pb2.ChaincodeEndorsementInfo.FromString(_bytes(fields["EndorsementInfo"]))
    validation = chaincode_definition_pb2.ChaincodeValidationInfo.FromString(_bytes(fields["ValidationInfo"]))
    return Definition(
        sequence=sequence,
        version=endorsement.version,
        endorsement_plugin=endorsement.endorsement_plugin,
        validation_plugin=validation.validation_plugin,
        validation_parameter=validation.validation_parameter,
        collections=collection_pb2.CollectionConfigPackage.FromString(_bytes(fields["Collections"])),
        init_required=endorsement.init_required,
    )


def _data(message: Message) -> bytes:
    return db_pb2.StateData(Bytes=message.SerializeToString()).SerializeToString()


def _bytes(raw: bytes) -> bytes:
    return db_pb2.StateData.FromString(raw).Bytes
