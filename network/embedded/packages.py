"""Installed chaincode packages: reading a package and keeping it on disk.

A package is a gzipped tar with `metadata.json` (`{"type", "label"}`) and `code.tar.gz`. For chaincode-as-a-service
(type `ccaas`, or `external`) the code is one file, `connection.json`: where the chaincode's server listens. The package
id is `label:` and the SHA-256 of the package file. The peers keep each package as it came, `<label>.<hash>.tar.gz`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldengrain.network.embedded.errors import LedgerCorruptError
from goldengrain.network.embedded.failures import LifecycleError

__all__ = ["ChaincodeConnection", "ChaincodePackage", "PackageStore", "parse_package"]

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_SERVER_TYPES = frozenset({"ccaas", "external"})
_MAX_UNPACKED = 64 * 1024 * 1024
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PARSE = "could not parse as a chaincode install package: "


@dataclass(frozen=True)
class ChaincodeConnection:
    """What `connection.json` of a package says about the chaincode's server.

    Attributes:
        address: HOST:PORT.
        dial_timeout_s: how long one attempt to connect may take, in seconds.
        root_certificate: PEM of the CA that signed the server's certificate, where TLS is required; else None.
        client_key: PEM of the peer's key, where the server asks for a client certificate; else None.
        client_certificate: PEM of the peer's certificate for it.

    """

    address: str
    dial_timeout_s: float = 3.0
    root_certificate: bytes | None = None
    client_key: bytes | None = None
    client_certificate: bytes | None = None


@dataclass(frozen=True)
class ChaincodePackage:
    """One chaincode package, read."""

    package_id: str
    label: str
    type: str
    code: bytes
    raw: bytes

    def connection(self) -> ChaincodeConnection:
        """Where the chaincode's server listens.

        Raises:
            LifecycleError: the package holds no usable `connection.json`.

        """
        if self.type.lower() not in _SERVER_TYPES:
            raise LifecycleError("could not build chaincode: docker build failed: docker build is disabled")
        files = _unpack(self.code, "could not build chaincode: ")
        try:
            return _connection(json.loads(files["connection.json"]))
        except KeyError as error:
            raise LifecycleError(f"could not build chaincode: connection.json has no {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise LifecycleError(f"could not build chaincode: malformed connection.json: {error}") from error


def parse_package(raw: bytes) -> ChaincodePackage:
    """Read a chaincode package.

    Raises:
        LifecycleError: it is not one.

    """
    files = _unpack(raw, _PARSE)
    if "metadata.json" not in files:
        raise LifecycleError(_PARSE + "did not find any package metadata (missing metadata.json)")
    try:
        metadata = json.loads(files["metadata.json"])
        label, kind = str(metadata.get("label", "")), str(metadata.get("type", ""))
    except (ValueError, AttributeError) as error:
        raise LifecycleError(f"{_PARSE}could not unmarshal metadata.json as json: {error}") from error
    if not _LABEL.fullmatch(label):
        raise LifecycleError(
            f"{_PARSE}invalid label '{label}'. Label must be non-empty, can only consist of alphanumerics, "
            "symbols from '.+-_', and can only begin with alphanumerics"
        )
    if "code.tar.gz" not in files:
        raise LifecycleError(_PARSE + "did not find a code package inside the package")
    return ChaincodePackage(f"{label}:{hashlib.sha256(raw).hexdigest()}", label, kind, files["code.tar.gz"], raw)


class PackageStore:
    """The packages that are installed on one peer, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """Read what is installed; raises LedgerCorruptError where a package is damaged."""
        self._folder = folder
        self._packages: dict[str, ChaincodePackage] = {}
        if folder.is_dir():
            for path in sorted(folder.glob("*.tar.gz")):
                package = _installed(path)
                self._packages[package.package_id] = package

    def install(self, raw: bytes) -> ChaincodePackage:
        """Keep a package; it is on disk when this returns.

        Raises:
            LifecycleError: it is malformed, installed already, of a type that is not run here, or can't be written.

        """
        package = parse_package(raw)
        if package.package_id in self._packages:
            raise LifecycleError(f"chaincode already successfully installed (package ID '{package.package_id}')")
        package.connection()
        try:
            self._write(package)
        except OSError as error:
            text = f"could not install build chaincode package '{package.package_id}': it could not be written: {error}"
            raise LifecycleError(text) from error
        self._packages[package.package_id] = package
        return package

    def _write(self, package: ChaincodePackage) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / (package.package_id.replace(":", ".") + ".tar.gz")
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("wb") as file:
                file.write(package.raw)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def get(self, package_id: str) -> ChaincodePackage | None:
        """The package of that id, or None."""
        return self._packages.get(package_id)

    def all(self) -> list[ChaincodePackage]:
        """Every installed package, in the order of their ids."""
        return [self._packages[name] for name in sorted(self._packages)]


def _installed(path: Path) -> ChaincodePackage:
    try:
        package = parse_package(path.read_bytes())
    except LifecycleError as error:
        raise LedgerCorruptError(f"the installed package {path} is damaged ({error}): restore it, or purge") from error
    if path.name != package.package_id.replace(":", ".") + ".tar.gz":
        raise LedgerCorruptError(f"the installed package {path} has another content than its name says: restore it")
    return package


def _connection(fields: dict[str, Any]) -> ChaincodeConnection:
    required = bool(fields.get("tls_required", False))
    mutual = required and bool(fields.get("client_auth_required", False))
    return ChaincodeConnection(
        address=str(fields["address"]),
        dial_timeout_s=_seconds(str(fields.get("dial_timeout", "") or "3s")),
        root_certificate=str(fields["root_cert"]).encode() if required else None,
        client_key=str(fields["client_key"]).encode() if mutual else None,
        client_certificate=str(fields["client_cert"]).encode() if mutual else None,
    )


def _seconds(duration: str) -> float:
    """Seconds of a Go duration such as 10s or 1m30s."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"dial_timeout {duration!r} is not a duration such as 10s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _unpack(raw: bytes, prefix: str) -> dict[str, bytes]:
    """The regular files of a gzipped tar, by name."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            data = stream.read(_MAX_UNPACKED + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LifecycleError(f"{prefix}error reading as gzip stream: {_gzip_error(raw)}") from error
    if not raw:
        raise LifecycleError(f"{prefix}error reading as gzip stream: EOF")
    if len(data) > _MAX_UNPACKED:
        raise LifecycleError(f"{prefix}unpacks to more than {_MAX_UNPACKED} bytes")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            members = [member for member in archive if member.isfile()]
            return {member.name.removeprefix("./"): _read(archive, member) for member in members}
    except tarfile.TarError as error:
        raise LifecycleError(f"{prefix}error inspecting next tar header: {error}") from error


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file is not None else b""


def _gzip_error(raw: bytes) -> str:
    """Go's word for a stream that is not gzip: shorter than a header is an unexpected end, else a bad header."""
    return "unexpected EOF" if len(raw) < 10 else "gzip: invalid header"
