"""`--once`: each side's agent does what is due and says what is left; by hand, step by step, through a whole task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.agents.conftest import DEVELOPER, OPERATORS, PROVIDER
from tests.cli.market.running import Folder

pytestmark = pytest.mark.check
SCHEDULE = ("--schedule", "500000:1000,950000:5000")


def provider(market: Folder) -> dict[str, Any]:
    return market("agent", "provider", "--once", "--as", PROVIDER)


def developer(market: Folder) -> dict[str, Any]:
    return market("agent", "developer", "--once", "--as", DEVELOPER)


def operator(market: Folder, number: int = 3) -> dict[str, Any]:
    return market("agent", "operator", f"org{number}", "--once", "--as", OPERATORS[number - 1])


def commands(told: dict[str, Any], kind: str = "done") -> list[str]:
    return [one["command"] for one in told[kind]]


@pytest.fixture(scope="module")
def enclaves(market: Folder) -> Folder:
    """Two operators' enclaves are registered by their agents."""
    for number in (2, 3):
        told = operator(market, number)
        assert commands(told) in (["RegisterEnclave"], [])  # another file's tests may have had it registered
        assert all(one["simulated"] is True for one in told["done"])
        assert commands(told, "waiting") == ["RegisterEnclave"]
    return market


def opened(market: Folder, *options: object) -> str:
    made = market("task", "open", "--dataset", "digits", *SCHEDULE, "--as", PROVIDER, *options)
    return str(made["task"])


def offered(market: Folder, task: str, model: Path) -> str:
    sealed = market("model", "seal", model, "--task", task, "--as", DEVELOPER)
    market("offer", "submit", sealed["offer"], "--as", DEVELOPER)
    return str(sealed["offer"])


def state_of(market: Folder, offer: str) -> str:
    return str(market("offer", "show", offer)["state"])


def test_agents_alone_bring_a_sealed_model_to_a_bought_one(enclaves: Folder, model: Path) -> None:
    market = enclaves
    task = opened(market, "--slots", 2)
    offer = offered(market, task, model)
    assert commands(provider(market)) == ["Receipt"]
    assert commands(operator(market)) == ["Claim", "SubmitReport"]
    assert state_of(market, offer) == "locked"
    told = developer(market)
    assert commands(told) == ["Reveal"]
    assert told["done"][0]["price"] > 1_000
    told = provider(market)
    assert commands(told) == ["Acknowledge"]
    bought = Path(told["done"][0]["file"])
    assert bought.read_bytes() == model.read_bytes()
    assert {"OpenDataset", "RefundSlot"} == set(commands(told, "waiting"))
    market("network", "advance", max(one["due_in_s"] for one in told["waiting"]) + 1)
    assert sorted(commands(provider(market))) == ["OpenDataset", "RefundSlot"]
    assert commands(provider(market)) == []
    assert market("credits", "balance", "--all")["conserved"] is True


def test_a_renewal_is_due_when_three_quarters_of_a_registration_are_over(enclaves: Folder) -> None:
    market = enclaves
    (waiting,) = (one for one in operator(market)["waiting"] if one["command"] == "RegisterEnclave")
    before = waiting["until"]
    market("network", "advance", waiting["due_in_s"] + 1)
    told = operator(market)
    assert (commands(told), told["done"][0]["renewed"]) == (["RegisterEnclave"], True)
    (waiting,) = (one for one in told["waiting"] if one["command"] == "RegisterEnclave")
    assert waiting["until"] > before
    assert commands(operator(market, 2)) == ["RegisterEnclave"]


def test_a_developer_takes_back_what_came_to_nothing(enclaves: Folder, model: Path) -> None:
    """Without a receipt it withdraws after B; stored, it expires after B + G."""
    market = enclaves
    before = market("credits", "balance", "--of", DEVELOPER)["balance"]
    task = opened(market, "--seed", 21)
    unseen = offered(market, task, model)
    assert commands(developer(market)) == []
    other = opened(market, "--seed", 22)
    stored = offered(market, other, model)
    market("offer", "receipt", stored, "--as", PROVIDER)
    told = developer(market)
    assert set(commands(told, "waiting")) == {"WithdrawOffer", "Expire"}
    market("network", "advance", max(one["due_in_s"] for one in told["waiting"]) + 1)
    assert sorted(commands(developer(market))) == ["Expire", "WithdrawOffer"]
    assert (state_of(market, unseen), state_of(market, stored)) == ("withdrawn", "expired")
    assert market("credits", "balance", "--of", DEVELOPER)["balance"] == before
    assert sorted(set(commands(provider(market)))) == ["OpenDataset", "RefundSlot"]


