"""Have peers join channels: `cscc` at the peer, as its organisation's Admin."""

from __future__ import annotations

import asyncio

import grpc
from fabric_protos.common import common_pb2

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.gateway.identity import credentials_from_msp

from .errors import ChannelJoinFailed
from .home import Home
from .nodes import own_peers
from .topology import Organization, Peer, Topology


async def join_peer(home: Home, organization: Organization, peer: Peer, channel: str) -> None:
    """Have a peer join a channel whose genesis block is in the folder; one that has joined is left as it is.

    Raises:
        ConnectionError: if the peer does not answer yet.
        ChannelJoinFailed: if it refuses.

    """
    host = peer.host(organization)
    endpoint = ConnectionProfile.load(home.connection_profile(organization)).peers[host]
    admin = credentials_from_msp(home.user(organization, "Admin") / "msp", organization.msp_id)
    block = common_pb2.Block.FromString(home.genesis_file(channel).read_bytes())
    clock = LedgerClock(home.clock_file)
    async with Endorser.connect(endpoint, admin.identity, admin.signer, clock=clock) as endorser:
        try:
            if channel not in await endorser.channels():
                await endorser.join_channel(block)
        except PeerError as error:
            if error.grpc_code is grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(str(error)) from error
            raise ChannelJoinFailed(f"{host} refused to join channel {channel}: {error}") from error


async def join_all(home: Home, topology: Topology) -> None:
    """Have every peer of ours join all its channels; they have to be up.

    Raises:
        ConnectionError, ChannelJoinFailed: see `join_peer`.

    """
    await asyncio.gather(
        *(
            join_peer(home, organization, peer, channel.name)
            for channel in topology.channels
            for organization, peer in own_peers(home, topology)
            if organization in topology.members(channel)
        )
    )
