"""A disk that is full: nothing is acknowledged that was not written, and once there is room the network goes on.

The limit on the size of files (RLIMIT_FSIZE) of the network's process stands in for the disk: writing beyond it fails,
and to SQLite that is a disk without room. The process's log has no more room either.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
from pathlib import Path

import pytest

from goldengrain.gateway.errors import GatewayError
from goldengrain.network import runtime
from goldengrain.network.errors import LifecycleFailed
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from tests.conformance import programs
from tests.conformance.deployed import patiently
from tests.network.embedded.aftermath import under_load
from tests.network.embedded.load import Journal

pytestmark = pytest.mark.check

WORKERS = 6
ROOM, NO_ROOM = resource.RLIM_INFINITY, 4096


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def set_room(home: Home, size: int) -> None:
    """Let the network's process write files up to this size."""
    resource.prlimit(home.load_state().pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.timeout(300)
async def test_a_disk_that_fills_up_under_load_loses_and_repeats_nothing(home: Home, tmp_path: Path) -> None:
    seed = int(os.environ.get("SIGKILL_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SIGKILL_SEED={seed}")
    choose = random.Random(seed)
    runtime.up(home)
    try:
        async with programs.key_value(home) as deployed:
            async with under_load(deployed, Journal(tmp_path / "journal"), WORKERS, seed) as load:
                for _ in range(4):
                    await load.progress()
                    await asyncio.sleep(choose.uniform(0, 0.2))
                    set_room(home, NO_ROOM)
                    await asyncio.sleep(choose.uniform(0.2, 0.8))
                    set_room(home, ROOM)
                await load.progress()
            assert load.tally["not ordered"] > 0, "the disk was never full"
    finally:
        runtime.down(home)


async def test_without_room_reading_goes_on_and_each_refusal_says_why(home: Home) -> None:
    runtime.up(home)
    try:
        async with programs.key_value(home) as deployed, deployed.contract() as contract:
            await contract.submit("put", "k", "v")
            set_room(home, NO_ROOM)
            assert await contract.evaluate("get", "k") == b"v"
            with pytest.raises(GatewayError, match="the ledger cannot queue envelopes"):
                await contract.submit("put", "k", "w")
            with pytest.raises(LifecycleFailed, match="the ledger cannot keep private data"):
                await deploy(home, "another", "1.0", "127.0.0.1:9")
            set_room(home, 64)
            with pytest.raises(LifecycleFailed, match="could not be written"):
                await deploy(home, "a-third", "1.0", "127.0.0.1:9")
            set_room(home, ROOM)
            await patiently(lambda: contract.submit("put", "k", "x"))
            for name in ("another", "a-third"):
                assert (await deploy(home, name, "1.0", "127.0.0.1:9")).sequence == 1
            assert await contract.evaluate("get", "k") == b"x"
    finally:
        runtime.down(home)
