"""Who may ask a peer for what: channel policies, and the peer's own organisation where there is no channel."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from fabric_protos.msp import msp_principal_pb2

from goldengrain.network.embedded.config import ChannelConfig
from goldengrain.network.embedded.errors import IdentityError, PolicyError, PrincipalError
from goldengrain.network.embedded.msp import MspManager
from goldengrain.network.embedded.policies import SignedData

__all__ = ["ADMINS", "MEMBERS", "READERS", "WRITERS", "AccessDenied", "check_channel", "check_local"]

READERS, WRITERS = "/Channel/Application/Readers", "/Channel/Application/Writers"
ADMINS, MEMBERS = "Admins", "Members"

_REMEMBERED = 4096
_ROLES = {ADMINS: msp_principal_pb2.MSPRole.ADMIN, MEMBERS: msp_principal_pb2.MSPRole.MEMBER}


class AccessDenied(Exception):
    """The caller may not do this; the text is Fabric's."""


_admitted: WeakKeyDictionary[ChannelConfig, set[tuple[str, bytes]]] = WeakKeyDictionary()
"""Who has satisfied which policy of a configuration; only that the signature is good is asked again."""


def check_channel(config: ChannelConfig, path: str, signed: SignedData) -> None:
    """Check a signature against a policy of the channel.

    Raises:
        AccessDenied: it is not satisfied.

    """
    admitted = _admitted.setdefault(config, set())
    entry = (path, signed.identity)
    if entry in admitted and config.msps.deserialize(signed.identity).verify(signed.data, signed.signature):
        return
    try:
        config.policies.check(path, [signed])
    except PolicyError as error:
        raise AccessDenied(
            f"Failed evaluating policy on signed data during check policy on channel [{config.channel_id}] with policy "
            f"[{path}]: [{error}]"
        ) from error
    if len(admitted) < _REMEMBERED:
        admitted.add(entry)


def check_local(msps: MspManager, msp_id: str, policy: str, creator: bytes) -> None:
    """Check that `creator` (a serialised identity) is a member or an admin of the peer's own organisation.

    Args:
        msps: the peer's view of organisations.
        msp_id: the peer's organisation.
        policy: `ADMINS` or `MEMBERS`.
        creator: who signed the proposal; the signature was checked before.

    Raises:
        AccessDenied: it is not.

    """
    where = f"during channelless check policy with policy [{policy}]"
    try:
        identity = msps.deserialize(creator)
        if identity.msp_id != msp_id:
            raise IdentityError(f"expected MSP ID {msp_id}, received {identity.msp_id}")
    except IdentityError as error:
        raise AccessDenied(f"Failed deserializing proposal creator {where}: [{error}]") from error
    try:
        msps.msps[msp_id].satisfies_role(identity, _ROLES[policy])
    except (PrincipalError, IdentityError) as error:
        raise AccessDenied(
            f"Failed verifying that proposal's creator satisfies local MSP principal {where}: [{error}]"
        ) from error
