"""Killed at any moment under load: nothing acknowledged is lost, nothing is in two blocks, the ledger is whole."""

import asyncio
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from goldengrain.network.embedded import blocks as tools
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.orderer import Orderer
from tests.network.embedded.core.kit import Consortium

ROOT = Path(__file__).resolve().parents[4]
ROUNDS = 5


async def run_and_kill(home: Path, path: Path, first: int, delay: float) -> list[str]:
    """Run the child, kill it after `delay` seconds of load; returns what it has acknowledged."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.network.embedded.core.crash_child", str(home), str(path), str(first)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    await asyncio.sleep(delay)
    child.send_signal(signal.SIGKILL)
    printed = await child.stdout.read()
    await child.wait()
    return [line.decode() for line in printed.split(b"\n")[:-1]]


@pytest.mark.timeout(120)
async def test_killed_under_load(consortium: Consortium, channel: Channel) -> None:
    consortium.home.save_topology(consortium.topology)
    path = channel.ledger.path
    await channel.close()
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    acknowledged: list[str] = []
    for turn in range(ROUNDS):
        acknowledged += await run_and_kill(consortium.home.path, path, turn * 100_000, chance.uniform(0.05, 0.7))
    again = Channel.open(path, consortium.genesis)
    again.config.batch = replace(again.config.batch, timeout=0.01)
    orderer = Orderer(again, consortium.block_signer(), time.time)
    await orderer.start()
    for tx_id in acknowledged:
        await asyncio.wait_for(again.ledger.arrivals.wait_for_transaction(tx_id), 20)
    await orderer.stop()
    again.ledger.chain.verify()
    found = Counter(
        header.tx_id
        for number in range(2, again.height)
        for raw in again.ledger.chain.block(number).data.data
        if (header := tools.channel_header_of(raw))
    )
    assert set(acknowledged) <= set(found), f"lost, seed {seed}"
    assert max(found.values()) == 1, f"ordered twice, seed {seed}"
    assert len(acknowledged) > 10
    assert again.ledger.queue() == []
    await again.close()
