"""Run a network on Fabric's own programs: `orderer` and `peer` as child processes on 127.0.0.1.

    async with NativeNetwork(Home(folder), default_topology()) as network:
        await deploy(network.home, "golden-grain", "1.0", "127.0.0.1:9999")

The folder is the same as the embedded network's (certificates, genesis block, connection profiles, wallet), and so is
everything above it: lifecycle, gateway client, contract. What differs lies in `HOME/nodes/HOST` (configuration, data)
and `HOME/logs/HOST.log`. All nodes are started at once; each joins the channel as soon as it answers: orderers by their
channel participation API, peers by `cscc`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import shutil
import signal
import urllib.request
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from fabric_protos.common import common_pb2

from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.gateway.identity import credentials_from_msp

from .creation import create, existing
from .errors import (
    ChannelJoinFailed,
    FabricProgramsMissing,
    FabricTooOld,
    NetworkAlreadyRunning,
    NetworkError,
    StartFailed,
)
from .home import Home, NetworkState, network_state
from .native_config import write_orderer, write_peer
from .participation import Participation
from .ports import assign_ports, check_ports_free
from .processes import NetworkLock, last_lines, start_time
from .topology import LOOPBACK, Orderer, Organization, Peer, Topology, default_topology

_OLDEST = (2, 5)
_PAUSE_S = 0.05
_GRACE_S = 10.0
_LOGGING = "info:grpc=error:gossip=warning"
_LOG_LINES = 15
_VERSION = re.compile(r"^\s*Version:\s*v?(\d+)\.(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class FabricPrograms:
    """Paths of Fabric's programs and their release; (0, 0) for a development build that does not say."""

    peer: Path
    orderer: Path
    version: tuple[int, int]

    @property
    def channel_capability(self) -> str:
        """The newest channel capability that this release knows."""
        return "V2_0" if (0, 0) < self.version < (3, 0) else "V3_0"


@dataclass
class _Node:
    """A program that runs, or ran, for one peer or orderer."""

    name: str
    command: tuple[str, ...]
    folder: Path
    log: Path
    offset: int = 0
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def exit_code(self) -> int | None:
        return self.process.returncode if self.process else None


