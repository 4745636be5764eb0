"""Use a network that exists already: its connection profile and one identity are all that is needed.

    imported = import_network(home, Path("connection-org1.json"), credentials_folder=Path("users/Admin@…/msp"))

The folder gets what commands look for: a topology (names and addresses as the profile has them), a connection profile
per organisation, the identity in the wallet and as an MSP folder, `network.json` with the runtime `imported`. Nothing
of the network is started or stopped from here. Profiles are read as Fabric's test network writes them, and as hfc-py's
`network.json`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from goldengrain.gateway.connection import ConnectionProfile, Endpoint, ProfileOrganization, read_document
from goldengrain.gateway.errors import IdentityError
from goldengrain.gateway.identity import Credentials, credentials_from_msp, credentials_from_pem
from goldengrain.gateway.wallet import Wallet

from .creation import is_network
from .errors import ImportRefused
from .home import Home, network_state, write_atomically
from .status import IMPORTED
from .topology import Channel, Orderer, OrdererOrganization, Organization, Peer, Topology


@dataclass(frozen=True)
class Imported:
    """What was imported: the identity's label in the wallet, its organisation, all organisations, the channel."""

    label: str
    organization: str
    organizations: tuple[str, ...]
    channel: str


def import_network(
    home: Home,
    profile_file: Path,
    credentials: Credentials,
    key_pem: bytes,
    *,
    channel: str | None = None,
) -> Imported:
    """Make the folder of a network that others run.

    Args:
        home: a folder without a network.
        profile_file: connection profile, JSON or YAML.
        credentials: of somebody of an organisation that the profile names.
        key_pem: the identity's private key, PEM, for the wallet.
        channel: its name; default: the profile's only one, else `market`.

    Raises:
        ImportRefused: if the folder holds a network, or the profile does not name the identity's organisation.
        ConnectionProfileError, TopologyInvalid: if the profile cannot be used.

    """
    if is_network(home) or home.network_file.exists():
        raise ImportRefused(f"{home.path} holds a network already; choose another folder with --home")
    profile = ConnectionProfile.load(profile_file)
    msp_id = credentials.identity.msp_id
    topology = _topology(profile, channel or _channel(profile_file))
    owner = next((one for one in topology.organizations if one.msp_id == msp_id), None)
    if owner is None:
        known = ", ".join(one.msp_id for one in topology.organizations)
        raise ImportRefused(f"the profile names no organisation with the MSP id {msp_id}; it names {known}")
    try:
        for organization in topology.organizations:
            document = _document(profile, topology, organization)
            write_atomically(home.connection_profile(organization), json.dumps(document, indent=2).encode())
        label = _keep_identity(home, owner, credentials, key_pem)
        home.save_topology(topology)
        home.save_state(network_state(topology, runtime=IMPORTED, pid=0, started=0))
    except BaseException:
        shutil.rmtree(home.organizations, ignore_errors=True)
        raise
    return Imported(label, owner.name, tuple(one.name for one in topology.organizations), topology.channel.name)


def read_identity(
    msp_id: str, *, folder: Path | None, certificate: Path | None, key: Path | None
) -> tuple[Credentials, bytes]:
    """Read an identity from an MSP folder, or from two PEM files; returns its key's PEM as well.

    Raises:
        ImportRefused: if neither is given, or a file cannot be read.
        IdentityError: if key and certificate do not belong together.

    """
    if folder is not None:
        found = credentials_from_msp(folder, msp_id)
        keys = [path.read_bytes() for path in sorted((folder / "keystore").iterdir())]
        for pem in keys:
            if credentials_match(found, pem):
                return found, pem
    if certificate is None or key is None:
        raise ImportRefused("give the identity: an MSP folder, or a certificate and its key")
    try:
        pem = key.read_bytes()
        return credentials_from_pem(msp_id, certificate.read_bytes(), pem), pem
    except OSError as error:
        raise ImportRefused(f"the identity cannot be read: {error}") from error


def credentials_match(credentials: Credentials, key_pem: bytes) -> bool:
    """Whether a private key belongs to an identity."""
    try:
        credentials_from_pem(credentials.identity.msp_id, credentials.identity.certificate, key_pem)
    except IdentityError:
        return False
    return True


