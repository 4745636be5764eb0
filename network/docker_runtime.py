"""Run a network's peers and orderers as containers of Fabric's published images, by Docker's Python SDK.

    async with DockerNetwork(home, topology) as network: …

All is as with the native runtime but for who runs the nodes: each is a container that sees the network's folder at its
own path, so that configuration, data and logs lie where they always do. It is on the host's network, or, where the
topology says `docker: {network: bridge}`, on one of the network's own: nodes know each other there by their host names,
which genesis block, gossip and certificates bear, while this machine's programs reach each at its ports, published at
127.0.0.1, and connection profiles say so. From a bridge this machine is `host.docker.internal`; chaincode is there a
container on the same network, or a server that listens where Docker's gateway leads. Containers bear the labels
`goldengrain.home` and `goldengrain.node`; `HOME/compose.yaml` describes the same for `docker compose`.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from .errors import DockerMissing, NetworkAlreadyRunning, StartFailed, StopFailed, TopologyConflict
from .home import Home, NetworkState, write_atomically
from .native import NativeNetwork
from .nodes import GRACE_S, Node, Runner
from .programs import FabricPrograms
from .topology import LOOPBACK, Docker, Topology, node_ports

HOME_LABEL = "goldengrain.home"
NODE_LABEL = "goldengrain.node"
HOST_ALIAS = "host.docker.internal"
"""What this machine is called inside a container on a bridge."""

_API = "1.41"  # Docker 20.10; a fixed one needs no question to the engine beforehand
_DEFAULT = "unix:///var/run/docker.sock"
_INSTALL = "start it (`systemctl start docker`), or use `--runtime native` or `embedded`"


class DockerRunner:
    """Runs nodes as containers; those that were stopped are removed, their data stay in the network's folder."""

    def __init__(self, home: Home, topology: Topology) -> None:
        """See that Docker's engine answers.

        Args:
            home: the network's folder.
            topology: its topology: images, and which ports are published on a bridge.

        Raises:
            DockerMissing: if its Python SDK is not installed, or no engine answers.

        """
        self.home = home
        self.topology = topology
        self.settings = topology.docker
        try:
            import docker
        except ImportError as error:
            raise DockerMissing("Docker's Python SDK is not installed: pip install 'goldengrain[docker]'") from error
        self._docker = docker
        with self._engine() as client:
            client.ping()

    @contextmanager
    def _engine(self) -> Iterator[Any]:
        """A connection to the engine, as DOCKER_HOST or the platform's default says."""
        _try_socket(os.environ.get("DOCKER_HOST") or _DEFAULT)
        client = self._docker.from_env(version=_API, timeout=60)
        try:
            yield client
        except OSError as error:  # requests' errors are such
            raise DockerMissing(f"Docker's engine does not answer ({error}); {_INSTALL}") from error
        finally:
            client.close()

    def check_images(self) -> None:
        """See that both images are here, and pull what is missing.

        Raises:
            DockerMissing: if one is not here and cannot be pulled.

        """
        with self._engine() as client:
            for image in dict.fromkeys(image_of(self.settings, kind) for kind in ("peer", "orderer")):
                try:
                    client.images.get(image)
                except self._docker.errors.ImageNotFound:
                    self._pull(client, image)

    def _pull(self, client: Any, image: str) -> None:
        try:
            client.images.pull(image)
        except self._docker.errors.APIError as error:
            raise DockerMissing(f"image {image} is not here and cannot be pulled: {error.explanation}") from error

    def start(self, node: Node) -> None:
        """Start a container. Raises StartFailed where the engine refuses."""
        with self._engine() as client:
            try:
                self.create(client, node).start()
            except self._docker.errors.APIError as error:
                raise StartFailed(f"Docker does not start {node.name}: {error.explanation}") from error

    def create(self, client: Any, node: Node) -> Any:
        """Make a node's container in the place of an older one, and the bridge that it is on; nothing is started."""
        container = self._container(client, node)
        if container is not None:
            container.remove(force=True)
        if self.settings.network == "bridge" and not client.networks.list(names=[network_name(self.home)]):
            client.networks.create(network_name(self.home), driver="bridge", labels={HOME_LABEL: home_label(self.home)})
        return client.containers.create(**self._arguments(client, node))

    def is_alive(self, node: Node) -> bool:
        """Whether its container runs."""
        with self._engine() as client:
            container = self._container(client, node)
            return container is not None and container.status in ("created", "running", "restarting")

    def exit_code(self, node: Node) -> int | None:
        """What its container ended with; None while it runs or where there is none."""
        with self._engine() as client:
            container = self._container(client, node)
            ended = container is not None and container.status in ("exited", "dead")
            return int(container.attrs["State"]["ExitCode"]) if ended else None

    def stop(self, nodes: Iterable[Node], *, kill: bool = False) -> None:
        """Stop containers, all told at once, and remove them."""
        with self._engine() as client:
            found = [container for node in nodes if (container := self._container(client, node)) is not None]
            for container in found:
                with suppress(self._docker.errors.APIError):  # it ended by itself
                    container.kill("SIGKILL" if kill else "SIGTERM")
            for container in found:
                try:
                    container.stop(timeout=int(GRACE_S))
                    container.remove(force=True)
                except self._docker.errors.APIError as error:
                    raise StopFailed(f"Docker does not stop {container.name}: {error.explanation}") from error
            self._remove_bridge(client)

    def _remove_bridge(self, client: Any) -> None:
        """Remove the network's bridge when no container of the network is left."""
        label = {"label": f"{HOME_LABEL}={home_label(self.home)}"}
        if client.containers.list(all=True, filters=label):
            return
        for bridge in client.networks.list(filters=label):
            with suppress(self._docker.errors.APIError):  # a chaincode's container is on it still
                bridge.remove()

    def host_gateway(self) -> str:
        """The address of this machine that containers reach under `HOST_ALIAS`.

        Raises:
            DockerMissing: if the engine has no default bridge, whose gateway that is.

        """
        with self._engine() as client:
            try:
                return str(client.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"])
            except (self._docker.errors.NotFound, LookupError) as error:
                raise DockerMissing(
                    "Docker's engine has no default bridge, by which containers reach this machine; start it without "
                    "--bridge=none, or use `docker: {network: host}`"
                ) from error

    def names(self) -> list[str]:
        """Host names of this network's nodes that have a running container."""
        label = f"{HOME_LABEL}={home_label(self.home)}"
        with self._engine() as client:
            return sorted(one.labels[NODE_LABEL] for one in client.containers.list(filters={"label": label}))

    def _arguments(self, client: Any, node: Node) -> dict[str, Any]:
        return self._place(client, node) | {
            "image": image_of(self.settings, node.kind),
            "name": container_name(self.home, node.name),
            "entrypoint": ["sh", "-c", 'exec "$@" >>"$LOG" 2>&1', "node"],
            "command": list(node.command),
            "environment": {**node.environment, "LOG": str(node.log.absolute())},
            "working_dir": str(node.folder.absolute()),
            "volumes": {home_label(self.home): {"bind": home_label(self.home), "mode": "rw"}},
            "user": f"{os.getuid()}:{os.getgid()}",
            "labels": labels(self.home, node.name),
        }

    def _place(self, client: Any, node: Node) -> dict[str, Any]:
        """The arguments that say which network a container is on."""
        if self.settings.network == "host":
            return {"network_mode": "host"}
        bridge = network_name(self.home)
        return {
            "network": bridge,
            "networking_config": {bridge: client.api.create_endpoint_config(aliases=[node.name])},
            "hostname": node.name,
            "ports": {f"{port}/tcp": (LOOPBACK, port) for port in ports_of(self.topology, node.name)},
            "extra_hosts": {HOST_ALIAS: "host-gateway"},
        }

    def _container(self, client: Any, node: Node) -> Any:
        try:
            return client.containers.get(container_name(self.home, node.name))
        except self._docker.errors.NotFound:
            return None


class DockerNetwork(NativeNetwork):
    """A network whose nodes are containers; see `NativeNetwork`."""

    runtime = "docker"

    async def start(self) -> NetworkState:
        """Start every node; see `NativeNetwork.start`.

        Raises:
            DockerMissing: if the engine, its SDK or an image is missing.

        """
        if names := DockerRunner(self.home, self._described()).names():
            raise NetworkAlreadyRunning(
                f"containers of the network in {self.home.path} run already: {', '.join(names)}; "
                "`goldengrain network status` shows it"
            )
        return await super().start()

    async def _find_programs(self) -> FabricPrograms:
        """The programs are the images'; their release is the tag's."""
        runner = DockerRunner(self.home, self._described())
        docker = runner.settings
        with self._steps(f"images {docker.peer_image} and {docker.orderer_image}, {docker.tag}"):
            runner.check_images()
        return FabricPrograms(Path("peer"), Path("orderer"), version_of(docker.tag))

    def _make_runner(self, lock: int | None = None) -> Runner:
        """Containers hold no lock: whether they run is what the engine says."""
        del lock
        return DockerRunner(self.home, self._described())

    def _described(self) -> Topology:
        return self.home.load_topology() if self.home.topology_file.exists() else self.topology

    def _existing(self) -> Topology | None:
        if self._wanted is not None and self._wanted.docker.network == "bridge":
            self._wanted = self._wanted.on_bridge()
        found = super()._existing()
        if found is not None and found.docker.network == "bridge" and found != found.on_bridge():
            raise TopologyConflict(
                f"the network in {self.home.path} was made for another runtime: its nodes' addresses aren't their host "
                "names, as a bridge network needs; run it as before, or choose another folder with --home"
            )
        return found

    def _create(self, programs: FabricPrograms) -> Topology:
        if self.topology.docker.network == "bridge":
            self.topology = self.topology.on_bridge()
        return super()._create(programs)

    def _configure(self, programs: FabricPrograms) -> None:
        super()._configure(programs)
        document = compose(self.home, self.topology, list(self._nodes.values()))
        write_atomically(compose_file(self.home), yaml.safe_dump(document, sort_keys=False).encode())


def compose_file(home: Home) -> Path:
    """`HOME/compose.yaml`, which also says that Docker runs this network."""
    return home.path / "compose.yaml"


def compose(home: Home, topology: Topology, nodes: Iterable[Node]) -> dict[str, Any]:
    """The network's nodes as services of a compose file."""
    services = {node.name: _service(home, topology, node) for node in nodes}
    document: dict[str, Any] = {"version": "3.8", "services": services}
    if topology.docker.network == "bridge":
        bridge = {"name": network_name(home), "driver": "bridge", "labels": {HOME_LABEL: home_label(home)}}
        document["networks"] = {"nodes": bridge}
    return document


def _service(home: Home, topology: Topology, node: Node) -> dict[str, Any]:
    folder = home_label(home)
    service: dict[str, Any] = {
        "image": image_of(topology.docker, node.kind),
        "container_name": container_name(home, node.name),
        "command": list(node.command),
        "environment": dict(node.environment),
        "working_dir": str(node.folder.absolute()),
        "volumes": [f"{folder}:{folder}"],
        "user": f"{os.getuid()}:{os.getgid()}",
        "labels": labels(home, node.name),
    }
    if topology.docker.network == "host":
        return service | {"network_mode": "host"}
    return service | {
        "hostname": node.name,
        "networks": {"nodes": {"aliases": [node.name]}},
        "ports": [f"{LOOPBACK}:{port}:{port}" for port in ports_of(topology, node.name)],
        "extra_hosts": [f"{HOST_ALIAS}:host-gateway"],
    }


def ports_of(topology: Topology, host: str) -> list[int]:
    """Every port of the node of a host name, which are published on a bridge under the same numbers."""
    nodes = [(peer.host(owner), node_ports(peer)) for owner, peer in topology.peers()]
    nodes += [(orderer.host(owner), node_ports(orderer)) for owner, orderer in topology.orderers()]
    return [port for name, ports in nodes for port in ports if name == host and port]


def image_of(settings: Docker, kind: str) -> str:
    """The image of a `peer` or an `orderer`."""
    return f"{settings.peer_image if kind == 'peer' else settings.orderer_image}:{settings.tag}"


def container_name(home: Home, host: str) -> str:
    """The name of a node's container; networks of other folders have other names."""
    return f"goldengrain-{_short(home)}-{host}"


def network_name(home: Home) -> str:
    """The name of a network's bridge."""
    return f"goldengrain-{_short(home)}"


def home_label(home: Home) -> str:
    """The network's folder, which containers and the bridge are labelled with and which containers see."""
    return str(home.path.absolute())


def labels(home: Home, host: str) -> dict[str, str]:
    """What a container is labelled with."""
    return {HOME_LABEL: home_label(home), NODE_LABEL: host}


def version_of(tag: str) -> tuple[int, int]:
    """The release that an image's tag names; (0, 0) for one such as `latest`."""
    parts = tag.lstrip("v").split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and all(part.isdigit() for part in parts[:2]) else (0, 0)


def _try_socket(address: str) -> None:
    """See that somebody listens on a Unix socket: the SDK leaves a connection that fails open."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(address.removeprefix("unix://"))
            except OSError as error:
                raise DockerMissing(f"Docker's engine does not answer at {address} ({error}); {_INSTALL}") from error


def _short(home: Home) -> str:
    return hashlib.sha256(str(home.path.absolute()).encode()).hexdigest()[:8]
