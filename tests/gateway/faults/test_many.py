"""Ten thousand submits while connections, peers, the orderer and the whole network fail.

`GOLDENGRAIN_FAULT_SUBMITS` is their number. Each has its own key. Acknowledged: it commits once. Refused: it never
commits, and its caller submits anew. Unknown: its id tells in the end. No key is written twice.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from goldengrain.gateway.backoff import Reconnect
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.gateway import Gateway
from tests.gateway.faults.books import Bookkeeping, committed
from tests.gateway.faults.proxy import Proxy
from tests.gateway.faults.served import PEERS, Served, served

SUBMITS = int(os.environ.get("GOLDENGRAIN_FAULT_SUBMITS", "10000"))
IN_FLIGHT = 64
GONE_S = 30.0
"""How long the orderer is gone once; otherwise it is for a second."""
LONG_OUTAGE_AT = 12
"""The how manieth fault that is."""
DEADLINES = Deadlines(evaluate=3, endorse=3, submit=2, commit=4, deliver=3)
LONGEST_S = 2 * (3 + 2 + 4) + 5
"""Two attempts, and what a busy machine adds."""


class Weather:
    """What goes wrong, one fault after the other."""

    def __init__(self, network: Served, proxies: list[Proxy], chance: random.Random) -> None:
        self._network = network
        self._proxies = proxies
        self._chance = chance
        self.seen: Counter[str] = Counter()

    async def for_ever(self) -> None:
        faults: list[Callable[[Proxy], Awaitable[None]]] = [self.cut, self.silent, self.slow, self.refused]
        faults += [self.peer_stops, self.orderer_stops]
        for number in range(10_000):
            fault = self.killed if number % 20 == 7 else self._chance.choice(faults)
            if number == LONG_OUTAGE_AT:
                fault = self.orderer_gone
            await fault(self._chance.choice(self._proxies))
            self.seen[fault.__name__] += 1
            await asyncio.sleep(self._chance.uniform(0.3, 0.9))

    async def cut(self, proxy: Proxy) -> None:
        proxy.cut()

    async def silent(self, proxy: Proxy) -> None:
        proxy.silent = True
        await asyncio.sleep(0.5)
        proxy.silent = False

    async def slow(self, proxy: Proxy) -> None:
        proxy.delay = 0.03
        await asyncio.sleep(0.5)
        proxy.delay = 0.0

    async def refused(self, proxy: Proxy) -> None:
        await proxy.refuse()
        await asyncio.sleep(0.3)
        await proxy.listen()

    async def peer_stops(self, _: Proxy) -> None:
        await self._stops(self._chance.choice(PEERS), 0.5)

    async def orderer_stops(self, _: Proxy) -> None:
        await self._stops(self._network.orderer, 1.0)

    async def orderer_gone(self, proxy: Proxy) -> None:
        """For half a minute, while connections are cut and fall silent."""
        gone = asyncio.create_task(self._stops(self._network.orderer, GONE_S))
        while not gone.done():
            await self._chance.choice([self.cut, self.silent, self.slow, self.refused])(proxy)
            await asyncio.sleep(self._chance.uniform(0.3, 0.9))
        await gone

    async def _stops(self, host: str, seconds: float) -> None:
        await self._network.tell("stop", host)
        await asyncio.sleep(seconds)
        await self._network.tell("start", host)

    async def killed(self, _: Proxy) -> None:
        await self._network.kill()
        await self._network.start()


@pytest.mark.check
@pytest.mark.timeout(600)
async def test_each_acknowledged_commits_once_each_unknown_is_known_by_its_id_none_twice(tmp_path: Path) -> None:
    books, chance = Bookkeeping(), random.Random(7)
    async with served(tmp_path / "home") as served_network:
        user = served_network.user
        async with Proxy(served_network.endpoint(0)) as one, Proxy(served_network.endpoint(1)) as two:
            gateway = Gateway.connect(
                [one.endpoint, two.endpoint],
                user.identity,
                user.signer,
                deadlines=DEADLINES,
                reconnect=Reconnect(first=0.05, most=0.5),
                shared_commit_stream=True,
            )
            async with gateway:
                contract = gateway.network("market").contract("kv")
                weather = Weather(served_network, [one, two], chance)
                raging = asyncio.create_task(weather.for_ever())
                await submit_all(books, contract)
                raging.cancel()
                await asyncio.gather(raging, return_exceptions=True)
        await served_network.kill()
        await served_network.start()
        async with Gateway.connect(served_network.endpoint(0), user.identity, user.signer) as calm:
            network = calm.network("market")
            resolved = await books.resolve(network, 4 * IN_FLIGHT)
            valid = await committed(network, "key/")
    came_true = sum(resolved.values())
    print(f"{weather.seen}; {len(resolved)} unknown, {came_true} committed; longest call {books.longest:.1f} s")
    assert books.submits == SUBMITS
    books.check(valid, resolved)
    assert books.longest < LONGEST_S
    assert SUBMITS < 5000 or len(weather.seen) == 8


async def submit_all(books: Bookkeeping, contract: Contract) -> None:
    waiting = iter(range(SUBMITS))

    async def worker() -> None:
        for number in waiting:
            if not await books.submit(contract, f"key/{number:06}"):
                await asyncio.sleep(1.0)  # or the rest would be used up while the orderer is gone

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
