"""A running network grows and shrinks: organisations, peers, orderers.

    await add_organization(home, Organization("Org4", "Org4MSP", "org4.example.com"))
    await add_peer(home, "Org1", "peer1")
    await replace_orderer(home, "orderer2", "orderer4")

Each changes the channel's configuration first where it has to (signed by every Admin whose key is in the folder), then
the folder, then what runs. A new member endorses once it has approved the chaincodes: `lifecycle.deploy` as before does
that for every organisation that has not.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from fabric_protos.common import configtx_pb2

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.identity import credentials_from_msp

from . import channel_admin
from .config_changes import consensus_type, with_member, with_orderer, without_member, without_orderer
from .errors import NetworkNotRunning, SnapshotFailed, StartFailed, TopologyConflict, TopologyInvalid, UpdateInvalid
from .genesis import bft_consenter, member_group, raft_consenter
from .home import Home
from .joining import join_all
from .nodes import node_of, own_peers
from .pki import create_node, create_organization
from .ports import assign_ports
from .profiles import write_profiles, write_wallet
from .progress import Steps, silent
from .runners import real_network, runner_of, runtime_of
from .runtime import down, is_running, up
from .snapshot_join import read_channel
from .status import query_status
from .topology import Channel, Orderer, OrdererOrganization, Organization, Peer, Topology

Group = configtx_pb2.ConfigGroup
_PATIENCE_S = 120.0
_PAUSE_S = 0.1


async def add_organization(home: Home, organization: Organization, *, steps: Steps = silent) -> Organization:
    """Add a member to the topology's channel: certificates (unless they are here), configuration, peers.

    Returns:
        The organisation with its ports.

    Raises:
        TopologyInvalid: if its name, MSP id, domain or a port is another's.
        NetworkNotRunning, UpdateRefused: see `channel_admin.submit`; nothing of it is left behind then.

    """
    topology = _running(home)
    # A further channel without a list of members was made for all of before; the new one is not in it.
    further = tuple(
        replace(one, members=tuple(member.name for member in topology.members(one)))
        for one in topology.further_channels
    )
    members = (*topology.organizations, organization)
    grown = _assigned(home, replace(topology, organizations=members, further_channels=further))
    organization = grown.organizations[-1]
    made = not home.organization(organization).exists()
    if made:
        with steps(f"certificates of {organization.name}"):
            await asyncio.to_thread(create_organization, home, organization)
    try:
        channel = topology.channel.name
        # Nothing changes where the others' Admins have signed for it already.
        with steps(f"channel {channel}: {organization.msp_id} added"), suppress(UpdateInvalid):
            await channel_admin.submit(home, channel, await propose_organization(home, organization))
    except BaseException:
        if made:
            shutil.rmtree(home.organization(organization))
        raise
    _save(home, grown)
    own = [peer.host(owner) for owner, peer in own_peers(home, grown) if owner == organization]
    if own:
        await _run_new(home, own, steps)
    return organization


async def propose_organization(home: Home, organization: Organization) -> bytes:
    """The change of the topology's channel that adds a member whose certificates are in the folder, for signatures.

    Raises:
        UpdateInvalid: if it is a member already.
        NetworkNotRunning: see `channel_admin.propose`.

    """
    group = member_group(home, organization)
    channel = home.load_topology().channel.name
    return await channel_admin.propose(home, channel, lambda config: with_member(config, organization.msp_id, group))


async def remove_organization(home: Home, name: str, *, steps: Steps = silent) -> Organization:
    """Remove a member from the topology's channel and stop its peers; its keys and ledgers stay in the folder.

    Raises:
        TopologyInvalid: if there is no such organisation, or no other one would be left.
        NetworkNotRunning, UpdateRefused: see `channel_admin.submit`.

    """
    topology = _running(home)
    organization = topology.organization(name)
    left = tuple(one for one in topology.organizations if one != organization)
    further = tuple(
        replace(one, members=tuple(member for member in one.members if member != organization.name))
        for one in topology.further_channels
    )
    shrunk = replace(topology, organizations=left, further_channels=further)
    for channel in [one for one in topology.channels if organization in topology.members(one)]:
        with steps(f"channel {channel.name}: {organization.msp_id} removed"):
            await _update(home, channel.name, lambda group: without_member(group, organization.msp_id))
    with steps(f"peers of {organization.name} stopped"):
        await _stop(home, [peer.host(organization) for peer in organization.peers])
    _save(home, shrunk)
    await _restart_embedded(home)
    return organization


async def add_peer(
    home: Home, organization: str, peer: Peer, *, snapshot: Path | None = None, steps: Steps = silent
) -> Peer:
    """Add a peer to an organisation whose authorities are in the folder.

    It fetches every block from the orderers, or those behind a snapshot of the topology's channel.

    Raises:
        TopologyInvalid: if there is no such organisation, or it has a peer of that name.
        IdentityExists, NetworkIncomplete: see `pki.create_node`.
        StartFailed: if the peer ends instead of answering; nothing of it is left behind then.
        SnapshotFailed: if the snapshot is none of that channel, or the peer refuses it.

    """
    topology = _running(home)
    if snapshot is not None:
        _check_snapshot(home, topology, snapshot)
    owner = topology.organization(organization)
    grown = _assigned(home, _with_organization(topology, replace(owner, peers=(*owner.peers, peer))))
    with steps(f"certificates of {peer.host(owner)}"):
        peer = grown.organization(organization).peers[-1]
        await asyncio.to_thread(create_node, home, owner, peer)
    _save(home, grown)
    try:
        if snapshot is None:
            await _run_new(home, [peer.host(owner)], steps)
        else:
            with steps(f"{peer.host(owner)} started, begins with {snapshot}"):
                await _run_from_snapshot(home, grown.organization(organization), peer, snapshot)
    except BaseException:
        _save(home, topology)
        for left in (home.peer(owner, peer), home.nodes / peer.host(owner)):
            shutil.rmtree(left, ignore_errors=True)
        raise
    return peer


async def _run_from_snapshot(home: Home, owner: Organization, peer: Peer, snapshot: Path) -> None:
    network = real_network(home)
    await network.attach()
    try:
        await network.start_from_snapshot(owner, peer, snapshot)
        await _catch_up(home, [peer.host(owner)])
    except BaseException:
        await _stop(home, [peer.host(owner)])
        raise


async def add_orderer(
    home: Home,
    orderer: Orderer,
    *,
    organization: str | None = None,
    instead_of: str | None = None,
    steps: Steps = silent,
) -> Orderer:
    """Add an ordering node to an organisation (the first, unless another is named), `instead_of` one of its own.

    The one that is replaced may be dead; it is stopped if it runs. Its data stay in the folder. A Raft cluster is told
    in two steps, first that the old one leaves: in one step it would take the new one for the old one with another
    certificate, under the old one's number, and the new one would end over a log that it has never had.

    Raises:
        TopologyInvalid: if there is no such organisation or orderer.
        TopologyConflict: on the embedded runtime, which has one ordering process.
        NetworkNotRunning, UpdateRefused: see `channel_admin.submit`; nothing of it is left behind then.
        StartFailed: if the orderer ends instead of answering.

    """
    topology = _running(home)
    if runtime_of(home) == "embedded":
        raise TopologyConflict("the embedded runtime orders in one process; orderers are added to real networks")
    owner = _orderer_organization(topology, organization)
    old = _orderer(owner, instead_of) if instead_of else None
    alone = len(list(topology.orderers())) == 1
    if old is not None and topology.channel.consensus == "raft":
        if not alone:
            await remove_orderer(home, old.name, organization=owner.name, steps=steps)
            return await add_orderer(home, orderer, organization=owner.name, steps=steps)
        made = await add_orderer(home, orderer, organization=owner.name, steps=steps)
        await remove_orderer(home, old.name, organization=owner.name, steps=steps)
        return made
    kept = tuple(one for one in owner.orderers if one != old)
    grown = _assigned(home, _with_orderers(topology, replace(owner, orderers=(*kept, orderer))))
    owner = _orderer_organization(grown, owner.name)
    orderer = owner.orderers[-1]
    with steps(f"certificates of {orderer.host(owner)}"):
        await asyncio.to_thread(create_node, home, owner, orderer)
    try:
        removed = f", {old.name} removed" if old else ""
        for channel in topology.channels:
            with steps(f"channel {channel.name}: {orderer.name} added{removed}"):
                await _update(home, channel.name, partial(_with_orderer, home, owner, orderer, old))
    except BaseException:
        shutil.rmtree(home.orderer(owner, orderer))
        raise
    if old is not None:
        await _stop(home, [old.host(owner)])
    _save(home, grown)
    blocks = {channel.name: await config_block(home, topology, channel) for channel in topology.channels}
    await _run_new(home, [orderer.host(owner)], steps, blocks)
    return orderer


async def remove_orderer(home: Home, name: str, *, organization: str | None = None, steps: Steps = silent) -> Orderer:
    """Remove an ordering node from the channel and stop it. Raises as `add_orderer` does."""
    topology = _running(home)
    owner = _orderer_organization(topology, organization)
    old = _orderer(owner, name)
    shrunk = _with_orderers(topology, replace(owner, orderers=tuple(one for one in owner.orderers if one != old)))
    for channel in topology.channels:
        with steps(f"channel {channel.name}: {old.name} removed"):
            await _update(home, channel.name, lambda group: without_orderer(group, owner.name, old.address))
    await _stop(home, [old.host(owner)])
    _save(home, shrunk)
    return old


async def config_block(home: Home, topology: Topology, channel: Channel) -> bytes:
    """The newest configuration block of a channel, from its first member's peer."""
    member = topology.members(channel)[0]
    admin = credentials_from_msp(home.user(member, "Admin") / "msp", member.msp_id)
    endpoint = ConnectionProfile.load(home.connection_profile(member)).gateway()
    clock = LedgerClock(home.clock_file)
    async with Endorser.connect(endpoint, admin.identity, admin.signer, clock=clock) as peer:
        return await peer.call("cscc", "GetConfigBlock", channel.name, channel=channel.name)


