"""The organisations of a network as who holds their Admins' keys reaches them: each one's Admin and its peers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.gateway.clock import Clock
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.gateway import Contract, Gateway
from goldengrain.gateway.identity import credentials_from_msp

from .errors import NetworkIncomplete
from .home import Home
from .topology import Channel, Organization


@dataclass(frozen=True)
class Member:
    """One organisation, open for calls on behalf of its Admin.

    Attributes:
        organization: from the topology.
        peers: a direct connection to each of its peers.
        lifecycle: the `_lifecycle` system chaincode through its first peer's Gateway.

    """

    organization: Organization
    peers: tuple[Endorser, ...]
    lifecycle: Contract

    @property
    def msp_id(self) -> str:
        """MSP id of the organisation."""
        return self.organization.msp_id


@asynccontextmanager
async def open_members(home: Home, channel: Channel, clock: Clock | None = None) -> AsyncIterator[list[Member]]:
    """Connect to every member of a channel whose Admin's key is here; connections are made on first use.

    Without a clock, what is sent bears the network's ledger time.

    Raises:
        NetworkIncomplete: if no Admin's key is here.
        ConnectionProfileError: if a connection profile is missing or damaged.
        IdentityError: if an Admin's MSP folder is.

    """
    members = home.load_topology().members(channel)
    held = [organization for organization in members if home.user(organization, "Admin").exists()]
    if not held:
        raise NetworkIncomplete(f"{home.organizations} holds no Admin's key; who has one has to do this")
    async with AsyncExitStack() as stack:
        yield [
            await _open(home, channel, organization, clock or LedgerClock(home.clock_file), stack)
            for organization in held
        ]


async def _open(
    home: Home, channel: Channel, organization: Organization, clock: Clock, stack: AsyncExitStack
) -> Member:
    profile = ConnectionProfile.load(home.connection_profile(organization))
    admin = credentials_from_msp(home.user(organization, "Admin") / "msp", organization.msp_id)
    endpoints = profile.gateways()
    peers = tuple(Endorser.connect(endpoint, admin.identity, admin.signer, clock=clock) for endpoint in endpoints)
    for peer in peers:
        await stack.enter_async_context(peer)
    gateway = await stack.enter_async_context(Gateway.connect(endpoints[0], admin.identity, admin.signer, clock=clock))
    return Member(organization, peers, gateway.network(channel.name).contract("_lifecycle"))
