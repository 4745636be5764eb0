"""A bought model's provenance: exported once, checked offline by whoever has the file; and the award `best` on the way.

The model is bought in a task for the best offer on which two enclaves have to agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from goldengrain.chaincode.protocol.canonical import dumps
from goldengrain.chaincode.protocol.commands import SubmitReport
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.enclave import provenance
from goldengrain.enclave.errors import (
    ProvenanceEnclaveMismatch,
    ProvenanceMalformed,
    ProvenanceModelMismatch,
    ProvenanceNotEndorsed,
    ProvenanceOrderMismatch,
    ProvenancePolicyMismatch,
    ProvenancePriceMismatch,
    ProvenanceRefused,
    ProvenanceReportMismatch,
    ProvenanceRevealMismatch,
    ProvenanceTaskMismatch,
    ProvenanceUntrusted,
)
from goldengrain.enclave.provenance import Evidence, verify

from .conftest import OPERATORS, USERS
from .running import Folder, run

PROVIDER, DEVELOPER = USERS[0], OPERATORS[0]


@dataclass(frozen=True)
class Bought:
    """A settled swap: its file of provenance, the model, a file of the trust bundle."""

    file: Path
    model: Path
    trust: Path

    @property
    def document(self) -> dict[str, Any]:
        document = json.loads(self.file.read_bytes())
        assert isinstance(document, dict)
        return document


def offered(market: Folder, task: str, model: Path) -> str:
    """Seal a model, offer it, have it stored, and wait for the two enclaves' word."""
    sealed = market("model", "seal", model, "--task", task, "--as", DEVELOPER)["offer"]
    market("offer", "submit", sealed, "--as", DEVELOPER)
    market("offer", "receipt", sealed, "--as", PROVIDER)
    assert market("offer", "wait", sealed, "--for", "leading", "--timeout", "60s")["state"] == "leading"
    return str(sealed)