def _topology(profile: ConnectionProfile, channel: str) -> Topology:
    organizations = [
        _organization(organization, profile.peers)
        for organization in profile.organizations.values()
        if any(name in profile.peers for name in organization.peers)
    ]
    if not organizations:
        raise ImportRefused("the profile names no organisation with a peer; it needs one to connect to")
    orderers = tuple(_orderer(name, endpoint) for name, endpoint in profile.orderers.items())
    first = next(iter(profile.orderers), "orderer.example.com")
    owner = OrdererOrganization(domain=first.partition(".")[2] or "example.com", orderers=orderers or (Orderer(),))
    return Topology(tuple(organizations), owner, Channel(channel))


def _organization(organization: ProfileOrganization, endpoints: Mapping[str, Endpoint]) -> Organization:
    names = [name for name in organization.peers if name in endpoints]
    domain = names[0].partition(".")[2] or f"{organization.name.lower()}.example.com"
    return Organization(
        organization.name,
        organization.msp_id,
        domain,
        peers=tuple(_peer(name, endpoints[name]) for name in names),
        users=(),
    )


def _peer(name: str, endpoint: Endpoint) -> Peer:
    host, port = _address(endpoint)
    return Peer(name.partition(".")[0].lower(), port, listen=host)


def _orderer(name: str, endpoint: Endpoint) -> Orderer:
    host, port = _address(endpoint)
    return Orderer(name.partition(".")[0].lower(), port, listen=host)


def _address(endpoint: Endpoint) -> tuple[str, int]:
    host, _, port = endpoint.address.rpartition(":")
    return ("127.0.0.1" if host == "localhost" else host.strip("[]")), int(port)


def _channel(profile_file: Path) -> str:
    document = read_document(profile_file)
    channels = document.get("channels") if isinstance(document, dict) else None
    names = list(channels) if isinstance(channels, dict | list) else []
    return str(names[0]) if len(names) == 1 else "market"


def _document(profile: ConnectionProfile, topology: Topology, organization: Organization) -> dict[str, Any]:
    """The profile as one organisation's, certificates inline, peers under the names that the topology gives them."""
    peers: dict[str, Any] = {}
    members: dict[str, Any] = {}
    for member in topology.organizations:
        known = profile.organizations[member.name].peers
        endpoints = [profile.peers[name] for name in known if name in profile.peers]
        names = [peer.host(member) for peer in member.peers]
        members[member.name] = {"mspid": member.msp_id, "peers": names}
        peers |= {name: _node(name, endpoint) for name, endpoint in zip(names, endpoints, strict=True)}
    orderers = {name: _node(name, endpoint) for name, endpoint in profile.orderers.items()}
    return {
        "name": f"{topology.channel.name}-{organization.name}",
        "version": "1.0.0",
        "client": {"organization": organization.name},
        "organizations": members,
        "peers": peers,
        "orderers": orderers,
    }


def _node(name: str, endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.tls_root is None:
        return {"url": f"grpc://{endpoint.address}"}
    server = endpoint.server_name or endpoint.address.rpartition(":")[0] or name
    return {
        "url": f"grpcs://{endpoint.address}",
        "tlsCACerts": {"pem": endpoint.tls_root.decode()},
        "grpcOptions": {"ssl-target-name-override": server, "hostnameOverride": server},
    }


def _keep_identity(home: Home, owner: Organization, credentials: Credentials, key_pem: bytes) -> str:
    """Put the identity into the wallet and, as an MSP folder, among its organisation's users."""
    subject = credentials.identity.x509.subject
    names = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if not names:
        raise ImportRefused("the identity's certificate names nobody (it has no common name); enrol it anew")
    common = str(names[0].value)
    units = [str(one.value) for one in subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)]
    name = "Admin" if "admin" in units else common.partition("@")[0]
    label = f"{name}@{owner.domain}"
    folder = home.user(owner, name) / "msp"
    write_atomically(folder / "signcerts" / "cert.pem", credentials.identity.certificate)
    write_atomically(folder / "keystore" / "priv_sk", key_pem, mode=0o600)
    Wallet(home.wallet).put(label, owner.msp_id, credentials.identity.certificate, key_pem)
    return label
