"""The certificates and keys of a network: per organisation two authorities, its nodes, its users.

`create_pki` makes all of them under `HOME/organizations`, laid out as `cryptogen` does; `issue_identity` adds users to
an organisation of an existing network; `load_identity` reads one back. Nothing is encrypted: these are keys of a test
network, or the start of a real one whose members then issue their own.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import IdentityExists, IdentityInvalid, IdentityNotFound
from .home import Home
from .msp_folders import (
    Authorities,
    read_authorities,
    read_only_file,
    write_authorities,
    write_signing_msp,
    write_tls,
)
from .topology import LOOPBACK, Orderer, OrdererOrganization, Organization, Peer, Role, Topology, User

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ATTRIBUTE_BYTES = 8192  # a certificate travels in every transaction


@dataclass(frozen=True)
class StoredIdentity:
    """A signing identity on disk.

    Attributes:
        msp_id: of its organisation.
        label: `User1@org1.example.com`.
        certificate: PEM.
        private_key: PKCS#8 PEM, unencrypted.
        folder: holds its `msp` and `tls`.

    """

    msp_id: str
    label: str
    certificate: bytes
    private_key: bytes
    folder: Path


def create_pki(home: Home, topology: Topology) -> None:
    """Make the certificates and keys of every organisation; all or nothing.

    Raises:
        IdentityExists: if the network has its certificates already.

    """
    if home.organizations.exists():
        raise IdentityExists(
            f"{home.organizations} holds certificates already; `goldengrain network down --purge` first"
        )
    home.path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.path, prefix=".organizations.") as temporary:
        scratch = Home(Path(temporary))
        for organization in topology.organizations:
            _create_organization(scratch, organization)
        for orderer in topology.orderer_organizations:
            _create_orderer_organization(scratch, orderer)
        scratch.organizations.rename(home.organizations)


def create_organization(home: Home, organization: Organization | OrdererOrganization) -> None:
    """Make the certificates and keys of one organisation that joins a network later; all or nothing.

    Raises:
        IdentityExists: if its folder is there already.

    """
    target = home.organization(organization)
    if target.exists():
        raise IdentityExists(f"{target} holds the certificates of {organization.name} already")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.path, prefix=".organization.") as temporary:
        scratch = Home(Path(temporary))
        if isinstance(organization, Organization):
            _create_organization(scratch, organization)
        else:
            _create_orderer_organization(scratch, organization)
        scratch.organization(organization).rename(target)


def create_node(home: Home, organization: Organization | OrdererOrganization, node: Peer | Orderer) -> None:
    """Make the certificates and keys of a further node of an organisation whose authorities are here; all or nothing.

    Raises:
        IdentityExists: if it has them already.
        NetworkIncomplete: if the organisation's authorities cannot be read.

    """
    target = _node_folder(home, organization, node)
    if target.exists():
        raise IdentityExists(f"{organization.name} has a node {node.name!r} already; choose another name")
    authorities = read_authorities(home.organization(organization), organization.domain)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{node.name}.") as temporary:
        scratch = Path(temporary) / "node"
        unit = "peer" if isinstance(node, Peer) else "orderer"
        _write_node(scratch, authorities, f"{node.name}.{organization.domain}", unit, node.listen)
        scratch.rename(target)


def _node_folder(home: Home, organization: Organization | OrdererOrganization, node: Peer | Orderer) -> Path:
    kind = "peers" if isinstance(node, Peer) else "orderers"
    return home.organization(organization) / kind / f"{node.name}.{organization.domain}"


def issue_identity(
    home: Home,
    organization: Organization | OrdererOrganization,
    name: str,
    role: Role = "client",
    attributes: Mapping[str, str] | None = None,
) -> StoredIdentity:
    """Issue a further identity of an organisation, under `users/NAME@DOMAIN`.

    Args:
        home: of a network whose certificates exist.
        organization: of that network's topology.
        name: such as `alice`: letters, digits, `.`, `_`, `-`; at most 64.
        role: `client` or `admin`.
        attributes: Fabric CA attributes to put into the certificate.

    Raises:
        IdentityExists: if the organisation has a user of that name.
        IdentityInvalid: if name, role or attributes cannot go into a certificate.
        NetworkIncomplete: if the organisation's authorities cannot be read.

    """
    _check_identity(name, role, attributes or {})
    target = home.user(organization, name)
    if target.exists():
        raise IdentityExists(f"{organization.name} has an identity {name!r} already; choose another name")
    authorities = read_authorities(home.organization(organization), organization.domain)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{name}."))
    try:
        _write_user(scratch, authorities, User(name, role, attributes or {}))
        scratch.chmod(0o755)
        scratch.rename(target)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if target.exists():
            raise IdentityExists(f"{organization.name} has an identity {name!r} already") from error
        raise
    return load_identity(home, organization, name)


def load_identity(home: Home, organization: Organization | OrdererOrganization, name: str) -> StoredIdentity:
    """Read a user of an organisation, such as `Admin` or `User1`.

    Raises:
        IdentityNotFound: if there is none of that name.
        NetworkIncomplete: if its folder is damaged.

    """
    folder = home.user(organization, name)
    if not _NAME.fullmatch(name) or not folder.is_dir():
        raise IdentityNotFound(f"{organization.name} has no identity {name!r}; {_known(home, organization)}")
    return StoredIdentity(
        msp_id=organization.msp_id,
        label=folder.name,
        certificate=read_only_file(folder / "msp" / "signcerts"),
        private_key=read_only_file(folder / "msp" / "keystore"),
        folder=folder,
    )


def identity_names(home: Home, organization: Organization | OrdererOrganization) -> list[str]:
    """List the names of an organisation's users, sorted."""
    folder = home.organization(organization) / "users"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(user.name.partition("@")[0] for user in found if not user.name.startswith("."))


