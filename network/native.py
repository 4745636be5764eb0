"""Run a network on Fabric's own programs: `orderer` and `peer` as processes of this machine.

    async with NativeNetwork(Home(folder), default_topology()) as network:
        await deploy(network.home, "golden-grain", "1.0", "127.0.0.1:9999")

The folder is the same as the embedded network's (certificates, genesis block, connection profiles, wallet), and so is
everything above it: lifecycle, gateway client, contract. What differs lies in `HOME/nodes/HOST` (configuration, data)
and `HOME/logs/HOST.log`. All nodes are started at once; each joins the channels as soon as it answers: orderers by
their channel participation API, peers by `cscc`. Nodes whose keys are not in the folder run elsewhere and are left to
their owners.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from .certificate_check import check_certificates
from .couchdb_servers import check_couchdbs
from .creation import create, existing, remove_created
from .errors import FabricTooOld, NetworkAlreadyRunning, NetworkError, NetworkNotFound, StartFailed
from .genesis import genesis_capability
from .home import Home, NetworkState, network_state
from .joining import join_peer
from .native_config import write_orderer, write_peer
from .nodes import Node, ProcessRunner, Runner, node_of, own_nodes, own_orderers, own_peers
from .participation import has_leader, participation, read_metrics
from .ports import assign_ports, check_ports_free
from .processes import NetworkLock
from .programs import FabricPrograms, find_programs
from .progress import Steps, silent
from .snapshot_join import join_by_snapshot
from .topology import Orderer, OrdererOrganization, Organization, Peer, Topology, default_topology

_PAUSE_S = 0.05
_LOGGING = "info:grpc=error:gossip=warning"
_LOG_LINES = 15


class NativeNetwork:
    """A network of real peers and orderers.

    `async with` takes it down at the end of the block; after `start` alone its nodes run on when the caller ends.

    Attributes:
        home: the network's folder.
        topology: with its ports, once started.
        state: what `network.json` holds, once started.

    """

    runtime = "native"

    def __init__(
        self,
        home: Home,
        topology: Topology | None = None,
        fabric_bin: Path | None = None,
        *,
        timeout_s: float = 60.0,
        steps: Steps = silent,
    ) -> None:
        """Prepare a network; nothing is started yet.

        Args:
            home: its folder; a network that is there already is started again.
            topology: what to create, default: three organisations.
            fabric_bin: where `peer` and `orderer` are; default: FABRIC_BIN, else PATH.
            timeout_s: how long all nodes may take until they have joined the channels, in seconds.
            steps: told what is being done.

        """
        self.home = home
        self.topology = topology or default_topology()
        self.state: NetworkState | None = None
        self._wanted = topology
        self._fabric_bin = fabric_bin
        self._timeout = timeout_s
        self._steps = steps
        self._nodes: dict[str, Node] = {}
        self._offsets: dict[str, int] = {}
        self._runner: Runner = ProcessRunner()

    async def __aenter__(self) -> NativeNetwork:
        atexit.register(self._kill_left)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> NetworkState:
        """Start every node and have it join its channels; on failure what was started is stopped again.

        Raises:
            FabricProgramsMissing: see `find_programs`.
            FabricTooOld: likewise, or if a channel needs Fabric 3 and they are of 2.5.
            NetworkAlreadyRunning: if the network of this folder runs.
            TopologyConflict, PortTaken: see `runtime.up`.
            CertificateUnusable: if a node's certificate has expired, or is another authority's.
            CouchDbUnusable: if a peer's CouchDB does not answer.
            StartFailed: if a node ends, or not all have joined in time.
            ChannelJoinFailed: if a node refuses to join a channel.

        """
        programs = await self._fit_programs()
        async with AsyncExitStack() as stack:
            lock = stack.enter_context(NetworkLock(self.home.lock_file))
            if not lock.acquire():
                raise NetworkAlreadyRunning(
                    f"the network in {self.home.path} runs already; `goldengrain network status` shows it, "
                    "`goldengrain network restart NODE` starts a node that ended"
                )
            self._runner = self._make_runner(lock.descriptor)
            try:
                await self._bring_up(programs)
            finally:
                self._runner = self._make_runner()
            lock.share()
        self.state = network_state(self.topology, runtime=self.runtime, pid=0, started=0)
        self.home.save_state(self.state)
        return self.state

    async def _bring_up(self, programs: FabricPrograms) -> None:
        with self._steps("certificates, genesis block"):
            found = self._existing()
            self.topology = found or self._create(programs)
        try:
            check_certificates(self.home, self.topology)
            check_ports_free(self.topology, {node.name for node in own_nodes(self.home, self.topology)})
            within = [one for one in own_peers(self.home, self.topology) if not self.topology.is_bridged(*one)]
            await asyncio.to_thread(check_couchdbs, within)
            self._configure(programs)
            await self._run()
        except BaseException:
            await self.stop()
            if found is None:
                remove_created(self.home)
            raise

    async def _run(self) -> None:
        with self._steps(f"{len(self._nodes)} nodes started, channels joined"), self._in_time():
            async with asyncio.timeout(self._timeout):
                for node in self._nodes.values():
                    self._start(node)
                await _all_or_first_error(self._joins())
        with self._steps("orderers agree on a leader"), self._in_time():
            async with asyncio.timeout(self._timeout):
                await self._await_leader()

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Translate a timeout, with the last words of every node."""
        try:
            yield
        except TimeoutError as error:
            lines = [line for node in self._nodes.values() for line in node.last_words(self._offsets[node.name], 3)]
            raise StartFailed(f"the network was not ready after {self._timeout:g} s", lines) from error

    def _kill_left(self) -> None:
        """Kill what still runs when Python exits without `stop`."""
        self._runner.stop(self._nodes.values(), kill=True)

    async def stop(self) -> None:
        """Stop every node: SIGTERM, after 10 seconds SIGKILL."""
        await asyncio.to_thread(self._runner.stop, list(self._nodes.values()))
        atexit.unregister(self._kill_left)
        self._nodes.clear()
        self.home.network_file.unlink(missing_ok=True)
        self.state = None

    async def stop_node(self, name: str, *, kill: bool = False) -> None:
        """Stop one node, such as `peer0.org1.example.com`, if it runs; with `kill` by SIGKILL, as a crash would.

        Raises:
            NetworkNotFound: there is no such node here.

        """
        await asyncio.to_thread(partial(self._runner.stop, [self.node(name)], kill=kill))

    async def start_node(self, name: str, config_blocks: Mapping[str, bytes] | None = None) -> None:
        """Start a node that is new or was stopped, and wait until it answers, has joined, and there is a leader.

        One that runs already goes on as it is.

        Args:
            name: its host name.
            config_blocks: the channels' newest configurations by their names, which a new orderer joins by.

        Raises:
            NetworkNotFound: there is no such node here.
            StartFailed: if it ends instead.

        """
        self._spawn(name)
        with self._in_time():
            async with asyncio.timeout(self._timeout):
                await _all_or_first_error(self._joins(name, config_blocks or {}))
                await self._await_leader()

    async def start_from_snapshot(self, organization: Organization, peer: Peer, snapshot: Path) -> None:
        """Start a new peer that begins with a snapshot of its channel.

        Raises:
            StartFailed: if it ends instead.
            SnapshotFailed: if it refuses the snapshot.

        """
        name = peer.host(organization)
        self._spawn(name)
        with self._in_time():
            async with asyncio.timeout(self._timeout):
                begin = partial(join_by_snapshot, self.home, organization, peer, snapshot)
                await self._when_up(self._nodes[name], begin)
                await _all_or_first_error(self._joins(name))

    def _spawn(self, name: str) -> None:
        """Start a node's process beside those that run, unless it is one of them."""
        node = self.node(name)
        if self._runner.is_alive(node):
            return
        with NetworkLock(self.home.lock_file) as lock:
            lock.share()
            self._runner = self._make_runner(lock.descriptor)
            try:
                self._start(node)
            finally:
                self._runner = self._make_runner()

    async def join(self) -> None:
        """Have every node join every channel that it belongs to and has not joined.

        Raises:
            StartFailed, ChannelJoinFailed: see `start`.

        """
        with self._in_time():
            async with asyncio.timeout(self._timeout):
                await _all_or_first_error(self._joins())
                await self._await_leader()

    async def attach(self) -> None:
        """Take over a network that was started before, to stop and start single nodes of it.

        Raises:
            NetworkNotFound: if the folder holds none.
            FabricProgramsMissing, FabricTooOld: see `start`.

        """
        self.topology = self.home.load_topology()
        self._configure(await self._fit_programs())

    def node(self, name: str) -> Node:
        """The node of a host name. Raises NetworkNotFound where none of that name is run here."""
        if name not in self._nodes:
            raise NetworkNotFound(f"no node {name!r} is run here; there are {', '.join(self._nodes) or 'none'}")
        return self._nodes[name]

    async def _fit_programs(self) -> FabricPrograms:
        """The programs, which have to know what the network's channels need."""
        programs = await self._find_programs()
        exists = self.home.topology_file.exists()
        topology = self.home.load_topology() if exists else self.topology
        for channel in () if programs.knows_fabric_3 else topology.channels:
            if channel.consensus == "smartbft":
                needs = "orders by SmartBFT"
            elif exists and genesis_capability(self.home, channel.name) == "V3_0":
                needs = "was made with the capability V3_0"
            else:
                continue
            raise FabricTooOld(
                f"channel {channel.name} {needs}, which needs Fabric 3.0 or newer; {programs.orderer} is "
                f"{programs.release}: take Fabric 3, or make a network of 2.5 with `consensus: raft`"
            )
        return programs

    async def _find_programs(self) -> FabricPrograms:
        return await find_programs(self._fabric_bin)

    def _make_runner(self, lock: int | None = None) -> Runner:
        """Who runs the nodes; processes inherit the open `lock` of the network's folder."""
        return ProcessRunner(lock)

    def _existing(self) -> Topology | None:
        found = existing(self.home, self._wanted, runtime=self.runtime)
        if found is None:
            return None
        assigned = assign_ports(found, administration=True)  # it may have been created for the other runtime
        if assigned != found:
            self.home.save_topology(assigned)
        return assigned

    def _create(self, programs: FabricPrograms) -> Topology:
        capability = None if programs.knows_fabric_3 else "V2_0"
        return create(self.home, self.topology, administration=True, channel_capability=capability)

    def _configure(self, programs: FabricPrograms) -> None:
        for owner, orderer in own_orderers(self.home, self.topology):
            write_orderer(self.home, self.topology, owner, orderer)
            self._add(node_of(self.home, orderer.host(owner), "orderer"), str(programs.orderer))
        for organization, peer in own_peers(self.home, self.topology):
            write_peer(self.home, self.topology, organization, peer, fabric_3=programs.knows_fabric_3)
            self._add(node_of(self.home, peer.host(organization), "peer"), str(programs.peer), "node", "start")

    def _add(self, node: Node, *command: str) -> None:
        environment = {"FABRIC_CFG_PATH": str(node.folder.absolute()), "FABRIC_LOGGING_SPEC": _LOGGING}
        self._nodes[node.name] = Node(node.name, node.kind, node.folder, node.log, command, environment)
        self._offsets[node.name] = 0

    def _start(self, node: Node) -> None:
        node.log.parent.mkdir(parents=True, exist_ok=True)
        self._offsets[node.name] = node.log.stat().st_size if node.log.exists() else 0
        self._runner.start(node)

    def _joins(
        self, only: str | None = None, config_blocks: Mapping[str, bytes] | None = None
    ) -> list[Coroutine[Any, Any, None]]:
        joins: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        for channel in self.topology.channels:
            newest = (config_blocks or {}).get(channel.name)
            genesis = newest or self.home.genesis_file(channel.name).read_bytes()
            for owner, orderer in own_orderers(self.home, self.topology):
                joins.append((orderer.host(owner), partial(self._join_orderer, owner, orderer, genesis)))
            for member, peer in own_peers(self.home, self.topology):
                if member in self.topology.members(channel):
                    join = partial(join_peer, self.home, member, peer, channel.name)
                    joins.append((peer.host(member), partial(self._when_up, self._nodes[peer.host(member)], join)))
        return [join() for name, join in joins if only in (None, name)]

    async def _join_orderer(self, owner: OrdererOrganization, orderer: Orderer, genesis: bytes) -> None:
        api = participation(self.home, owner, orderer)
        await self._when_up(self._nodes[orderer.host(owner)], lambda: asyncio.to_thread(api.join, genesis))

    async def _await_leader(self) -> None:
        """Wait until some orderer of ours knows a leader of every channel; until then none takes transactions."""
        orderers = own_orderers(self.home, self.topology)
        wanted = {channel.name for channel in self.topology.channels} if orderers else set()
        while wanted:
            found = await asyncio.gather(*(asyncio.to_thread(read_metrics, one.operations_port) for _, one in orderers))
            wanted = {channel for channel in wanted if not any(has_leader(metrics, channel) for metrics in found)}
            for owner, orderer in orderers:
                self._check_alive(self._nodes[orderer.host(owner)])
            await asyncio.sleep(_PAUSE_S if wanted else 0)

    async def _when_up(self, node: Node, action: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Try something until the node answers; give up when its process has ended."""
        while True:
            try:
                return await action()
            except OSError:
                self._check_alive(node)
                await asyncio.sleep(_PAUSE_S)

    def _check_alive(self, node: Node) -> None:
        if not self._runner.is_alive(node):
            raise StartFailed(
                f"{node.name} ended with exit code {self._runner.exit_code(node)}; its log is {node.log}",
                node.last_words(self._offsets[node.name], _LOG_LINES),
            )


async def _all_or_first_error(actions: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first error ends the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(action)
    except* NetworkError as errors:
        raise errors.exceptions[0] from None
