"""The native runtime: everything up to the first process start, handling of processes with stand-ins, and, where
FABRIC_BIN is set, real networks of several shapes."""

from __future__ import annotations

import asyncio
import http.server
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.network import channels
from goldengrain.network.clocks import clock_difference
from goldengrain.network.errors import (
    ChannelJoinFailed,
    CouchDbUnusable,
    FabricProgramsMissing,
    FabricTooOld,
    NetworkAlreadyRunning,
    NetworkError,
    NetworkIncomplete,
    NetworkNotFound,
    NetworkNotRunning,
    StartFailed,
    TopologyConflict,
    TopologyInvalid,
)
from goldengrain.network.genesis import genesis_capability, write_genesis
from goldengrain.network.home import Home
from goldengrain.network.identities import own_identity
from goldengrain.network.lifecycle import deploy
from goldengrain.network.native import NativeNetwork
from goldengrain.network.native_config import peer_config, write_orderer, write_peer
from goldengrain.network.nodes import ProcessRunner, own_nodes, run_nodes
from goldengrain.network.participation import Participation, has_leader, leads
from goldengrain.network.ports import assign_ports
from goldengrain.network.programs import find_programs
from goldengrain.network.runtime import down, query_status, restart_node, up
from goldengrain.network.topology import Channel, CouchDb, Gossip, Peer, Topology, default_topology
from tests.conftest import need_release

