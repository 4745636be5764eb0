"""Snapshots of a peer's ledger: taken from a real peer that runs, and a new peer's way to begin without old blocks.

    snapshot = await create_snapshot(home, "peer0.org1.example.com")     # HOME/snapshots/CHANNEL/BLOCK
    await growth.add_peer(home, "Org1", Peer("peer1"), snapshot=snapshot)

A snapshot holds the state at a block and no private data; Fabric's peers check it against the hashes in its metadata.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
import time
from pathlib import Path

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.peer import snapshot_pb2
from google.protobuf.empty_pb2 import Empty

from goldengrain.gateway.channel import open_channel
from goldengrain.gateway.connection import ConnectionProfile, Endpoint
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.gateway.identity import Credentials, credentials_from_msp

from .errors import SnapshotFailed, TopologyConflict, TopologyInvalid
from .home import Home
from .runners import runtime_of
from .topology import Organization, Peer, Topology

_PATIENCE_S = 60.0
_PAUSE_S = 0.1


async def create_snapshot(home: Home, host: str, *, channel: str | None = None) -> Path:
    """Have a peer take a snapshot of a channel at its newest block, and copy it into `HOME/snapshots`.

    Args:
        home: of a network of real peers that runs.
        host: of the peer, such as `peer0.org1.example.com`.
        channel: its name; default: the topology's first.

    Raises:
        TopologyInvalid: if there is no such peer here.
        TopologyConflict: on the embedded runtime, whose peers share one ledger.
        SnapshotFailed: if the peer refuses or does not finish within a minute.

    """
    topology = home.load_topology()
    if runtime_of(home) == "embedded":
        raise TopologyConflict("peers of the embedded runtime share one ledger; snapshots are of real peers")
    channel = channel or topology.channel.name
    organization, _ = _peer(topology, host)
    admin = credentials_from_msp(home.user(organization, "Admin") / "msp", organization.msp_id)
    endpoint = ConnectionProfile.load(home.connection_profile(organization)).peers[host]
    folder = home.nodes / host / "data" / "snapshots" / "completed" / channel
    before = _blocks(folder)
    async with Endorser.connect(endpoint, admin.identity, admin.signer) as peer:
        try:
            newest = (await peer.chain_info(channel)).height - 1
        except PeerError as error:
            raise SnapshotFailed(f"{host}: {error}") from error
    if newest not in before:
        await _generate(endpoint, admin, channel)
    deadline = time.monotonic() + _PATIENCE_S
    while not (found := {block for block in _blocks(folder) - before if block >= newest} or {newest} & before):
        if time.monotonic() > deadline:
            raise SnapshotFailed(
                f"{host} did not finish a snapshot in {_PATIENCE_S:g} s; `network logs {host}` says why"
            )
        await asyncio.sleep(_PAUSE_S)
    target = home.path / "snapshots" / channel / str(min(found))
    await asyncio.to_thread(_copy, folder / str(min(found)), target)
    return target


async def _generate(endpoint: Endpoint, admin: Credentials, channel: str) -> None:
    header = common_pb2.SignatureHeader(creator=admin.identity.serialized, nonce=secrets.token_bytes(24))
    request = snapshot_pb2.SnapshotRequest(signature_header=header, channel_id=channel).SerializeToString()
    signature = admin.signer.sign(hashlib.sha256(request).digest())
    signed = snapshot_pb2.SignedSnapshotRequest(request=request, signature=signature)
    async with open_channel(endpoint) as opened:
        generate = opened.unary_unary(
            "/protos.Snapshot/Generate",
            request_serializer=snapshot_pb2.SignedSnapshotRequest.SerializeToString,
            response_deserializer=Empty.FromString,
        )
        try:
            await generate(signed, timeout=_PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            raise SnapshotFailed(f"{endpoint.name} takes no snapshot of {channel}: {error.details()}") from error


def _peer(topology: Topology, host: str) -> tuple[Organization, Peer]:
    for organization, peer in topology.peers():
        if peer.host(organization) == host:
            return organization, peer
    known = ", ".join(peer.host(organization) for organization, peer in topology.peers())
    raise TopologyInvalid(f"there is no peer {host!r} in this network; there are {known}")


def _blocks(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit()} if folder.is_dir() else set()


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(source, scratch)
        scratch.rename(target)
