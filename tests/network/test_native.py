"""The native runtime: everything up to the first process start, handling of processes with stand-ins, and, where
FABRIC_BIN is set, real networks of several shapes."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from goldengrain.network.errors import (
    ChannelJoinFailed,
    FabricProgramsMissing,
    FabricTooOld,
    NetworkAlreadyRunning,
    StartFailed,
    TopologyConflict,
)
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from goldengrain.network.native import NativeNetwork, find_programs
from goldengrain.network.native_config import write_orderer, write_peer
from goldengrain.network.participation import Participation
from goldengrain.network.ports import assign_ports
from goldengrain.network.runtime import query_status, up
from goldengrain.network.topology import Orderer, Topology, default_topology

Programs = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Make a folder with stand-ins for `peer` and `orderer`, for the handling of processes only."""

    def make(version: str = "v3.1.5", peer: str = "exec sleep 60", orderer: str = "exec sleep 60") -> Path:
        folder = tmp_path / "bin"
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
    ("said", "version", "capability"),
    [
        ("v3.1.5", (3, 1), "V3_0"),
        ("3.0.0", (3, 0), "V3_0"),
        ("v2.5.12", (2, 5), "V2_0"),
        ("latest", (0, 0), "V3_0"),
    ],
)
async def test_the_channels_capability_follows_from_the_release(
    programs: Programs, said: str, version: tuple[int, int], capability: str
) -> None:
    found = await find_programs(programs(said))
    assert (found.version, found.channel_capability) == (version, capability)


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
        up(home)


def test_configurations_name_only_files_that_exist_and_only_this_machine(home: Home, topology: Topology) -> None:
    topology = assign_ports(topology, administration=True)
    for organization, peer in topology.peers():
        write_peer(home, topology, organization, peer)
    write_orderer(home, topology, topology.orderer.orderers[0])
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


@pytest.mark.fabric
async def test_a_real_network_comes_up_deploys_loses_nodes_and_comes_up_again(tmp_path: Path, fabric_bin: Path) -> None:
    """Three Raft orderers, two organisations of two peers: one of each is killed and comes back with its ledger."""
    topology = default_topology(2, peers=2)
    orderers = tuple(Orderer(name) for name in ("orderer", "orderer2", "orderer3"))
    topology = replace(topology, orderer=replace(topology.orderer, orderers=orderers))
    home = Home(tmp_path / "home")
    async with NativeNetwork(home, topology, fabric_bin) as network:
        assert (await deploy(home, "cc", "1", "127.0.0.1:9999")).sequence == 1
        await network.stop_node("orderer2.example.com", kill=True)
        await network.stop_node("peer1.org2.example.com", kill=True)
        await network.start_node("orderer2.example.com")
        await network.start_node("peer1.org2.example.com")
        assert (await deploy(home, "cc", "2", "127.0.0.1:9999")).sequence == 2
        status = await query_status(home)
        assert status.running
        heights = [node.height for node in status.nodes if node.height is not None]
        assert len(heights) == 4
        assert len(set(heights)) == 1
    assert not (await query_status(home)).running
    async with NativeNetwork(home, None, fabric_bin):
        again = await deploy(home, "cc", "2", "127.0.0.1:9999")
        assert (again.sequence, again.changed) == (2, False)
