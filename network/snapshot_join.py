"""A new peer begins with a snapshot of a channel's ledger instead of its first block: `cscc`, as the Admin."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import grpc
from fabric_protos.peer import query_pb2

from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.gateway.identity import credentials_from_msp

from .errors import SnapshotFailed
from .home import Home
from .topology import Organization, Peer

_PATIENCE_S = 60.0
_PAUSE_S = 0.1
_FILE = "_snapshot_signable_metadata.json"


async def join_by_snapshot(home: Home, organization: Organization, peer: Peer, snapshot: Path) -> None:
    """Have a peer that runs and has joined nothing begin with a snapshot, and wait until it has.

    Raises:
        ConnectionError: if it does not answer yet.
        SnapshotFailed: if it refuses the snapshot.

    """
    host = peer.host(organization)
    admin = credentials_from_msp(home.user(organization, "Admin") / "msp", organization.msp_id)
    endpoint = ConnectionProfile.load(home.connection_profile(organization)).peers[host]
    async with Endorser.connect(endpoint, admin.identity, admin.signer) as endorser:
        try:
            await endorser.call("cscc", "JoinChainBySnapshot", _absolute(snapshot))
            deadline = time.monotonic() + _PATIENCE_S
            while await _in_progress(endorser):
                if time.monotonic() > deadline:
                    raise SnapshotFailed(f"{host} is not done with {snapshot} after {_PATIENCE_S:g} s")
                await asyncio.sleep(_PAUSE_S)
            if read_channel(snapshot) not in await endorser.channels():
                raise SnapshotFailed(f"{host} did not join by {snapshot}; `network logs {host}` says why")
        except PeerError as error:
            if error.grpc_code is grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(str(error)) from error
            raise SnapshotFailed(f"{host} refused the snapshot {snapshot}: {error}") from error


def read_channel(snapshot: Path) -> str:
    """The channel that a snapshot is of.

    Raises:
        SnapshotFailed: if the folder holds no snapshot.

    """
    try:
        return str(json.loads((snapshot / _FILE).read_bytes())["channel_name"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SnapshotFailed(f"{snapshot} holds no snapshot of a ledger: {error}") from error


async def _in_progress(endorser: Endorser) -> bool:
    status = query_pb2.JoinBySnapshotStatus.FromString(await endorser.call("cscc", "JoinBySnapshotStatus"))
    return bool(status.in_progress)


def _absolute(path: Path) -> str:
    return str(path.absolute())  # a peer runs in a folder of its own
