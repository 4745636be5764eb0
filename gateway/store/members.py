"""Who calls a content store: certificates of a channel's organisations, as its configuration block names them.

A caller proves with TLS that it holds the key of its certificate; that the certificate is one of a member, in one of
its roles, not revoked, is decided here by the organisations' MSPs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fabric_protos.common import common_pb2
from google.protobuf.message import DecodeError

from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.gateway.errors import StoreError, StoreRefused
from goldengrain.gateway.trust import ChannelTrust, Msp

ROLES = ("client", "admin", "peer")
"""Roles in which a member may call a store."""


@dataclass(frozen=True)
class Member:
    """A caller: its organisation and its role there (empty where the MSP has no NodeOUs)."""

    msp_id: str
    role: str


class Members:
    """The members of a channel."""

    def __init__(self, msps: Sequence[Msp]) -> None:
        self._msps = tuple(msps)

    @classmethod
    def from_config_block(cls, path: str | Path) -> Members:
        """Read them from a genesis or other configuration block. Raises StoreError, BlockError."""
        try:
            block = common_pb2.Block.FromString(Path(path).read_bytes())
        except (OSError, DecodeError) as error:
            raise StoreError(f"{path} is not a block: {error}") from error
        return cls(list(ChannelTrust.from_config_block(block).organizations.values()))

    @property
    def authorities(self) -> bytes:
        """All CA certificates, PEM: what TLS is to accept; `identify` decides the rest."""
        found = (one for msp in self._msps for one in (*msp.roots, *msp.intermediates))
        return b"".join(one.public_bytes(Encoding.PEM) for one in found)

    def identify(self, pem: bytes) -> Member:
        """Return who a certificate's holder is. Raises StoreRefused."""
        try:
            certificate = x509.load_pem_x509_certificate(pem)
        except UNREADABLE as error:
            raise StoreRefused("the certificate cannot be read; use that of a wallet entry") from error
        reasons = []
        for msp in self._msps:
            reason = msp.admits(certificate, None)
            if reason is None:
                return Member(msp.msp_id, _role(msp, certificate))
            reasons.append(reason)
        raise StoreRefused(f"the caller belongs to no organisation of the channel: {'; '.join(reasons)}")


def _role(msp: Msp, certificate: x509.Certificate) -> str:
    if not msp.roles:
        return ""
    for role in ROLES:
        if msp.admits(certificate, role) is None:
            return role
    raise StoreRefused(f"the caller's certificate has none of the roles {', '.join(ROLES)} of {msp.msp_id}")
