"""Channels of a network that runs: further ones are created and joined; a channel's configuration in plain words."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from fabric_protos.common import configtx_pb2, configuration_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2

from .config_changes import consensus_type, members_of
from .errors import NetworkNotRunning
from .genesis import genesis_capability, write_genesis
from .home import Home
from .joining import join_all
from .profiles import write_profiles
from .progress import Steps, silent
from .runners import real_network, runtime_of
from .runtime import is_running
from .topology import BatchSettings, Channel, Organization

Group = configtx_pb2.ConfigGroup


async def create_channel(home: Home, channel: Channel, *, steps: Steps = silent) -> tuple[Organization, ...]:
    """Create a further channel with the network's orderers; all members' peers of this folder join it.

    Returns:
        Its members.

    Raises:
        TopologyInvalid: if it cannot be, or there is a channel of that name.
        NetworkNotRunning: if the network does not run.
        ChannelJoinFailed: if a node refuses it.

    """
    topology = home.load_topology()
    grown = replace(topology, further_channels=(*topology.further_channels, channel))
    _require_running(home)
    with steps(f"genesis block of {channel.name}"):
        old = channel.consensus == "raft" and genesis_capability(home, topology.channel.name) == "V2_0"
        capability = "V2_0" if old else None  # made for Fabric 2.5, as the network's first channel
        await asyncio.to_thread(partial(write_genesis, home, grown, channel=channel, channel_capability=capability))
        home.save_topology(grown)
        write_profiles(home, grown)
    await join_channels(home, steps=steps)
    return grown.members(channel)


async def join_channels(home: Home, *, steps: Steps = silent) -> None:
    """Have every node of this folder join every channel that it belongs to.

    Raises:
        NetworkNotRunning, ChannelJoinFailed: see `create_channel`.

    """
    _require_running(home)
    topology = home.load_topology()
    with steps(f"channels joined: {', '.join(channel.name for channel in topology.channels)}"):
        if runtime_of(home) == "embedded":
            await join_all(home, topology)
            return
        network = real_network(home)
        await network.attach()
        await network.join()


def described(config: configtx_pb2.Config) -> dict[str, Any]:
    """What a configuration says, as plain JSON values."""
    group = config.channel_group
    orderers = group.groups["Orderer"]
    batch = batch_of(group, BatchSettings())
    return {
        "sequence": config.sequence,
        "members": members_of(group),
        "consensus": consensus_type(group),
        "orderers": [
            address
            for organization in orderers.groups.values()
            for address in configuration_pb2.OrdererAddresses.FromString(
                organization.values["Endpoints"].value
            ).addresses
        ],
        "batch_timeout_ms": batch.timeout_ms,
        "batch_messages": batch.max_messages,
        "capabilities": [
            capability
            for place in (group, orderers, group.groups["Application"])
            for capability in configuration_pb2.Capabilities.FromString(place.values["Capabilities"].value).capabilities
        ],
    }


def batch_of(group: Group, otherwise: BatchSettings) -> BatchSettings:
    """The batch settings of a channel group; a timeout that is not in ms or s is `otherwise`'s."""
    values = group.groups["Orderer"].values
    size = orderer_pb2.BatchSize.FromString(values["BatchSize"].value)
    timeout = orderer_pb2.BatchTimeout.FromString(values["BatchTimeout"].value).timeout
    number = timeout.rstrip("ms")
    factor = 1 if timeout.endswith("ms") else 1000
    return BatchSettings(
        timeout_ms=int(float(number) * factor) if number.replace(".", "").isdigit() else otherwise.timeout_ms,
        max_messages=size.max_message_count,
        preferred_max_bytes=size.preferred_max_bytes,
        absolute_max_bytes=size.absolute_max_bytes,
    )


def _require_running(home: Home) -> None:
    if not is_running(home):
        raise NetworkNotRunning(f"the network in {home.path} does not run; `goldengrain network up` starts it")
