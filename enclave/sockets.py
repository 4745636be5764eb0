"""Where an enclave listens: a Unix socket whose path may be longer than the 107 bytes that the system takes, or TCP.

A long path is reached through its folder's descriptor (`/proc/self/fd/N/name`), which is short. TCP is for enclaves
that share no Unix sockets with their host: `tcp://127.0.0.1:PORT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_PATH = 107
MAX_PORT = 65_535
TCP = "tcp://"
CONNECT_S = 10.0
"""Seconds for a connection and its handshake."""


def bind(path: Path) -> socket.socket:
    """Return a socket bound to `path`, mode 0600; a stale socket in the way is removed. Raises `OSError`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()
        with _reachable(path) as short:
            sock.bind(short)
        path.chmod(0o600)
    except OSError:
        sock.close()
        raise
    return sock


def listen(address: str) -> socket.socket:
    """Return a socket that is bound to `tcp://HOST:PORT`, or to a Unix socket's path. Raises `OSError`."""
    if not is_tcp(address):
        return bind(Path(address))
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(_host_and_port(address))
    except OSError:
        sock.close()
        raise
    return sock


async def open_tls(address: Path | str, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a TLS connection to `tcp://HOST:PORT`, or to a Unix socket's path. Raises `OSError`."""
    if is_tcp(address):
        host, port = _host_and_port(str(address))
        where: dict[str, Any] = {"host": host, "port": port}
    else:
        sock = connect(Path(address))
        sock.setblocking(False)
        where = {"sock": sock}
    return await asyncio.open_connection(**where, ssl=context, server_hostname="", ssl_handshake_timeout=CONNECT_S)


def inode(address: str) -> int | None:
    """Return what tells a Unix socket's file from one that takes its place; None where there is none."""
    path = Path(address)
    return path.stat().st_ino if not is_tcp(address) and path.exists() else None


def remove(address: str, own: int | None) -> None:
    """Remove a Unix socket that was served, unless another enclave has taken its place; TCP leaves nothing behind."""
    if own is not None and inode(address) == own:
        Path(address).unlink()


def is_tcp(address: Path | str) -> bool:
    """Tell whether an address is `tcp://HOST:PORT`."""
    return isinstance(address, str) and address.startswith(TCP)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix(TCP).rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise OSError(errno.EINVAL, f"{address!r} is no address like tcp://127.0.0.1:7400")
    return host, int(port)


def connect(path: Path) -> socket.socket:
    """Return a socket connected to `path`; raises `OSError`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _reachable(path) as short:
            sock.connect(short)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= MAX_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
