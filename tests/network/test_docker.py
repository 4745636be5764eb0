"""The docker runtime: what it hands to Docker, what it says without it, and, where there is an engine, real networks.

No image of Fabric can be fetched here: one is made from the programs in FABRIC_BIN and imported into an engine that the
tests start for themselves, on a socket of its own.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import docker
import pytest
import yaml

from goldengrain.network import growth, runtime
from goldengrain.network.docker_runtime import (
    DockerNetwork,
    DockerRunner,
    compose,
    compose_file,
    container_name,
    network_name,
    version_of,
)
from goldengrain.network.errors import (
    DockerMissing,
    FabricTooOld,
    NetworkAlreadyRunning,
    NetworkError,
    NetworkIncomplete,
    PortTaken,
    StartFailed,
)
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from goldengrain.network.nodes import Node
from goldengrain.network.ports import free_port
from goldengrain.network.programs import FabricPrograms, find_programs
from goldengrain.network.topology import Docker, Orderer, Topology, default_topology
from tests.cli.test_demo import ENDS, left_running, played, require_sound
from tests.conformance import programs
from tests.conftest import need, need_release

LIBRARIES = {"/lib/x86_64-linux-gnu/libc.so.6": "lib/x86_64-linux-gnu", "/lib64/ld-linux-x86-64.so.2": "lib64"}
"""What the programs are linked against, and where it belongs."""


@pytest.fixture(scope="module")
def release(fabric_bin: Path) -> str:
    """The release that FABRIC_BIN's programs are of, as a tag: `3.1`, `2.5`."""
    return ".".join(map(str, asyncio.run(find_programs(fabric_bin)).version))


