"""Deploy a chaincode through Fabric's lifecycle, for all organisations of a network whose Admin keys are at hand.

    package → install on every peer → approve for every organisation → check readiness → commit

Every step looks first and acts only where something is missing, so that a deployment that was interrupted is finished
by running it again, and one that is complete changes nothing. The sequence follows from the committed definition: the
same if the definition stays as it is (a server that moved is approved anew at that sequence), the next one if version,
policy, collections or `init_required` change.

    deployment = await deploy(home, "golden-grain", "1.0", "127.0.0.1:9999")
    print(deployment.package_id, deployment.sequence)

Organisations whose Admins' keys lie elsewhere run the same there. Whoever comes last, with a majority's approvals on
the ledger, commits; until then `Deployment.waiting_for` names who has not approved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from fabric_protos.peer import collection_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2

from goldengrain.gateway.clock import Clock
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import EndorseError, GatewayError, PeerError

from .definition import MAJORITY, Definition
from .errors import LifecycleFailed, NetworkNotRunning
from .home import Home, as_home
from .members import Member, open_members
from .packaging import ChaincodePackage, ccaas_package, check_name
from .progress import Steps, silent

_LIFECYCLE = "_lifecycle"
_PATIENCE_S = 30.0  # a new network of real peers needs seconds until its gossip knows every organisation
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Deployment:
    """A deployed chaincode.

    Attributes:
        name, version, policy: as committed.
        package_id: what the chaincode's server has to register as.
        sequence: of the definition, from 1.
        changed: whether anything was installed, approved or committed by this run.
        transactions: ids of the transactions that this run sent.
        waiting_for: MSP ids of organisations that have to approve before it can be committed; none if it is.

    """

    name: str
    version: str
    policy: str
    package_id: str
    sequence: int
    changed: bool
    transactions: tuple[str, ...]
    waiting_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommittedDefinition:
    """A definition as a peer reports it: `approvals` says which organisations (MSP ids) have approved it."""

    name: str
    version: str
    sequence: int
    init_required: bool
    approvals: dict[str, bool]


async def deploy(
    home: Home | Path,
    name: str,
    version: str,
    address: str,
    *,
    policy: str = MAJORITY,
    tls_root: bytes | None = None,
    tls_client: tuple[bytes, bytes] | None = None,
    init_required: bool = False,
    collections: collection_pb2.CollectionConfigPackage | None = None,
    indexes: Mapping[str, bytes] | None = None,
    clock: Clock | None = None,
    commit: bool = True,
    channel: str | None = None,
    steps: Steps = silent,
) -> Deployment:
    """Deploy a chaincode-as-a-service server for every organisation whose Admin's key is here; it need not run yet.

    Args:
        home: folder of a running network.
        name: of the chaincode.
        version: of the chaincode, free text.
        address: HOST:PORT of its server.
        policy: endorsement policy: a signature policy, or a path in the channel's configuration.
        tls_root: PEM of the authority of the server's certificate; None for a server without TLS.
        tls_client: certificate and key, PEM, that peers show to a server that asks for them.
        init_required: whether its Init has to be called before any other function.
        collections: private data collections.
        indexes: for rich queries on peers with CouchDB, see `indexes.read_indexes`.
        clock: what time to write into the transactions; default: the network's ledger time.
        commit: False only installs and approves, for another organisation to commit.
        channel: on which channel, by its name; default: the topology's first.
        steps: told what is being done.

    Raises:
        PackageInvalid: for a name, version or address that peers would not accept.
        PolicyInvalid: for a policy that does not parse.
        NetworkNotFound: if the folder holds no network.
        TopologyInvalid: if it has no channel of that name.
        NetworkNotRunning: if its peers do not answer.
        LifecycleFailed: if a peer refuses a step.

    """
    home = as_home(home)
    check_name(name, version)
    package = ccaas_package(f"{name}_{version}", address, tls_root=tls_root, tls_client=tls_client, indexes=indexes)
    definition = Definition(name, version, policy, init_required, collections)
    definition.validation_parameter()
    on = home.load_topology().channel_named(channel)
    async with open_members(home, on, clock) as members:
        return await _Deployer(on.name, members, definition, package, steps).run(commit=commit)


async def committed(
    home: Home | Path, name: str, *, clock: Clock | None = None, channel: str | None = None
) -> CommittedDefinition | None:
    """Ask the first organisation's peer for a chaincode's committed definition; None if there is none.

    Raises:
        NetworkNotFound, NetworkNotRunning, LifecycleFailed: see `deploy`.

    """
    home = as_home(home)
    on = home.load_topology().channel_named(channel)
    async with open_members(home, on, clock) as members:
        found = await _query_committed(members[0], members[0].peers[0], on.name, name)
    if found is None:
        return None
    return CommittedDefinition(name, found.version, found.sequence, found.init_required, dict(found.approvals))


async def installed(home: Home | Path, *, clock: Clock | None = None) -> dict[str, list[str]]:
    """List the ids of the packages that are installed on each organisation's first peer, by MSP id.

    Raises:
        NetworkNotFound, NetworkNotRunning, LifecycleFailed: see `deploy`.

    """
    home = as_home(home)
    async with open_members(home, home.load_topology().channel, clock) as members:
        found = await asyncio.gather(*(_query_installed(member, member.peers[0]) for member in members))
    return {member.msp_id: sorted(ids) for member, ids in zip(members, found, strict=True)}


class _Deployer:
    """The steps of one deployment."""

    def __init__(
        self, channel: str, members: list[Member], definition: Definition, package: ChaincodePackage, steps: Steps
    ) -> None:
        self.steps = steps
        self.channel = channel
        self.members = members
        self.definition = definition
        self.package = package
        self.transactions: list[str] = []
        self.changed = False

    async def run(self, *, commit: bool) -> Deployment:
        first = self.members[0]
        before = await _query_committed(first, first.peers[0], self.channel, self.definition.name)
        sequence = self.sequence_after(before)
        names = ", ".join(member.organization.name for member in self.members)
        with self.steps(f"{self.definition.name} on {self.channel}: installed and approved by {names}"):
            await asyncio.gather(*(self.install_and_approve(member, sequence) for member in self.members))
        waiting: list[str] = []
        done = before is not None and before.sequence == sequence
        if not done:
            with self.steps("asked whether a majority has approved; committed where it has" if commit else "approvals"):
                waiting = await self.commit(sequence) if commit else await self.missing(sequence)
        if done or (commit and not waiting):
            with self.steps(f"sequence {sequence} on every peer here"):
                await self.wait_for_all(sequence)
        return Deployment(
            name=self.definition.name,
            version=self.definition.version,
            policy=self.definition.policy,
            package_id=self.package.package_id,
            sequence=sequence,
            changed=self.changed,
            transactions=tuple(self.transactions),
            waiting_for=tuple(waiting),
        )

    def sequence_after(self, before: lifecycle_pb2.QueryChaincodeDefinitionResult | None) -> int:
        if before is None:
            return 1
        return before.sequence if self.definition.agrees_with(before) else before.sequence + 1

    async def install_and_approve(self, member: Member, sequence: int) -> None:
        await asyncio.gather(*(self.install(member, peer) for peer in member.peers))
        if not await self.is_approved(member, sequence):
            await self.approve(member, sequence)

    async def install(self, member: Member, peer: Endorser) -> None:
        if self.package.package_id in await _query_installed(member, peer):
            return
        arguments = lifecycle_pb2.InstallChaincodeArgs(chaincode_install_package=self.package.content)
        async with _step("install", member):
            await peer.call(_LIFECYCLE, "InstallChaincode", arguments.SerializeToString())
        self.changed = True

    async def is_approved(self, member: Member, sequence: int) -> bool:
        arguments = lifecycle_pb2.QueryApprovedChaincodeDefinitionArgs(name=self.definition.name, sequence=sequence)
        function = "QueryApprovedChaincodeDefinition"
        async with _step("query the approval", member):
            answer = await member.peers[0].process(
                _LIFECYCLE, function, arguments.SerializeToString(), channel=self.channel
            )
        if answer.response.status != 200:  # 404, or an approval whose private data have not arrived
            return False
        found = lifecycle_pb2.QueryApprovedChaincodeDefinitionResult.FromString(answer.response.payload)
        return self.definition.agrees_with(found) and found.source.local_package.package_id == self.package.package_id

    async def approve(self, member: Member, sequence: int) -> None:
        local = lifecycle_pb2.ChaincodeSource.Local(package_id=self.package.package_id)
        arguments = lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs(
            **self.definition.fields(sequence),
            source=lifecycle_pb2.ChaincodeSource(local_package=local),
        )
        function = "ApproveChaincodeDefinitionForMyOrg"
        await self.submit("approve", member, function, arguments.SerializeToString(), [member.msp_id])

    async def commit(self, sequence: int) -> list[str]:
        """Commit, unless no majority has approved yet: then nothing is sent, and who has not is returned."""
        approvals = await self.wait_for_approvals(sequence)
        approved = [msp_id for msp_id, given in approvals.items() if given]
        if 2 * len(approved) <= len(approvals):
            return await self.missing(sequence)
        arguments = lifecycle_pb2.CommitChaincodeDefinitionArgs(
            **self.definition.fields(sequence),
        )
        await self.submit(
            "commit", self.members[0], "CommitChaincodeDefinition", arguments.SerializeToString(), sorted(approved)
        )
        return []

    async def missing(self, sequence: int) -> list[str]:
        """Who has not approved yet."""
        return sorted(msp_id for msp_id, given in (await self.wait_for_approvals(sequence)).items() if not given)

    async def submit(
        self, step: str, member: Member, function: str, arguments: bytes, organizations: list[str]
    ) -> None:
        """Send a lifecycle transaction; peers that gossip has not found yet are waited for."""
        deadline = time.monotonic() + _PATIENCE_S
        async with _step(step, member):
            while True:
                try:
                    result = await member.lifecycle.submit(function, arguments, endorsing_organizations=organizations)
                except EndorseError as error:
                    if not _not_discovered(error) or time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(_PAUSE_S)
                    continue
                self.transactions.append(result.transaction_id)
                self.changed = True
                return

    async def wait_for_approvals(self, sequence: int) -> dict[str, bool]:
        """Wait until the first organisation's peer has seen the approvals of all that are here; returns everybody's."""
        arguments = lifecycle_pb2.CheckCommitReadinessArgs(
            **self.definition.fields(sequence),
        ).SerializeToString()
        member = self.members[0]
        ours = {one.msp_id for one in self.members}
        approvals: dict[str, bool] = {}

        async def ready() -> bool:
            async with _step("check readiness", member):
                payload = await member.peers[0].call(
                    _LIFECYCLE, "CheckCommitReadiness", arguments, channel=self.channel
                )
            approvals.update(lifecycle_pb2.CheckCommitReadinessResult.FromString(payload).approvals)
            return all(approvals.get(msp_id, True) for msp_id in ours)

        if not await _poll(ready):
            missing = sorted(msp_id for msp_id in ours if not approvals[msp_id])
            raise LifecycleFailed(
                f"check readiness: {', '.join(missing)} have not approved {self.definition.name} at sequence "
                f"{sequence}; run the deployment again, or see the peers' logs"
            )
        return approvals

    async def wait_for_all(self, sequence: int) -> None:
        """Wait until every peer has the committed definition."""
        for owner, target in [(member, peer) for member in self.members for peer in member.peers]:

            async def arrived(member: Member = owner, peer: Endorser = target) -> bool:
                found = await _query_committed(member, peer, self.channel, self.definition.name)
                return found is not None and found.sequence >= sequence

            if not await _poll(arrived):
                raise LifecycleFailed(
                    f"commit: a peer of {owner.msp_id} has not received {self.definition.name} at sequence "
                    f"{sequence} within {_PATIENCE_S:g} s; `goldengrain network status` shows how far its chain is"
                )


async def _query_committed(
    member: Member, peer: Endorser, channel: str, name: str
) -> lifecycle_pb2.QueryChaincodeDefinitionResult | None:
    arguments = lifecycle_pb2.QueryChaincodeDefinitionArgs(name=name).SerializeToString()
    async with _step("query the committed definition", member):
        try:
            payload = await peer.call(_LIFECYCLE, "QueryChaincodeDefinition", arguments, channel=channel)
        except PeerError as error:
            if error.status == 404:
                return None
            raise
    return lifecycle_pb2.QueryChaincodeDefinitionResult.FromString(payload)


async def _query_installed(member: Member, peer: Endorser) -> set[str]:
    arguments = lifecycle_pb2.QueryInstalledChaincodesArgs().SerializeToString()
    async with _step("query the installed packages", member):
        payload = await peer.call(_LIFECYCLE, "QueryInstalledChaincodes", arguments)
    found = lifecycle_pb2.QueryInstalledChaincodesResult.FromString(payload)
    return {chaincode.package_id for chaincode in found.installed_chaincodes}


@asynccontextmanager
async def _step(step: str, member: Member) -> AsyncIterator[None]:
    """Translate what the gateway client raises, with the step and the organisation."""
    try:
        yield
    except GatewayError as error:
        if isinstance(error, PeerError) and error.grpc_code is grpc.StatusCode.UNAVAILABLE:
            raise NetworkNotRunning(
                f"{step}: the peer of {member.msp_id} does not answer ({error}); start the network with "
                "`goldengrain network up`"
            ) from error
        raise LifecycleFailed(f"{step} for {member.msp_id}: {error}") from error


def _not_discovered(error: EndorseError) -> bool:
    return error.grpc_code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION)


async def _poll(condition: Callable[[], Awaitable[bool]]) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_PAUSE_S)
    return True