async def find_programs(folder: Path | None = None) -> FabricPrograms:
    """Find `peer` and `orderer` in a folder, else in FABRIC_BIN, else on PATH.

    Raises:
        FabricProgramsMissing: if one is not there or does not run.
        FabricTooOld: if it is older than 2.5.

    """
    where = str(folder) if folder else os.environ.get("FABRIC_BIN") or None
    found = {name: shutil.which(name, path=where) for name in ("peer", "orderer")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        place = f"in {where}" if where else "on PATH"
        raise FabricProgramsMissing(
            f"Fabric's program {' and '.join(missing)} was not found {place}; set FABRIC_BIN to the folder that holds "
            "peer and orderer (2.5 or newer), or use the embedded runtime"
        )
    peer = str(found["peer"])
    try:
        process = await asyncio.create_subprocess_exec(
            peer, "version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
    except OSError as error:
        raise FabricProgramsMissing(f"{peer} does not run: {error}; build or fetch it for this machine") from error
    match = _VERSION.search(output.decode(errors="replace"))
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if (0, 0) < version < _OLDEST:
        raise FabricTooOld(f"{peer} is Fabric {version[0]}.{version[1]}; 2.5 or newer is needed")
    return FabricPrograms(Path(peer), Path(str(found["orderer"])), version)


class NativeNetwork:
    """A network of real peers and orderers that lives as long as its `async with` block.

    Attributes:
        home: the network's folder.
        topology: with its ports, once started.
        state: what `network.json` holds, once started.

    """

    def __init__(
        self,
        home: Home,
        topology: Topology | None = None,
        fabric_bin: Path | None = None,
        *,
        timeout_s: float = 60.0,
    ) -> None:
        """Prepare a network; nothing is started yet.

        Args:
            home: its folder; a network that is there already is started again.
            topology: what to create, default: three organisations.
            fabric_bin: where `peer` and `orderer` are; default: FABRIC_BIN, else PATH.
            timeout_s: how long all nodes may take until they have joined the channel, in seconds.

        """
        self.home = home
        self.topology = topology or default_topology()
        self.state: NetworkState | None = None
        self._wanted = topology
        self._fabric_bin = fabric_bin
        self._timeout = timeout_s
        self._nodes: dict[str, _Node] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> NativeNetwork:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> NetworkState:
        """Start every node and have it join the channel.

        Raises:
            FabricProgramsMissing, FabricTooOld: see `find_programs`.
            NetworkAlreadyRunning: if the network of this folder runs.
            TopologyConflict, PortTaken: see `runtime.up`.
            StartFailed: if a node ends, or not all have joined in time.
            ChannelJoinFailed: if a node refuses to join the channel.

        """
        programs = await find_programs(self._fabric_bin)
        try:
            self._lock()
            self.topology = self._existing() or create(
                self.home, self.topology, administration=True, channel_capability=programs.channel_capability
            )
            check_ports_free(self.topology)
            self._configure(programs)
            atexit.register(self._kill_left)
            async with asyncio.timeout(self._timeout):
                await _all_or_first_error([self._start(node) for node in self._nodes.values()])
                await _all_or_first_error(self._joins())
                await self._await_leader()
            self.state = network_state(
                self.topology, runtime="native", pid=os.getpid(), started=start_time(os.getpid())
            )
            self.home.save_state(self.state)
        except TimeoutError as error:
            lines = [line for node in self._nodes.values() for line in last_lines(node.log, 3, offset=node.offset)]
            await self.stop()
            raise StartFailed(f"the network was not ready after {self._timeout:g} s", lines) from error
        except BaseException:
            await self.stop()
            raise
        return self.state

    def _kill_left(self) -> None:
        """Kill what still runs when Python exits without `stop`."""
        for node in self._nodes.values():
            if node.process is not None and node.process.returncode is None:
                with suppress(ProcessLookupError):
                    os.kill(node.process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Stop every node: SIGTERM, after 10 seconds SIGKILL."""
        await asyncio.gather(*(self.stop_node(name) for name in self._nodes))
        atexit.unregister(self._kill_left)
        self._nodes.clear()
        if self.state is not None:
            self.home.network_file.unlink(missing_ok=True)
            self.state = None
        await self._stack.aclose()

    async def stop_node(self, name: str, *, kill: bool = False) -> None:
        """Stop one node, such as `peer0.org1.example.com`; with `kill` by SIGKILL, as a crash would."""
        process = self._nodes[name].process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _GRACE_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def start_node(self, name: str) -> None:
        """Start a node again that was stopped, and wait until it answers.

        Raises:
            StartFailed: if it ends instead.

        """
        await self._start(self._nodes[name])
        joins = self._joins(name)
        async with asyncio.timeout(self._timeout):
            await _all_or_first_error(joins)
            await self._await_leader()

    def _lock(self) -> None:
        lock = self._stack.enter_context(NetworkLock(self.home.lock_file))
        if not lock.acquire():
            raise NetworkAlreadyRunning(f"the network in {self.home.path} runs already; stop it first")

    def _existing(self) -> Topology | None:
        found = existing(self.home, self._wanted, runtime="native")
        if found is None:
            return None
        assigned = assign_ports(found, administration=True)  # it may have been created for the other runtime
        if assigned != found:
            self.home.save_topology(assigned)
        return assigned

    def _configure(self, programs: FabricPrograms) -> None:
        for orderer in self.topology.orderer.orderers:
            write_orderer(self.home, self.topology, orderer)
            self._add(orderer.host(self.topology.orderer), str(programs.orderer))
        for organization, peer in self.topology.peers():
            write_peer(self.home, self.topology, organization, peer)
            self._add(peer.host(organization), str(programs.peer), "node", "start")

    def _add(self, name: str, *command: str) -> None:
        self._nodes[name] = _Node(name, command, self.home.nodes / name, self.home.logs / f"{name}.log")

    async def _start(self, node: _Node) -> None:
        node.log.parent.mkdir(parents=True, exist_ok=True)
        node.offset = node.log.stat().st_size if node.log.exists() else 0
        folder = str(node.folder.absolute())
        with node.log.open("ab") as output:
            node.process = await asyncio.create_subprocess_exec(
                *node.command,
                cwd=folder,
                env={"FABRIC_CFG_PATH": folder, "FABRIC_LOGGING_SPEC": _LOGGING, "PATH": os.environ.get("PATH", "")},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )

    def _joins(self, only: str | None = None) -> list[Coroutine[Any, Any, None]]:
        genesis = self.home.genesis_file(self.topology.channel.name).read_bytes()
        joins: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        for orderer in self.topology.orderer.orderers:
            joins[orderer.host(self.topology.orderer)] = partial(self._join_orderer, orderer, genesis)
        for organization, peer in self.topology.peers():
            joins[peer.host(organization)] = partial(self._join_peer, organization, peer, genesis)
        return [join() for name, join in joins.items() if only in (None, name)]

    async def _join_orderer(self, orderer: Orderer, genesis: bytes) -> None:
        admin = self.home.user(self.topology.orderer, "Admin") / "tls"
        api = Participation(
            orderer.admin_port, root=admin / "ca.crt", certificate=admin / "client.crt", key=admin / "client.key"
        )
        node = self._nodes[orderer.host(self.topology.orderer)]
        await self._when_up(node, lambda: asyncio.to_thread(api.join, genesis))

    async def _await_leader(self) -> None:
        """Wait until one orderer leads the channel; until then no orderer takes transactions."""
        ports = [orderer.operations_port for orderer in self.topology.orderer.orderers]
        while not any(await asyncio.gather(*(asyncio.to_thread(_is_leader, port) for port in ports))):
            for orderer in self.topology.orderer.orderers:
                self._check_alive(self._nodes[orderer.host(self.topology.orderer)])
            await asyncio.sleep(_PAUSE_S)

    async def _join_peer(self, organization: Organization, peer: Peer, genesis: bytes) -> None:
        host = peer.host(organization)
        endpoint = ConnectionProfile.load(self.home.connection_profile(organization)).peers[host]
        admin = credentials_from_msp(self.home.user(organization, "Admin") / "msp", organization.msp_id)
        block = common_pb2.Block.FromString(genesis)

        async def join() -> None:
            async with Endorser.connect(endpoint, admin.identity, admin.signer) as endorser:
                try:
                    if self.topology.channel.name not in await endorser.channels():
                        await endorser.join_channel(block)
                except PeerError as error:
                    if error.grpc_code is grpc.StatusCode.UNAVAILABLE:
                        raise ConnectionError(str(error)) from error
                    raise ChannelJoinFailed(f"{host} refused to join the channel: {error}") from error

        await self._when_up(self._nodes[host], join)

    async def _when_up(self, node: _Node, action: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Try something until the node answers; give up when its process has ended."""
        while True:
            try:
                return await action()
            except OSError:
                self._check_alive(node)
                await asyncio.sleep(_PAUSE_S)

    def _check_alive(self, node: _Node) -> None:
        if node.exit_code is not None:
            raise StartFailed(
                f"{node.name} ended with exit code {node.exit_code}; its log is {node.log}",
                last_lines(node.log, _LOG_LINES, offset=node.offset),
            )


def _is_leader(operations_port: int) -> bool:
    """Whether an orderer is the Raft leader of a channel, by its metrics."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{operations_port}/metrics", timeout=5) as answer:
            metrics = answer.read().decode()
    except OSError:
        return False
    return re.search(r"^consensus_etcdraft_is_leader\{[^}]*\} 1$", metrics, re.MULTILINE) is not None


async def _all_or_first_error(actions: list[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first error ends the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(action)
    except* NetworkError as errors:
        raise errors.exceptions[0] from None
