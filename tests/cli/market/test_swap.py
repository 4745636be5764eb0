"""Whole swaps through the commands, on a real embedded network with real enclave processes."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from goldengrain.chaincode.protocol import stream
from goldengrain.chaincode.protocol.clock import advance
from goldengrain.chaincode.protocol.errors import TooEarly
from goldengrain.cli import buying, selling
from goldengrain.cli.session import connect, endpoint_for
from goldengrain.cli.stores import Stores
from goldengrain.cli.testsets import load_test_set
from goldengrain.enclave.models.datasets import load
from goldengrain.gateway.market import Market
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home

from .conftest import USERS
from .running import Folder
from .secrets import require_no_secret

PROVIDER, DEVELOPER, OTHER = USERS[0], USERS[1], USERS[2]


@pytest.fixture(scope="module")
def task(market: Folder) -> str:
    """A task of the provider's over digits."""
    made = market("task", "open", "--dataset", "digits", "--schedule", "500000:1000,950000:5000", "--as", PROVIDER)
    assert made["simulated"] is True
    assert len(made["enclaves"]) == 2
    return str(made["task"])


def sealed_and_stored(market: Folder, task: str, model: Path, developer: str) -> dict[str, Any]:
    """Seal a model, offer it, and have the provider confirm it."""
    sealed = market("model", "seal", model, "--task", task, "--as", developer)
    assert market("offer", "submit", sealed["offer"][:10], "--as", developer)["state"] == "offered"
    market("offer", "receipt", sealed["offer"], "--as", PROVIDER)
    return sealed


def test_a_model_is_sold_and_opens_to_the_very_file_that_was_sealed(
    market: Folder, task: str, models: dict[str, Path], tmp_path: Path
) -> None:
    sealed = sealed_and_stored(market, task, models["mlp"], DEVELOPER)
    offer = sealed["offer"]
    locked = market("offer", "wait", offer, "--for", "locked", "--timeout", "30s")
    assert locked["simulated"] is True
    assert locked["score_ppm"] > 900_000
    settled = market("offer", "reveal", offer, "--as", DEVELOPER)
    assert (settled["state"], settled["price"]) == ("settled", locked["price"])
    bought = tmp_path / "bought.onnx"
    opened = market("model", "open", offer, "--out", bought, "--evaluate", "--as", PROVIDER)
    assert opened["bought_model_score_ppm"] == locked["score_ppm"]
    assert opened["acknowledged"] is not None
    assert bought.read_bytes() == models["mlp"].read_bytes()
    assert opened["model"] == hashlib.sha256(bought.read_bytes()).hexdigest() == sealed["model"]
    again = market("model", "open", offer, "--out", bought, "--force", "--as", PROVIDER)
    assert again["acknowledged"] is None
    assert market("credits", "balance", "--all")["conserved"] is True


def test_secrets_are_their_owners_alone_and_never_on_a_store(
    market: Folder, task: str, models: dict[str, Path]
) -> None:
    sealed = market("model", "seal", models["mlp"], "--task", task, "--as", OTHER)
    secrets = market.home / "secrets"
    files = [path for path in secrets.rglob("*") if path.is_file()]
    assert secrets / "offers" / f"{sealed['offer']}.json" in files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (secrets, *secrets.iterdir()) if path.is_dir()} == {0o700}
    stored = [path for path in (market.home / "store").rglob("*") if path.is_file()]
    assert models["mlp"].read_bytes() not in [path.read_bytes() for path in stored]


def test_logs_hold_none_of_the_keys_that_were_made(market: Folder, task: str, models: dict[str, Path]) -> None:
    """Of developers, provider, operators, users and enclaves, in any of the ways in which bytes are written."""
    offer = sealed_and_stored(market, task, models["tree"], DEVELOPER)["offer"]
    market("offer", "wait", offer, "--timeout", "30s")
    logs = [path.read_bytes() for path in (market.home / "logs").rglob("*") if path.is_file()]
    assert sum(b'"run_job"' in log for log in logs) >= 1
    require_no_secret(market.home, logs)


