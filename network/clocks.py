"""How far a node's clock differs from this machine's, wherever the node runs.

No service of Fabric's tells the time, but peers and orderers refuse a request for blocks whose timestamp is further
from their clock than a window (`authentication.timewindow`, 15 minutes unless configured). The earliest and the latest
timestamp that a node takes lie symmetrically around its clock: their middle is what it shows, whatever the window.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2

from goldengrain.gateway.channel import open_channel
from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.identity import Credentials

from .seek import ORDERER, newest_request

Takes = Callable[[float], Awaitable[bool]]
"""Whether a node takes a timestamp that is so many seconds ahead of this machine's clock."""

PRECISION_S = 0.25
_FIRST_S = 64.0
_MOST_S = 2.0**28
_HALF_WINDOW_S = 840.0
_STEPS = 100
_PEER = "/protos.Deliver/DeliverFiltered"


async def clock_difference(
    endpoint: Endpoint, who: Credentials, channel: str, *, orderer: bool = False, ahead_s: int = 0
) -> float | None:
    """How many seconds a node's clock is ahead of this machine's, to about half a second.

    Args:
        endpoint: of the node.
        who: may read the channel there.
        channel: that the node has.
        orderer: whether the node is an orderer.
        ahead_s: by how much the network's own time is ahead of the machine's.

    Returns:
        None where the node does not answer, or says neither yes nor no.

    """
    try:
        async with _asking(endpoint, who, channel, ahead_s, orderer=orderer) as takes:
            return await measured(takes)
    except (grpc.aio.AioRpcError, StopAsyncIteration):
        return None


async def measured(takes: Takes) -> float | None:
    """The middle of the timestamps that a node takes, as seconds ahead of this machine's clock; None for none."""
    inside = await _taken(takes)
    if inside is None:
        return None
    latest, earliest = await _edge(takes, inside, 1.0), await _edge(takes, inside, -1.0)
    return None if latest is None or earliest is None else (latest + earliest) / 2


async def _taken(takes: Takes) -> float | None:
    """Some timestamp that a node takes: now, unless its clock differs by more than its window."""
    for step in range(_STEPS):
        for sign in (1.0, -1.0) if step else (1.0,):
            if await takes(sign * step * _HALF_WINDOW_S):
                return sign * step * _HALF_WINDOW_S
    return None


async def _edge(takes: Takes, inside: float, sign: float) -> float | None:
    """The furthest timestamp in one direction that a node takes."""
    step = _FIRST_S
    while await takes(inside + sign * step):
        step *= 2
        if step > _MOST_S:
            return None
    near, far = step / 2 if step > _FIRST_S else 0.0, step
    while far - near > PRECISION_S:
        middle = (near + far) / 2
        near, far = (middle, far) if await takes(inside + sign * middle) else (near, middle)
    return inside + sign * (near + far) / 2


@asynccontextmanager
async def _asking(
    endpoint: Endpoint, who: Credentials, channel: str, ahead_s: int, *, orderer: bool
) -> AsyncIterator[Takes]:
    async with open_channel(endpoint) as opened:
        call = opened.stream_stream(
            ORDERER if orderer else _PEER,
            request_serializer=common_pb2.Envelope.SerializeToString,
            response_deserializer=(ab_pb2 if orderer else events_pb2).DeliverResponse.FromString,
        )

        async def takes(ahead: float) -> bool:
            stream = call(iter([newest_request(who, channel, time.time() + ahead_s + ahead)]), timeout=5)
            answer = await anext(aiter(stream))
            stream.cancel()
            refused = answer.WhichOneof("Type") == "status" and answer.status == common_pb2.BAD_REQUEST
            return not refused

        yield takes
