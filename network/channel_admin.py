"""A channel's configuration on a running network: read it, propose a change, submit it, wait until it holds.

    config = await read_config(home, "market")
    proposal = await propose(home, "market", lambda group: with_batch(group, BatchSettings(timeout_ms=100)))
    await submit(home, "market", proposal)      # signed by every Admin whose key is in this folder

Runs on every runtime, since it speaks to peers (`cscc`) and orderers (`AtomicBroadcast`) alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

import grpc
from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import ab_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.gateway.channel import open_channel
from goldengrain.gateway.connection import ConnectionProfile, Endpoint
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.gateway.identity import Credentials, credentials_from_msp

from . import config_update
from .errors import NetworkNotRunning, UpdateRefused
from .home import Home
from .identities import own_identity
from .topology import Organization, Topology

Change = Callable[[configtx_pb2.ConfigGroup], configtx_pb2.ConfigGroup]
"""Takes a channel group and returns a changed copy, as those of `config_changes` do."""

_PATIENCE_S = 30.0
_PAUSE_S = 0.1
_ASK_AGAIN = (common_pb2.SERVICE_UNAVAILABLE,)
_NOT_COUNTED = "nodes are alive"  # what a Raft leader says that has not heard of the others for long enough


async def read_config(home: Home, channel: str, *, member: Organization | None = None) -> configtx_pb2.Config:
    """Ask a peer for a channel's configuration: the first that answers, or one of a member.

    Raises:
        NetworkNotFound: if the folder holds no network.
        NetworkNotRunning: if no peer answers that has the channel.

    """
    topology = home.load_topology()
    problems = []
    for organization in [member] if member else topology.organizations:
        who = own_identity(home, organization)
        if who is None:
            continue
        profile = ConnectionProfile.load(home.connection_profile(organization))
        for endpoint in profile.gateways():
            clock = LedgerClock(home.clock_file)
            async with Endorser.connect(endpoint, who.identity, who.signer, clock=clock, timeout=10) as peer:
                try:
                    answer = await peer.call("cscc", "GetChannelConfig", channel, channel=channel)
                except PeerError as error:
                    problems.append(f"{endpoint.name or endpoint.address}: {error}")
                    continue
                return configtx_pb2.Config.FromString(answer)
    raise NetworkNotRunning(
        f"no peer gave the configuration of channel {channel}: {'; '.join(problems) or 'none here'}"
    )


async def propose(home: Home, channel: str, change: Change) -> bytes:
    """Work out an update of a channel's configuration; nothing is sent or signed.

    Raises:
        UpdateInvalid: if nothing changes.
        NetworkNotRunning: see `read_config`.

    """
    config = await read_config(home, channel)
    return config_update.unsigned(config_update.compute_update(channel, config, change(config.channel_group)))


def admins(home: Home, topology: Topology) -> list[Credentials]:
    """The Admins of all organisations, orderers' too, whose keys are in this folder."""
    return [
        credentials_from_msp(home.user(organization, "Admin") / "msp", organization.msp_id)
        for organization in topology.everyone
        if home.user(organization, "Admin").exists()
    ]


async def submit(home: Home, channel: str, proposal: bytes) -> int:
    """Sign an update by every Admin at hand, send it to an orderer, and wait until a peer has the new configuration.

    Returns:
        The configuration's new sequence number.

    Raises:
        UpdateRefused: if the orderers refuse it (most often signatures are missing), or it does not take effect.
        NetworkNotRunning: if no peer answers.

    """
    topology = home.load_topology()
    at_hand = admins(home, topology)
    if not at_hand:
        raise UpdateRefused("no Admin's key is in this folder; who has one submits the update")
    for admin in at_hand:
        proposal = config_update.sign(proposal, admin)
    config = await read_config(home, channel)
    wanted = config.sequence + 1
    payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(proposal).payload)
    envelope = _enveloped(channel, payload.data, at_hand[0], LedgerClock(home.clock_file).now())
    await broadcast(orderers_of(home, topology, config), envelope)
    deadline = time.monotonic() + _PATIENCE_S
    while (await read_config(home, channel)).sequence < wanted:
        if time.monotonic() > deadline:
            raise UpdateRefused(f"the update of channel {channel} was ordered, but no peer has it after 30 s")
        await asyncio.sleep(_PAUSE_S)
    return wanted