def test_who_does_not_reveal_forfeits_what_refund_sends_when_it_is_due(
    market: Folder, task: str, models: dict[str, Path]
) -> None:
    offer = sealed_and_stored(market, task, models["tree"], OTHER)["offer"]
    assert market("offer", "wait", offer, "--timeout", "30s")["state"] == "locked"
    early = market.attempt("offer", "refund", offer)
    assert (early.code, early.error) == (1, "NOTHING_DUE")
    shown = market("offer", "show", offer)
    (way,) = shown["ways_out"]
    assert way["command"] == "Forfeit"
    market("network", "advance", way["due_in_s"] + 1)
    (sent,) = market("offer", "refund", offer, "--as", DEVELOPER)["sent"]
    assert sent["command"] == "Forfeit"
    assert market("offer", "show", offer)["state"] == "forfeited"
    late = market.attempt("offer", "reveal", offer, "--as", OTHER)
    assert (late.code, late.error) == (4, "OFFER_CLOSED")
    assert market("credits", "balance", "--all")["conserved"] is True


def test_other_bytes_than_those_offered_get_no_receipt_and_the_offer_expires(
    market: Folder, models: dict[str, Path]
) -> None:
    task = market("task", "open", "--dataset", "digits", "--slots", 2, "--seed", 7, "--as", PROVIDER)["task"]
    sealed = market("model", "seal", models["tree"], "--task", task, "--as", DEVELOPER)
    offer = market("offer", "submit", sealed["offer"], "--as", DEVELOPER)["offer"]
    (blob,) = (market.home / "store").glob(f"*/{sealed['ciphertext']}")
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    refused = market.attempt("offer", "receipt", offer, "--as", PROVIDER)
    assert (refused.code, refused.error) == (1, "BLOB_CORRUPT")
    assert market("offer", "show", offer)["state"] == "offered"
    assert len(list((market.home / "store").glob(f"*/{sealed['ciphertext']}"))) == 1
    (way,) = market("offer", "show", offer)["ways_out"]
    market("network", "advance", way["due_in_s"] + 1)
    sent = market("offer", "refund", "--task", task, "--as", OTHER)["sent"]
    assert [one["command"] for one in sent] == ["Expire", "RefundSlot", "RefundSlot"]
    assert market("offer", "show", offer)["state"] == "expired"
    over = market.attempt("offer", "refund", offer)
    assert (over.code, over.error) == (1, "NOTHING_DUE")
    assert market("credits", "balance", "--all")["conserved"] is True


def test_a_claim_that_the_host_cannot_serve_lapses_and_its_deposit_goes_to_the_developer(
    market: Folder, models: dict[str, Path]
) -> None:
    task = market("task", "open", "--dataset", "digits", "--seed", 10, "--as", PROVIDER)["task"]
    offer = market("model", "seal", models["tree"], "--task", task, "--as", DEVELOPER)["offer"]
    sealed = json.loads((market.home / "secrets" / "offers" / f"{offer}.json").read_text())
    for envelope in sealed["command"]["envelopes"]:
        (market.home / "store" / "Org2" / envelope["digest"]).unlink()
    market("offer", "submit", offer, "--as", DEVELOPER)
    market("offer", "receipt", offer, "--as", PROVIDER)
    market("offer", "wait", offer, "--for", "claimed", "--timeout", "30s")
    before = market("credits", "balance", "--of", DEVELOPER)["balance"]
    (lapse,) = (one for one in market("offer", "show", offer)["ways_out"] if one["command"] == "Lapse")
    market("network", "advance", lapse["due_in_s"] + 1)
    assert market("offer", "wait", offer, "--for", "stored", "--timeout", "30s")["state"] == "stored"  # by its agent
    assert [one["state"] for one in market("offer", "show", offer)["claims"]] == ["lapsed"]
    assert market("credits", "balance", "--of", DEVELOPER)["balance"] == before + 1_000
    assert market("credits", "balance", "--all")["conserved"] is True


