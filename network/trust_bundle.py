"""The trust bundle of a channel: whose signatures an enclave believes, as the channel's configuration has them.

    bundle = trust_bundle(await read_config(home, "market"), "market", "golden-grain", window=120, required=2)

Every organisation makes the same from its own peer; what is in nobody's folder is in there too.
"""

from __future__ import annotations

from collections.abc import Collection

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fabric_protos.common import configtx_pb2
from fabric_protos.msp import msp_config_pb2

from goldengrain.chaincode.protocol.policy import BundleOrganization, TrustBundle
from goldengrain.chaincode.protocol.unreadable import UNREADABLE

from .errors import NetworkIncomplete


def trust_bundle(
    config: configtx_pb2.Config,
    channel: str,
    contract: str,
    *,
    window: int,
    required: int,
    members: Collection[str] | None = None,
) -> TrustBundle:
    """Make the trust bundle of a channel's members.

    Args:
        config: the channel's configuration.
        channel: its name.
        contract: the market's chaincode.
        window: W in seconds.
        required: k, the organisations that endorse a job ticket.
        members: MSP ids of those that count; default: all of the channel's.

    Raises:
        NetworkIncomplete: if a member is not in the channel, or its certificates there cannot be read.

    """
    found = {one.msp_id: one for one in _organizations(config)}
    wanted = sorted(found if members is None else members)
    missing = [one for one in wanted if one not in found]
    if missing:
        raise NetworkIncomplete(f"{', '.join(missing)} is not in channel {channel}; it has {', '.join(sorted(found))}")
    return TrustBundle(channel, contract, required, window, tuple(found[one] for one in wanted))


def _organizations(config: configtx_pb2.Config) -> list[BundleOrganization]:
    groups = config.channel_group.groups["Application"].groups.values()
    return [_organization(group.values["MSP"].value) for group in groups]


def _organization(value: bytes) -> BundleOrganization:
    msp = msp_config_pb2.FabricMSPConfig.FromString(msp_config_pb2.MSPConfig.FromString(value).config)
    units = msp.fabric_node_ous
    names = {
        "peer_ou": units.peer_ou_identifier.organizational_unit_identifier,
        "client_ou": units.client_ou_identifier.organizational_unit_identifier,
        "admin_ou": units.admin_ou_identifier.organizational_unit_identifier,
        "orderer_ou": units.orderer_ou_identifier.organizational_unit_identifier,
    }
    try:
        return BundleOrganization(
            msp_id=msp.name,
            roots=_certificates(msp.root_certs),
            intermediates=_certificates(msp.intermediate_certs),
            revocation_lists=tuple(
                x509.load_pem_x509_crl(one).public_bytes(Encoding.DER) for one in msp.revocation_list
            ),
            **{name: unit for name, unit in names.items() if unit},
        )
    except UNREADABLE as error:
        raise NetworkIncomplete(f"the certificates of {msp.name} in the channel cannot be read: {error}") from error


def _certificates(pems: Collection[bytes]) -> tuple[bytes, ...]:
    return tuple(x509.load_pem_x509_certificate(one).public_bytes(Encoding.DER) for one in pems)
