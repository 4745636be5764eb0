"""Networks that others run: used through a connection profile and an identity; keys that lie apart."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from goldengrain.gateway.errors import IdentityError
from goldengrain.gateway.identity import Credentials
from goldengrain.network import runtime
from goldengrain.network.errors import ImportRefused, NetworkAlreadyRunning, NetworkIncomplete
from goldengrain.network.home import Home
from goldengrain.network.importing import import_network, read_identity
from goldengrain.network.lifecycle import committed, deploy
from goldengrain.network.topology import Organization


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path / "theirs")
    await asyncio.to_thread(runtime.up, home)
    yield home
    await asyncio.to_thread(runtime.down, home)


def identity(home: Home, number: int, name: str = "Admin") -> tuple[Credentials, bytes]:
    organization = home.load_topology().organizations[number]
    folder = home.user(organization, name) / "msp"
    return read_identity(organization.msp_id, folder=folder, certificate=None, key=None)


def profile_of(home: Home, number: int) -> Path:
    return home.connection_profile(home.load_topology().organizations[number])


def as_the_test_network_writes_it(home: Home, organization: Organization, path: Path) -> Path:
    """Only the own peers, no orderers, no channels, `localhost` in the addresses, JSON or YAML by the suffix."""
    document = json.loads(home.connection_profile(organization).read_text())
    own = document["organizations"][organization.name]
    peers = {name: document["peers"][name] for name in own["peers"]}
    for peer in peers.values():
        peer["url"] = peer["url"].replace("127.0.0.1", "localhost")
    made = {"name": "test-network-org1", "client": document["client"], "organizations": {organization.name: own}}
    made["peers"] = peers
    path.write_text(json.dumps(made) if path.suffix == ".json" else yaml.safe_dump(made))
    return path


@pytest.mark.parametrize("name", ["connection-org1.json", "connection-org1.yaml"])
async def test_a_profile_of_fabrics_test_network_and_an_identity_are_enough(
    running: Home, tmp_path: Path, name: str
) -> None:
    organization = running.load_topology().organizations[0]
    ours = Home(tmp_path / "ours")
    file = as_the_test_network_writes_it(running, organization, tmp_path / name)
    made = import_network(ours, file, *identity(running, 0))
    assert (made.label, made.organizations, made.channel) == ("Admin@org1.example.com", ("Org1",), "market")
    status = await runtime.query_status(ours)
    assert status.running
    assert [(node.name, node.height) for node in status.nodes] == [("peer0.org1.example.com", 1)]
    with pytest.raises(NetworkAlreadyRunning, match="theirs to start"):
        await asyncio.to_thread(runtime.up, ours)
    with pytest.raises(ImportRefused, match="holds a network already"):
        import_network(ours, file, *identity(running, 0))


async def test_organisations_that_keep_their_keys_apart_approve_where_they_are(running: Home, tmp_path: Path) -> None:
    homes = []
    for number in range(3):
        homes.append(Home(tmp_path / f"member{number}"))
        import_network(homes[-1], profile_of(running, number), *identity(running, number))
    first = await deploy(homes[0], "cc", "1", "127.0.0.1:9999")
    assert first.waiting_for == ("Org2MSP", "Org3MSP")
    assert await committed(homes[0], "cc") is None
    again = await deploy(homes[0], "cc", "1", "127.0.0.1:9999")
    assert (again.changed, again.waiting_for) == (False, first.waiting_for)
    approved = await deploy(homes[1], "cc", "1", "127.0.0.1:9999", commit=False)
    assert approved.waiting_for == ("Org3MSP",)
    done = await deploy(homes[1], "cc", "1", "127.0.0.1:9999")
    assert (done.waiting_for, done.sequence) == ((), 1)
    late = await deploy(homes[2], "cc", "1", "127.0.0.1:9999")
    assert (late.sequence, late.changed) == (1, True)
    found = await committed(homes[2], "cc")
    assert found is not None
    assert found.approvals == {"Org1MSP": True, "Org2MSP": True, "Org3MSP": True}


def test_what_cannot_be_used_is_refused_and_leaves_nothing(home: Home, tmp_path: Path) -> None:
    ours = Home(tmp_path / "ours")
    topology = home.load_topology()
    file = tmp_path / "profile.json"
    peers = {"peer0.org2.example.com": {"url": "grpc://127.0.0.1:7051"}}
    organizations = {"Org2": {"mspid": "Org2MSP", "peers": list(peers)}}
    file.write_text(json.dumps({"organizations": organizations, "peers": peers}))
    with pytest.raises(ImportRefused, match="MSP id Org1MSP; it names Org2MSP"):
        import_network(ours, file, *identity(home, 0))
    file.write_text(json.dumps({"organizations": {"Org1": {"mspid": "Org1MSP"}}}))
    with pytest.raises(ImportRefused, match="no organisation with a peer"):
        import_network(ours, file, *identity(home, 0))
    with pytest.raises(ImportRefused, match="give the identity"):
        read_identity("Org1MSP", folder=None, certificate=file, key=None)
    with pytest.raises(ImportRefused, match="cannot be read"):
        read_identity("Org1MSP", folder=None, certificate=tmp_path / "none", key=file)
    users = [home.user(topology.organizations[0], name) / "msp" for name in ("Admin", "User1")]
    with pytest.raises(IdentityError, match="does not belong"):
        read_identity(
            "Org1MSP",
            folder=None,
            certificate=next((users[0] / "signcerts").iterdir()),
            key=next((users[1] / "keystore").iterdir()),
        )
    assert not ours.path.exists()


async def test_without_any_admins_key_nothing_is_approved(home: Home) -> None:
    for organization in home.load_topology().organizations:
        shutil.rmtree(home.user(organization, "Admin"))
    with pytest.raises(NetworkIncomplete, match="no Admin's key"):
        await deploy(home, "cc", "1", "127.0.0.1:9999")
