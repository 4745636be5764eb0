"""Opening gRPC channels to endpoints, the same way for every service."""

from __future__ import annotations

import os
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import grpc
import grpc.aio

from goldengrain.gateway.connection import Endpoint
from goldengrain.wire import Caller
from goldengrain.wire.tls import client_context

MAX_MESSAGE = 100 * 1024 * 1024  # bytes; Fabric's own limit for peers and orderers
KEEPALIVE_S = 75.0
"""Seconds of silence after which the server is asked whether it is there; Fabric's peers refuse it below 60."""

_ANSWER_MS = 20_000
_PING_TIMEOUT = "grpc.http2.ping_timeout_ms"

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    # Without this a connection with an idle stream is tried twice and never again.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name also the time that one attempt may take, TLS handshake included.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(endpoint: Endpoint, keepalive_s: float = KEEPALIVE_S) -> grpc.aio.Channel:
    """Return a channel to an endpoint. It connects on first use; close it with ``await channel.close()``."""
    silence = int(keepalive_s * 1000)
    patience = min(silence, _ANSWER_MS)
    # The second alone is not enough: a ping that is not answered has a time of its own, a minute by default.
    pings = ("grpc.keepalive_time_ms", silence), ("grpc.keepalive_timeout_ms", patience), (_PING_TIMEOUT, patience)
    options = [*_OPTIONS, *pings]
    if endpoint.tls_root is None:
        return grpc.aio.insecure_channel(endpoint.address, options)
    if endpoint.server_name:
        options.append(("grpc.ssl_target_name_override", endpoint.server_name))
    credentials = grpc.ssl_channel_credentials(endpoint.tls_root, endpoint.client_key, endpoint.client_certificate)
    return grpc.aio.secure_channel(endpoint.address, credentials, options)


def open_caller(endpoint: Endpoint, keepalive_s: float = KEEPALIVE_S) -> Caller | None:
    """Return what makes unary calls to an endpoint, cheaper than a channel does; it connects on first use.

    None where only gRPC's library gets there: through a proxy that the environment names, or by a name of its own
    kind (``unix:``, ``xds:``).
    """
    host, port = _host_and_port(endpoint.address)
    proxied = any(os.environ.get(name) for name in ("grpc_proxy", "https_proxy", "http_proxy"))
    if not host or (proxied and not proxy_bypass(host)):
        return None
    root = endpoint.tls_root
    tls = None if root is None else lambda: client_context(root, endpoint.client_certificate, endpoint.client_key)
    return Caller(host, port, tls, server_name=endpoint.server_name, keepalive_s=keepalive_s)


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{address}")
        return (parts.hostname or "", parts.port) if parts.port else ("", 0)
    except ValueError:
        return "", 0


def closed_error() -> grpc.aio.AioRpcError:
    """Return what a call fails with that was made on a closed connection, or was under way when it was closed."""
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, nothing, nothing, details="the gateway was closed")