def test_clients_stop_w_before_a_deadline_and_say_so(market: Folder, models: dict[str, Path]) -> None:
    opening = ("task", "open", "--dataset", "digits", "--offers-for", "25s", "--seed", 8, "--as", PROVIDER)
    task = market(*opening)["task"]
    market("network", "advance", 10)
    near = market.attempt("model", "seal", models["tree"], "--task", task, "--as", DEVELOPER)
    assert (near.code, near.error) == (1, "DEADLINE_NEAR")
    assert "W = 20 s" in near.err
    near = market.attempt("task", "shut", task, "--as", PROVIDER)
    assert (near.code, near.error) == (1, "DEADLINE_NEAR")


def test_a_withdrawn_offer_spends_its_attempt_and_a_shut_task_takes_no_more(
    market: Folder, models: dict[str, Path]
) -> None:
    task = market("task", "open", "--dataset", "digits", "--seed", 9, "--as", PROVIDER)["task"]
    first = market("model", "seal", models["tree"], "--task", task, "--as", DEVELOPER)
    market("offer", "submit", first["offer"], "--as", DEVELOPER)
    assert market("offer", "withdraw", first["offer"], "--as", DEVELOPER)["state"] == "withdrawn"
    vain = market.attempt("offer", "wait", first["offer"], "--for", "locked")
    assert (vain.code, vain.error, vain.out) == (1, "WAIT_IN_VAIN", "")
    assert "is withdrawn and can't become locked any more" in vain.err
    second = market("model", "seal", models["tree"], "--task", task, "--as", DEVELOPER)
    assert (first["attempt"], second["attempt"]) == (1, 2)
    market("task", "shut", task, "--as", PROVIDER)
    refused = market.attempt("offer", "submit", second["offer"], "--as", DEVELOPER)
    assert (refused.code, refused.error) == (1, "DEADLINE_NEAR")
    assert [one["state"] for one in market("offer", "list", "--task", task)["offers"]] == ["withdrawn"]


def test_what_rests_on_a_simulated_root_says_so_wherever_a_person_looks(market: Folder, task: str) -> None:
    for arguments in (("task", "list"), ("task", "show", task), ("offer", "list")):
        assert "simulated" in market.shown(*arguments)
    assert "simulated" in market.shown("enclave", "register", "org2")


def test_credits_move_from_who_acts(market: Folder) -> None:
    before = market("credits", "balance", "--of", OTHER)["balance"]
    market("credits", "transfer", 5, "--to", OTHER, "--as", DEVELOPER)
    assert market("credits", "balance", "--of", OTHER)["balance"] == before + 5


def test_an_enclave_that_is_registered_is_not_registered_again_unless_told(market: Folder) -> None:
    assert market("enclave", "register", "org2")["registered"] is False
    renewed = market("enclave", "register", "org2", "--again", "--as", "operator@org2.example.com")
    assert len(renewed["transactions"]) == 3


async def test_the_provider_opens_its_test_set_after_the_benchmarks_and_gets_its_audit_bond_back(
    market: Folder, models: dict[str, Path]
) -> None:
    home = Home(market.home)
    credentials = Wallet(home.wallet).get(PROVIDER)
    async with connect(home, credentials, endpoint_for(home, "Org1MSP", "Org1")) as gateway:
        client = Market(gateway.network("market"))
        terms = buying.TaskTerms(seed=11, offers=60, reports=120)
        with load_test_set("digits") as test_set:
            opened = await buying.open_task(client, home, Stores(home), test_set, terms)
        sealed = await selling.seal_model(client, home, Stores(home), opened.id, models["tree"])
        await selling.submit(client, home, sealed.id)
        assert await selling.rewrap(client, home, Stores(home), sealed.id) is None
        with pytest.raises(TooEarly):
            await buying.open_dataset(client, home, opened.id)
        guard = (await client.tasks.get(opened.id)).task.terms.guard
        advance(home.clock_file, 120 + guard + 1)
        before = await client.credits.balance()
        await buying.open_dataset(client, home, opened.id)
        assert await client.credits.balance() == before + opened.audit_bond
        status = (await client.tasks.get(opened.id)).status
        digest = (await client.tasks.get(opened.id)).task.dataset.ciphertext
    assert status.dataset_key is not None
    sealed = Stores(home).of("Org1MSP").read(digest)
    assert bytes(stream.decrypt(status.dataset_key, sealed)) == load("digits").container()
