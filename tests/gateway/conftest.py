from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.network import Network
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import ServerDouble


@pytest.fixture
async def server() -> AsyncIterator[ServerDouble]:
    double = ServerDouble()
    double.endpoint = await double.start()
    yield double
    await double.stop()


@pytest.fixture
def endpoint(server: ServerDouble) -> Endpoint:
    return server.endpoint


@pytest.fixture
def user(server: ServerDouble) -> Credentials:
    return server.ledger.members[0].user


@pytest.fixture
async def gateway(server: ServerDouble, user: Credentials) -> AsyncIterator[Gateway]:
    deadlines = Deadlines(evaluate=2, endorse=2, submit=2, commit=2, deliver=2)
    async with Gateway.connect(server.endpoint, user.identity, user.signer, deadlines=deadlines) as connected:
        yield connected


@pytest.fixture
def network(gateway: Gateway) -> Network:
    return gateway.network(CHANNEL)


@pytest.fixture
def contract(network: Network) -> Contract:
    return network.contract(CHAINCODE)
