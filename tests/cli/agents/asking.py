"""Ask a market something in one line, as somebody of its wallet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from goldengrain.cli.session import connect, endpoint_for
from goldengrain.gateway.market import Market
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home
from tests.cli.agents.conftest import PROVIDER
from tests.cli.market.running import Folder

T = TypeVar("T")


def asked(market: Folder, question: Callable[[Market], Awaitable[T]], label: str = PROVIDER) -> T:
    """Give a question a client of the market, and return its answer."""

    async def answer() -> T:
        home = Home(market.home)
        credentials = Wallet(home.wallet).get(label)
        msp_id = credentials.identity.msp_id
        async with connect(home, credentials, endpoint_for(home, msp_id, msp_id.removesuffix("MSP"))) as gateway:
            return await question(Market(gateway.network("market")))

    return asyncio.run(answer())
