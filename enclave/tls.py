"""TLS for RA-TLS: contexts of the enclave's server and of who connects to it; TLS 1.3 alone.

The client's context checks nothing: whom it talks to is told by `ratls.check` on the certificate that the handshake has
proved the key of, before anything is sent or believed.
"""

from __future__ import annotations

import secrets
import ssl
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from goldengrain.enclave.ratls import Certified


def server_context(certified: Certified) -> ssl.SSLContext:
    """Return the context of a server with this certificate.

    Python's TLS takes keys from files alone: the key passes through one that is encrypted under a password of this
    call.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    password = secrets.token_bytes(32).hex().encode()
    key = certified.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key-and-certificate.pem"
        file.write_bytes(key + ssl.DER_cert_to_PEM_cert(certified.certificate).encode())
        context.load_cert_chain(file, password=password)
    return context


def client_context() -> ssl.SSLContext:
    """Return the context of a client that judges the certificate itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
