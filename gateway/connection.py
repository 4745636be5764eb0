"""Where to connect: endpoints, their TLS roots, and Fabric's common connection profile (JSON or YAML).

A profile names organisations, their peers, and for each peer a URL (``grpcs://host:port`` or ``grpc://…``) with the
certificates of the CAs that its TLS certificate chains to, inline (``pem``) or as a file (``path``, relative to the
profile). The ``network.json`` files of hfc-py / fabric-sdk-py are such profiles and are read too.

Example::

    profile = ConnectionProfile.load("organizations/…/org1.example.com/connection.json")
    async with Gateway.connect(profile.gateway(), identity, signer) as gateway: …
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from goldengrain.gateway.errors import ConnectionProfileError
from goldengrain.gateway.identity import Credentials, credentials_from_pem


@dataclass(frozen=True)
class Endpoint:
    """One server: ``host:port``, PEM of its TLS roots (None: no TLS), and the name to expect in its certificate.

    ``server_name`` None means the host itself. ``client_certificate`` and ``client_key`` (PEM) are for mutual TLS.
    """

    address: str
    tls_root: bytes | None = None
    server_name: str | None = None
    name: str = ""
    client_certificate: bytes | None = None
    client_key: bytes | None = None

    @classmethod
    def parse(cls, url: str, tls_root: bytes | None = None, server_name: str | None = None, name: str = "") -> Endpoint:
        """Return an endpoint from ``grpcs://…``, ``grpc://…`` or ``host:port`` (TLS where a root is given)."""
        if "://" not in url:
            url = f"{'grpcs' if tls_root else 'grpc'}://{url}"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConnectionProfileError(f"{url!r} is not grpc://host:port or grpcs://host:port") from error
        if parts.scheme not in {"grpc", "grpcs"} or not parts.hostname or port is None:
            raise ConnectionProfileError(f"{url!r} is not grpc://host:port or grpcs://host:port")
        if parts.scheme == "grpcs" and not tls_root:
            raise ConnectionProfileError(f"{url} wants TLS, but no CA certificate (tlsCACerts) is given for it")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(f"{host}:{port}", tls_root if parts.scheme == "grpcs" else None, server_name, name)


@dataclass(frozen=True)
class ProfileOrganization:
    """An organisation of a profile: its name there, its MSP id, the names of its peers."""

    name: str
    msp_id: str
    peers: tuple[str, ...]
    users: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By name, as hfc-py has them: paths of the certificate (``cert``) and its key (``private_key``)."""


def read_document(path: Path) -> Any:
    """Return what a profile's file holds, JSON or YAML. Raises ConnectionProfileError."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConnectionProfileError(f"cannot read the connection profile {path}: {error}") from error


@dataclass(frozen=True)
class ConnectionProfile:
    """A parsed profile: whose it is (``client.organization``, may be empty), organisations, peers, orderers."""

    client_organization: str
    organizations: Mapping[str, ProfileOrganization]
    peers: Mapping[str, Endpoint]
    orderers: Mapping[str, Endpoint]
    folder: Path = Path()

    @classmethod
    def load(cls, path: str | Path) -> ConnectionProfile:
        """Read a profile, JSON or YAML. Raises ConnectionProfileError."""
        path = Path(path)
        return cls.from_document(read_document(path), path.parent)

    @classmethod
    def from_document(cls, document: Any, folder: Path = Path()) -> ConnectionProfile:
        """Return a profile from parsed JSON or YAML; ``folder`` is what relative paths in it start from."""
        if not isinstance(document, dict):
            raise ConnectionProfileError("a connection profile is an object with organizations and peers")
        try:
            organizations = {
                name: ProfileOrganization(
                    _text(name),
                    _text(body.get("mspid", body.get("mspId", ""))),
                    tuple(_text(one) for one in body.get("peers") or ()),
                    dict(body.get("users") or {}),
                )
                for name, body in (document.get("organizations") or {}).items()
            }
            peers = _endpoints(document.get("peers"), folder)
            orderers = _endpoints(document.get("orderers"), folder)
            client = _text((document.get("client") or {}).get("organization") or "")
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise ConnectionProfileError(f"malformed connection profile: {error!r}") from error
        return cls(client, organizations, peers, orderers, folder)

    def organization(self, name: str | None = None) -> ProfileOrganization:
        """Return an organisation by its name or MSP id; without one, the client's (or the only one there is)."""
        name = name or self.client_organization
        if not name and len(self.organizations) == 1:
            return next(iter(self.organizations.values()))
        for organization in self.organizations.values():
            if name and name in {organization.name, organization.msp_id}:
                return organization
        known = ", ".join(self.organizations) or "none"
        raise ConnectionProfileError(f"organisation {name or '(none given)'} is not in the profile; it has: {known}")

    def gateways(self, organization: str | None = None) -> list[Endpoint]:
        """Return the peers of an organisation (default: the client's), in the profile's order; at least one."""
        found = self.organization(organization)
        endpoints = [self.peers[name] for name in found.peers if name in self.peers]
        if not endpoints:
            raise ConnectionProfileError(f"the profile has no peer of organisation {found.name}")
        return endpoints

    def credentials(self, user: str, organization: str | None = None, password: bytes | None = None) -> Credentials:
        """Return a user whose certificate and key the profile names, as hfc-py's ``network.json`` files do.

        Their paths start from the profile's folder, or from the current one as hfc-py has it. Raises
        ConnectionProfileError, and IdentityError where they cannot be used.
        """
        found = self.organization(organization)
        try:
            named = found.users[user]
            certificate, key = (self._read(named[part]) for part in ("cert", "private_key"))
        except (KeyError, TypeError, ValueError, OSError) as error:
            known = ", ".join(found.users) or "none"
            raise ConnectionProfileError(
                f"the profile has no usable certificate and key of {user!r} of {found.name} ({error!r}); users: {known}"
            ) from error
        return credentials_from_pem(found.msp_id, certificate, key, password)

    def _read(self, path: str) -> bytes:
        beside = self.folder / path
        return (beside if beside.exists() else Path(path)).read_bytes()

    def gateway(self, organization: str | None = None) -> Endpoint:
        """Return the first peer of an organisation (default: the client's)."""
        return self.gateways(organization)[0]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _endpoints(section: Any, folder: Path) -> dict[str, Endpoint]:
    return {name: _endpoint(name, body, folder) for name, body in (section or {}).items()}


def _endpoint(name: str, body: dict[str, Any], folder: Path) -> Endpoint:
    options = body.get("grpcOptions") or {}
    override = options.get("ssl-target-name-override") or options.get("grpc.ssl_target_name_override")
    return Endpoint.parse(body["url"], _certificates(body.get("tlsCACerts"), folder), override, name)


def _certificates(section: Any, folder: Path) -> bytes | None:
    """PEM texts of a ``tlsCACerts`` section: ``pem`` (text or list of texts) or ``path``."""
    if not section:
        return None
    pem = section.get("pem")
    if pem:
        return "\n".join(pem if isinstance(pem, list) else [pem]).encode("ascii")
    if not section.get("path"):
        return None
    path = folder / str(section["path"])
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConnectionProfileError(f"cannot read the CA certificate {path}: {error}") from error