@pytest.fixture(scope="module")
def bought(market: Folder, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Bought:
    folder = tmp_path_factory.mktemp("bought")
    terms = ("--award", "best", "--enclaves", 2, "--slots", 1, "--schedule", "500000:1000,950000:5000", "--seed", 11)
    task = market("task", "open", "--dataset", "digits", *terms, "--as", PROVIDER)["task"]
    worse = offered(market, task, models["tree"])
    better = offered(market, task, models["mlp"])
    assert market("offer", "show", worse)["state"] == "displaced"
    board = market("task", "leaderboard", task)["offers"]
    assert [(one["rank"], one["offer"]) for one in board] == [(1, better), (2, worse)]
    assert board[0]["score"] > board[1]["score"]
    early = market.attempt("model", "provenance", better, "--out", folder / "early")
    assert early.error == "PROVENANCE_INCOMPLETE"
    (way,) = market("offer", "show", better)["ways_out"]
    assert way["command"] == "AwardOffer"
    market("network", "advance", way["due_in_s"] + 1)
    market("offer", "refund", better)
    market("offer", "reveal", better, "--as", DEVELOPER)
    market("model", "open", better, "--out", folder / "model.onnx", "--as", PROVIDER)
    market("model", "provenance", better, "--out", folder / "model.provenance", "--as", PROVIDER)
    assert market("credits", "balance", "--all")["conserved"] is True
    return Bought(folder / "model.provenance", folder / "model.onnx", market.home / "trust-bundle.json")


def test_whoever_has_the_file_checks_it_without_a_network(bought: Bought, tmp_path: Path) -> None:
    given = ("model", "verify", bought.file, "--model", bought.model, "--trust", bought.trust)
    found = run("--json", "--home", tmp_path, *given)
    assert found.code == 0, found.err
    assert found.value["accepted"] is found.value["trusted"] is found.value["model_checked"] is True
    assert found.value["simulated"] is found.value["test"] is True
    assert len({one["operator"] for one in found.value["enclaves"]}) == 2
    assert all(len(one["endorsed_by"]) >= 2 for one in found.value["transactions"])
    shown = run("--home", tmp_path, "model", "verify", bought.file)
    assert shown.code == 0
    assert "simulated" in shown.out
    assert "compare it with your consortium's" in shown.out.replace("\n", " ")


def commands(data: bytes) -> list[Evidence]:
    """The file's transactions, in its order."""
    return list(verify(data).transactions)


DROPPED: list[tuple[str, type[ProvenanceRefused]]] = [
    ("OpenTask", ProvenanceTaskMismatch),
    ("SubmitOffer", ProvenanceOrderMismatch),
    ("Bootstrap", ProvenancePolicyMismatch),
    ("Challenge", ProvenanceEnclaveMismatch),
    ("PutCollateral", ProvenanceEnclaveMismatch),
    ("RegisterEnclave", ProvenanceEnclaveMismatch),
    ("SubmitReport", ProvenancePriceMismatch),
    ("Reveal", ProvenanceRevealMismatch),
]


@pytest.mark.parametrize(("function", "refusal"), DROPPED, ids=lambda one: one if isinstance(one, str) else "")
def test_what_is_missing_is_named(bought: Bought, function: str, refusal: type[ProvenanceRefused]) -> None:
    document = bought.document
    kinds = [one.arguments[0].decode() for one in commands(bought.file.read_bytes())]
    document["transactions"].pop(kinds.index(function))
    with pytest.raises(refusal) as caught:
        verify(dumps(document))
    assert type(caught.value) is refusal


def test_a_changed_transaction_is_not_what_was_endorsed(bought: Bought) -> None:
    document = bought.document
    for index, text in enumerate(document["transactions"]):
        raw = bytearray.fromhex(text)
        raw[len(raw) // 2] ^= 1
        changed = [*document["transactions"]]
        changed[index] = raw.hex()
        with pytest.raises(ProvenanceNotEndorsed):
            verify(dumps({**document, "transactions": changed}))


def test_a_report_that_no_enclave_signed_is_named_though_organisations_endorsed_it(
    bought: Bought, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = provenance._endorsed

    def endorsed(document: dict[str, Any], bundle: TrustBundle) -> Iterator[Evidence]:
        for one in real(document, bundle):
            if one.arguments[0] != b"SubmitReport":
                yield one
                continue
            report = SubmitReport.from_args(list(one.arguments))
            yield replace(one, arguments=tuple(replace(report, score=report.score - 1_000).to_args()))

    monkeypatch.setattr(provenance, "_endorsed", endorsed)
    with pytest.raises(ProvenanceReportMismatch):
        verify(bought.file.read_bytes())


def test_other_organisations_other_models_and_other_files_are_refused(bought: Bought) -> None:
    data, document = bought.file.read_bytes(), bought.document
    bundle = TrustBundle.from_bytes(bought.trust.read_bytes())
    with pytest.raises(ProvenanceUntrusted):
        verify(data, replace(bundle, required=3))
    with pytest.raises(ProvenancePolicyMismatch):
        verify(dumps({**document, "bundle": replace(bundle, window=bundle.window + 1).to_json()}))
    with pytest.raises(ProvenanceNotEndorsed):
        verify(dumps({**document, "bundle": replace(bundle, organizations=bundle.organizations[1:]).to_json()}))
    with pytest.raises(ProvenanceModelMismatch):
        verify(data, bundle, bought.model.read_bytes() + b"\0")
    with pytest.raises(ProvenanceOrderMismatch):
        verify(dumps({**document, "offer": "ab" * 32}))
    for broken in (b"", b"[]", b"{}", dumps({**document, "v": 2}), dumps({**document, "transactions": None})):
        with pytest.raises(ProvenanceMalformed):
            verify(broken)


def test_endorsements_of_organisations_that_are_not_in_the_bundle_count_for_nothing(bought: Bought) -> None:
    bundle = TrustBundle.from_bytes(bought.trust.read_bytes())
    without_one = replace(bundle, required=1, organizations=bundle.organizations[1:])
    with pytest.raises(ProvenancePolicyMismatch):  # the transactions are endorsed enough; the policy has another bundle
        verify(dumps({**bought.document, "bundle": without_one.to_json()}))
