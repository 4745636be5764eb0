"""Before a node is started: whether others would accept its certificates.

A peer or orderer whose certificate has expired, or is of another authority than its MSP folder names, ends with a stack
trace; here it ends in one line.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from goldengrain.chaincode.protocol.unreadable import UNREADABLE

from .errors import CertificateUnusable
from .home import Home
from .msp_folders import read_only_file
from .nodes import own_orderers, own_peers
from .topology import Topology


def check_certificates(home: Home, topology: Topology, *, now: datetime | None = None) -> None:
    """Check the certificates of every node whose keys are in the folder.

    Raises:
        CertificateUnusable: naming the node and what to do.
        NetworkIncomplete: if a certificate is missing.

    """
    now = now or datetime.now(UTC)
    for member, peer in own_peers(home, topology):
        _check(home.peer(member, peer), member.name, peer.host(member), now)
    for owner, orderer in own_orderers(home, topology):
        _check(home.orderer(owner, orderer), owner.name, orderer.host(owner), now)


def _check(folder: Path, organization: str, host: str, now: datetime) -> None:
    pairs = (
        (folder / "msp" / "signcerts", folder / "msp" / "cacerts"),
        (folder / "tls" / "server.crt", folder / "tls" / "ca.crt"),
    )
    for path, authority_path in pairs:
        try:
            certificate, authority = (x509.load_pem_x509_certificate(_read(one)) for one in (path, authority_path))
            certificate.verify_directly_issued_by(authority)
        except (OSError, TypeError, InvalidSignature, *UNREADABLE) as error:
            raise CertificateUnusable(
                f"{path} of {host} is not of the authority in {authority_path} ({str(error) or 'wrong signature'}); "
                "restore the folder"
            ) from error
        if certificate.not_valid_after_utc <= now:
            raise CertificateUnusable(
                f"the certificate of {host} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; "
                f"`goldengrain identity renew {organization} {host}` renews it"
            )


def _read(path: Path) -> bytes:
    return read_only_file(path) if path.is_dir() else path.read_bytes()
