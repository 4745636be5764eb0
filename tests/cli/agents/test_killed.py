"""Agents that are killed at random moments finish what their sides owe; two of the same agent do no harm."""

from __future__ import annotations

import json
import queue
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.agents.conftest import DEVELOPER, OPERATORS, OTHER, PROVIDER
from tests.cli.agents.processes import AgentProcess
from tests.cli.market.running import COMMAND, Folder

pytestmark = [pytest.mark.check, pytest.mark.timeout(180)]
SIDES = (
    ("provider", "--as", PROVIDER),
    ("developer", "--as", DEVELOPER),
    ("developer", "--as", OTHER),
    ("operator", "org2", "--as", OPERATORS[1]),
    ("operator", "org3", "--as", OPERATORS[2]),
)
KILLS = 40
PATIENCE_S = 90


@pytest.fixture(scope="module", autouse=True)
def registered(market: Folder) -> None:
    """Both enclaves are on the ledger before tasks are opened, since test sets are sealed to them."""
    for side in SIDES[3:]:
        market("agent", *side, "--once")


@contextmanager
def processes(market: Folder, folder: Path, second: Path | None = None) -> Iterator[list[AgentProcess]]:
    """An agent for each side; with a ``second`` home, two: those of operators share their enclave, in one home."""
    made = [AgentProcess(market.home, folder / f"{number}.log", side) for number, side in enumerate(SIDES)]
    for number, side in enumerate(SIDES if second else ()):
        home = market.home if side[0] == "operator" else second
        assert home is not None
        made.append(AgentProcess(home, folder / f"{number}-again.log", side))
    try:
        yield made
    finally:
        for one in made:
            one.kill()


def offers_for(market: Folder, model: Path, seed: int) -> tuple[str, list[str]]:
    """A task, and an offer of each developer."""
    opening = ("task", "open", "--dataset", "digits", "--schedule", "500000:1000,950000:5000", "--slots", 3)
    task = market(*opening, "--seed", seed, "--as", PROVIDER)["task"]
    found = []
    for who in (DEVELOPER, OTHER):
        sealed = market("model", "seal", model, "--task", task, "--as", who)["offer"]
        market("offer", "submit", sealed, "--as", who)
        found.append(sealed)
    return task, found


def is_over(market: Folder, offers: list[str]) -> bool:
    """Whether all of them are settled, opened and acknowledged."""
    asked = [market("tx", "evaluate", "GetOffer", json.dumps({"offer": one})) for one in offers]
    locks = [json.loads(one["result"])["lock"] for one in asked]
    return all(one is not None and one["acknowledged"] for one in locks)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "not over in time"
        time.sleep(0.5)


@contextmanager
def steps(market: Folder) -> Iterator[queue.SimpleQueue[str]]:
    """The names of the contract's events, as they come."""
    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    command = [*COMMAND, "--json", "--home", str(market.home), "events", "follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def read() -> None:
            for line in process.stdout or ():
                names.put(json.loads(line)["event"])

        reading = threading.Thread(target=read)
        reading.start()
        try:
            yield names
        finally:
            process.terminate()
            reading.join()


def test_agents_killed_at_random_moments_finish_what_is_owed(market: Folder, model: Path, tmp_path: Path) -> None:
    """Each is killed at any time, and those who owe the next step of a swap at a random moment of it."""
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)  # shown where this fails
    dice = random.Random(seed)
    with steps(market) as events, processes(market, tmp_path) as agents:
        provider, operators = agents[:1], agents[3:]
        owing = {"SubmitOffer": provider, "Receipt": operators, "Claim": operators, "Reveal": provider}
        owing["SubmitReport"] = agents[1:3]
        ends = dict.fromkeys(range(len(agents)), 0.0)
        made = [offers_for(market, model, seed) for seed in (31, 32)]
        while sum(one.kills for one in agents) < KILLS:
            with suppress(queue.Empty):
                for one in owing.get(events.get(timeout=0.02), ()):
                    number = agents.index(one)
                    ends[number] = min(ends[number], time.monotonic() + dice.uniform(0.0, 0.5))
            for number, one in enumerate(agents):
                if time.monotonic() >= ends[number]:
                    one.kill()
                    one.start()
                    ends[number] = time.monotonic() + dice.uniform(0.5, 4.0)
        offers = [offer for _, found in made for offer in found]
        wait_for(lambda: is_over(market, offers))
        assert [one.stop() for one in agents] == [0] * len(agents)
    for one in offers:
        assert (market.home / "bought" / f"{one}.onnx").read_bytes() == model.read_bytes()
    assert [path.name for path in (market.home / "bought").iterdir() if path.suffix != ".onnx"] == [".lock"]
    finish(market, [task for task, _ in made])


def finish(market: Folder, tasks: list[str]) -> None:
    """After B + G the rest of the budget comes back and the test set is opened; nothing is left in escrow."""
    waiting = market("agent", "provider", "--once", "--as", PROVIDER)["waiting"]
    market("network", "advance", max(one["due_in_s"] for one in waiting) + 1)
    market("agent", "provider", "--once", "--as", PROVIDER)
    assert {one["amount"] for task in tasks for one in market("task", "show", task)["slots"]} == {0}
    supply = market("credits", "balance", "--all")
    assert supply["conserved"] is True


def another_machine(market: Folder, folder: Path) -> Path:
    """A second folder of the same people: wallet, secrets, clock; the organisations' stores are the same ones."""
    elsewhere = ("ledger", "logs", "enclaves", "store", "bought", "*.lock")
    shutil.copytree(market.home, folder, ignore=shutil.ignore_patterns(*elsewhere))
    (folder / "store").symlink_to(market.home / "store")
    for kind in ("offers", "tasks"):
        (market.home / "secrets" / kind).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "secrets" / kind, ignore_errors=True)
        (folder / "secrets").mkdir(exist_ok=True)
        (folder / "secrets" / kind).symlink_to(market.home / "secrets" / kind)
    return folder


def test_two_of_each_agent_at_once_do_no_harm(market: Folder, model: Path, tmp_path: Path) -> None:
    with processes(market, tmp_path, another_machine(market, tmp_path / "home")) as agents:
        for one in agents:
            one.start()
        task, offers = offers_for(market, model, 33)
        wait_for(lambda: is_over(market, offers))
        assert [one.stop() for one in agents] == [0] * len(agents)
        said = [notice for one in agents for notice in one.notices()]
    done = Counter((one["command"], one.get("offer")) for one in said if one["event"] == "done")
    once = ("Receipt", "Claim", "SubmitReport", "Reveal", "Acknowledge")
    assert [done[name, offer] for offer in offers for name in once] == [1] * len(offers) * len(once)
    assert [one for one in said if one["event"] in ("failed", "warning", "missed")] == []
    finish(market, [task])
