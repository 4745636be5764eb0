"""The network's process is killed at random moments under load, and what it acknowledged stays true."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable
from pathlib import Path

import pytest

from goldengrain.network import runtime
from goldengrain.network.home import Home
from goldengrain.network.processes import is_locked, reap, wait_until
from tests.conformance import programs
from tests.conformance.deployed import Deployed
from tests.network.embedded.aftermath import under_load
from tests.network.embedded.load import Journal, Load

WORKERS = 12


@pytest.mark.timeout(300)
async def test_five_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await killed_at_random(tmp_path, kills=5)


@pytest.mark.check
@pytest.mark.timeout(900)
async def test_a_hundred_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await killed_at_random(tmp_path, kills=100)


async def killed_at_random(folder: Path, kills: int) -> None:
    seed = int(os.environ.get("SIGKILL_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SIGKILL_SEED={seed}; the client's journal is {folder / 'journal'}")  # shown where the test fails
    home, journal = Home(folder / "home"), Journal(folder / "journal")
    runtime.up(home)
    try:
        async with programs.key_value(home) as deployed:
            async with under_load(deployed, journal, WORKERS, seed) as load:
                await kill_repeatedly(deployed, load, journal, kills, random.Random(seed))
            assert load.committed > kills
    finally:
        runtime.down(home)


async def kill_repeatedly(deployed: Deployed, load: Load, journal: Journal, kills: int, choose: random.Random) -> None:
    """Kill the network `kills` times, and its chaincode's server now and then, alone or with it."""
    for number in range(kills):
        if choose.random() < 0.7:
            await load.progress()
            pause = choose.uniform(0, 0.8)
        else:  # it may still be busy with what it found on its disk
            pause = choose.uniform(0, 0.15)
        await asyncio.sleep(pause)
        victims = choose.choices(["network", "network and chaincode", "chaincode, then network"], [8, 1, 1])[0]
        journal.write(what="killed", number=number, pause=pause, victims=victims, committed=load.committed)
        if "chaincode" in victims:
            await deployed.program.stop(signal.SIGKILL)
        if "then" in victims:
            await asyncio.sleep(choose.uniform(0, 0.2))
        await kill_network(deployed.home)
        starts: list[Awaitable[object]] = [asyncio.to_thread(runtime.up, deployed.home)]
        if "chaincode" in victims:
            starts.append(deployed.program.start(deployed.package_id))
        await asyncio.gather(*starts)


async def kill_network(home: Home) -> None:
    os.kill(home.load_state().pid, signal.SIGKILL)
    await has_died(home)


async def has_died(home: Home, patience_s: float = 20) -> None:
    """Wait until the network's process is gone."""
    pid = home.load_state().pid
    assert await asyncio.to_thread(wait_until, lambda: not is_locked(home.lock_file), patience_s)
    reap(pid)
