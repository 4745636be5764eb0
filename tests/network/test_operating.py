"""Promises 4 and 13 on Fabric's own peers and orderers, while swaps run: nodes are killed, stopped, replaced, added,
every certificate is renewed, the contract upgraded; each swap ends settled, and no committed transaction is lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from benchmarks.swaps import (
    COMMANDS_OF_A_SWAP,
    CONTRACT,
    MarketBench,
    Swap,
    connect_user,
    open_market,
    start_contract,
    stop_contract,
)
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.cli.following import follow
from goldengrain.gateway.audit import audit
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.network import growth, lifecycle, runtime
from goldengrain.network.home import Home
from goldengrain.network.native import NativeNetwork
from goldengrain.network.nodes import own_nodes
from goldengrain.network.ports import free_port
from goldengrain.network.snapshots import create_snapshot
from goldengrain.network.topology import Orderer, Organization, Peer, Topology, default_topology
from tests.network.stubborn import (
    PATIENCE_S,
    insist,
    open_task,
    persist,
    play,
    reconnect,
    renew_everything,
    sold_by_the_new_member,
    with_new_keys,
)

pytestmark = [pytest.mark.check, pytest.mark.fabric, pytest.mark.timeout(600)]

NODES = ("gateway peer", "another peer", "leading orderer")
WAYS = ("killed", "stopped")
IMPATIENT = Deadlines(endorse=10.0, commit=4.0)
"""What an orderer took and lost when it was killed never commits; the swap's next try finds out."""


