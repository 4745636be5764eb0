"""Opening gRPC channels to endpoints, the same way for every service."""

from __future__ import annotations

import grpc
import grpc.aio

from goldengrain.gateway.connection import Endpoint

MAX_MESSAGE = 100 * 1024 * 1024  # bytes; Fabric's own limit for peers and orderers
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name also the time that one attempt may take, TLS handshake included.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """Return a channel to an endpoint. It connects on first use; close it with ``await channel.close()``."""
    options = list(_OPTIONS)
    if endpoint.tls_root is None:
        return grpc.aio.insecure_channel(endpoint.address, options)
    if endpoint.server_name:
        options.append(("grpc.ssl_target_name_override", endpoint.server_name))
    credentials = grpc.ssl_channel_credentials(endpoint.tls_root, endpoint.client_key, endpoint.client_certificate)
    return grpc.aio.secure_channel(endpoint.address, credentials, options)
