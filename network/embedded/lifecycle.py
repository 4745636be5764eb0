"""`_lifecycle`: installing chaincode packages, approving and committing chaincode definitions, and asking about both.

What Fabric's system chaincode of that name does, reading and writing through the same simulator as any chaincode: an
approval writes private data of the organisation's implicit collection, a commit writes public state once the endorsing
organisation itself agrees, and both take effect when their transaction is valid in a block. Installing touches one
peer's disk only.

Sequences count the definitions of a name: the first is 1, each upgrade the next. A definition can be approved for the
committed sequence (a late approval) and for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from fabric_protos.peer import collection_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2
from google.protobuf.message import DecodeError, Message

from goldengrain.network.embedded.failures import LifecycleError, proto_error
from goldengrain.network.embedded.lifecycle_checks import check_definition
from goldengrain.network.embedded.lifecycle_state import (
    NAMESPACES,
    Definition,
    HashState,
    WriteState,
    metadata_key,
    mismatches,
    private_name,
    read_definition,
    read_package_id,
    read_parameters,
    read_sequence,
    write_approval,
    write_definition,
)
from goldengrain.network.embedded.packages import ChaincodePackage, PackageStore

__all__ = ["ADMIN_FUNCTIONS", "CHANNEL_FUNCTIONS", "InstalledReference", "Lifecycle", "LifecycleState"]

ADMIN_FUNCTIONS = frozenset(
    {
        "InstallChaincode",
        "QueryInstalledChaincodes",
        "QueryInstalledChaincode",
        "GetInstalledChaincodePackage",
        "ApproveChaincodeDefinitionForMyOrg",
        "QueryApprovedChaincodeDefinition",
        "QueryApprovedChaincodeDefinitions",
    }
)
"""Functions for administrators of the peer's own organisation."""

CHANNEL_FUNCTIONS = frozenset(
    {
        "CheckCommitReadiness",
        "CommitChaincodeDefinition",
        "QueryChaincodeDefinition",
        "QueryChaincodeDefinitions",
    }
)
"""Functions for everybody who satisfies the channel's Writers policy."""

InstalledReference = tuple[str, str, str]
"""Channel, chaincode name and version that use an installed package."""


class LifecycleState(Protocol):
    """The state of one simulation, as `_lifecycle` uses it."""

    channel_id: str
    organizations: Sequence[str]

    def public(self) -> WriteState:
        """Public state of `_lifecycle`."""

    def private(self, msp_id: str) -> WriteState:
        """Private state of an organisation's implicit collection; only the peer's own has values."""

    def hashes(self, msp_id: str) -> HashState:
        """Hashes of an organisation's private state."""

    def approvals(self, msp_id: str) -> dict[str, bytes]:
        """Metadata of everything that the peer's own organisation has approved, by `NAME#SEQUENCE`."""

    def public_names(self) -> list[str]:
        """Names of all committed definitions."""

    def legacy(self, name: str) -> None:
        """Look a chaincode up in `lscc`, which has none here: the read stands in Fabric's read sets."""


