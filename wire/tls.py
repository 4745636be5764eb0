"""TLS contexts from PEM texts: Python's `ssl` reads keys from files only, so they pass through a private folder."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path


def server_context(certificate: bytes, key: bytes, client_root: bytes | None = None) -> ssl.SSLContext:
    """Return a server's context; with `client_root`, only clients whose certificate it vouches for get in.

    Raises:
        ssl.SSLError, ValueError: not PEM, or a key that is another certificate's.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(context, certificate, key)
    if client_root is not None:
        context.load_verify_locations(cadata=client_root.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED
    return _common(context)


def client_context(root: bytes, certificate: bytes | None = None, key: bytes | None = None) -> ssl.SSLContext:
    """Return a client's context: it trusts `root`, and shows its own certificate where one is given.

    `root` may be an intermediate authority, as it may be for gRPC's libraries.

    Raises:
        ssl.SSLError, ValueError: not PEM, or a key that is another certificate's.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=root.decode("ascii"))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_TRUSTED_FIRST
    if certificate is not None and key is not None:
        _load_pair(context, certificate, key)
    return _common(context)


def _common(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:  # only its owner may enter
        paths = [Path(folder, name) for name in ("certificate.pem", "key.pem")]
        for path, text in zip(paths, (certificate, key), strict=True):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(text)
        context.load_cert_chain(*map(str, paths))
