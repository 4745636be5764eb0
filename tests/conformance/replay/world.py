"""An embedded network that could be the recorded one: its keys, its genesis block, its time, its chaincodes."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from unittest import mock

import grpc
import grpc.aio
from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2, transaction_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2

from goldengrain.network.creation import create
from goldengrain.network.embedded.blocks import orderer_view
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.commits import CommittedBlock
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.embedded.packages import ChaincodeConnection, ChaincodePackage, parse_package
from goldengrain.network.home import Home
from goldengrain.network.packaging import ccaas_package
from goldengrain.network.topology import default_topology
from tests.conformance.replay.chaincodes import RecordedChaincode
from tests.recordings import archive
from tests.recordings.archive import files
from tests.recordings.blocks import blocks

ORGANIZATIONS = ("Org1MSP", "Org2MSP", "Org3MSP")
EXECUTE_TIMEOUT_S = {"chaincode/execute_timeout": 0.4}
"""How long a chaincode may take, in seconds, in the case that waits for it; else `PATIENCE_S`."""
PATIENCE_S = 20.0
DOWN = {
    "gateway/peer_down_two": ("peer0.org2.example.com", "peer0.org3.example.com"),
    "gateway/peer_down": ("peer0.org3.example.com",),
    "gateway/orderer_down": ("orderer.example.com",),
}
"""Nodes that were stopped, by the beginning of a case's name."""
NO_SERVER = "down"
"""The recorded chaincode whose package is installed and whose server never ran."""
NEVER_INSTALLED = ("noinst",)
OTHERS_INSTALLED_BEFORE = "lifecycle/queryinstalled"
WRONG_ID = "badreg"
"""The recorded chaincode whose server registers as another one."""