@pytest.fixture(scope="module")
def started_engine(fabric_bin: Path, release: str) -> Iterator[str]:
    """Docker's engine with images under the names of Fabric's; yields its address."""
    found = shutil.which("dockerd") and shutil.which("busybox") and os.getuid() == 0
    need("docker", found, "install docker.io and busybox-static, and run as root")
    folder = Path(tempfile.mkdtemp(prefix="goldengrain-docker-"))
    address = f"unix://{folder}/socket"
    command = ["dockerd", "--bridge=none", "--iptables=false", "-H", address, "--data-root", str(folder / "data")]
    command += ["--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _import_images(address, fabric_bin, release)
        yield address
    finally:
        process.terminate()
        process.wait(30)
        subprocess.run(["umount", str(folder / "exec" / "netns" / "default")], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine(started_engine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the engine, which is the one that Docker's clients use by themselves."""
    monkeypatch.setenv("DOCKER_HOST", started_engine)
    return started_engine


@asynccontextmanager
async def containers(home: Home, topology: Topology) -> AsyncIterator[None]:
    """A network on the engine that is up at first, and gone afterwards whatever happened to it."""
    await asyncio.to_thread(partial(runtime.up, home, topology, runtime="docker"))
    try:
        yield
    finally:
        await asyncio.to_thread(partial(runtime.down, home, purge=True))


def _import_images(address: str, fabric_bin: Path, release: str) -> None:
    deadline = time.monotonic() + 30
    while not Path(address.removeprefix("unix://")).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    client = docker.DockerClient(base_url=address, version="1.41")
    image = client.api.import_image_from_data(
        _root_file_system(fabric_bin), repository="hyperledger/fabric-peer", tag=release, changes=["ENV PATH=/bin"]
    )
    assert "error" not in image, image
    made = client.images.get(f"hyperledger/fabric-peer:{release}")
    tags = {release, "2.5"} | ({Docker().tag} if release >= "3" else set())  # 2.5's is looked at by name alone
    for repository, tag in [("orderer", "broken"), *((kind, tag) for kind in ("peer", "orderer") for tag in tags)]:
        made.tag(f"hyperledger/fabric-{repository}", tag)
    broken = client.api.import_image_from_data(
        _root_file_system(None), repository="hyperledger/fabric-peer", tag="broken", changes=["ENV PATH=/bin"]
    )
    assert "error" not in broken, broken
    client.close()


def _root_file_system(fabric_bin: Path | None) -> bytes:
    """A container's files; without Fabric's programs its `peer` is one that fails."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        fabric = (fabric_bin / "peer", fabric_bin / "orderer") if fabric_bin else ()
        for program in (*fabric, Path(str(shutil.which("busybox")))):
            archive.add(program.resolve(), f"bin/{program.name}")
        for name in ("sh", "grep", "cp", "mkdir", *(() if fabric_bin else ("peer",))):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for library, place in LIBRARIES.items():
            archive.add(Path(library).resolve(), f"{place}/{Path(library).name}")
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(tmp)
    return buffer.getvalue()


def test_without_an_engine_it_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    home = Home(tmp_path / "home")
    with pytest.raises(DockerMissing, match="engine does not answer"):
        runtime.up(home, default_topology(1), runtime="docker")
    assert not home.topology_file.exists()


def test_without_the_sdk_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(DockerMissing, match=r"pip install 'goldengrain\[docker\]'"):
        runtime.up(Home(tmp_path / "home"), default_topology(1), runtime="docker")


def test_the_compose_file_describes_every_node(home: Home) -> None:
    nodes = [
        Node(
            "peer0.a.test", "peer", home.nodes / "peer0.a.test", home.logs / "x", ("peer", "node", "start"), {"A": "b"}
        ),
        Node("orderer.test", "orderer", home.nodes / "orderer.test", home.logs / "y", ("orderer",)),
    ]
    topology = replace(default_topology(1), docker=Docker("2.5.9", peer_image="mirror/peer"))
    made = yaml.safe_load(yaml.safe_dump(compose(home, topology, nodes)))
    assert "networks" not in made
    peer, orderer = made["services"]["peer0.a.test"], made["services"]["orderer.test"]
    assert (peer["image"], orderer["image"]) == ("mirror/peer:2.5.9", "hyperledger/fabric-orderer:2.5.9")
    assert (
        peer["container_name"]
        == container_name(home, "peer0.a.test")
        != container_name(Home(Path("x")), "peer0.a.test")
    )
    assert peer["volumes"] == [f"{home.path.absolute()}:{home.path.absolute()}"]
    assert peer["environment"] == {"A": "b"}
    assert peer["labels"]["goldengrain.node"] == "peer0.a.test"
    assert peer["network_mode"] == orderer["network_mode"] == "host"


def test_a_release_is_read_from_a_tag() -> None:
    tags = ("3.1", "2.5.12", "v3.0", "latest", "3", "3.x")
    assert [version_of(tag) for tag in tags] == [(3, 1), (2, 5), (3, 0), (0, 0), (0, 0), (0, 0)]


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(180)
async def test_a_network_of_containers_comes_up_grows_goes_down_and_comes_up_again(
    engine: str, release: str, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    topology = on_images(Docker(release), default_topology(2, orderers=3))
    async with containers(home, topology):
        assert (await deploy(home, "cc", "1", "127.0.0.1:9999")).sequence == 1
        assert set(yaml.safe_load((home.path / "compose.yaml").read_text())["services"]) == {
            node.name for node in (await runtime.query_status(home)).nodes
        }
        with pytest.raises(NetworkAlreadyRunning, match=r"containers .* run already"):
            await asyncio.to_thread(runtime.up, home)
        await runtime.restart_node(home, "peer0.org1.example.com")
        await growth.add_orderer(home, Orderer("orderer4"), instead_of="orderer2")
        assert (await deploy(home, "cc", "2", "127.0.0.1:9999")).sequence == 2
        assert await asyncio.to_thread(runtime.down, home)
        assert not (await runtime.query_status(home)).running
        assert (await asyncio.to_thread(runtime.up, home)).runtime == "docker"
        assert (await deploy(home, "cc", "2", "127.0.0.1:9999")).changed is False
    assert not home.path.exists()


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(180)
async def test_docker_compose_runs_the_file_that_is_written(engine: str, release: str, tmp_path: Path) -> None:
    """A network that has been up once is started by compose alone, takes a transaction, and is stopped by it."""
    need("docker", shutil.which("docker-compose"), "install docker-compose")
    home = Home(tmp_path / "home")

    async def compose_does(*words: str) -> None:
        command = ["docker-compose", "--file", str(compose_file(home)), *words]
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, cwd=tmp_path)
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()

    topology = on_images(Docker(release), default_topology(orderers=3))
    async with containers(home, topology), programs.key_value(home) as deployed:
        await asyncio.to_thread(runtime.down, home)
        await compose_does("config", "--quiet")
        await compose_does("up", "--detach")
        assert runtime.is_running(home)
        await deployed.wait_ready("put", "composed", "yes")
        async with deployed.contract(1) as contract:
            assert (await contract.submit("put", "once", "more")).code == "VALID"
            assert await contract.evaluate("get", "composed") == b"yes"
        await compose_does("down")
        assert not runtime.is_running(home)
        assert everything(engine) == []


def everything(engine: str) -> list[str]:
    """Names of all containers and of all networks that tests made."""
    client = docker.DockerClient(base_url=engine, version="1.41")
    try:
        networks = [one.name for one in client.networks.list() if one.name not in ("host", "none")]
        return [one.name for one in client.containers.list(all=True)] + networks
    finally:
        client.close()


@pytest.mark.check
@pytest.mark.fabric
def test_an_engine_makes_bridge_and_container_as_it_is_told(engine: str, release: str, tmp_path: Path) -> None:
    """Made and looked at, not started: containers on a bridge would talk over other addresses than 127.0.0.1."""
    home = Home(tmp_path / "home")
    network = DockerNetwork(home, on_images(Docker(release, network="bridge")))
    network.topology = network._create(FabricPrograms(Path("peer"), Path("orderer"), (3, 1)))
    network._configure(FabricPrograms(Path("peer"), Path("orderer"), (3, 1)))
    runner = DockerRunner(home, network.topology)
    (_, peer), host = next(network.topology.peers()), "peer0.org1.example.com"
    with runner._engine() as client:
        made = runner.create(client, network._nodes[host])
        again = runner.create(client, network._nodes[host])
        assert made.id != again.id
        (bridge,) = client.networks.list(names=[network_name(home)])
        assert (bridge.attrs["Driver"], bridge.attrs["Labels"]) == ("bridge", {"goldengrain.home": str(home.path)})
        seen = client.containers.get(container_name(home, host)).attrs
    assert seen["Config"]["Hostname"] == host
    assert seen["Config"]["Labels"] == {"goldengrain.home": str(home.path), "goldengrain.node": host}
    assert host in seen["NetworkSettings"]["Networks"][network_name(home)]["Aliases"]
    assert len(seen["NetworkSettings"]["Networks"]) == 1
    ports = (peer.port, peer.operations_port, peer.chaincode_port)
    published = {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}] for port in ports}
    assert seen["HostConfig"]["PortBindings"] == published
    assert seen["HostConfig"]["ExtraHosts"] == ["host.docker.internal:host-gateway"]
    assert seen["HostConfig"]["Binds"] == [f"{home.path}:{home.path}:rw"]
    with pytest.raises(DockerMissing, match="no default bridge"):
        runner.host_gateway()
    if shutil.which("docker-compose"):
        command = ["docker-compose", "--file", str(compose_file(home)), "config", "--quiet"]
        subprocess.run(command, check=True, capture_output=True)
    runner.stop(network._nodes.values())
    assert everything(engine) == []


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(180)
@pytest.mark.parametrize("scenario", [None, "tampered-report"])
def test_the_demonstration_is_played_on_containers(
    engine: str, fabric_bin: Path, scenario: str | None, tmp_path: Path
) -> None:
    asyncio.run(need_release(fabric_bin, (3, 0), f"image with the tag {Docker().tag}, which the demonstration takes"))
    result, said = played(tmp_path, "--runtime", "docker", *(("--scenario", scenario) if scenario else ()))
    require_sound(result, "docker")
    assert "three real Raft orderers" in said
    assert [one["state"] for one in result["offers"]] == (ENDS[scenario] if scenario else ["settled"] * 3)
    assert left_running(tmp_path) == []
    assert everything(engine) == []


@contextmanager
def nothing(home: Home) -> Iterator[None]:
    yield


@contextmanager
def port_taken(home: Home) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", PORT)):
        yield


@contextmanager
def half_made(home: Home) -> Iterator[None]:
    """As somebody leaves a folder who removed a network's topology and certificates, but not its wallet."""
    home.wallet.mkdir(parents=True)
    yield


@dataclass(frozen=True)
class Mishap:
    """What goes wrong when a network of containers is to come up, and what is said of it."""

    error: type[NetworkError]
    says: str
    topology: Topology
    around: Callable[[Home], AbstractContextManager[None]] = nothing
    remains: tuple[str, ...] = ()
    """What is in the folder afterwards besides the lock and the logs."""


def on_images(settings: Docker, topology: Topology | None = None) -> Topology:
    return replace(topology or default_topology(1), docker=settings)


def with_port(port: int) -> Topology:
    topology = default_topology(1)
    (organization,) = topology.organizations
    peers = (replace(organization.peers[0], port=port),)
    return replace(topology, organizations=(replace(organization, peers=peers),))


PORT = free_port()
MISHAPS = {
    "no image": Mishap(
        DockerMissing,
        r"127\.0\.0\.1:1/none:0\.0 is not here and cannot be pulled",
        on_images(Docker("0.0", peer_image="127.0.0.1:1/none", orderer_image="127.0.0.1:1/none")),
    ),
    "an old release": Mishap(
        FabricTooOld,
        r"orders by SmartBFT, which needs Fabric 3\.0 or newer; orderer is Fabric 2\.5",
        on_images(Docker("2.5"), default_topology(1, orderers=4, consensus="smartbft")),
    ),
    "a port taken": Mishap(
        PortTaken, rf"port {PORT} of 127\.0\.0\.1, which peer0\.org1\.example\.com", with_port(PORT), port_taken
    ),
    "a folder half made": Mishap(NetworkIncomplete, "wallet exists, but", default_topology(1), half_made, ("wallet",)),
    "a node that ends": Mishap(
        StartFailed, r"peer0\.org1\.example\.com ended with exit code 1", on_images(Docker("broken"))
    ),
}


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.parametrize("what", MISHAPS)
def test_a_mishap_ends_in_one_line_and_leaves_nothing_running(
    engine: str, release: str, what: str, tmp_path: Path
) -> None:
    mishap, home = MISHAPS[what], Home(tmp_path / "home")
    usual = mishap.topology.docker == Docker()
    topology = on_images(Docker(release), mishap.topology) if usual else mishap.topology
    with mishap.around(home), pytest.raises(mishap.error, match=mishap.says) as caught:
        runtime.up(home, topology, runtime="docker", timeout_s=30)
    assert len(str(caught.value).partition("\n  | ")[0].splitlines()) == 1
    assert everything(engine) == []
    left = {path.name for path in home.path.iterdir()} if home.path.exists() else set()
    assert left - {"network.lock", "logs"} == set(mishap.remains)


@pytest.mark.check
@pytest.mark.fabric
def test_an_engine_that_is_gone_is_said_so_by_every_command(
    engine: str, release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    runtime.up(home, on_images(Docker(release)), runtime="docker")
    try:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/gone")
        for act in (partial(runtime.up, home), partial(runtime.down, home), partial(runtime.status, home)):
            with pytest.raises(DockerMissing, match="engine does not answer"):
                act()
    finally:
        monkeypatch.setenv("DOCKER_HOST", engine)
        runtime.down(home, purge=True)
    assert everything(engine) == []
