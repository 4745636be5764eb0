"""Opening gRPC channels to endpoints, the same way for every service."""

from __future__ import annotations

import grpc
import grpc.aio

from goldengrain.gateway.connection import Endpoint

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
