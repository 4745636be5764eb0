"""Who plays: identities of three organisations, each with its own connection.

============  =====================================================================================================
admins        one per organisation: they found the market and vote
provider      of the first organisation; opens the task and buys
developers    one per organisation; the one of the provider's own sends through another organisation's Gateway
operators     of the second and the third organisation; each runs an enclave
============  =====================================================================================================
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from goldengrain.cli.contexts import CONTRACT
from goldengrain.cli.founding import OPERATOR, identity_label
from goldengrain.cli.session import connect, endpoint_for
from goldengrain.gateway.market import Market
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home
from goldengrain.network.topology import Organization


@dataclass(frozen=True)
class Actor:
    """Somebody of an organisation, connected."""

    label: str
    organization: Organization
    market: Market

    @property
    def account(self) -> bytes:
        """The actor's account on the ledger."""
        return self.market.account


@dataclass(frozen=True)
class Cast:
    """Everybody, in the network's order of organisations."""

    admins: tuple[Actor, ...]
    provider: Actor
    developers: tuple[Actor, ...]
    operators: tuple[Actor, ...]

    def everybody(self) -> tuple[Actor, ...]:
        """All who hold credits."""
        return (self.provider, *self.developers, *self.operators)


@asynccontextmanager
async def open_cast(home: Home) -> AsyncIterator[Cast]:
    """Issue the identities that are missing, and connect everybody until the block ends."""
    organizations = home.load_topology().organizations
    first, second = organizations[0], organizations[1]
    async with AsyncExitStack() as stack:

        async def actor(name: str, organization: Organization, through: Organization | None = None) -> Actor:
            label = identity_label(home, organization, name)
            endpoint = endpoint_for(home, (through or organization).msp_id, organization.name)
            gateway = await stack.enter_async_context(connect(home, Wallet(home.wallet).get(label), endpoint))
            return Actor(label, organization, Market(gateway.network(home.load_topology().channel.name), CONTRACT))

        yield Cast(
            admins=tuple([await actor("Admin", one) for one in organizations]),
            provider=await actor("provider", first),
            developers=tuple(
                [await actor("developer", one, through=second if one is first else None) for one in organizations]
            ),
            operators=tuple([await actor(OPERATOR, one) for one in organizations[1:]]),
        )
