"""Faults of Fabric's own programs: the gateway peer killed at each step, the orderer gone for half a minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from goldengrain.gateway.network import Network
from goldengrain.network.home import Home
from goldengrain.network.native import NativeNetwork
from goldengrain.network.topology import default_topology
from tests.conformance import programs
from tests.conformance.deployed import patiently
from tests.gateway.faults.books import Bookkeeping, committed
from tests.gateway.faults.kills import DEADLINES, GatewayKills, Victims

pytestmark = [pytest.mark.check, pytest.mark.fabric, pytest.mark.asyncio(loop_scope="module")]

GONE_S = 30.0
LONGEST_S = DEADLINES.endorse + DEADLINES.submit + DEADLINES.commit + 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victims(fabric_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Victims]:
    home = Home(tmp_path_factory.mktemp("kills") / "home")
    async with (
        NativeNetwork(home, default_topology(), fabric_bin) as network,
        programs.key_value(home) as deployed,
    ):
        yield Victims(network, deployed)


class TestKillsOfRealPeers(GatewayKills):
    pass


async def keep_submitting(victims: Victims, network: Network, books: Bookkeeping, name: str) -> None:
    """Submit one after the other, for ever."""
    contract = victims.contract(network)
    for number in range(10_000):
        await books.submit(contract, f"{name}/{number:04}", attempts=1)
        await asyncio.sleep(0.5)


@pytest.mark.timeout(180)
async def test_the_orderer_is_gone_for_thirty_seconds(victims: Victims) -> None:
    """For 15 s it keeps its connections and says nothing, then it is killed; it is started after 30."""
    books = Bookkeeping()
    async with AsyncExitStack() as stack:
        asked = await stack.enter_async_context(victims.connected())
        told = await stack.enter_async_context(victims.connected(shared=True))
        works = [
            asyncio.create_task(keep_submitting(victims, network, books, f"gone/{name}"))
            for name, network in (("asked", asked), ("asked too", asked), ("told", told), ("told too", told))
        ]
        await asyncio.sleep(1.0)
        before = len(books.acknowledged)
        assert before
        victims.hold(victims.orderer)
        patient = asyncio.create_task(victims.contract(asked).submit("add", "patient", "1", attempts=60))
        await asyncio.sleep(GONE_S / 2)
        held = len(books.unknown)
        await victims.kill(victims.orderer)
        await asyncio.sleep(GONE_S / 2)
        assert len(books.unknown) > held > 0
        assert not patient.done()
        during = len(books.acknowledged)
        await victims.start(victims.orderer)
        await patiently(lambda: victims.contract(asked).submit("put", "back", "1"))
        await asyncio.sleep(2.0)
        for one in works:
            one.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        assert (await patient).code == "VALID"
        assert await victims.contract(asked).evaluate("get", "patient") == b"1"
        resolved = await books.resolve(asked, 256)
        valid = await committed(asked, "gone/")
    print(
        f"{before} acknowledged before, {during - before} until it was back; {len(resolved)} unknown, "
        f"{sum(resolved.values())} of them committed; longest call {books.longest:.1f} s"
    )
    books.check({key: valid[key] for key in valid if key in books.acknowledged or key in books.unknown}, resolved)
    assert books.longest < LONGEST_S
    assert len(books.acknowledged) > during