def test_who_does_not_reveal_is_told_and_the_provider_takes_its_money_back(enclaves: Folder, model: Path) -> None:
    market = enclaves
    offer = offered(market, opened(market, "--seed", 23), model)
    provider(market)
    operator(market)
    secret = market.home / "secrets" / "offers" / f"{offer}.json"
    elsewhere = secret.rename(secret.with_suffix(".elsewhere"))
    result = market.attempt("agent", "developer", "--once", "--as", DEVELOPER)
    assert result.code == 1
    assert [(one["command"], one["error"]["code"]) for one in result.value["failed"]] == [("Reveal", "SECRET_MISSING")]
    left = result.value["failed"][0]["left_s"]
    market("network", "advance", left - 10)
    told = market.attempt("agent", "developer", "--once", "--as", DEVELOPER).value
    assert [one["command"] for one in told["warning"]] == ["Reveal"]
    elsewhere.rename(secret)
    market("network", "advance", 11)
    result = market.attempt("agent", "developer", "--once", "--as", DEVELOPER)
    assert (result.code, commands(result.value, "missed"), commands(result.value)) == (1, ["Reveal"], [])
    waiting = next(one for one in provider(market)["waiting"] if one["command"] == "Forfeit")
    market("network", "advance", waiting["due_in_s"] + 1)
    assert "Forfeit" in commands(provider(market))
    assert state_of(market, offer) == "forfeited"


def test_a_claim_without_a_report_lapses_by_its_operators_own_hand(enclaves: Folder, model: Path) -> None:
    market = enclaves
    offer = offered(market, opened(market, "--seed", 24), model)
    provider(market)
    blobs = [path for path in (market.home / "store").rglob("*") if path.is_file()]
    ciphertext = market("offer", "show", offer)["order"]["ciphertext"]
    hidden = [path.rename(path.with_suffix(".hidden")) for path in blobs if path.name == ciphertext]
    result = market.attempt("agent", "operator", "org3", "--once", "--as", OPERATORS[2])
    assert (result.code, commands(result.value)) == (1, ["Claim"])
    assert [(one["command"], one["error"]["code"]) for one in result.value["failed"]] == [
        ("SubmitReport", "BLOB_NOT_FOUND")
    ]
    lapse = next(one for one in result.value["waiting"] if one["command"] == "Lapse")
    market("network", "advance", lapse["due_in_s"] + 1)
    for path in hidden:
        path.rename(path.with_suffix(""))
    told = market.attempt("agent", "operator", "org3", "--once", "--as", OPERATORS[2]).value
    assert "Lapse" in commands(told)
    assert state_of(market, offer) == "stored"


def test_enclaves_that_were_left_out_get_their_envelopes_before_a_claim(enclaves: Folder, model: Path) -> None:
    """As if the enclave had been unfit while the model was sealed: it holds the test set, but not the model's key."""
    market = enclaves
    operator(market, 1)
    task = opened(market, "--seed", 25)
    sealed = market("model", "seal", model, "--task", task, "--as", DEVELOPER, "--provider-may-operate")["offer"]
    file = market.home / "secrets" / "offers" / f"{sealed}.json"
    secret = json.loads(file.read_text())
    assert len(secret["command"]["envelopes"]) == 2
    del secret["command"]["envelopes"][0]
    file.write_text(json.dumps(secret))
    market("offer", "submit", sealed, "--as", DEVELOPER)
    assert commands(developer(market)) == ["Rewrap"]
    assert commands(developer(market)) == []
    told = json.loads(market("tx", "evaluate", "GetOffer", json.dumps({"offer": sealed}))["result"])
    assert len(told["envelopes"]) == 2


def test_the_best_offer_is_awarded_after_b_and_sold(enclaves: Folder, model: Path) -> None:
    market = enclaves
    offer = offered(market, opened(market, "--seed", 26, "--award", "best", "--slots", 1), model)
    provider(market)
    operator(market)
    assert state_of(market, offer) == "leading"
    waiting = next(one for one in developer(market)["waiting"] if one["command"] == "AwardOffer")
    market("network", "advance", waiting["due_in_s"] + 1)
    assert "AwardOffer" in commands(provider(market))
    assert "Reveal" in commands(developer(market))
    assert "Acknowledge" in commands(provider(market))
    assert market("credits", "balance", "--all")["conserved"] is True
