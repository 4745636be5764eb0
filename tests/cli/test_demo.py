"""The demonstration, run as a user runs it: in a process of its own, its output read as a script reads it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from goldengrain.cli.stage.scenarios import SCENARIOS
from goldengrain.cli.stage.swap import schedule_for

KEYS = {
    "dataset",
    "scoring",
    "runtime",
    "attestation",
    "organizations",
    "offers",
    "balances",
    "supply",
    "transactions",
    "timings_s",
}
OFFER_KEYS = {"offer", "developer", "state", "score_ppm", "price", "bought_model_score_ppm"}
ENDS = {
    "no-reveal": ["forfeited"],
    "tampered-report": ["settled"],
    "wrong-model": ["expired"],
    "oracle-abuse": ["settled"],
    "below-threshold": ["declined"],
    "copied-offer": ["failed", "settled"],
}


def played(home: Path, *options: str) -> tuple[dict[str, Any], str]:
    """What `goldengrain demo --json` printed, parsed, and what it said beside it."""
    command = [sys.executable, "-m", "goldengrain.cli.main", "demo", "--json", "--home", str(home), *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), run.stderr


def require_sound(result: dict[str, Any], runtime: str = "embedded") -> None:
    """What holds however a play ends."""
    assert set(result) == KEYS
    assert result["attestation"] == "simulated"
    assert result["runtime"] == runtime
    assert result["supply"]["minted"] == result["supply"]["held"] == 300_000
    assert {one["code"] for one in result["transactions"]} == {"VALID"}
    assert len({one["id"] for one in result["transactions"]}) == len(result["transactions"])
    assert all(set(one) == OFFER_KEYS for one in result["offers"])


def left_running(home: Path) -> list[str]:
    """Command lines of processes that still have to do with a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(str(home).encode() in word for word in words):
            found.append(b" ".join(words).decode())
    return found


@pytest.mark.timeout(120)
def test_three_models_are_sold_for_what_their_scores_are_worth(tmp_path: Path) -> None:
    result, said = played(tmp_path)
    require_sound(result)
    offers = result["offers"]
    assert [one["state"] for one in offers] == ["settled"] * 3
    assert {one["developer"].partition("@")[2] for one in offers} == {f"org{n}.example.com" for n in (1, 2, 3)}
    scores, prices = [one["score_ppm"] for one in offers], [one["price"] for one in offers]
    assert len(set(scores)) == len(set(prices)) == 3
    assert sorted(scores) == [one["score_ppm"] for one in sorted(offers, key=lambda one: one["price"])]
    assert [one["bought_model_score_ppm"] for one in offers] == scores
    assert result["balances"]["provider@org1.example.com"] < 200_000 - sum(prices) + 1
    commands = [one["command"] for one in result["transactions"]]
    for command in ("CommitChaincodeDefinition", "Bootstrap", "RegisterEnclave", "OpenTask", "Reveal", "Acknowledge"):
        assert command in commands
    assert commands.count("SubmitReport") == commands.count("Reveal") == 3
    assert "simulated" in said
    report = (tmp_path / "demo.html").read_text()
    assert "simulated" in report
    assert report.count("<circle") == 3
    assert "http" not in report.replace("http://www.w3.org", "")
    assert [path.name for path in tmp_path.iterdir()] == ["demo.html"]
    assert left_running(tmp_path) == []


@pytest.mark.check
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("dataset", "scoring"),
    [("diabetes", "rmse, score 1 - loss / 77"), ("breast-cancer", "auroc"), ("wine", "macro-f1")],
)
def test_tables_and_values_are_traded_as_images_are(dataset: str, scoring: str, tmp_path: Path) -> None:
    result, said = played(tmp_path, "--dataset", dataset)
    require_sound(result)
    assert result["scoring"] == scoring
    offers = result["offers"]
    assert [one["state"] for one in offers] == ["settled"] * 3
    prices = [schedule_for(dataset).price(one["score_ppm"]) for one in offers]
    assert [one["price"] for one in offers] == prices == sorted(set(prices))
    assert [one["bought_model_score_ppm"] for one in offers] == [one["score_ppm"] for one in offers]
    assert "simulated" in said


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_a_scenario_ends_with_the_right_money_in_the_right_place(scenario: str, tmp_path: Path) -> None:
    result, _ = played(tmp_path, "--scenario", scenario)
    require_sound(result)
    assert [one["state"] for one in result["offers"]] == ENDS[scenario]
    sold = [one for one in result["offers"] if one["state"] == "settled"]
    assert all(one["bought_model_score_ppm"] == one["score_ppm"] is not None for one in sold)
    assert result["timings_s"]["total"] < 60
    assert left_running(tmp_path) == []


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", [None, *SCENARIOS])
def test_the_same_is_played_on_real_peers(
    scenario: str | None, tmp_path: Path, fabric_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    result, said = played(tmp_path, "--runtime", "native", *(("--scenario", scenario) if scenario else ()))
    require_sound(result, "native")
    assert "three real Raft orderers" in said
    assert [one["state"] for one in result["offers"]] == (ENDS[scenario] if scenario else ["settled"] * 3)
    assert left_running(tmp_path) == []


def test_every_scenario_has_its_end_here() -> None:
    assert set(ENDS) == set(SCENARIOS)