@pytest.fixture
def topology(fabric_bin: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    return default_topology(orderers=3)


@dataclass
class Load:
    """Swaps that are played one after the other until the end of a block."""

    bench: MarketBench
    swaps: list[Swap] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    ending: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while two swaps are played; who takes it comes between two and the next two."""

    async def run(self) -> None:
        while not self.ending:
            async with self.turn:
                await self._two()
            await asyncio.sleep(0)

    async def _two(self) -> None:
        task = await insist(partial(open_task, self.bench, slots=2))
        pair = [Swap(self.bench, task, organization, organization - 1) for organization in (1, 2)]
        self.swaps += pair
        for committed in await asyncio.gather(*(play(self.bench, swap) for swap in pair)):
            self.told += [one.transaction_id for one in committed]

    async def some_more(self) -> None:
        """Wait for swaps that began after now."""
        started = len(self.swaps)
        async with asyncio.timeout(PATIENCE_S):
            while len(self.swaps) < started + 4:  # noqa: ASYNC110 - a count, not an event
                await asyncio.sleep(0.1)


@asynccontextmanager
async def under_load(bench: MarketBench) -> AsyncIterator[Load]:
    load = Load(bench)
    bench.wait_for_peers = False
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.ending = True
        await running


async def require_settled(bench: MarketBench, swaps: list[Swap], told: list[str]) -> None:
    """All of some swaps are settled, the money is all there, and what clients were told stands on the ledger."""
    user = bench.users[0]
    assert {(await user.offers.get(swap.offer)).state for swap in swaps} == {OfferState.SETTLED}
    supply = await user.supply()
    assert supply.conserved
    valid = {one.transaction_id for one in (await audit(user.network)).transactions if one.valid}
    assert valid.issuperset(told)


async def _leader(home: Home) -> str:
    for _ in range(100):
        for node in (await runtime.query_status(home)).nodes:
            if node.leader:
                return node.name
        await asyncio.sleep(0.1)
    raise AssertionError("no orderer leads")


async def test_each_swap_ends_settled_whichever_node_is_killed_or_stopped_at_whichever_step(topology: Topology) -> None:
    """36 scenarios: each of the six commands, three kinds of node, two ways to go."""
    scenarios = list(itertools.product(range(COMMANDS_OF_A_SWAP), NODES, WAYS))
    async with (
        open_market(coins=6 * len(scenarios), kind="native", topology=topology) as bench,
        AsyncExitStack() as stack,
    ):
        await reconnect(bench, stack, IMPATIENT)
        network = NativeNetwork(bench.home)
        await network.attach()
        tasks = [await bench.open_task() for _ in scenarios]
        bench.wait_for_peers = False
        swaps, told = [], []
        for (step, kind, way), task in zip(scenarios, tasks, strict=True):
            swap = Swap(bench, task, 1)
            swaps.append(swap)
            told += [await persist(bench, swap, earlier) for earlier in range(step)]
            node = {"gateway peer": "peer0.org2.example.com", "another peer": "peer0.org3.example.com"}.get(kind)
            node = node or await _leader(bench.home)
            stepping = asyncio.create_task(persist(bench, swap, step))
            await asyncio.sleep(0.02)
            await network.stop_node(node, kill=way == "killed")
            await asyncio.sleep(0.2)
            await network.start_node(node)
            told.append(await stepping)
            told += [await persist(bench, swap, later) for later in range(step + 1, COMMANDS_OF_A_SWAP)]
        await require_settled(bench, swaps, [one.transaction_id for one in told if one is not None])


async def test_a_network_is_operated_on_while_swaps_run(topology: Topology) -> None:
    async with open_market(coins=600, kind="native", topology=topology) as bench, AsyncExitStack() as stack:
        home = bench.home
        await reconnect(bench, stack, IMPATIENT)
        before = (await bench.users[0].supply()).minted
        async with under_load(bench) as load:
            async with load.turn:
                claimed = await _up_to_a_claim(bench)
            await growth.add_organization(home, Organization("Org4", "Org4MSP", "org4.example.com"))
            assert (await lifecycle.deploy(home, CONTRACT, "1", _address(bench))).sequence == 1
            followed = await follow(home)
            assert followed is not None
            assert followed.carried
            async with load.turn:
                await with_new_keys(bench, followed.bundle)
            load.told += [one.transaction_id for one in await play(bench, claimed, first=3)]
            load.swaps.append(claimed)

            network = NativeNetwork(home)
            await network.attach()
            lost = await _leader(home)
            await network.stop_node(lost, kill=True)
            await growth.add_orderer(home, Orderer("orderer4"), instead_of=lost.partition(".")[0])

            snapshot = await create_snapshot(home, "peer0.org1.example.com")
            await growth.add_peer(home, "Org1", Peer("peer1"), snapshot=snapshot)

            await asyncio.to_thread(renew_everything, home)
            for node in own_nodes(home, home.load_topology()):
                await runtime.restart_node(home, node.name)
            async with load.turn:
                await reconnect(bench, stack, IMPATIENT)

            address = f"127.0.0.1:{free_port()}"
            upgraded = await lifecycle.deploy(home, CONTRACT, "2", address)
            assert upgraded.sequence == 2
            module = "tests.network.next_contract"
            server = await asyncio.to_thread(start_contract, home, address, upgraded.package_id, module)
            stack.callback(stop_contract, server)
            await load.some_more()
        await require_settled(bench, load.swaps, load.told)
        assert len(load.swaps) >= 8
        supply = await bench.users[0].supply()
        assert supply.minted == before
        fourth = await connect_user(home, stack, 3, "User1")
        assert await fourth.supply() == supply
        assert await fourth.offers.get(load.swaps[0].offer) == await bench.users[0].offers.get(load.swaps[0].offer)
        await sold_by_the_new_member(bench, fourth)
        assert {one.name for one in (await runtime.query_status(home)).nodes if one.height is None} == set()


async def _up_to_a_claim(bench: MarketBench) -> Swap:
    """A swap that is claimed for an enclave which believes the bundle of now, and goes on under the next one."""
    swap = Swap(bench, await insist(partial(open_task, bench)), 1)
    for step in range(3):
        await persist(bench, swap, step)
    return swap


def _address(bench: MarketBench) -> str:
    return bench.contract_address
