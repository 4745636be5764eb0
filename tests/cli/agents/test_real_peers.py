"""Agents on Fabric's own peers and orderer: a sealed model becomes a bought one without anybody's hand."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.agents.conftest import DEVELOPER, OPERATORS, PROVIDER
from tests.cli.agents.processes import AgentProcess
from tests.cli.market.running import Folder

pytestmark = [pytest.mark.fabric, pytest.mark.timeout(180)]


def test_agents_sell_a_model_on_real_peers(real_market: Folder, model: Path, tmp_path: Path) -> None:
    market = real_market
    for number in (2, 3):
        told = market("agent", "operator", f"org{number}", "--once", "--as", OPERATORS[number - 1])
        assert [one["command"] for one in told["done"]] == ["RegisterEnclave"]
    task = market("task", "open", "--dataset", "digits", "--schedule", "500000:1000", "--as", PROVIDER)["task"]
    offer = market("model", "seal", model, "--task", task, "--as", DEVELOPER)["offer"]
    market("offer", "submit", offer, "--as", DEVELOPER)
    sides = (
        ("provider", "--as", PROVIDER),
        ("developer", "--as", DEVELOPER),
        ("operator", "org3", "--as", OPERATORS[2]),
    )
    with ExitStack() as stack:
        agents = [AgentProcess(market.home, tmp_path / f"{side[0]}.log", side) for side in sides]
        for one in agents:
            stack.callback(one.kill)
            one.start()
        assert market("offer", "wait", offer, "--for", "settled", "--timeout", "60s")["price"] == 1_000
        assert [one.stop() for one in agents] == [0] * len(agents)
    market("agent", "provider", "--once", "--as", PROVIDER)
    assert (market.home / "bought" / f"{offer}.onnx").read_bytes() == model.read_bytes()