def _create_organization(home: Home, organization: Organization) -> None:
    authorities = Authorities.create(organization.domain)
    write_authorities(home.organization(organization), authorities)
    for peer in organization.peers:
        _write_node(home.peer(organization, peer), authorities, peer.host(organization), "peer", peer.listen)
    _write_users(home, organization, authorities)


def _create_orderer_organization(home: Home, organization: OrdererOrganization) -> None:
    authorities = Authorities.create(organization.domain)
    write_authorities(home.organization(organization), authorities)
    for orderer in organization.orderers:
        host = orderer.host(organization)
        _write_node(home.orderer(organization, orderer), authorities, host, "orderer", orderer.listen)
    _write_users(home, organization, authorities)


def _write_users(home: Home, organization: Organization | OrdererOrganization, authorities: Authorities) -> None:
    for user in (User("Admin", "admin"), *organization.users):
        _write_user(home.user(organization, user.name), authorities, user)


def _write_user(folder: Path, authorities: Authorities, user: User) -> None:
    name = f"{user.name}@{authorities.domain}"
    identity = authorities.identity.issue_identity(name, user.role, user.attributes)
    write_signing_msp(folder / "msp", authorities, name, identity)
    write_tls(folder / "tls", authorities, authorities.tls.issue_tls(name), "client")


def _write_node(folder: Path, authorities: Authorities, host: str, unit: str, listen: str) -> None:
    identity = authorities.identity.issue_identity(host, unit)
    write_signing_msp(folder / "msp", authorities, host, identity)
    names = dict.fromkeys((host, host.partition(".")[0], "localhost", LOOPBACK, listen))
    write_tls(folder / "tls", authorities, authorities.tls.issue_tls(host, tuple(names)), "server")


def _check_identity(name: str, role: str, attributes: Mapping[str, str]) -> None:
    if not _NAME.fullmatch(name):
        raise IdentityInvalid(f"{name!r} cannot name an identity: use 1 to 64 letters, digits, '.', '_' or '-'")
    if role not in ("client", "admin"):
        raise IdentityInvalid(f"role {role!r} cannot be issued to a user; use client or admin")
    if len(json.dumps(dict(attributes))) > _ATTRIBUTE_BYTES:
        raise IdentityInvalid(f"the attributes of {name!r} are longer than {_ATTRIBUTE_BYTES} bytes")


def _known(home: Home, organization: Organization | OrdererOrganization) -> str:
    names = identity_names(home, organization)
    return f"there are {', '.join(names)}" if names else "`goldengrain network up` makes its first ones"