def _check_snapshot(home: Home, topology: Topology, snapshot: Path) -> None:
    if runtime_of(home) == "embedded":
        raise TopologyConflict("peers of the embedded runtime share one ledger; snapshots are for real peers")
    channel = read_channel(snapshot)
    if channel != topology.channel.name:
        raise SnapshotFailed(f"{snapshot} is of channel {channel}, not of {topology.channel.name}")


def _running(home: Home) -> Topology:
    topology = home.load_topology()
    if not is_running(home):
        raise NetworkNotRunning(f"the network in {home.path} does not run; `goldengrain network up` starts it")
    return topology


def _assigned(home: Home, topology: Topology) -> Topology:
    runtime = runtime_of(home)
    if runtime == "docker" and topology.docker.network == "bridge":
        topology = topology.on_bridge()
    return assign_ports(topology, administration=runtime != "embedded")


def _with_organization(topology: Topology, changed: Organization) -> Topology:
    organizations = tuple(changed if one.name == changed.name else one for one in topology.organizations)
    return replace(topology, organizations=organizations)


def _with_orderers(topology: Topology, changed: OrdererOrganization) -> Topology:
    first, *others = (changed if one.name == changed.name else one for one in topology.orderer_organizations)
    return replace(topology, orderer=first, further_orderers=tuple(others))


