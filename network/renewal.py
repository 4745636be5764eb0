"""Certificates of a network in the course of time: renewed, revoked, their authorities' keys encrypted.

    renew(home, organization, "alice")       # same subject and issuer, so the same account in the market; a new key
    renew(home, orderer_organization, "orderer2.example.com")    # an orderer keeps its keys: its cluster knows them
    revoke(home, organization, "alice")      # into msp/crls; the channel learns of it by `channel_admin`

A renewed certificate differs from the old one in serial number, dates and, but for orderers, the key. Raft compares
consenters by their public key and SmartBFT verifies with it, so that an orderer needs no change of the channel.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .certificates import CertificateAuthority, KeyPair
from .errors import IdentityInvalid, IdentityNotFound, NetworkIncomplete
from .home import Home, write_atomically
from .msp_folders import Authorities, encrypt_authorities, read_authorities, read_only_file
from .pki import identity_names, load_identity
from .profiles import add_to_wallet
from .topology import OrdererOrganization, Organization

CRL = "crl.pem"


def folder_of(home: Home, organization: Organization | OrdererOrganization, name: str) -> Path:
    """The folder of a user (`alice`) or a node (its host name) of an organisation.

    Raises:
        IdentityNotFound: if there is neither.

    """
    users = home.user(organization, name)
    nodes = home.organization(organization) / ("peers" if isinstance(organization, Organization) else "orderers") / name
    for folder in (users, nodes):
        if "/" not in name and (folder / "msp" / "signcerts").is_dir():
            return folder
    known = ", ".join([*identity_names(home, organization), *node_names(home, organization)])
    raise IdentityNotFound(f"{organization.name} has no user and no node {name!r}; there are {known or 'none here'}")


def node_names(home: Home, organization: Organization | OrdererOrganization) -> list[str]:
    """The host names of the nodes of an organisation whose certificates are in the folder, sorted."""
    folder = home.organization(organization) / ("peers" if isinstance(organization, Organization) else "orderers")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def renew(home: Home, organization: Organization | OrdererOrganization, name: str) -> x509.Certificate:
    """Renew the signing and the TLS certificate of a user or a node; returns the signing certificate.

    A node has to be started again to use them. A user's entry in the wallet is replaced.

    Raises:
        IdentityNotFound: if there is none of that name.
        NetworkIncomplete: if the organisation's authorities or the old certificates cannot be read.

    """
    folder = folder_of(home, organization, name)
    authorities = read_authorities(home.organization(organization), organization.domain)
    keep = isinstance(organization, OrdererOrganization) and folder.parent.name == "orderers"
    kind = "server" if (folder / "tls" / "server.crt").exists() else "client"
    signing = _only(folder / "msp" / "signcerts"), _only(folder / "msp" / "keystore")
    made = _renew(authorities.identity, *signing, keep=keep)
    _renew(authorities.tls, folder / "tls" / f"{kind}.crt", folder / "tls" / f"{kind}.key", keep=keep)
    if folder.parent.name == "users" and isinstance(organization, Organization):
        add_to_wallet(home, load_identity(home, organization, name))
    return made.certificate


def revoke(home: Home, organization: Organization | OrdererOrganization, name: str) -> bytes:
    """Put a user's or node's signing certificate on its organisation's revocation list; returns the list, PEM.

    It binds a channel once the organisation's MSP there is replaced by its folder's (`genesis.msp_config`).

    Raises:
        IdentityNotFound, NetworkIncomplete: see `renew`.

    """
    folder = folder_of(home, organization, name)
    authorities = read_authorities(home.organization(organization), organization.domain)
    certificate = x509.load_pem_x509_certificate(read_only_file(folder / "msp" / "signcerts"))
    path = home.organization(organization) / "msp" / "crls" / CRL
    earlier = x509.load_pem_x509_crl(path.read_bytes()) if path.exists() else None
    made = authorities.identity.revocation_list([certificate], earlier)
    write_atomically(path, made)
    return made


def encrypt(home: Home, organization: Organization | OrdererOrganization, password: bytes) -> Authorities:
    """Encrypt the keys of an organisation's authorities by a password, or by another one.

    Raises:
        IdentityInvalid: for an empty password.
        NetworkIncomplete: if they cannot be read.

    """
    if not password:
        raise IdentityInvalid("an empty password protects nothing; set GOLDENGRAIN_KEY_PASSWORD")
    authorities = read_authorities(home.organization(organization), organization.domain)
    encrypt_authorities(home.organization(organization), authorities, password)
    return authorities


def _renew(authority: CertificateAuthority, certificate: Path, key: Path, *, keep: bool) -> KeyPair:
    try:
        old = x509.load_pem_x509_certificate(certificate.read_bytes())
        kept = load_pem_private_key(key.read_bytes(), None) if keep else None
        if kept is not None and not isinstance(kept, ec.EllipticCurvePrivateKey):
            raise ValueError("its key is not an elliptic curve key")
        made = authority.renew(old, kept)
    except (OSError, ValueError, TypeError) as error:
        raise NetworkIncomplete(f"{certificate} cannot be renewed: {error}") from error
    if not keep:
        write_atomically(key, made.key_pem, mode=0o600)
    write_atomically(certificate, made.certificate_pem)
    return made


def _only(folder: Path) -> Path:
    read_only_file(folder)
    return next(folder.iterdir())
