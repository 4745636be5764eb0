"""Clients of a network whose folder is at hand, for programs and tests that run beside it.

async with connect(home, "Org1") as gateway:
    await gateway.network("market").contract("accounts").submit("open", "alice", "10")
"""

from __future__ import annotations

from pathlib import Path

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.gateway.clock import Clock
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import credentials_from_msp

from .home import Home, as_home

__all__ = ["connect"]


def connect(home: Home | Path, organization: str, user: str = "User1", *, clock: Clock | None = None) -> Gateway:
    """Make a client of an organisation at its own first peer; the connection is made on first use.

    Args:
        home: the network's folder.
        organization: name, MSP id or domain.
        user: one of the organisation's identities, such as `User1` or `Admin`.
        clock: what time its transactions bear; default: the network's ledger time.

    Raises:
        NetworkNotFound: if the folder holds no network.
        TopologyInvalid: if it has no such organisation.
        IdentityError: if the organisation has no such user.

    """
    home = as_home(home)
    member = home.load_topology().organization(organization)
    who = credentials_from_msp(home.user(member, user) / "msp", member.msp_id)
    endpoint = ConnectionProfile.load(home.connection_profile(member)).gateway()
    return Gateway.connect(endpoint, who.identity, who.signer, clock=clock or LedgerClock(home.clock_file))
