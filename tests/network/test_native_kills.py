"""Each of Fabric's own programs is killed under load and started again: nothing is lost or applied twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from goldengrain.network.home import Home
from goldengrain.network.native import NativeNetwork
from goldengrain.network.topology import default_topology
from tests.conformance import programs
from tests.network.embedded.aftermath import under_load
from tests.network.embedded.load import Journal

pytestmark = [pytest.mark.check, pytest.mark.fabric]

WORKERS = 6


@pytest.mark.timeout(300)
async def test_peers_orderers_and_chaincode_are_killed_one_after_the_other(tmp_path: Path, fabric_bin: Path) -> None:
    seed = int(os.environ.get("SIGKILL_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SIGKILL_SEED={seed}")
    choose = random.Random(seed)
    journal = Journal(tmp_path / "journal")
    async with NativeNetwork(Home(tmp_path / "home"), default_topology(orderers=3), fabric_bin) as network:
        nodes = [
            *(peer.host(organization) for organization, peer in network.topology.peers()),
            *(orderer.host(organization) for organization, orderer in network.topology.orderers()),
        ]
        choose.shuffle(nodes)
        async with (
            programs.key_value(network.home) as deployed,
            under_load(deployed, journal, WORKERS, seed, trusting=False) as load,
        ):
            for node in nodes:
                await load.progress()
                await asyncio.sleep(choose.uniform(0, 0.3))
                await network.stop_node(node, kill=True)
                await asyncio.sleep(choose.uniform(0, 0.5))
                await network.start_node(node)
            await load.progress()
            await deployed.program.stop(signal.SIGKILL)
            await deployed.program.start(deployed.package_id)
            await load.progress()
