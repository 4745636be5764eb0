"""Networks that run grow and shrink: organisations, peers, orderers; on the embedded network and on real peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.gateway.identity import credentials_from_msp
from goldengrain.network import growth, runtime
from goldengrain.network.channel_admin import propose, read_config, submit
from goldengrain.network.config_changes import members_of, with_batch
from goldengrain.network.config_update import sign
from goldengrain.network.errors import (
    IdentityExists,
    NetworkNotRunning,
    SnapshotFailed,
    StartFailed,
    TopologyConflict,
    TopologyInvalid,
    UpdateInvalid,
    UpdateRefused,
)
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import committed, deploy
from goldengrain.network.pki import create_organization
from goldengrain.network.snapshot_join import read_channel
from goldengrain.network.snapshots import create_snapshot
from goldengrain.network.topology import BatchSettings, Orderer, Organization, Peer, default_topology
from tests.conftest import need_release

FOURTH = Organization("Org4", "Org4MSP", "org4.example.com")
CC = ("cc", "1", "127.0.0.1:9999")


@pytest.fixture
async def real(tmp_path: Path, fabric_bin: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    home = Home(tmp_path / "home")
    await asyncio.to_thread(partial(runtime.up, home, default_topology(3, orderers=3), runtime="native"))
    yield home
    await asyncio.to_thread(runtime.down, home)


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path / "home")
    await asyncio.to_thread(runtime.up, home)
    yield home
    await asyncio.to_thread(runtime.down, home)


async def heights(home: Home) -> list[int | None]:
    return [node.height for node in (await runtime.query_status(home)).nodes if "peer" in node.name]


async def caught_up(home: Home) -> bool:
    """Wait until every peer has as many blocks as the first."""
    for _ in range(200):
        found = await heights(home)
        if None not in found and len(set(found)) == 1:
            return True
        await asyncio.sleep(0.1)
    return False


async def orderers_are_even(home: Home) -> bool:
    """Wait until every orderer answers and has as many blocks as the others."""
    for _ in range(200):
        orderers = [node for node in (await runtime.query_status(home)).nodes if node.organization == "OrdererMSP"]
        if all(node.answering for node in orderers) and len({node.height for node in orderers}) == 1:
            return True
        await asyncio.sleep(0.1)
    return False


async def organizations_come_and_go(home: Home) -> None:
    assert (await deploy(home, *CC)).sequence == 1
    fourth = await growth.add_organization(home, FOURTH)
    assert all(peer.port for peer in fourth.peers)
    assert members_of((await read_config(home, "market", member=fourth)).channel_group)[-1] == "Org4MSP"
    again = await deploy(home, *CC)
    assert (again.sequence, again.changed) == (1, True)
    found = await committed(home, "cc")
    assert found is not None
    assert found.approvals == {f"Org{n}MSP": True for n in (1, 2, 3, 4)}
    peer = await growth.add_peer(home, "Org1", Peer("peer1"))
    assert peer.port
    assert await caught_up(home)
    assert len(await heights(home)) == 5
    with pytest.raises(TopologyInvalid, match="peer1 given more than once"):
        await growth.add_peer(home, "Org1", Peer("peer1"))
    await growth.remove_organization(home, "Org4")
    assert members_of((await read_config(home, "market")).channel_group) == ["Org1MSP", "Org2MSP", "Org3MSP"]
    assert len(await heights(home)) == 4
    assert (await deploy(home, "cc", "2", "127.0.0.1:9999")).sequence == 2


async def settings_change(home: Home) -> None:
    change = partial(with_batch, batch=BatchSettings(timeout_ms=77))
    proposal = await propose(home, "market", change)
    assert await submit(home, "market", proposal) == 1
    with pytest.raises(UpdateInvalid, match="nothing changes"):
        await propose(home, "market", change)
    with pytest.raises(UpdateRefused):  # what it was worked out from is no more
        await submit(home, "market", proposal)


@pytest.mark.timeout(180)
async def test_the_embedded_network_grows_and_shrinks(embedded: Home) -> None:
    await organizations_come_and_go(embedded)


async def test_an_update_takes_effect_once_on_the_embedded_network(embedded: Home) -> None:
    await settings_change(embedded)
    with pytest.raises(TopologyConflict, match="share one ledger"):
        await create_snapshot(embedded, "peer0.org1.example.com")
    with pytest.raises(TopologyConflict, match="share one ledger"):
        await growth.add_peer(embedded, "Org1", Peer("peer1"), snapshot=embedded.path)
    with pytest.raises(TopologyConflict, match="one process"):
        await growth.add_orderer(embedded, Orderer("orderer2"))
    embedded.organization(FOURTH).mkdir()
    with pytest.raises(IdentityExists, match="Org4"):
        create_organization(embedded, FOURTH)


async def test_an_update_without_the_others_signatures_is_refused(embedded: Home) -> None:
    """The Admins of two of three organisations keep their keys elsewhere."""
    topology = embedded.load_topology()
    proposal = await propose(embedded, "market", partial(with_batch, batch=BatchSettings(timeout_ms=78)))
    away = embedded.path / "away"
    away.mkdir()
    embedded.user(topology.orderer, "Admin").rename(away / "orderer")
    with pytest.raises(UpdateRefused, match="refused the update"):
        await submit(embedded, "market", proposal)
    signed = sign(proposal, credentials_from_msp(away / "orderer" / "msp", "OrdererMSP"))
    assert await submit(embedded, "market", signed) == 1


async def test_a_network_that_does_not_run_does_not_grow(home: Home) -> None:
    with pytest.raises(NetworkNotRunning):
        await growth.add_organization(home, FOURTH)
    assert not home.organization(FOURTH).exists()


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(180)
async def test_a_real_network_grows_and_shrinks(real: Home) -> None:
    await organizations_come_and_go(real)
    await settings_change_again(real)


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(180)
async def test_a_peer_that_does_not_come_up_leaves_nothing(real: Home) -> None:
    topology = real.load_topology()
    broken = Peer("peer9", config={"peer": {"BCCSP": {"Default": "NONE"}}})
    with pytest.raises(StartFailed) as failed:
        await growth.add_peer(real, "Org1", broken)
    assert failed.value.log_lines
    assert real.load_topology() == topology
    assert not list(real.path.rglob("peer9*/msp"))
    assert [node.name for node in (await runtime.query_status(real)).nodes if not node.answering] == []
    assert (await growth.add_peer(real, "Org1", Peer("peer9"))).port


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(180)
async def test_a_real_peer_begins_with_a_snapshot(real: Home, tmp_path: Path) -> None:
    await deploy(real, *CC)
    snapshot = await create_snapshot(real, "peer0.org1.example.com")
    assert await create_snapshot(real, "peer0.org1.example.com") == snapshot
    assert read_channel(snapshot) == "market"
    peer = await growth.add_peer(real, "Org2", Peer("peer1"), snapshot=snapshot)
    organization = real.load_topology().organization("Org2")
    assert (await deploy(real, "cc", "2", "127.0.0.1:9999")).sequence == 2
    assert await caught_up(real)
    admin = credentials_from_msp(real.user(organization, "Admin") / "msp", "Org2MSP")
    endpoint = ConnectionProfile.load(real.connection_profile(organization)).peers[peer.host(organization)]
    async with Endorser.connect(endpoint, admin.identity, admin.signer) as endorser:
        with pytest.raises(PeerError, match="bootstrapped"):
            await endorser.block_by_number("market", 1)
    with pytest.raises(SnapshotFailed, match="holds no snapshot"):
        await growth.add_peer(real, "Org2", Peer("peer2"), snapshot=tmp_path)
    with pytest.raises(TopologyInvalid, match="no peer 'peer9'"):
        await create_snapshot(real, "peer9")


async def settings_change_again(home: Home) -> None:
    before = (await read_config(home, "market")).sequence
    proposal = await propose(home, "market", partial(with_batch, batch=BatchSettings(timeout_ms=77)))
    assert await submit(home, "market", proposal) == before + 1


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(180)
@pytest.mark.parametrize("consensus", ["raft", "smartbft"])
async def test_real_orderers_are_added_replaced_and_removed(
    consensus: str, tmp_path: Path, fabric_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if consensus == "smartbft":
        await need_release(fabric_bin, (3, 0), "SmartBFT")
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    home = Home(tmp_path / "home")
    orderers = 3 if consensus == "raft" else 4
    topology = default_topology(2, orderers=orderers, consensus=consensus)  # type: ignore[arg-type]
    await asyncio.to_thread(partial(runtime.up, home, topology, runtime="native"))
    try:
        await growth.add_orderer(home, Orderer("orderer9"))
        assert (await deploy(home, *CC)).sequence == 1
        await growth.add_orderer(home, Orderer("orderer8"), instead_of="orderer2")
        assert (await deploy(home, "cc", "2", "127.0.0.1:9999")).sequence == 2
        leader = next(node.name for node in (await runtime.query_status(home)).nodes if node.leader)
        await runtime.restart_node(home, leader)  # another one leads, by a log that all of them have
        assert (await deploy(home, "cc", "2.1", "127.0.0.1:9999")).sequence == 3
        assert await orderers_are_even(home)
        await growth.remove_orderer(home, "orderer9")
        assert (await deploy(home, "cc", "3", "127.0.0.1:9999")).sequence == 4
        names = [node.name for node in (await runtime.query_status(home)).nodes if node.organization == "OrdererMSP"]
        assert "orderer8.example.com" in names
        assert len(names) == orderers
        await asyncio.to_thread(runtime.down, home)
        await asyncio.to_thread(runtime.up, home)
        assert (await deploy(home, "cc", "4", "127.0.0.1:9999")).sequence == 5
    finally:
        await asyncio.to_thread(runtime.down, home)
