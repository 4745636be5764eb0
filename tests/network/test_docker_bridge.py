"""Containers on a bridge network, up to the start of the first: every place that an address stands in, field by field.

They are not started here: they would talk over addresses of the bridge, and tests speak to 127.0.0.1 only. What Docker
makes of the arguments is looked at where there is an engine (`tests/network/test_docker.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import docker
import pytest
import yaml
from cryptography import x509
from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as raft_pb2
from fabric_protos.peer import configuration_pb2 as peer_pb2

from goldengrain.cli import contract_process
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.network import growth
from goldengrain.network.creation import create, existing
from goldengrain.network.docker_runtime import DockerNetwork, DockerRunner, compose_file, network_name, ports_of
from goldengrain.network.errors import DockerMissing, TopologyConflict, TopologyInvalid
from goldengrain.network.home import Home, network_state
from goldengrain.network.programs import FabricPrograms
from goldengrain.network.topology import Docker, Orderer, default_topology

BRIDGED = replace(default_topology(2, peers=2, orderers=3), docker=Docker(network="bridge"))
PROGRAMS = FabricPrograms(Path("peer"), Path("orderer"), (3, 1))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> DockerNetwork:
    """Such a network, made and configured; nothing runs."""
    made = DockerNetwork(Home(tmp_path_factory.mktemp("bridge") / "home"), BRIDGED)
    made.topology = made._create(PROGRAMS)
    made._configure(PROGRAMS)
    return made


@pytest.fixture
def told(network: DockerNetwork, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """What the SDK is told, by a client that no engine stands behind."""
    (network.home.path / "contract.json").unlink(missing_ok=True)
    client = Mock()

    class Runner(DockerRunner):
        @contextmanager
        def _engine(self) -> Iterator[Any]:
            yield client

    monkeypatch.setattr(contract_process, "DockerRunner", Runner)
    return client


@pytest.fixture
def group(network: DockerNetwork) -> configtx_pb2.ConfigGroup:
    """The channel's configuration in the genesis block."""
    block = common_pb2.Block.FromString(network.home.genesis_file("market").read_bytes())
    payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(block.data.data[0]).payload)
    return configtx_pb2.ConfigEnvelope.FromString(payload.data).config.channel_group


def test_the_channel_knows_nodes_by_their_host_names(network: DockerNetwork, group: configtx_pb2.ConfigGroup) -> None:
    topology = network.topology
    orderers = [(node.host(owner), node.port) for owner, node in topology.orderers()]
    ordering = group.groups["Orderer"]
    endpoints = ordering.groups["OrdererOrg"].values["Endpoints"].value
    assert list(configuration_pb2.OrdererAddresses.FromString(endpoints).addresses) == [f"{h}:{p}" for h, p in orderers]
    consensus = orderer_pb2.ConsensusType.FromString(ordering.values["ConsensusType"].value)
    consenters = raft_pb2.ConfigMetadata.FromString(consensus.metadata).consenters
    assert [(one.host, one.port) for one in consenters] == orderers
    for organization in topology.organizations:
        anchors = group.groups["Application"].groups[organization.msp_id].values["AnchorPeers"].value
        (anchor,) = peer_pb2.AnchorPeers.FromString(anchors).anchor_peers
        assert (anchor.host, anchor.port) == (organization.peers[0].host(organization), organization.peers[0].port)


