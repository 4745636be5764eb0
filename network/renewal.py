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

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.gateway.passphrases import is_encrypted, passphrase

from .certificates import CertificateAuthority, KeyPair
from .errors import IdentityInvalid, IdentityNotFound, NetworkIncomplete
from .home import Home, write_atomically
from .msp_folders import read_authorities, read_key, read_only_file, write_key
from .pki import identity_names, load_identity
from .profiles import add_to_wallet, write_profiles
from .topology import OrdererOrganization, Organization, Topology

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


def renew_authorities(home: Home, topology: Topology, organization: Organization | OrdererOrganization) -> None:
    """Renew the certificates of an organisation's two authorities, wherever they lie in the folder.

    Subject, key and beginning stay, so that whatever they have issued goes on being good. The channels learn of it by
    the organisation's MSP (`genesis.msp_config`), nodes when they start again.

    Raises:
        NetworkIncomplete: if the authorities cannot be read.
        PassphraseMissing, PassphraseWrong: if their keys are encrypted and cannot be opened.

    """
    authorities = read_authorities(home.organization(organization), organization.domain)
    places = (
        (authorities.identity, ("ca/*-cert.pem", "msp/cacerts/*", "*/*/msp/cacerts/*")),
        (authorities.tls, ("tlsca/*-cert.pem", "msp/tlscacerts/*", "*/*/msp/tlscacerts/*", "*/*/tls/ca.crt")),
    )
    for authority, patterns in places:
        pem = authority.again().pair.certificate_pem
        for path in [found for pattern in patterns for found in home.organization(organization).glob(pattern)]:
            write_atomically(path, pem)
    write_profiles(home, topology)


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


def encrypt(
    home: Home, organization: Organization | OrdererOrganization, password: bytes, name: str | None = None
) -> None:
    """Encrypt the keys of an organisation's authorities by a password, or those of one of its users.

    A user's signing and TLS keys are encrypted, and its entry in the wallet.

    Raises:
        IdentityInvalid: for an empty password, and for a node: Fabric reads a node's keys as they lie.
        IdentityNotFound: if there is no user of that name.
        NetworkIncomplete: if a key cannot be read.
        PassphraseMissing, PassphraseWrong: if one is encrypted already, by another password.

    """
    if not password:
        raise IdentityInvalid("an empty password protects nothing; set GOLDENGRAIN_KEY_PASSWORD")
    for path in _user_keys(home, organization, name) if name else _authority_keys(home, organization):
        try:
            write_key(path, read_key(path), password)
        except (OSError, *UNREADABLE) as error:
            raise NetworkIncomplete(f"{path} cannot be read ({error}); restore the folder") from error
    if name and isinstance(organization, Organization):
        add_to_wallet(home, load_identity(home, organization, name))


def _authority_keys(home: Home, organization: Organization | OrdererOrganization) -> list[Path]:
    return [home.organization(organization) / kind / "priv_sk" for kind in ("ca", "tlsca")]


def _user_keys(home: Home, organization: Organization | OrdererOrganization, name: str) -> list[Path]:
    folder = folder_of(home, organization, name)
    if folder.parent.name != "users":
        raise IdentityInvalid(
            f"{name} is a node: Fabric's BCCSP reads a node's keys from its folder as they lie, so that they cannot be "
            "encrypted; keep the folder to the node's own account (0600), or the key in an HSM (PKCS#11)"
        )
    return [_only(folder / "msp" / "keystore"), folder / "tls" / "client.key"]


def _renew(authority: CertificateAuthority, certificate: Path, key: Path, *, keep: bool) -> KeyPair:
    try:
        old = x509.load_pem_x509_certificate(certificate.read_bytes())
        made = authority.renew(old, read_key(key) if keep else None)
    except (OSError, *UNREADABLE) as error:
        raise NetworkIncomplete(f"{certificate} cannot be renewed: {error}") from error
    if not keep:
        write_key(key, made.key, passphrase(f"the key {key}") if is_encrypted(key.read_bytes()) else None)
    write_atomically(certificate, made.certificate_pem)
    return made


def _only(folder: Path) -> Path:
    read_only_file(folder)
    return next(folder.iterdir())