Programs = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Make a folder with stand-ins for `peer` and `orderer`, for the handling of processes only."""

    def make(version: str = "v3.1.5", peer: str = "exec sleep 60", orderer: str = "exec sleep 60") -> Path:
        folder = make.folder = tmp_path / "bin"  # type: ignore[attr-defined]
        folder.mkdir()
        say = f'if [ "$1" = version ]; then echo "peer:"; echo " Version: {version}"; exit 0; fi\n'
        for name, script in (("peer", say + peer), ("orderer", orderer)):
            path = folder / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return folder

    return make


async def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FabricProgramsMissing, match=r"peer and orderer .* FABRIC_BIN"):
        await find_programs(tmp_path)
    monkeypatch.setenv("FABRIC_BIN", str(tmp_path))
    with pytest.raises(FabricProgramsMissing, match=str(tmp_path)):
        await find_programs()


@pytest.mark.parametrize(
    ("said", "orderer", "version", "release"),
    [
        ("v3.1.5", "", (3, 1), "Fabric 3.1"),
        ("3.0.0", "", (3, 0), "Fabric 3.0"),
        ("v2.5.12", "", (2, 5), "Fabric 2.5"),
        ("latest", "# dep\tgithub.com/hyperledger-labs/SmartBFT\tv0", (3, 0), "Fabric 3.0 (development build)"),
        ("latest", "# dep\tgo.etcd.io/etcd\tv0", (2, 5), "Fabric 2.5 (development build)"),
    ],
)
async def test_a_release_is_what_the_program_says_or_by_what_it_was_built(
    programs: Programs, said: str, orderer: str, version: tuple[int, int], release: str
) -> None:
    found = await find_programs(programs(said, orderer=orderer))
    assert (found.version, found.release, found.knows_fabric_3) == (version, release, version >= (3, 0))


async def test_what_only_fabric_3_knows_is_refused_for_older_programs_and_nothing_is_made(
    programs: Programs, home: Home, tmp_path: Path
) -> None:
    old = programs("v2.5.12")
    new = Home(tmp_path / "new")
    bft = default_topology(1, orderers=4, consensus="smartbft")
    with pytest.raises(FabricTooOld, match=r"orders by SmartBFT, which needs Fabric 3\.0 .* is Fabric 2\.5"):
        await NativeNetwork(new, bft, old).start()
    assert not new.path.exists()
    write_genesis(home, home.load_topology())
    with pytest.raises(FabricTooOld, match=r"capability V3_0, which needs Fabric 3\.0 .* is Fabric 2\.5"):
        await NativeNetwork(home, None, old).start()
    assert not home.nodes.exists()


def leave_out_joining(monkeypatch: pytest.MonkeyPatch, network: NativeNetwork) -> None:
    """Stand-ins never answer: only the handling of their processes is looked at."""
    monkeypatch.setattr(network, "_joins", lambda *_: [])
    monkeypatch.setattr(network, "_await_leader", lambda: asyncio.sleep(0))


async def test_for_fabric_2_5_the_channel_begins_with_the_capability_that_it_knows(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = NativeNetwork(Home(tmp_path / "home"), default_topology(1), programs("v2.5.12"))
    leave_out_joining(monkeypatch, network)
    await network.start()
    await network.stop()
    assert genesis_capability(network.home, "market") == "V2_0"
    config = yaml.safe_load((network.home.nodes / "peer0.org1.example.com" / "core.yaml").read_text())
    assert config["peer"]["handlers"]["authFilters"] == [{"name": "DefaultAuth"}, {"name": "ExpirationCheck"}]
    further = Channel("further")
    monkeypatch.setattr(channels, "_require_running", lambda _: None)
    monkeypatch.setattr(channels, "join_channels", lambda *_, **__: asyncio.sleep(0))
    await channels.create_channel(network.home, further)
    assert genesis_capability(network.home, "further") == "V2_0"
    network.home.genesis_file("further").write_bytes(b"\xff")
    with pytest.raises(NetworkIncomplete, match="cannot be read"):
        genesis_capability(network.home, "further")


async def test_a_release_that_is_too_old_is_refused(programs: Programs) -> None:
    with pytest.raises(FabricTooOld, match=r"2\.2; 2\.5 or newer"):
        await find_programs(programs("v2.2.9"))


async def test_a_program_that_is_not_for_this_machine_is_said_so(programs: Programs) -> None:
    folder = programs()
    (folder / "peer").write_bytes(b"\x7fELF not really")
    with pytest.raises(FabricProgramsMissing, match="does not run"):
        await find_programs(folder)


async def test_a_node_that_ends_is_reported_with_its_last_words_and_the_others_stop(
    programs: Programs, tmp_path: Path
) -> None:
    folder = programs(orderer="echo 'panic: no disk' >&2; exit 2")
    network = NativeNetwork(Home(tmp_path / "home"), default_topology(1), folder)
    with pytest.raises(StartFailed, match="exit code 2") as caught:
        await network.start()
    assert "panic: no disk" in caught.value.log_lines
    async with asyncio.timeout(1):
        await network.stop()
    assert not network.home.network_file.exists()


async def test_nodes_that_never_answer_are_stopped(programs: Programs, tmp_path: Path) -> None:
    network = NativeNetwork(Home(tmp_path / "home"), default_topology(1), programs(), timeout_s=0.5)
    with pytest.raises(StartFailed, match=r"not ready after 0\.5 s"):
        await network.start()


async def test_a_folder_in_use_is_refused(programs: Programs, tmp_path: Path) -> None:
    from goldengrain.network.processes import NetworkLock

    home = Home(tmp_path / "home")
    with NetworkLock(home.lock_file) as lock:
        assert lock.acquire()
        with pytest.raises(NetworkAlreadyRunning):
            await NativeNetwork(home, default_topology(1), programs()).start()


async def test_the_two_runtimes_do_not_share_a_ledger(programs: Programs, home: Home) -> None:
    home.ledger.mkdir()
    with pytest.raises(TopologyConflict, match="native runtime cannot use"):
        await NativeNetwork(home, None, programs()).start()
    home.ledger.rmdir()
    home.nodes.mkdir()
    with pytest.raises(TopologyConflict, match="embedded runtime cannot use"):
        up(home, runtime="embedded")


def test_configurations_name_only_files_that_exist_and_only_this_machine(home: Home, topology: Topology) -> None:
    topology = assign_ports(topology, administration=True)
    for organization, peer in topology.peers():
        write_peer(home, topology, organization, peer)
    write_orderer(home, topology, topology.orderer, topology.orderer.orderers[0])
    documents = [yaml.safe_load(path.read_text()) for path in home.nodes.glob("*/*.yaml")]
    assert len(documents) == 4
    seen = [value for document in documents for value in _texts(document)]
    for value in seen:
        if value.startswith(str(home.organizations)):
            assert Path(value).exists(), value
    listening = [value for value in seen if ":" in value and value.rpartition(":")[2].isdigit()]
    assert all(value.startswith("127.0.0.1:") for value in listening)
    assert len({int(value.rpartition(":")[2]) for value in listening}) == 3 * 3 + 2


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


class _Admin(http.server.BaseHTTPRequestHandler):
    """Answers as recorded from a real orderer (status and body), by what the request says."""

    seen: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(body)
        if b"garbage" in body:
            return self._answer(400, b'{"error":"cannot unmarshal file part config-block into a block"}\n')
        return self._answer(405 if self.seen.count(body) > 1 else 201, b"{}")

    def do_GET(self) -> None:
        if not self.path.endswith("/market"):
            return self._answer(404, b'{"error":"channel does not exist"}\n')
        return self._answer(
            200,
            b'{"name":"market","url":"/participation/v1/channels/market","consensusRelation":"consenter",'
            b'"status":"active","height":1}\n',
        )

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def admin_endpoint(home: Home, topology: Topology) -> Iterator[int]:
    """An HTTPS server with the orderer's certificate that wants a client certificate, as a real orderer does."""
    tls = home.orderer(topology.orderer, topology.orderer.orderers[0]) / "tls"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tls / "ca.crt"))
    context.load_cert_chain(tls / "server.crt", tls / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    _Admin.seen = []
    with http.server.HTTPServer(("127.0.0.1", 0), _Admin) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _participation(home: Home, topology: Topology, port: int) -> Participation:
    user = home.user(topology.orderer, "Admin") / "tls"
    return Participation(port, root=user / "ca.crt", certificate=user / "client.crt", key=user / "client.key")


def test_an_orderer_is_asked_to_join_with_a_form_and_a_client_certificate(
    home: Home, topology: Topology, admin_endpoint: int
) -> None:
    api = _participation(home, topology, admin_endpoint)
    api.join(b"\x00block\xff")
    assert b"\r\n\r\n\x00block\xff\r\n--" in _Admin.seen[0]
    assert b'name="config-block"' in _Admin.seen[0]
    info = api.info("market")
    assert info is not None
    assert (info.name, info.consensus_relation, info.status, info.height) == ("market", "consenter", "active", 1)
    assert api.info("other") is None


def test_an_orderers_refusal_is_passed_on(home: Home, topology: Topology, admin_endpoint: int) -> None:
    with pytest.raises(ChannelJoinFailed, match="cannot unmarshal"):
        _participation(home, topology, admin_endpoint).join(b"garbage")


def test_an_orderer_that_does_not_answer_is_an_operating_system_error(home: Home, topology: Topology) -> None:
    with pytest.raises(OSError, match="refused"):
        _participation(home, topology, topology.orderer.orderers[0].port).info("market")


def test_settings_are_laid_over_the_configuration(home: Home, topology: Topology) -> None:
    organization = topology.organizations[0]
    password = home.path / "couchdb.secret"
    password.write_text("s3cret\n")
    couchdb = CouchDb("127.0.0.1:5984", "admin", str(password))
    peer = Peer("peer0", 7051, 9443, 7052, couchdb=couchdb, config={"chaincode": {"executetimeout": "60s"}})
    gossip = Gossip(alive_ms=123)
    config = peer_config(home, replace(topology, gossip=gossip), organization, peer)
    assert config["chaincode"]["executetimeout"] == "60s"
    assert config["chaincode"]["installTimeout"] == "60s"
    assert config["peer"]["gossip"]["aliveTimeInterval"] == "123ms"
    assert config["ledger"]["state"]["stateDatabase"] == "CouchDB"
    assert config["ledger"]["state"]["couchDBConfig"]["password"] == "s3cret"
    password.unlink()
    with pytest.raises(TopologyInvalid, match="password of CouchDB"):
        peer_config(home, topology, organization, peer)


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Answers as CouchDB does to a user whose password is another."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "Basic YWRtaW46czNjcmV0"
        self.send_response(200 if known else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


async def test_a_couchdb_that_peers_cannot_use_is_named_before_anything_is_started(
    programs: Programs, tmp_path: Path
) -> None:
    folder, secret = programs(), tmp_path / "secret"

    async def coming_up(password: str, port: int) -> Home:
        secret.write_text(password)
        topology = default_topology(1)
        peer = Peer(couchdb=CouchDb(f"127.0.0.1:{port}", "admin", str(secret)))
        organization = replace(topology.organizations[0], peers=(peer,))
        home = Home(tmp_path / f"home-{password}-{port}")
        with pytest.raises(NetworkError) as caught:
            await NativeNetwork(home, replace(topology, organizations=(organization,)), folder, timeout_s=0.3).start()
        assert not home.topology_file.exists()
        assert not home.nodes.exists()
        raise caught.value

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(CouchDbUnusable, match=r"peer0\.org1\.example\.com .* refuses user 'admin' \(401"):
                await coming_up("wrong", server.server_address[1])
            with pytest.raises(StartFailed, match="not ready after"):
                await coming_up("s3cret", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(CouchDbUnusable, match="does not answer"):
        await coming_up("s3cret", server.server_address[1])


def test_a_nodes_configuration_is_readable_by_its_owner_only(home: Home, topology: Topology) -> None:
    topology = assign_ports(topology, administration=True)
    write_peer(home, topology, *next(topology.peers()))
    (path,) = home.nodes.glob("*/core.yaml")
    assert path.stat().st_mode & 0o077 == 0


def test_nodes_whose_keys_are_elsewhere_are_not_run_here(home: Home, topology: Topology) -> None:
    names = [node.name for node in own_nodes(home, topology)]
    assert len(names) == 4
    shutil.rmtree(home.organization(topology.organizations[2]))
    assert names[:-1] == [node.name for node in own_nodes(home, topology)]


def test_a_leader_is_read_from_an_orderers_metrics() -> None:
    raft = 'consensus_etcdraft_is_leader{channel="market"} 1\nconsensus_etcdraft_is_leader{channel="other"} 0\n'
    assert leads(raft, "market")
    assert not leads(raft, "other")
    assert not leads(raft, "arket")
    follower = 'consensus_BFT_is_leader{channel="market"} 0\nconsensus_BFT_leader_id{channel="market"} 2\n'
    assert has_leader(follower, "market")
    assert not leads(follower, "market")


async def test_a_network_outlives_who_started_it_and_is_stopped_by_its_folder(
    programs: Programs, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_genesis(home, home.load_topology())
    network = NativeNetwork(home, None, programs())
    leave_out_joining(monkeypatch, network)
    await network.start()
    nodes = run_nodes(home)
    assert len(nodes) == 4
    assert all(ProcessRunner().is_alive(node) for node in nodes)
    with pytest.raises(NetworkAlreadyRunning):
        await NativeNetwork(home, None, programs.folder).start()  # type: ignore[attr-defined]
    assert await asyncio.to_thread(down, home)
    assert not any(ProcessRunner().is_alive(node) for node in nodes)
    assert not await asyncio.to_thread(down, home)


async def test_a_node_that_runs_is_not_started_again(
    programs: Programs, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_genesis(home, home.load_topology())
    network = NativeNetwork(home, None, programs())
    leave_out_joining(monkeypatch, network)
    name = "peer0.org1.example.com"
    async with network:
        record = home.nodes / name / "process.json"
        first = record.read_bytes()
        await network.start_node(name)
        assert record.read_bytes() == first
        await network.stop_node(name)
        await network.stop_node(name)
        await network.start_node(name)
        assert record.read_bytes() != first


async def test_a_node_of_no_network_here_cannot_be_restarted(
    programs: Programs, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NetworkNotRunning, match="one process"):
        await restart_node(home, "peer0.org1.example.com")
    home.nodes.mkdir()
    monkeypatch.setenv("FABRIC_BIN", str(programs()))
    with pytest.raises(NetworkNotFound, match=r"no node 'peer9' .* peer0\.org1\.example\.com"):
        await restart_node(home, "peer9")
    with pytest.raises(NetworkNotRunning, match="does not run"):
        await restart_node(home, "peer0.org1.example.com")


@pytest.mark.fabric
@pytest.mark.check
async def test_four_smartbft_orderers_take_transactions_and_bear_the_loss_of_one(
    tmp_path: Path, fabric_bin: Path
) -> None:
    await need_release(fabric_bin, (3, 0), "SmartBFT")
    topology = default_topology(2, orderers=4, consensus="smartbft")
    async with NativeNetwork(Home(tmp_path / "home"), topology, fabric_bin) as network:
        assert (await deploy(network.home, "cc", "1", "127.0.0.1:9999")).sequence == 1
        await network.stop_node("orderer3.example.com", kill=True)
        assert (await deploy(network.home, "cc", "2", "127.0.0.1:9999")).sequence == 2


async def _clocks_are_read_off(home: Home) -> None:
    """As if this machine were seven seconds ahead of a real peer and a real orderer."""
    organization = home.load_topology().organizations[0]
    who = own_identity(home, organization)
    assert who is not None
    profile = ConnectionProfile.load(home.connection_profile(organization))
    for endpoint, orderer in ((profile.gateway(), False), (next(iter(profile.orderers.values())), True)):
        found = await clock_difference(endpoint, who, "market", orderer=orderer, ahead_s=7)
        assert found is not None
        assert -8.5 < found < -5.5


@pytest.mark.fabric
async def test_a_real_network_comes_up_deploys_loses_nodes_and_comes_up_again(tmp_path: Path, fabric_bin: Path) -> None:
    """Three Raft orderers, two organisations of two peers: one of each is killed and comes back with its ledger."""
    topology = default_topology(2, peers=2, orderers=3)
    home = Home(tmp_path / "home")
    async with NativeNetwork(home, topology, fabric_bin) as network:
        assert (await deploy(home, "cc", "1", "127.0.0.1:9999")).sequence == 1
        await network.stop_node("orderer2.example.com", kill=True)
        await network.stop_node("peer1.org2.example.com", kill=True)
        await network.start_node("orderer2.example.com")
        await network.start_node("peer1.org2.example.com")
        running = {node.name: (node.folder / "process.json").read_bytes() for node in run_nodes(home)}
        await asyncio.gather(*(network.start_node(name) for name in running))
        assert running == {node.name: (node.folder / "process.json").read_bytes() for node in run_nodes(home)}
        assert (await deploy(home, "cc", "2", "127.0.0.1:9999")).sequence == 2
        status = await query_status(home)
        assert status.running
        heights = [node.height for node in status.nodes if node.height is not None]
        assert len(heights) == 7
        assert sum(node.leader is True for node in status.nodes) == 1
        await _clocks_are_read_off(home)
        assert {node.chaincodes for node in status.nodes} == {(), ("cc 2 (2)",)}
    assert not (await query_status(home)).running
    async with NativeNetwork(home, None, fabric_bin):
        again = await deploy(home, "cc", "2", "127.0.0.1:9999")
        assert (again.sequence, again.changed) == (2, False)
