"""Deploying chaincode on the embedded network; the conformance suite does the same on real peers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.network import lifecycle
from goldengrain.network.errors import (
    LifecycleFailed,
    NetworkNotFound,
    NetworkNotRunning,
    PackageInvalid,
    PolicyInvalid,
)
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import committed, deploy, installed
from goldengrain.network.members import open_members
from goldengrain.network.packaging import ccaas_package
from goldengrain.network.pki import create_pki
from goldengrain.network.profiles import write_profiles
from goldengrain.network.runtime import down, query_status, up
from goldengrain.network.topology import Topology, default_topology

SERVER = "127.0.0.1:9999"  # nobody listens there: deploying does not need the server


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("lifecycle") / "home")
    up(home, default_topology(3, peers=2))
    yield home
    down(home, purge=True)


async def test_a_chaincode_is_installed_approved_and_committed_for_all(network: Home) -> None:
    deployment = await deploy(network, "first", "1.0", SERVER)
    assert deployment.package_id == ccaas_package("first_1.0", SERVER).package_id
    assert (deployment.sequence, deployment.changed, len(deployment.transactions)) == (1, True, 4)
    found = await committed(network, "first")
    assert found is not None
    assert (found.version, found.sequence, found.init_required) == ("1.0", 1, False)
    assert found.approvals == {"Org1MSP": True, "Org2MSP": True, "Org3MSP": True}
    assert all(deployment.package_id in ids for ids in (await installed(network)).values())
    async with open_members(network, network.load_topology().channel) as members:
        for member in members:
            for peer in member.peers:
                assert deployment.package_id in await lifecycle._query_installed(member, peer)


async def test_the_same_again_changes_nothing(network: Home) -> None:
    first = await deploy(network, "same", "1.0", SERVER)
    heights = [node.height for node in (await query_status(network)).nodes]
    again = await deploy(network, "same", "1.0", SERVER)
    assert (again.changed, again.transactions, again.sequence) == (False, (), 1)
    assert again.package_id == first.package_id
    assert [node.height for node in (await query_status(network)).nodes] == heights


async def test_a_moved_server_is_approved_anew_at_the_same_sequence(network: Home) -> None:
    await deploy(network, "moved", "1.0", SERVER)
    moved = await deploy(network, "moved", "1.0", "127.0.0.1:9998")
    assert (moved.sequence, moved.changed, len(moved.transactions)) == (1, True, 3)
    assert not (await deploy(network, "moved", "1.0", "127.0.0.1:9998")).changed


async def test_a_new_version_or_policy_is_the_next_sequence(network: Home) -> None:
    assert (await deploy(network, "grown", "1.0", SERVER)).sequence == 1
    assert (await deploy(network, "grown", "1.1", SERVER)).sequence == 2
    policy = "OutOf(2,'Org1MSP.peer','Org2MSP.peer','Org3MSP.peer')"
    assert (await deploy(network, "grown", "1.1", SERVER, policy=policy)).sequence == 3
    assert not (await deploy(network, "grown", "1.1", SERVER, policy=policy)).changed
    assert (await deploy(network, "grown", "1.1", SERVER, policy=policy, init_required=True)).sequence == 4


async def test_an_interrupted_deployment_is_finished_by_running_it_again(
    network: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object) -> None:
        raise LifecycleFailed("interrupted before the commit")

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle._Deployer, "commit", interrupted)
        with pytest.raises(LifecycleFailed):
            await deploy(network, "resumed", "1.0", SERVER)
    assert await committed(network, "resumed") is None
    deployment = await deploy(network, "resumed", "1.0", SERVER)
    assert (deployment.sequence, len(deployment.transactions)) == (1, 1)


async def test_deployments_of_different_chaincodes_do_not_disturb_each_other(network: Home) -> None:
    names = [f"parallel{n}" for n in range(4)]
    deployments = await asyncio.gather(*(deploy(network, name, "1", SERVER) for name in names))
    assert [deployment.sequence for deployment in deployments] == [1] * 4


async def test_what_was_never_deployed_is_none(network: Home) -> None:
    assert await committed(network, "never") is None


@pytest.mark.parametrize(
    ("name", "version", "address", "policy", "error"),
    [
        ("no name", "1", SERVER, "OR('Org1MSP.peer')", PackageInvalid),
        ("name", "", SERVER, "OR('Org1MSP.peer')", PackageInvalid),
        ("name", "1", "nowhere", "OR('Org1MSP.peer')", PackageInvalid),
        ("name", "1", SERVER, "OR('Org1MSP.peer'", PolicyInvalid),
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(
    network: Home, name: str, version: str, address: str, policy: str, error: type[Exception]
) -> None:
    before = await installed(network)
    with pytest.raises(error):
        await deploy(network, name, version, address, policy=policy)
    assert await installed(network) == before


async def test_a_peers_refusal_names_the_step_and_the_organisation(
    network: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> bytes:
        raise PeerError("status 500, no", status=500)

    monkeypatch.setattr(Endorser, "call", refuse)
    with pytest.raises(LifecycleFailed, match="query the committed definition for Org1MSP: status 500, no"):
        await deploy(network, "refused", "1", SERVER)


async def test_a_network_that_is_down_is_said_so(home: Home, topology: Topology) -> None:
    write_profiles(home, topology)
    with pytest.raises(NetworkNotRunning, match="network up"):
        await deploy(home, "a", "1", SERVER)


async def test_a_folder_without_a_network_is_said_so(tmp_path: Path) -> None:
    create_pki(Home(tmp_path), default_topology(1))
    with pytest.raises(NetworkNotFound):
        await deploy(tmp_path, "a", "1", SERVER)
