"""Agents on Fabric's own peers and orderer: a sealed model becomes a bought one without anybody's hand."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from goldengrain.chaincode.protocol.clock import advance
from goldengrain.network.home import Home
from goldengrain.network.native import NativeNetwork
from goldengrain.network.topology import Topology, default_topology
from goldengrain.network.topology_file import dump_topology
from tests.cli.agents.conftest import DEVELOPER, OPERATORS, PROVIDER
from tests.cli.agents.processes import AgentProcess
from tests.cli.market.running import Folder

pytestmark = [pytest.mark.fabric, pytest.mark.timeout(180)]
SIDES = (("provider", "--as", PROVIDER), ("developer", "--as", DEVELOPER), ("operator", "org3", "--as", OPERATORS[2]))
OVER = {"settled", "forfeited", "expired", "withdrawn"}
KILLS = 12
PATIENCE_S = 60


def topology() -> Topology:
    """One peer each, and an orderer; peers let ledger time be moved, as those of the demonstration do."""
    window = {"peer": {"authentication": {"timewindow": "2400h"}}}
    plain = default_topology()
    members = (
        replace(one, peers=tuple(replace(peer, config=window) for peer in one.peers)) for one in plain.organizations
    )
    return replace(plain, organizations=tuple(members))


@pytest.fixture(scope="module")
def real_market(fabric_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    folder = Folder(tmp_path_factory.mktemp("real") / "home")
    described = folder.home.parent / "topology.yaml"
    described.write_text(dump_topology(topology()))
    folder("network", "up", "--market", "--runtime", "native", "--topology", described)
    try:
        people = (PROVIDER, DEVELOPER, *OPERATORS[1:])
        folder("credits", "mint", 100_000, *(word for label in people for word in ("--to", label)))
        for number in (2, 3):
            told = folder("agent", "operator", f"org{number}", "--once", "--as", OPERATORS[number - 1])
            assert [one["command"] for one in told["done"]] == ["RegisterEnclave"]
        yield folder
    finally:
        folder("network", "down", "--purge")


def offered(market: Folder, model: Path, seed: int) -> tuple[str, str]:
    """A task of one slot and an offer for it."""
    opening = ("task", "open", "--dataset", "digits", "--schedule", "500000:1000", "--slots", 1, "--seed", seed)
    task = market(*opening, "--as", PROVIDER)["task"]
    offer = market("model", "seal", model, "--task", task, "--as", DEVELOPER)["offer"]
    market("offer", "submit", offer, "--as", DEVELOPER)
    return task, offer


@contextmanager
def at_work(home: Path, folder: Path, sides: Sequence[tuple[str, ...]]) -> Iterator[list[AgentProcess]]:
    made = [AgentProcess(home, folder / f"{number}-{side[0]}.log", side) for number, side in enumerate(sides)]
    try:
        for one in made:
            one.start()
        yield made
    finally:
        for one in made:
            one.kill()


def state_of(market: Folder, offer: str) -> dict[str, Any]:
    asked = market.attempt("tx", "evaluate", "GetOffer", json.dumps({"offer": offer}))
    return {"state": ""} if asked.code else dict(json.loads(asked.value["result"]))


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "not over in time"
        time.sleep(0.3)


async def crash(home: Path, host: str) -> None:
    """A node dies, and is started again."""
    network = NativeNetwork(Home(home))
    await network.attach()
    await network.stop_node(host, kill=True)
    await network.start_node(host)


def test_agents_sell_a_model_on_real_peers(real_market: Folder, model: Path, tmp_path: Path) -> None:
    market = real_market
    _, offer = offered(market, model, 1)
    with at_work(market.home, tmp_path, SIDES) as agents:
        assert market("offer", "wait", offer, "--for", "settled", "--timeout", "60s")["price"] == 1_000
        assert [one.stop() for one in agents] == [0] * len(agents)
    market("agent", "provider", "--once", "--as", PROVIDER)
    assert (market.home / "bought" / f"{offer}.onnx").read_bytes() == model.read_bytes()


@pytest.mark.check
def test_swaps_end_settled_or_refunded_whoever_is_killed(real_market: Folder, model: Path, tmp_path: Path) -> None:
    """Agents die at random moments, two of one side at once at work; so do the orderer and a peer."""
    market, seed = real_market, random.SystemRandom().randrange(2**32)
    print("seed", seed)  # shown where this fails
    dice = random.Random(seed)
    tasks, offers = zip(*(offered(market, model, number) for number in (2, 3)), strict=True)
    nodes = ["orderer.example.com", f"peer0.org{dice.randint(1, 3)}.example.com"]
    with at_work(market.home, tmp_path, (*SIDES, dice.choice(SIDES))) as agents:
        for number in range(KILLS):
            time.sleep(dice.uniform(0.2, 1.2))
            victim = dice.choice(agents)
            victim.kill()
            if number in (3, 7):
                asyncio.run(crash(market.home, nodes.pop()))
            time.sleep(dice.uniform(0.0, 0.3))
            victim.start()
        wait_for(lambda: all((state_of(market, one).get("lock") or {}).get("acknowledged") for one in offers))
        assert {one.stop() for one in agents} <= {0, -signal.SIGTERM}  # the last one may only just have started
    for one in offers:
        assert state_of(market, one)["state"] == "settled"
        assert (market.home / "bought" / f"{one}.onnx").read_bytes() == model.read_bytes()

    gone_task, gone = offered(market, model, 4)
    with at_work(market.home, tmp_path, (SIDES[0], SIDES[2])):  # the developer never comes back
        wait_for(lambda: state_of(market, gone)["state"] == "locked")
    left = market("agent", "provider", "--once", "--as", PROVIDER)["waiting"]
    (forfeit,) = [one["due_in_s"] for one in left if one["command"] == "Forfeit"]
    advance(Home(market.home).clock_file, forfeit + 1)
    market("agent", "provider", "--once", "--as", PROVIDER)
    assert state_of(market, gone)["state"] == "forfeited"

    waiting = market("agent", "provider", "--once", "--as", PROVIDER)["waiting"]
    advance(Home(market.home).clock_file, max((one["due_in_s"] for one in waiting), default=0) + 1)
    market("agent", "provider", "--once", "--as", PROVIDER)
    assert {state_of(market, one)["state"] for one in (*offers, gone)} <= OVER
    for task in (*tasks, gone_task):
        assert {one["amount"] for one in market("task", "show", task)["slots"]} == {0}
    supply = market("credits", "balance", "--all")
    assert supply["conserved"] is True
