"""One benchmark result, signed once per ledger: each accepts its own, and refuses it however it was tampered with."""

from __future__ import annotations

from dataclasses import fields

import pytest

from goldengrain.chaincode.protocol.report import Report
from tests.parity import objects
from tests.parity.evm import EvmLedger
from tests.parity.ledger import TAMPERINGS, Ledger, Outcome, Step
from tests.parity.memory import MemoryLedger

CLAIMED = [
    Step("OpenTask", "provider", 0, {"task": "T1", "S": 10_000, "B": 20_000, "A": 30_000}),
    Step("SubmitOffer", "developer", 1, {"offer": "A", "task": "T1"}),
    Step("Receipt", "store", 2, {"offer": "A"}),
    Step("Claim", "operator3", 3, {"offer": "A", "enclave": "E3a", "slot": 0}),
]
PLACED = {"channel", "contract", "task", "order", "offer", "ticket"}
"""Words of a report that name the ledger, and digests over such words."""


@pytest.fixture(scope="module")
def memory() -> MemoryLedger:
    return MemoryLedger()


def claimed(ledger: Ledger) -> Ledger:
    ledger.reset()
    for step in CLAIMED:
        assert ledger.run(step) == Outcome(), step
    return ledger


def reporting(tamper: str | None = None, outcome: str = "pass") -> Step:
    score = {"score": 700_000} if outcome == "pass" else {}
    return Step("SubmitReport", "operator3", 4, {"offer": "A", "outcome": outcome, "tamper": tamper, **score})


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_a_report_that_was_tampered_with_is_refused_by_both(memory: MemoryLedger, evm: EvmLedger, tamper: str) -> None:
    outcome = "declined" if tamper == "outcome" else "pass"
    for ledger in (memory, evm):
        claimed(ledger)
        assert ledger.run(reporting(tamper, outcome)) == Outcome("REPORT_SIGNATURE_INVALID"), ledger.name
        assert ledger.state("A") == "claimed"
        assert ledger.run(reporting(None, outcome)) == Outcome(), ledger.name


def test_only_the_words_that_name_the_ledger_differ(
    memory: MemoryLedger, evm: EvmLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[Report] = []
    sign = Report.sign

    def noting(report: Report, key: bytes) -> bytes:
        assert key == objects.signing_key("E3a")
        signed.append(report)
        return sign(report, key)

    monkeypatch.setattr(Report, "sign", noting)
    for ledger in (memory, evm):
        assert claimed(ledger).run(reporting()) == Outcome()
    one, other = signed
    differing = {field.name for field in fields(Report) if getattr(one, field.name) != getattr(other, field.name)}
    assert differing == PLACED
    assert one.result == other.result
    assert one.digest() != other.digest()
