"""Packages of chaincode-as-a-service: what a peer installs to know where a chaincode's server listens.

A package is a gzipped tar of `metadata.json` (`{"type": "ccaas", "label": …}`) and `code.tar.gz`, itself a gzipped tar
of `connection.json` and, where the chaincode has some, CouchDB indexes (`indexes`). Its id is `LABEL:SHA256 of the
package`. The bytes depend on the content alone, so the same server gives the same id on every machine and on every day.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import PackageInvalid

# Fabric core/chaincode/lifecycle: names, versions and labels that a peer accepts.
_NAME = re.compile(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+)*")
_VERSION = re.compile(r"[A-Za-z0-9_.+-]+")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_SYSTEM = frozenset({"_lifecycle", "cscc", "lscc", "qscc", "escc", "vscc"})


@dataclass(frozen=True)
class ChaincodePackage:
    """A package ready to be installed."""

    label: str
    package_id: str
    content: bytes


def check_name(name: str, version: str) -> None:
    """Check the name and version of a chaincode.

    Raises:
        PackageInvalid: if a peer would not accept them.

    """
    if not _NAME.fullmatch(name) or name in _SYSTEM:
        raise PackageInvalid(
            f"{name!r} cannot name a chaincode; use letters and digits, with single '-' or '_' between"
        )
    if not _VERSION.fullmatch(version):
        raise PackageInvalid(f"{version!r} cannot be a chaincode's version; use letters, digits and '_.+-'")


def ccaas_package(
    label: str,
    address: str,
    *,
    dial_timeout: str = "10s",
    tls_root: bytes | None = None,
    tls_client: tuple[bytes, bytes] | None = None,
    indexes: Mapping[str, bytes] | None = None,
) -> ChaincodePackage:
    """Make the package of a chaincode server.

    Args:
        label: such as `golden-grain_1.0`.
        address: HOST:PORT as the peers reach it.
        dial_timeout: how long a peer tries to connect, as Go writes durations.
        tls_root: PEM of the authority that signed the server's certificate, None where the server speaks no TLS.
        tls_client: certificate and key, PEM, that peers show to a server that asks for them (mutual TLS). Whoever has
            the package has the key.
        indexes: of CouchDB, see `read_indexes`.

    Raises:
        PackageInvalid: if label or address are not such, or `tls_client` comes without `tls_root`.

    """
    if not _LABEL.fullmatch(label):
        raise PackageInvalid(f"{label!r} cannot be a package's label; use letters, digits and '_.+-'")
    if tls_client is not None and tls_root is None:
        raise PackageInvalid("peers show a certificate only where the server speaks TLS: give tls_root too")
    connection: dict[str, object] = {
        "address": _checked_address(address),
        "dial_timeout": dial_timeout,
        "tls_required": tls_root is not None,
    }
    if tls_root is not None:
        connection |= {"client_auth_required": tls_client is not None, "root_cert": tls_root.decode()}
    if tls_client is not None:
        certificate, key = tls_client
        connection |= {"client_cert": certificate.decode(), "client_key": key.decode()}
    code = _archive({"connection.json": _json(connection), **(indexes or {})})
    content = _archive({"metadata.json": _json({"path": "", "type": "ccaas", "label": label}), "code.tar.gz": code})
    return ChaincodePackage(label, f"{label}:{hashlib.sha256(content).hexdigest()}", content)


def _checked_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host:
        raise PackageInvalid(
            f"{address!r} is not HOST:PORT; give the address at which peers reach the chaincode's server"
        )
    return address


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0, compresslevel=6) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
