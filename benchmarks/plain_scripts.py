"""A network as plain scripts bring it up: one orderer, `peer` commands one after the other, Fabric's gossip defaults.

Certificates and genesis block are ours, since `cryptogen` and `configtxgen` may be missing; so is joining the orderer,
which `osnadmin` would do. All else is what the scripts of tutorials do.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

from goldengrain.network.creation import create
from goldengrain.network.home import Home
from goldengrain.network.native_config import write_orderer, write_peer
from goldengrain.network.packaging import ChaincodePackage
from goldengrain.network.participation import participation
from goldengrain.network.ports import is_free
from goldengrain.network.topology import Gossip, Organization, Peer, Topology, default_topology

GOSSIP = Gossip(
    alive_ms=5_000,
    reconnect_ms=25_000,
    state_info_ms=4_000,
    pull_ms=4_000,
    certificate_ms=10_000,
    membership_ms=5_000,
)
"""Fabric's own intervals."""
_EXPIRY = {"peer": {"gossip": {"aliveExpirationTimeout": "25s"}}}
_PATIENCE_S = 60.0


class PlainNetwork:
    """Three organisations with a peer each, one Raft orderer."""

    def __init__(self, home: Home, fabric_bin: Path) -> None:
        """Make certificates, genesis block and configuration files."""
        topology = replace(default_topology(), gossip=GOSSIP)
        organizations = tuple(
            replace(one, peers=tuple(replace(peer, config=_EXPIRY) for peer in one.peers))
            for one in topology.organizations
        )
        self.home = home
        self.topology: Topology = create(home, replace(topology, organizations=organizations), administration=True)
        self._bin = fabric_bin
        self._running: list[subprocess.Popen[bytes]] = []
        for owner, orderer in self.topology.orderers():
            write_orderer(home, self.topology, owner, orderer)
        for organization, peer in self.topology.peers():
            write_peer(home, self.topology, organization, peer)

    def up(self) -> None:
        """Start the orderer, have it join; then the peers, one after the other."""
        genesis = self.home.genesis_file(self.topology.channel.name)
        (owner, orderer), *_ = self.topology.orderers()
        self._start(orderer.host(owner), "orderer")
        _retry(lambda: not is_free(orderer.admin_port))
        participation(self.home, owner, orderer).join(genesis.read_bytes())
        for organization, peer in self.topology.peers():
            self._start(peer.host(organization), "peer", "node", "start")
        for organization, peer in self.topology.peers():
            _retry(lambda peer=peer: not is_free(peer.port))  # type: ignore[misc]
            self._peer(organization, peer, "channel", "join", "-b", str(genesis.absolute()))

    def deploy(self, name: str, package: ChaincodePackage) -> None:
        """Take the chaincode's lifecycle step by step."""
        archive = self.home.path / "package.tgz"
        archive.write_bytes(package.content)
        members = list(self.topology.peers())
        for organization, peer in members:
            self._peer(organization, peer, "lifecycle", "chaincode", "install", str(archive.absolute()))
        channel = self.topology.channel.name
        definition = ["-C", channel, "--name", name, "--version", "1", "--sequence", "1"]
        for organization, peer in members:
            approval = [*definition, "--package-id", package.package_id]
            self._ordered(organization, peer, "approveformyorg", *approval)
        addresses = []
        for organization, peer in members:
            root = self.home.peer(organization, peer) / "tls" / "ca.crt"
            addresses += ["--peerAddresses", peer.address, "--tlsRootCertFiles", str(root.absolute())]
        self._ordered(*members[0], "commit", *definition, *addresses)

    def down(self) -> None:
        """Stop all processes."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(15)

    def _ordered(self, organization: Organization, peer: Peer, step: str, *words: str) -> None:
        (owner, orderer), *_ = self.topology.orderers()
        root = self.home.orderer(owner, orderer) / "tls" / "ca.crt"
        tls = ["--tls", "--cafile", str(root.absolute())]
        self._peer(organization, peer, "lifecycle", "chaincode", step, "-o", orderer.address, *tls, *words)

    def _peer(self, organization: Organization, peer: Peer, *words: str) -> None:
        tls = self.home.peer(organization, peer) / "tls" / "ca.crt"
        environment = os.environ | {
            "FABRIC_CFG_PATH": str((self.home.nodes / peer.host(organization)).absolute()),
            "FABRIC_LOGGING_SPEC": "error",
            "CORE_PEER_ADDRESS": peer.address,
            "CORE_PEER_LOCALMSPID": organization.msp_id,
            "CORE_PEER_MSPCONFIGPATH": str((self.home.user(organization, "Admin") / "msp").absolute()),
            "CORE_PEER_TLS_ENABLED": "true",
            "CORE_PEER_TLS_ROOTCERT_FILE": str(tls.absolute()),
        }
        deadline = monotonic() + _PATIENCE_S
        while (done := self._run(words, environment)).returncode != 0:
            if monotonic() > deadline:
                raise RuntimeError(f"peer {' '.join(words)}: {done.stderr.decode(errors='replace')}")
            sleep(0.5)

    def _run(self, words: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([str(self._bin / "peer"), *words], env=environment, capture_output=True, check=False)

    def _start(self, host: str, program: str, *words: str) -> None:
        folder = self.home.nodes / host
        self.home.logs.mkdir(exist_ok=True)
        environment = {"FABRIC_CFG_PATH": str(folder.absolute()), "PATH": os.environ.get("PATH", "")}
        with (self.home.logs / f"{host}.log").open("wb") as log:
            command = [str(self._bin / program), *words]
            self._running.append(subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log))


@contextmanager
def plain_network(home: Home, fabric_bin: Path) -> Iterator[PlainNetwork]:
    """A network that is stopped at the end."""
    network = PlainNetwork(home, fabric_bin)
    try:
        yield network
    finally:
        network.down()


def _retry(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + _PATIENCE_S
    while not condition():
        if monotonic() > deadline:
            raise RuntimeError("a node does not listen")
        sleep(0.05)