class Lifecycle:
    """`_lifecycle` on one peer."""

    def __init__(
        self,
        msp_id: str,
        packages: PackageStore,
        references: Callable[[str], Sequence[InstalledReference]],
        installed: Callable[[ChaincodePackage], None],
    ) -> None:
        """Make it.

        Args:
            msp_id: the peer's organisation.
            packages: its installed packages.
            references: tells which definitions use a package id.
            installed: called after an installation.

        """
        self._msp_id = msp_id
        self._packages = packages
        self._references = references
        self._installed = installed

    def invoke(self, function: str, argument: bytes, state: LifecycleState | None) -> bytes:
        """Run one function and return its serialised result.

        Args:
            function: one of `ADMIN_FUNCTIONS` or `CHANNEL_FUNCTIONS`; the caller has checked who asks.
            argument: the serialised `lifecycle.<function>Args`.
            state: of the channel; None for a proposal without a channel.

        Raises:
            LifecycleError: refused, in Fabric's words.

        """
        local = self._LOCAL.get(function)
        try:
            if local is not None:
                result = local[1](self, _parse(local[0], function, argument))
            else:
                kind, body = self._CHANNEL[function]
                if state is None:
                    raise LifecycleError(f"cannot invoke {function} without a channel")
                result = body(self, _parse(kind, function, argument), state)
        except _NotDefined as error:
            raise LifecycleError(str(error), 404) from error
        except LifecycleError as error:
            raise LifecycleError(f"failed to invoke backing implementation of '{function}': {error}") from error
        return result.SerializeToString(deterministic=True)

    # -- packages ----------------------------------------------------------------------------------------------------

    def _install(self, args: lifecycle_pb2.InstallChaincodeArgs) -> Message:
        package = self._packages.install(args.chaincode_install_package)
        self._installed(package)
        return lifecycle_pb2.InstallChaincodeResult(package_id=package.package_id, label=package.label)

    def _query_installed_all(self, _: lifecycle_pb2.QueryInstalledChaincodesArgs) -> Message:
        result = lifecycle_pb2.QueryInstalledChaincodesResult()
        for package in self._packages.all():
            entry = result.installed_chaincodes.add(package_id=package.package_id, label=package.label)
            for channel, name, version in self._references(package.package_id):
                entry.references[channel].chaincodes.add(name=name, version=version)
        return result

    def _query_installed(self, args: lifecycle_pb2.QueryInstalledChaincodeArgs) -> Message:
        package = self._package(args.package_id)
        result = lifecycle_pb2.QueryInstalledChaincodeResult(package_id=package.package_id, label=package.label)
        for channel, name, version in self._references(package.package_id):
            result.references[channel].chaincodes.add(name=name, version=version)
        return result

    def _get_package(self, args: lifecycle_pb2.GetInstalledChaincodePackageArgs) -> Message:
        return lifecycle_pb2.GetInstalledChaincodePackageResult(
            chaincode_install_package=self._package(args.package_id).raw
        )

    def _package(self, package_id: str) -> ChaincodePackage:
        package = self._packages.get(package_id)
        if package is None:
            raise LifecycleError(f"could not find chaincode with package id '{package_id}'")
        return package

    # -- approvals ---------------------------------------------------------------------------------------------------

    def _approve(self, args: lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs, state: LifecycleState) -> Message:
        check_definition(args.name, args.version, args.collections)
        public, private = state.public(), state.private(self._msp_id)
        self._look_up(args.name, state)
        current = read_sequence(public, args.name)
        wanted = args.sequence
        if wanted == 0 and current == 0:
            raise LifecycleError("requested sequence is 0, but first definable sequence number is 1")
        if wanted < current:
            raise LifecycleError(f"currently defined sequence {current} is larger than requested sequence {wanted}")
        if wanted > current + 1:
            raise LifecycleError(
                f"requested sequence {wanted} is larger than the next available sequence number {current + 1}"
            )
        definition = _definition(args).with_defaults()
        package_id = args.source.local_package.package_id
        if wanted == current:
            self._check_late_approval(args.name, definition, package_id, state)
        elif self._approved(args.name, definition, package_id, private):
            raise LifecycleError(
                f"attempted to redefine uncommitted sequence ({wanted}) for namespace {args.name} with unchanged "
                "content"
            )
        write_approval(private, args.name, definition, package_id)
        return lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgResult()

    def _check_late_approval(self, name: str, definition: Definition, package_id: str, state: LifecycleState) -> None:
        text = f"attempted to redefine the current committed sequence ({definition.sequence}) for namespace {name}"
        committed = read_definition(state.public(), name)
        difference = "it is not defined" if committed is None else committed.difference(definition)
        if difference is not None:
            raise LifecycleError(f"{text} with different parameters: {difference}")
        if self._approved(name, definition, package_id, state.private(self._msp_id)):
            raise LifecycleError(text)

    def _approved(self, name: str, definition: Definition, package_id: str, private: WriteState) -> bool:
        """Whether exactly this has been approved already."""
        known = read_parameters(private, name, definition.sequence)
        return (
            known is not None
            and known.difference(definition) is None
            and read_package_id(private, name, definition.sequence) == package_id
        )

    def _query_approved(
        self, args: lifecycle_pb2.QueryApprovedChaincodeDefinitionArgs, state: LifecycleState
    ) -> Message:
        private = state.private(self._msp_id)
        sequence = args.sequence
        if sequence == 0:
            current = read_sequence(state.public(), args.name)
            following = private.get(metadata_key(NAMESPACES, private_name(args.name, current + 1)))
            sequence = current if following is None else current + 1
        approved = read_parameters(private, args.name, sequence)
        if approved is None:
            raise LifecycleError(
                f"could not fetch approved chaincode definition (name: '{args.name}', sequence: '{sequence}') on "
                f"channel '{state.channel_id}'"
            )
        return lifecycle_pb2.QueryApprovedChaincodeDefinitionResult(
            sequence=sequence,
            source=_source(read_package_id(private, args.name, sequence)),
            **_fields(approved),
        )

    def _query_approved_all(
        self, _: lifecycle_pb2.QueryApprovedChaincodeDefinitionsArgs, state: LifecycleState
    ) -> Message:
        private = state.private(self._msp_id)
        result = lifecycle_pb2.QueryApprovedChaincodeDefinitionsResult()
        for entry, metadata in state.approvals(self._msp_id).items():
            name, sequence = entry.rsplit("#", 1)
            approved = read_parameters(private, name, int(sequence), metadata)
            if approved is not None:
                result.approved_chaincode_definitions.add(
                    name=name,
                    sequence=int(sequence),
                    source=_source(read_package_id(private, name, int(sequence))),
                    **_fields(approved),
                )
        return result

    # -- definitions -------------------------------------------------------------------------------------------------

    def _check_readiness(self, args: lifecycle_pb2.CheckCommitReadinessArgs, state: LifecycleState) -> Message:
        differences = self._readiness(args.name, _definition(args).with_defaults(), state)
        return lifecycle_pb2.CheckCommitReadinessResult(
            approvals={msp_id: not items for msp_id, items in differences.items()},
            mismatches={
                msp_id: lifecycle_pb2.CheckCommitReadinessResult.Mismatches(items=items)
                for msp_id, items in differences.items()
                if items
            },
        )

    def _readiness(self, name: str, definition: Definition, state: LifecycleState) -> dict[str, Sequence[str]]:
        current = read_sequence(state.public(), name)
        if definition.sequence != current + 1:
            raise LifecycleError(
                f"requested sequence is {definition.sequence}, but new definition must be sequence {current + 1}"
            )
        return {msp_id: mismatches(state.hashes(msp_id), name, definition) for msp_id in state.organizations}

    def _commit(self, args: lifecycle_pb2.CommitChaincodeDefinitionArgs, state: LifecycleState) -> Message:
        check_definition(args.name, args.version, args.collections)
        if self._msp_id not in state.organizations:
            raise LifecycleError(
                "impossibly, this peer's org is processing requests for a channel it is not a member of"
            )
        self._look_up(args.name, state)
        definition = _definition(args).with_defaults()
        differences = self._readiness(args.name, definition, state)
        write_definition(state.public(), args.name, definition)
        if differences[self._msp_id]:
            raise LifecycleError(f"chaincode definition not agreed to by this org ({self._msp_id})")
        return lifecycle_pb2.CommitChaincodeDefinitionResult()

    def _query_definition(self, args: lifecycle_pb2.QueryChaincodeDefinitionArgs, state: LifecycleState) -> Message:
        definition = read_definition(state.public(), args.name)
        if definition is None:
            raise _NotDefined(f"namespace {args.name} is not defined")
        return lifecycle_pb2.QueryChaincodeDefinitionResult(
            sequence=definition.sequence,
            approvals={
                msp_id: not mismatches(state.hashes(msp_id), args.name, definition) for msp_id in state.organizations
            },
            **_fields(definition),
        )

    def _query_definitions(self, _: lifecycle_pb2.QueryChaincodeDefinitionsArgs, state: LifecycleState) -> Message:
        result = lifecycle_pb2.QueryChaincodeDefinitionsResult()
        public = state.public()
        for name in state.public_names():
            definition = read_definition(public, name)
            if definition is not None:
                result.chaincode_definitions.add(name=name, sequence=definition.sequence, **_fields(definition))
        return result

    def _look_up(self, name: str, state: LifecycleState) -> None:
        """Read what is committed under a name, as Fabric does before approvals and commits."""
        public = state.public()
        read_sequence(public, name)
        if read_definition(public, name) is None:
            state.legacy(name)

    _LOCAL: ClassVar[dict[str, tuple[type[Message], Callable[..., Message]]]] = {
        "InstallChaincode": (lifecycle_pb2.InstallChaincodeArgs, _install),
        "QueryInstalledChaincodes": (lifecycle_pb2.QueryInstalledChaincodesArgs, _query_installed_all),
        "QueryInstalledChaincode": (lifecycle_pb2.QueryInstalledChaincodeArgs, _query_installed),
        "GetInstalledChaincodePackage": (lifecycle_pb2.GetInstalledChaincodePackageArgs, _get_package),
    }
    _CHANNEL: ClassVar[dict[str, tuple[type[Message], Callable[..., Message]]]] = {
        "ApproveChaincodeDefinitionForMyOrg": (
            lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs,
            _approve,
        ),
        "QueryApprovedChaincodeDefinition": (
            lifecycle_pb2.QueryApprovedChaincodeDefinitionArgs,
            _query_approved,
        ),
        "QueryApprovedChaincodeDefinitions": (
            lifecycle_pb2.QueryApprovedChaincodeDefinitionsArgs,
            _query_approved_all,
        ),
        "CheckCommitReadiness": (lifecycle_pb2.CheckCommitReadinessArgs, _check_readiness),
        "CommitChaincodeDefinition": (lifecycle_pb2.CommitChaincodeDefinitionArgs, _commit),
        "QueryChaincodeDefinition": (lifecycle_pb2.QueryChaincodeDefinitionArgs, _query_definition),
        "QueryChaincodeDefinitions": (lifecycle_pb2.QueryChaincodeDefinitionsArgs, _query_definitions),
    }


