"""A network with a chaincode on it, as clients of its organisations see it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from goldengrain.gateway.clock import Clock
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.network import Network
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home
from tests.conformance.chaincode import ChaincodeProgram

Answer = TypeVar("Answer")


@dataclass
class Deployed:
    """A running network and the chaincode `name` on its channel."""

    home: Home
    name: str
    package_id: str
    program: ChaincodeProgram

    @asynccontextmanager
    async def network(self, organization: int = 0, clock: Clock | None = None) -> AsyncIterator[Network]:
        """The channel, through the gateway of one organisation's peer, as its User1; `clock` is what it goes by."""
        topology = self.home.load_topology()
        member = topology.organizations[organization]
        profile = ConnectionProfile.load(self.home.connection_profile(member))
        user = Wallet(self.home.wallet).get(f"User1@{member.domain}")
        async with Gateway.connect(profile.gateway(), user.identity, user.signer, clock=clock) as gateway:
            yield gateway.network(topology.channel.name)

    @asynccontextmanager
    async def contract(self, organization: int = 0, clock: Clock | None = None) -> AsyncIterator[Contract]:
        """The chaincode, likewise."""
        async with self.network(organization, clock) as network:
            yield network.contract(self.name)

    async def wait_ready(self, *call: str) -> None:
        """Until the gateways find enough peers of every organisation: real peers' gossip takes seconds."""
        for organization in range(len(self.home.load_topology().organizations)):
            async with self.contract(organization) as contract:
                await patiently(lambda: contract.submit(*call))


async def patiently(
    attempt: Callable[[], Awaitable[Answer]], patience_s: float = 60.0, failure: type[GatewayError] = GatewayError
) -> Answer:
    """Repeat what fails in this way until it does not any more."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await attempt()
        except failure:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
