"""TLS for the chaincode server: its certificate and, for mutual TLS, the authority of the peers' certificates.

The package's `connection.json` says the same from the peer's side: `tls_required`, `root_cert`, `client_auth_required`,
`client_key`, `client_cert`.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.chaincode.shim.errors import ServerError
from goldengrain.wire.tls import server_context


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """PEM texts. With `client_root` only peers whose certificate it vouches for get in."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_root: bytes | None = None

    @classmethod
    def from_files(cls, certificate: Path, key: Path, client_root: Path | None = None) -> "TLSOptions":
        """Read the PEM files. Raises ServerError."""
        try:
            root = client_root.read_bytes() if client_root else None
            return cls(certificate.read_bytes(), key.read_bytes(), root)
        except OSError as error:
            raise ServerError(f"cannot read TLS material: {error}") from error

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "TLSOptions | None":
        """Fabric's convention: CHAINCODE_TLS_DISABLED (default true), CHAINCODE_TLS_CERT, CHAINCODE_TLS_KEY and, for
        mutual TLS, CHAINCODE_CLIENT_CA_CERT, each a file's path. Raises ServerError.
        """  # noqa: D205
        if environment.get("CHAINCODE_TLS_DISABLED", "true").strip().lower() not in ("false", "0", "f"):
            return None
        certificate, key = environment.get("CHAINCODE_TLS_CERT"), environment.get("CHAINCODE_TLS_KEY")
        if not certificate or not key:
            raise ServerError("CHAINCODE_TLS_DISABLED is false: set CHAINCODE_TLS_CERT and CHAINCODE_TLS_KEY too")
        root = environment.get("CHAINCODE_CLIENT_CA_CERT")
        return cls.from_files(Path(certificate), Path(key), Path(root) if root else None)

    def context(self) -> ssl.SSLContext:
        """For the server. Raises ServerError."""
        try:
            public = x509.load_pem_x509_certificate(self.certificate).public_key()
            matches = load_pem_private_key(self.key, None).public_key() == public
            if self.client_root is not None:
                x509.load_pem_x509_certificates(self.client_root)
        except (TypeError, *UNREADABLE) as error:
            raise ServerError("the chaincode server's TLS key, certificate or client root is no PEM") from error
        if not matches:
            raise ServerError("the chaincode server's TLS key does not belong to its certificate")
        try:
            return server_context(self.certificate, self.key, self.client_root)
        except (ssl.SSLError, ValueError) as error:
            raise ServerError(f"TLS does not take the chaincode server's key and certificates: {error}") from error
