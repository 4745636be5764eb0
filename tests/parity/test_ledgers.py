"""Every ledger starts in the same setting and takes a whole swap."""

from __future__ import annotations

from tests.parity.ledger import FUNDED, FUNDS, Outcome, Step
from tests.parity.memory import MemoryLedger

TASK = {"task": "T1", "S": 10_000, "B": 20_000, "A": 30_000}


def test_a_whole_swap_on_the_ledger_in_memory() -> None:
    ledger = MemoryLedger()
    steps = [
        Step("OpenTask", "provider", 0, TASK),
        Step("SubmitOffer", "developer", 1, {"offer": "A", "task": "T1"}),
        Step("Receipt", "store", 2, {"offer": "A"}),
        Step("Claim", "operator3", 3, {"offer": "A", "enclave": "E3a", "slot": 0}),
        Step("SubmitReport", "operator3", 4, {"offer": "A", "score": 700_000}),
        Step("Reveal", "developer", 5, {"offer": "A"}),
        Step("Acknowledge", "provider", 6, {"offer": "A"}),
    ]
    for step in steps:
        assert ledger.run(step) == Outcome(), step
    assert ledger.state("A") == "settled"
    assert ledger.price("A") == 3_000
    assert ledger.total("developer") == FUNDS + 3_000 - 75 - 11
    assert ledger.held() + sum(ledger.total(one) for one in (*FUNDED, "treasury")) == FUNDS * len(FUNDED)
    ledger.reset()
    assert ledger.state("A") is None
    assert ledger.total("developer") == FUNDS
