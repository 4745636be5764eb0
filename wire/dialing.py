"""TCP to the first of a name's addresses that answers, tried one after another in short steps (RFC 8305, section 5).

asyncio's own way of doing so (`happy_eyeballs_delay`) may leave a connected socket to nobody when it is cancelled; here
every socket is closed that is not returned.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from functools import partial

STEP_S = 0.25
"""How long an address is waited for before the next is tried as well."""


async def dial(host: str, port: int) -> socket.socket:
    """Return a connected socket that does not block, the caller's to close; raises `OSError`, the first address's."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    attempts: dict[asyncio.Task[None], socket.socket] = {}
    try:
        for family, kind, protocol, _, address in addresses:
            one = socket.socket(family, kind, protocol)
            one.setblocking(False)
            attempts[asyncio.create_task(loop.sock_connect(one, address))] = one
            if won := await _next(attempts, STEP_S):
                return attempts.pop(won)
        while not all(task.done() for task in attempts):
            if won := await _next(attempts, None):
                return attempts.pop(won)
        raise next(error for task in attempts if (error := task.exception()))
    finally:
        for task, one in attempts.items():
            task.cancel()
            task.add_done_callback(partial(_close, one))  # not before the loop has forgotten it


async def _next(attempts: Mapping[asyncio.Task[None], object], seconds: float | None) -> asyncio.Task[None] | None:
    """Wait until an attempt ends, or so long; return the one that is connected."""
    running = [task for task in attempts if not task.done()]
    if running:
        await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return next((task for task in attempts if task.done() and not task.exception()), None)


def _close(one: socket.socket, _: asyncio.Task[None]) -> None:
    one.close()
