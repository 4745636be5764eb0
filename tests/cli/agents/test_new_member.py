"""An organisation joins a market that is at work: policy and trust bundle follow, live enclaves get new keys."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.agents.conftest import DEVELOPER, OPERATORS, PROVIDER
from tests.cli.agents.processes import AgentProcess
from tests.cli.market.running import Folder

pytestmark = [pytest.mark.check, pytest.mark.timeout(180)]

NEWCOMER = "User1@org4.example.com"


@pytest.fixture(params=["embedded", pytest.param("native", marks=pytest.mark.fabric)])
def working(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """A market where everybody has credits."""
    if request.param == "native":
        monkeypatch.setenv("FABRIC_BIN", str(request.getfixturevalue("fabric_bin")))
    folder = Folder(tmp_path / "home")
    folder("network", "up", "--market", "--runtime", request.param)
    try:
        people = (PROVIDER, DEVELOPER, *OPERATORS[1:])
        folder("credits", "mint", 100_000, *(word for label in people for word in ("--to", label)))
        yield folder
    finally:
        folder("network", "down", "--purge")


def offered(market: Folder, model: Path, seller: str) -> tuple[str, str]:
    """A task, and a model that is offered for it."""
    opened = market("task", "open", "--dataset", "digits", "--schedule", "500000:1000", "--as", PROVIDER)["task"]
    offer = market("model", "seal", model, "--task", opened, "--as", seller)["offer"]
    market("offer", "submit", offer, "--as", seller)
    return opened, offer


def provenance(market: Folder, folder: Path, offer: str) -> str:
    """Check a sold model's provenance offline; returns the trust bundle that its enclave believed."""
    market("agent", "provider", "--once", "--as", PROVIDER)
    market("model", "provenance", offer, "--out", folder / offer, "--as", PROVIDER)
    bundle: str = market("model", "verify", folder / offer)["trust_bundle"]
    return bundle


def settled(market: Folder, offer: str) -> int:
    price: int = market("offer", "wait", offer, "--for", "settled", "--timeout", "60s")["price"]
    return price


def test_an_organisation_joins_while_swaps_run_and_sells(working: Folder, model: Path, tmp_path: Path) -> None:
    market = working
    sides = {
        "provider": ("provider", "--as", PROVIDER),
        "developer": ("developer", "--as", DEVELOPER),
        "org2": ("operator", "org2", "--as", OPERATORS[1]),
        "org3": ("operator", "org3", "--as", OPERATORS[2]),
    }
    for number in (2, 3):
        market("agent", "operator", f"org{number}", "--once", "--as", OPERATORS[number - 1])
    with ExitStack() as stack:
        agents = {name: AgentProcess(market.home, tmp_path / f"{name}.log", side) for name, side in sides.items()}
        for one in agents.values():
            stack.callback(one.kill)
            one.start()
        _, first = offered(market, model, DEVELOPER)
        added = market("org", "add", "Org4")
        assert added["policy"]["carried"] is True
        assert (added["policy"]["number"], len(added["policy"]["votes"])) == (2, 2)
        assert market("policy", "show")["policy"]["organizations"] == [f"Org{number}MSP" for number in (1, 2, 3, 4)]
        assert settled(market, first) == 1_000  # by an enclave that believes the bundle before
        for name in ("org2", "org3"):
            assert market("enclave", "trust", name)["trust_bundle"] == added["policy"]["trust_bundle"]
        market("credits", "mint", 100_000, "--to", NEWCOMER)
        newcomer = AgentProcess(market.home, tmp_path / "newcomer.log", ("developer", "--as", NEWCOMER))
        stack.callback(newcomer.kill)
        newcomer.start()
        _wait_for_new_keys(market, added["policy"]["trust_bundle"])
        _, second = offered(market, model, NEWCOMER)
        assert settled(market, second) == 1_000
        assert {one.stop() for one in (*agents.values(), newcomer)} == {0}
    assert provenance(market, tmp_path, second) == added["policy"]["trust_bundle"]
    assert market("credits", "balance", "--all")["conserved"] is True
    assert market("policy", "follow")["policy"] is None
    removed = market("org", "remove", "Org4")
    assert removed["policy"]["carried"] is True
    policy = market("policy", "show")["policy"]
    assert (policy["number"], policy["required"], policy["previous_bundle"]) == (3, 2, None)
    assert market.attempt("org", "remove", "Org3").error == "POLICY_BLOCKABLE"
    assert market("channel", "info")["members"] == ["Org1MSP", "Org2MSP", "Org3MSP"]
    assert market("credits", "balance", "--all")["conserved"] is True


def _wait_for_new_keys(market: Folder, bundle: str) -> None:
    """Wait until the enclaves of both operators are registered under a trust bundle."""
    for _ in range(200):
        listed = json.loads(market("tx", "evaluate", "ListEnclaves", "{}")["result"])
        if sum(one["bundle"] == bundle for one in listed["items"]) == 2:
            return
        time.sleep(0.1)
    raise AssertionError(f"no two enclaves believe {bundle}")
