"""The provider's and the developer's agents beside operators at work: a sealed offer becomes a bought model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .conftest import USERS
from .running import Folder

PROVIDER, DEVELOPER = USERS[0], USERS[1]


def done(told: dict[str, Any], offer: str) -> list[str]:
    return [one["command"] for one in told["done"] if one.get("offer") == offer]


def test_agents_give_receipts_reveal_and_open_what_was_bought(
    market: Folder, models: dict[str, Path], tmp_path: Path
) -> None:
    task = market("task", "open", "--dataset", "digits", "--schedule", "500000:1000", "--seed", 40, "--as", PROVIDER)
    offer = market("model", "seal", models["tree"], "--task", task["task"], "--as", DEVELOPER)["offer"]
    market("offer", "submit", offer, "--as", DEVELOPER)
    as_provider = ("agent", "provider", "--once", "--into", tmp_path, "--as", PROVIDER)
    assert done(market.attempt(*as_provider).value, offer) == ["Receipt"]
    market("offer", "wait", offer, "--for", "locked", "--timeout", "30s")
    assert done(market.attempt("agent", "developer", "--once", "--as", DEVELOPER).value, offer) == ["Reveal"]
    assert done(market.attempt(*as_provider).value, offer) == ["Acknowledge"]
    assert (tmp_path / f"{offer}.onnx").read_bytes() == models["tree"].read_bytes()
    assert "Forfeit" not in market.shown("agent", "developer", "--once", "--as", DEVELOPER)