def orderers_of(home: Home, topology: Topology, config: configtx_pb2.Config) -> list[Endpoint]:
    """The orderers that a connection profile of the folder names, then those that the channel's configuration does."""
    profile = next((one for one in map(home.connection_profile, topology.organizations) if one.exists()), None)
    known = list(ConnectionProfile.load(profile).orderers.values()) if profile else []
    addresses = {one.address for one in known}
    return known + [one for one in _configured(config) if one.address not in addresses]


def _configured(config: configtx_pb2.Config) -> Iterator[Endpoint]:
    for name, group in config.channel_group.groups["Orderer"].groups.items():
        msp_config = msp_config_pb2.MSPConfig.FromString(group.values["MSP"].value)
        msp = msp_config_pb2.FabricMSPConfig.FromString(msp_config.config)
        root = b"\n".join([*msp.tls_root_certs, *msp.tls_intermediate_certs])
        endpoints = configuration_pb2.OrdererAddresses.FromString(group.values["Endpoints"].value)
        for address in endpoints.addresses:
            yield Endpoint(address, root or None, None, f"{name} at {address}")


async def broadcast(orderers: Sequence[Endpoint], envelope: common_pb2.Envelope) -> None:
    """Hand an envelope to the first orderer that takes it.

    Raises:
        UpdateRefused: if an orderer refuses it for what it is, or none takes it within 30 seconds.

    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        problems = []
        for endpoint in orderers:
            try:
                answer = await _send(endpoint, envelope)
            except grpc.aio.AioRpcError as error:
                problems.append(f"{endpoint.name}: {error.details()}")
                continue
            if answer.status == common_pb2.SUCCESS:
                return
            if answer.status not in _ASK_AGAIN and _NOT_COUNTED not in answer.info:
                raise UpdateRefused(f"{endpoint.name} refused the update: {answer.info}")
            problems.append(f"{endpoint.name}: {answer.info}")
        if time.monotonic() > deadline:
            raise UpdateRefused(f"no orderer takes the update: {'; '.join(problems) or 'none is known here'}")
        await asyncio.sleep(_PAUSE_S)


async def _send(endpoint: Endpoint, envelope: common_pb2.Envelope) -> ab_pb2.BroadcastResponse:
    async with open_channel(endpoint) as channel:
        call = channel.stream_stream(
            "/orderer.AtomicBroadcast/Broadcast",
            request_serializer=common_pb2.Envelope.SerializeToString,
            response_deserializer=ab_pb2.BroadcastResponse.FromString,
        )(iter([envelope]), timeout=10)
        async for answer in call:
            return answer
    return ab_pb2.BroadcastResponse(status=common_pb2.SERVICE_UNAVAILABLE, info="it ended the call without an answer")


def _enveloped(channel: str, update: bytes, admin: Credentials, now: int) -> common_pb2.Envelope:
    """What is sent to the orderer: the signed update, with the sender's own signature around it."""
    nonce = secrets.token_bytes(24)
    creator = admin.identity.serialized
    channel_header = common_pb2.ChannelHeader(
        type=common_pb2.CONFIG_UPDATE,
        channel_id=channel,
        timestamp=Timestamp(seconds=now),
        tx_id=hashlib.sha256(nonce + creator).hexdigest(),
    )
    signature_header = common_pb2.SignatureHeader(creator=creator, nonce=nonce)
    header = common_pb2.Header(
        channel_header=channel_header.SerializeToString(), signature_header=signature_header.SerializeToString()
    )
    payload = common_pb2.Payload(header=header, data=update).SerializeToString()
    return common_pb2.Envelope(payload=payload, signature=admin.signer.sign(hashlib.sha256(payload).digest()))