@dataclass
class Clock:
    """The network's time, in seconds since 1970; set before each request."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """The running network. `notes` collects what blocks of ours differ in from the recorded ones."""

    network: EmbeddedNetwork
    clock: Clock
    chaincodes: list[RecordedChaincode]
    channels: dict[str, grpc.aio.Channel]
    notes: list[str] = field(default_factory=list)
    _down: set[str] = field(default_factory=set)

    @property
    def channel(self) -> Channel:
        return self.network.channels["market"]

    @property
    def height(self) -> int:
        return self.channel.height

    def differences(self) -> list[str]:
        """What was noted since the last call."""
        found = list(self.notes)
        self.notes.clear()
        for chaincode in self.chaincodes:
            found += chaincode.differences
            chaincode.differences.clear()
        return found

    def batch_of(self, number: int) -> None:
        """Have the orderer cut a block as soon as it has this many transactions."""
        config = self.channel.config
        config.batch = replace(config.batch, max_message_count=number, timeout=5.0)

    def begin(self, case: str, time: float) -> None:
        """Set the clock and tell the chaincodes which case is played."""
        part, _, name = case.partition("/")
        self.clock.now = time
        for chaincode in self.chaincodes:
            chaincode.case = f"gw_{name}" if part == "gateway" else name
        for peer in self.network.peers:
            peer.endorser._executor._timeout_s = EXECUTE_TIMEOUT_S.get(case, PATIENCE_S)
        if case == OTHERS_INSTALLED_BEFORE:
            self._install_others()

    async def stop_nodes(self, case: str) -> None:
        """Stop the nodes that were down in a case; start the others."""
        down = next((hosts for prefix, hosts in DOWN.items() if case.startswith(prefix)), ())
        for host in self._down - set(down):
            await self.network.start_node(host)
        for host in sorted(set(down) - self._down):
            await self.network.stop_node(host)
        self._down = set(down)

    def _install_others(self) -> None:
        """Install what the other chaincodes came in, under the recorded ids: their files aren't recorded."""
        for block in blocks():
            for organization, name, package_id in approvals(block):
                (peer,) = [peer for peer in self.network.peers if peer.msp_id == organization]
                store = peer._packages
                if package_id and name not in NEVER_INSTALLED and store.get(package_id) is None:
                    content = ccaas_package(package_id.partition(":")[0], f"{name}.{organization}:1").content
                    store._packages[package_id] = replace(parse_package(content), package_id=package_id)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Run it in a folder."""
    home = _home(folder)
    clock = Clock()
    chaincodes = [RecordedChaincode(name, msp_id, package_id) for (name, msp_id), package_id in servers().items()]
    async with AsyncExitStack() as stack:
        addresses = {f"{NO_SERVER}.{msp_id}:1": _nobody(stack) for msp_id in ORGANIZATIONS}
        for chaincode in chaincodes:
            address = await chaincode.start()
            stack.push_async_callback(chaincode.stop)
            addresses |= dict.fromkeys(aliases(chaincode.name, chaincode.organization), address)
        stack.enter_context(_redirected(addresses))
        network = EmbeddedNetwork(home, clock=clock, execute_timeout_s=PATIENCE_S, joined=False)
        await stack.enter_async_context(network)
        found = World(network, clock, chaincodes, await _channels(home, stack))
        _commit_recorded_blocks(found)
        yield found


def _home(folder: Path) -> Home:
    """A network's folder with the recorded identities and genesis block; TLS certificates are today's."""
    home = Home(folder / "home")
    create(home, default_topology())
    recorded = folder / "recorded"
    archive.unpack("crypto", recorded)
    for path in recorded.rglob("msp"):
        target = home.organizations / path.relative_to(recorded)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(path, target)
    home.genesis_file("market").write_bytes(files("genesis")["market.block.pb"])
    return home


def _nobody(stack: AsyncExitStack) -> str:
    """An address that nobody listens on."""
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{taken.getsockname()[1]}"


def _redirected(addresses: dict[str, str]) -> AbstractContextManager[object]:
    """Have packages name the servers of this run instead of the recorded ones."""
    original = ChaincodePackage.connection

    def connection(package: ChaincodePackage) -> ChaincodeConnection:
        found = original(package)
        return replace(found, address=addresses.get(found.address, found.address))

    return mock.patch.object(ChaincodePackage, "connection", connection)


async def _channels(home: Home, stack: AsyncExitStack) -> dict[str, grpc.aio.Channel]:
    """A connection to each node, by the name that the recordings use."""
    topology = home.load_topology()
    roots = {"orderer": home.orderer(topology.orderer, topology.orderer.orderers[0])}
    addresses = {"orderer": topology.orderer.orderers[0].address}
    for organization in topology.organizations:
        name = f"peer0.{organization.domain.partition('.')[0]}"
        roots[name] = home.peer(organization, organization.peers[0])
        addresses[name] = organization.peers[0].address
    found = {}
    for name, address in addresses.items():
        credentials = grpc.ssl_channel_credentials((roots[name] / "tls" / "ca.crt").read_bytes())
        options = [("grpc.max_receive_message_length", -1)]
        found[name] = await stack.enter_async_context(grpc.aio.secure_channel(address, credentials, options))
    return found


def aliases(name: str, organization: str) -> list[str]:
    """Addresses that the packages of this chaincode name: our stand-ins' and the recorded one's."""
    recorded = {"vec": f"127.0.0.1:990{organization[3]}"}
    return [f"{name}.{organization}:1", *filter(None, [recorded.get(name)])]


@cache
def servers() -> dict[tuple[str, str], str]:
    """The package id that the server of each chaincode and organisation registers with."""
    found = {}
    for block in blocks():
        for organization, name, package_id in approvals(block):
            if name in (*NEVER_INSTALLED, NO_SERVER) or not package_id:
                continue
            found.setdefault((name, organization), package_id if name != WRONG_ID else "wrong:id")
    return found


def approvals(block: common_pb2.Block) -> list[tuple[str, str, str]]:
    """(organisation, chaincode, package id) of each approval in a block."""
    found = []
    for raw in block.data.data:
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(raw).payload)
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        if header.type != common_pb2.ENDORSER_TRANSACTION:
            continue
        for action in transaction_pb2.Transaction.FromString(payload.data).actions:
            content = transaction_pb2.ChaincodeActionPayload.FromString(action.payload)
            proposed = proposal_pb2.ChaincodeProposalPayload.FromString(content.chaincode_proposal_payload)
            spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(proposed.input).chaincode_spec
            if spec.chaincode_id.name == "_lifecycle" and spec.input.args[0] == b"ApproveChaincodeDefinitionForMyOrg":
                asked = lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs.FromString(spec.input.args[1])
                creator = common_pb2.SignatureHeader.FromString(payload.header.signature_header).creator
                msp_id = identities_pb2.SerializedIdentity.FromString(creator).mspid
                found.append((msp_id, asked.name, asked.source.local_package.package_id))
    return found


def _commit_recorded_blocks(world: World) -> None:
    """Where our orderer makes the recorded block but for its own signatures, have the recorded bytes committed.

    So every later block has the recorded hashes, and what is delivered can be compared byte for byte.
    """
    channel = world.channel
    original = channel.commit

    async def commit(block: common_pb2.Block, *, ordered_through: int | None = None) -> CommittedBlock:
        number = block.header.number
        if number < len(blocks()):
            recorded = orderer_view(blocks()[number])
            if _made_alike(block, recorded):
                block = recorded
            else:
                world.notes.append(f"block {number} holds other transactions than the recorded one")
        committed = await original(block, ordered_through=ordered_through)
        if number < len(blocks()) and channel.ledger.chain.block_bytes(number) != blocks()[number].SerializeToString():
            codes = [transaction_pb2.TxValidationCode.Name(one.code) for one in committed.transactions]
            world.notes.append(f"block {number} is not the recorded one once validated: {codes}")
        return committed

    channel.commit = commit  # type: ignore[method-assign]  # a test's own hold on the channel


def _made_alike(ours: common_pb2.Block, recorded: common_pb2.Block) -> bool:
    if ours.header == recorded.header and ours.data == recorded.data:
        return True
    if len(ours.data.data) != len(recorded.data.data) or ours.header.previous_hash != recorded.header.previous_hash:
        return False
    return all(_config(a) == _config(b) for a, b in zip(ours.data.data, recorded.data.data, strict=True))


def _config(raw: bytes) -> object:
    """A configuration transaction without the orderer's nonce, time and signature."""
    payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(raw).payload)
    header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    if header.type != common_pb2.CONFIG:
        return raw
    header.ClearField("timestamp")
    creator = common_pb2.SignatureHeader.FromString(payload.header.signature_header).creator
    return configtx_pb2.ConfigEnvelope.FromString(payload.data).SerializeToString(deterministic=True), header, creator
