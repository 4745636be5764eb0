"""The EVM contract on its own: what its code may weigh, whole swaps, and what only the EVM has."""

from __future__ import annotations

import pytest

from tests.parity.chain import SIZE_LIMIT, artifact
from tests.parity.evm import EvmLedger
from tests.parity.ledger import FUNDED, FUNDS, Outcome, Step

TASK = {"task": "T1", "S": 10_000, "B": 20_000, "A": 30_000}


@pytest.fixture(scope="module")
def shared() -> EvmLedger:
    return EvmLedger()


@pytest.fixture
def ledger(shared: EvmLedger) -> EvmLedger:
    shared.reset()
    return shared


def swap(offer: str = "A", score: int = 700_000, **changes: object) -> list[Step]:
    """A whole swap in a task, from opening it to the provider's thanks."""
    return [
        Step("OpenTask", "provider", 0, {**TASK, **changes}),
        Step("SubmitOffer", "developer", 1, {"offer": offer, "task": "T1"}),
        Step("Receipt", "store", 2, {"offer": offer}),
        Step("Claim", "operator3", 3, {"offer": offer, "enclave": "E3a", "slot": 0}),
        Step("SubmitReport", "operator3", 4, {"offer": offer, "score": score}),
        Step("Reveal", "developer", 5, {"offer": offer}),
        Step("Acknowledge", "provider", 6, {"offer": offer}),
    ]


@pytest.mark.parametrize("name", ["market.vy", "registry.vy"])
def test_code_is_as_small_as_ethereum_wants_it(name: str) -> None:
    assert artifact(name).size <= SIZE_LIMIT


def test_a_whole_swap(ledger: EvmLedger) -> None:
    for step in swap():
        assert ledger.run(step) == Outcome(), step
    assert ledger.state("A") == "settled"
    assert ledger.price("A") == 3_000
    assert ledger.total("developer") == FUNDS + 3_000 - 75 - 11
    assert ledger.held() + sum(ledger.total(one) for one in (*FUNDED, "treasury")) == FUNDS * len(FUNDED)


def test_reset_forgets_everything(ledger: EvmLedger) -> None:
    for step in swap():
        ledger.run(step)
    ledger.reset()
    assert ledger.state("A") is None
    assert ledger.slot("T1", 0) is None
    assert ledger.total("developer") == FUNDS
    assert ledger.held() == 0
