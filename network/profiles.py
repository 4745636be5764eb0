"""What clients connect with: a connection profile per organisation, and the wallet.

The profile is Fabric's common connection profile (JSON), certificates inline, so that one file is enough for any Fabric
client. It names every organisation's peers; `client.organization` says whose profile it is. The wallet holds the
identities in the JSON form of Fabric's Node and Java clients, under labels such as `User1@org1.example.com`.
"""

from __future__ import annotations

import json
from typing import Any

from goldengrain.gateway.wallet import Wallet

from .home import Home, write_atomically
from .msp_folders import read_only_file
from .pki import StoredIdentity, identity_names, load_identity
from .topology import OrdererOrganization, Organization, Topology


def write_profiles(home: Home, topology: Topology) -> None:
    """Write every organisation's `connection.json`; ports have to be assigned.

    Raises:
        NetworkIncomplete: if a TLS certificate is missing.

    """
    for organization in topology.organizations:
        profile = connection_profile(home, topology, organization)
        write_atomically(home.connection_profile(organization), json.dumps(profile, indent=2).encode() + b"\n")


def connection_profile(home: Home, topology: Topology, organization: Organization) -> dict[str, Any]:
    """Make the common connection profile of one organisation, as JSON values.

    Raises:
        NetworkIncomplete: if a TLS certificate is missing.

    """
    return {
        "name": f"{topology.channel.name}-{organization.name}",
        "version": "1.0.0",
        "client": {
            "organization": organization.name,
            "connection": {"timeout": {"peer": {"endorser": "300"}, "orderer": "300"}},
        },
        "organizations": {
            member.name: {"mspid": member.msp_id, "peers": [peer.host(member) for peer in member.peers]}
            for member in topology.organizations
        },
        "peers": {
            peer.host(member): _node(peer.host(member), topology.reached_at(member, peer), _tls_root(home, member))
            for member, peer in topology.peers()
        },
        "orderers": {
            orderer.host(owner): _node(orderer.host(owner), topology.reached_at(owner, orderer), _tls_root(home, owner))
            for owner, orderer in topology.orderers()
        },
        "channels": {
            channel.name: {
                "orderers": [orderer.host(owner) for owner, orderer in topology.orderers()],
                "peers": {
                    peer.host(member): {} for member, peer in topology.peers() if member in topology.members(channel)
                },
            }
            for channel in topology.channels
        },
    }


def write_wallet(home: Home, topology: Topology) -> None:
    """Put the users of every organisation that have been issued so far into the wallet.

    Raises:
        NetworkIncomplete: if an identity's folder is damaged.

    """
    for organization in topology.organizations:
        for name in identity_names(home, organization):
            add_to_wallet(home, load_identity(home, organization, name))


def add_to_wallet(home: Home, identity: StoredIdentity) -> str:
    """Put an identity into the network's wallet and return its label, such as `alice@org1.example.com`.

    Raises:
        WalletError: if the name cannot be a label.

    """
    home.path.mkdir(parents=True, exist_ok=True)
    Wallet(home.wallet).put(identity.label, identity.msp_id, identity.certificate, identity.private_key)
    return identity.label


def _node(host: str, address: str, tls_root: bytes) -> dict[str, Any]:
    return {
        "url": f"grpcs://{address}",
        "tlsCACerts": {"pem": tls_root.decode()},
        "grpcOptions": {"ssl-target-name-override": host, "hostnameOverride": host},
    }


def _tls_root(home: Home, organization: Organization | OrdererOrganization) -> bytes:
    return read_only_file(home.organization(organization) / "msp" / "tlscacerts")
