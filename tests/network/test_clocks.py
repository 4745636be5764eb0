"""A node's clock is read off what timestamps it takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from goldengrain.gateway.connection import ConnectionProfile, Endpoint
from goldengrain.network import runtime
from goldengrain.network.clocks import clock_difference, measured
from goldengrain.network.doctor import judge_clocks
from goldengrain.network.home import Home
from goldengrain.network.identities import own_identity


@pytest.mark.parametrize("window", [900.0, 60.0, 8_640_000.0])
@pytest.mark.parametrize("difference", [0.0, 5.0, -3.5, 50.0])
async def test_the_middle_of_what_is_taken_is_the_clock_whatever_the_window(window: float, difference: float) -> None:
    async def takes(ahead: float) -> bool:
        return abs(ahead - difference) <= window

    found = await measured(takes)
    assert found is not None
    assert abs(found - difference) < 0.5


async def test_a_clock_beyond_the_window_is_found_and_one_of_another_age_is_not() -> None:
    async def hours_behind(ahead: float) -> bool:
        return abs(ahead + 10_000.0) <= 900.0

    found = await measured(hours_behind)
    assert found is not None
    assert abs(found + 10_000.0) < 0.5

    async def nothing(_: float) -> bool:
        return False

    async def everything(_: float) -> bool:
        return True

    assert await measured(nothing) is None
    assert await measured(everything) is None


async def test_nodes_of_a_running_network_are_asked(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    await asyncio.to_thread(runtime.up, home)
    try:
        topology = home.load_topology()
        who = own_identity(home, topology.organizations[0])
        assert who is not None
        profile = ConnectionProfile.load(home.connection_profile(topology.organizations[1]))
        for endpoint, orderer in ((profile.gateway(), False), (next(iter(profile.orderers.values())), True)):
            found = await clock_difference(endpoint, who, "market", orderer=orderer)
            assert found is not None
            assert abs(found) < 2.0
        assert await clock_difference(Endpoint("127.0.0.1:1"), who, "market") is None
    finally:
        await asyncio.to_thread(runtime.down, home)


def test_what_differs_is_said_with_what_to_do() -> None:
    (one,) = judge_clocks({"peer0.org2": 7.4, "peer0.org1": 0.2, "peer0.org3": None})
    assert (one.level, one.what) == ("problem", "the clock of peer0.org2 is 7 s ahead of this machine's")
    assert "time server" in one.advice
    (behind,) = judge_clocks({"orderer": -3.0})
    assert "3 s behind" in behind.what
    (well,) = judge_clocks({"peer0.org1": 0.2, "peer0.org3": None})
    assert (well.level, well.what) == ("good", "the clocks of 1 nodes agree with this machine's")
    assert judge_clocks({"peer0.org1": None}) == []