class _NotDefined(Exception):
    pass


class _Parameters(Protocol):
    sequence: int
    name: str
    version: str
    endorsement_plugin: str
    validation_plugin: str
    validation_parameter: bytes
    init_required: bool

    @property
    def collections(self) -> collection_pb2.CollectionConfigPackage: ...


def _definition(args: _Parameters) -> Definition:
    return Definition(
        sequence=args.sequence,
        version=args.version,
        endorsement_plugin=args.endorsement_plugin,
        validation_plugin=args.validation_plugin,
        validation_parameter=args.validation_parameter,
        collections=args.collections,
        init_required=args.init_required,
    )


def _fields(definition: Definition) -> dict[str, Any]:
    return {
        "version": definition.version,
        "endorsement_plugin": definition.endorsement_plugin,
        "validation_plugin": definition.validation_plugin,
        "validation_parameter": definition.validation_parameter,
        "collections": definition.collections,
        "init_required": definition.init_required,
    }


def _source(package_id: str | None) -> lifecycle_pb2.ChaincodeSource:
    if not package_id:
        return lifecycle_pb2.ChaincodeSource(unavailable=lifecycle_pb2.ChaincodeSource.Unavailable())
    return lifecycle_pb2.ChaincodeSource(local_package=lifecycle_pb2.ChaincodeSource.Local(package_id=package_id))


def _parse(kind: type[Message], function: str, argument: bytes) -> Message:
    try:
        return kind.FromString(argument)
    except DecodeError as error:
        raise LifecycleError(f"failed to decode input arg to {function}: {proto_error(argument)}") from error