def test_certificates_are_good_for_the_host_name_and_for_this_machine(network: DockerNetwork) -> None:
    folders = [network.home.peer(owner, peer) for owner, peer in network.topology.peers()]
    folders += [network.home.orderer(owner, node) for owner, node in network.topology.orderers()]
    for folder in folders:
        certificate = x509.load_pem_x509_certificate((folder / "tls" / "server.crt").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert set(names.get_values_for_type(x509.DNSName)) == {folder.name, folder.name.partition(".")[0], "localhost"}
        assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_nodes_listen_inside_and_are_announced_by_their_host_names(network: DockerNetwork) -> None:
    home, topology = network.home, network.topology
    organization = topology.organizations[0]
    first, second = organization.peers
    host, other = (peer.host(organization) for peer in (first, second))
    core = yaml.safe_load((home.nodes / host / "core.yaml").read_text())
    peer, gossip = core["peer"], core["peer"]["gossip"]
    assert (peer["listenAddress"], peer["address"]) == (f"0.0.0.0:{first.port}", f"{host}:{first.port}")
    assert peer["chaincodeListenAddress"] == f"0.0.0.0:{first.chaincode_port}"
    assert peer["chaincodeAddress"] == f"{host}:{first.chaincode_port}"
    assert gossip["bootstrap"] == f"{other}:{second.port}"
    assert gossip["endpoint"] == gossip["externalEndpoint"] == f"{host}:{first.port}"
    assert core["operations"]["listenAddress"] == f"0.0.0.0:{first.operations_port}"
    owner, orderer = next(topology.orderers())
    general = yaml.safe_load((home.nodes / orderer.host(owner) / "orderer.yaml").read_text())
    assert (general["General"]["ListenAddress"], general["General"]["ListenPort"]) == ("0.0.0.0", orderer.port)
    assert general["Admin"]["ListenAddress"] == f"0.0.0.0:{orderer.admin_port}"
    assert general["Operations"]["ListenAddress"] == f"0.0.0.0:{orderer.operations_port}"


def test_clients_on_this_machine_use_the_published_ports_and_expect_the_host_names(network: DockerNetwork) -> None:
    home, topology = network.home, network.topology
    organization = topology.organizations[0]
    profile = ConnectionProfile.load(home.connection_profile(organization))
    for owner, peer in topology.peers():
        endpoint = profile.peers[peer.host(owner)]
        assert (endpoint.address, endpoint.server_name) == (f"127.0.0.1:{peer.port}", peer.host(owner))
    raw = json.loads(home.connection_profile(organization).read_text())
    for owner, orderer in topology.orderers():
        described = raw["orderers"][orderer.host(owner)]
        assert described["url"] == f"grpcs://127.0.0.1:{orderer.port}"
        assert described["grpcOptions"]["ssl-target-name-override"] == orderer.host(owner)
    state = network_state(topology, runtime="docker", pid=0, started=0)
    assert state.organizations[0].peers[0].address == f"127.0.0.1:{organization.peers[0].port}"
    assert all(node.address.startswith("127.0.0.1:") for node in state.orderer.orderers)


def test_docker_is_told_of_alias_ports_and_this_machines_name(network: DockerNetwork, told: Mock) -> None:
    client = told
    client.api.create_endpoint_config.side_effect = lambda aliases: {"Aliases": aliases}
    runner = contract_process.DockerRunner(network.home, network.topology)
    (owner, peer), (ordering, orderer) = next(network.topology.peers()), next(network.topology.orderers())
    for node, ports in (
        (network._nodes[peer.host(owner)], (peer.port, peer.operations_port, peer.chaincode_port)),
        (network._nodes[orderer.host(ordering)], (orderer.port, orderer.admin_port, orderer.operations_port)),
    ):
        arguments = runner._arguments(client, node)
        assert "network_mode" not in arguments
        assert arguments["network"] == network_name(network.home)
        assert arguments["networking_config"] == {network_name(network.home): {"Aliases": [node.name]}}
        assert arguments["hostname"] == node.name
        assert arguments["ports"] == {f"{port}/tcp": ("127.0.0.1", port) for port in ports}
        assert arguments["extra_hosts"] == {"host.docker.internal": "host-gateway"}


def test_the_contract_listens_where_containers_reach_this_machine(network: DockerNetwork, told: Mock) -> None:
    told.networks.get.return_value.attrs = {"IPAM": {"Config": [{"Gateway": "192.0.2.1"}]}}
    found = contract_process.assign(network.home)
    port = found.address.rpartition(":")[2]
    assert found.address == f"192.0.2.1:{port}"
    assert found.package_address == f"host.docker.internal:{port}"
    assert contract_process.assign(network.home) == found
    told.networks.get.assert_called_once_with("bridge")


def test_without_a_default_bridge_the_contract_has_no_place(network: DockerNetwork, told: Mock) -> None:
    told.networks.get.side_effect = docker.errors.NotFound("no such network")
    with pytest.raises(DockerMissing, match="no default bridge"):
        contract_process.assign(network.home)
    assert contract_process.load(network.home) is None


def test_a_bridge_is_made_once_and_removed_with_its_last_container(network: DockerNetwork, told: Mock) -> None:
    runner = contract_process.DockerRunner(network.home, network.topology)
    told.containers.get.side_effect = docker.errors.NotFound("none")
    told.networks.list.return_value = []
    node = next(iter(network._nodes.values()))
    runner.start(node)
    label = {"goldengrain.home": str(network.home.path.absolute())}
    told.networks.create.assert_called_once_with(network_name(network.home), driver="bridge", labels=label)
    bridge = Mock()
    told.networks.list.return_value = [bridge]
    runner.start(node)
    told.networks.create.assert_called_once()
    told.containers.list.return_value = [Mock()]
    runner.stop([node])
    bridge.remove.assert_not_called()
    told.containers.list.return_value = []
    runner.stop([node])
    bridge.remove.assert_called_once_with()


def test_the_compose_file_says_the_same(network: DockerNetwork) -> None:
    document = yaml.safe_load(compose_file(network.home).read_text())
    assert document["networks"]["nodes"] == {
        "name": network_name(network.home),
        "driver": "bridge",
        "labels": {"goldengrain.home": str(network.home.path.absolute())},
    }
    assert len(document["services"]) == 7
    published = []
    for host, service in document["services"].items():
        assert "network_mode" not in service
        assert service["networks"] == {"nodes": {"aliases": [host]}}
        assert (service["hostname"], service["extra_hosts"]) == (host, ["host.docker.internal:host-gateway"])
        assert service["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports_of(network.topology, host)]
        published += service["ports"]
    assert len(set(published)) == 7 * 3


def test_the_same_topology_file_is_the_same_network_and_only_dockers(network: DockerNetwork) -> None:
    again = DockerNetwork(network.home, BRIDGED)
    assert again._existing() == network.topology
    with pytest.raises(TopologyConflict, match="containers on a bridge"):
        existing(network.home, None, runtime="native")


def test_a_network_of_another_runtime_is_not_put_on_a_bridge(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, BRIDGED, administration=True)
    with pytest.raises(TopologyConflict, match="made for another runtime"):
        DockerNetwork(home, None)._existing()


def test_an_address_of_its_own_is_refused_on_a_bridge() -> None:
    organization = BRIDGED.organizations[0]
    moved = replace(organization, peers=(replace(organization.peers[0], listen="10.0.0.1"),))
    with pytest.raises(TopologyInvalid, match=r"peer0\.org1\.example\.com: listen 10\.0\.0\.1 can't be on a bridge"):
        replace(BRIDGED, organizations=(moved,)).on_bridge()


def test_two_nodes_cannot_publish_the_same_port() -> None:
    organization = BRIDGED.organizations[0]
    peers = tuple(replace(peer, port=7051, listen=f"{peer.name}.org1.example.com") for peer in organization.peers)
    with pytest.raises(TopologyInvalid, match="ports: 7051"):
        replace(BRIDGED, organizations=(replace(organization, peers=peers),))


def test_a_node_that_is_added_is_on_the_bridge_too(network: DockerNetwork) -> None:
    topology = network.topology
    more = replace(topology.orderer, orderers=(*topology.orderer.orderers, Orderer("orderer9")))
    grown = growth._assigned(network.home, replace(topology, orderer=more))
    assert grown.orderer.orderers[-1].address == f"orderer9.example.com:{grown.orderer.orderers[-1].port}"