def _orderer_organization(topology: Topology, name: str | None) -> OrdererOrganization:
    for one in topology.orderer_organizations:
        if name in (None, one.name, one.msp_id, one.domain):
            return one
    known = ", ".join(one.name for one in topology.orderer_organizations)
    raise TopologyInvalid(f"no organisation {name!r} runs orderers in this network; there are {known}")


def _orderer(owner: OrdererOrganization, name: str) -> Orderer:
    for one in owner.orderers:
        if name in (one.name, one.host(owner)):
            return one
    known = ", ".join(one.name for one in owner.orderers)
    raise TopologyInvalid(f"{owner.name} has no orderer {name!r}; there are {known}")


def _with_orderer(home: Home, owner: OrdererOrganization, orderer: Orderer, old: Orderer | None, group: Group) -> Group:
    bft = consensus_type(group) == "BFT"
    consenter = bft_consenter(home, owner, orderer, 1) if bft else raft_consenter(home, owner, orderer)
    instead_of = old.address if old else None
    return with_orderer(group, owner.name, orderer.address, consenter, instead_of=instead_of)


async def _update(home: Home, channel: str, change: channel_admin.Change) -> None:
    await channel_admin.submit(home, channel, await channel_admin.propose(home, channel, change))


def _save(home: Home, topology: Topology) -> None:
    home.save_topology(topology)
    write_profiles(home, topology)
    write_wallet(home, topology)


async def _stop(home: Home, names: list[str]) -> None:
    await asyncio.to_thread(runner_of(home).stop, [node_of(home, name, "") for name in names])


async def _run_new(home: Home, names: list[str], steps: Steps, blocks: Mapping[str, bytes] | None = None) -> None:
    """Start new nodes and have them join."""
    with steps(f"{', '.join(names)} started, channel joined"):
        if runtime_of(home) == "embedded":
            await _restart_embedded(home)
            return
        network = real_network(home)
        await network.attach()
        try:
            await asyncio.gather(*(network.start_node(name, blocks) for name in names))
            await _catch_up(home, names)
        except BaseException:
            await _stop(home, names)
            raise


async def _catch_up(home: Home, names: list[str]) -> None:
    """Wait until new nodes have the blocks that the others have by now."""
    height = max((node.height or 0 for node in (await query_status(home)).nodes), default=0)
    deadline = time.monotonic() + _PATIENCE_S
    while behind := [
        node.name for node in (await query_status(home)).nodes if node.name in names and (node.height or 0) < height
    ]:
        if time.monotonic() > deadline:
            raise StartFailed(f"{', '.join(behind)} did not fetch the channel's {height} blocks in {_PATIENCE_S:g} s")
        await asyncio.sleep(_PAUSE_S)


async def _restart_embedded(home: Home) -> None:
    """The embedded network is one process, which reads the topology when it starts."""
    if runtime_of(home) == "embedded":
        await asyncio.to_thread(down, home)
        await asyncio.to_thread(up, home)
        await join_all(home, home.load_topology())
