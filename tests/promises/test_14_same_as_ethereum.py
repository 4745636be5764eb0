"""Promise 14: the Ethereum contract and the chaincode accept and refuse the same, and end with the same balances.

`tests/parity` holds the two against each other at length; here a whole swap with its refusals, and some random
sequences.
"""

from __future__ import annotations

import pytest

from tests.parity.compare import OWNERS, Pair, first_difference
from tests.parity.differential import Tally, differences
from tests.parity.evm import EvmLedger
from tests.parity.ledger import Step
from tests.parity.memory import MemoryLedger

TASK = {"task": "T1", "slots": 1, "S": 10_000, "B": 20_000, "A": 30_000}
SWAP = [
    (Step("OpenTask", "provider", 0, TASK), None),
    (Step("SubmitOffer", "developer", 10, {"offer": "A", "task": "T1"}), None),
    (Step("Claim", "operator3", 20, {"offer": "A", "enclave": "E3a", "slot": 0}), "OFFER_NOT_STORED"),
    (Step("Receipt", "store", 30, {"offer": "A"}), None),
    (Step("Claim", "operator3", 40, {"offer": "A", "enclave": "E3a", "slot": 0}), None),
    (Step("SubmitReport", "operator3", 50, {"offer": "A", "score": 499_900}), "REPORT_BELOW_THRESHOLD"),
    (Step("SubmitReport", "operator3", 60, {"offer": "A", "score": 712_300}), None),
    (Step("Forfeit", "provider", 1_360, {"offer": "A"}), "TOO_EARLY"),
    (Step("Reveal", "developer", 1_360, {"offer": "A"}), "TOO_LATE"),
    (Step("Forfeit", "provider", 1_361, {"offer": "A"}), None),
    (Step("SubmitOffer", "developer", 1_400, {"offer": "B", "task": "T1"}), "ATTEMPT_SPENT"),
]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair(MemoryLedger(), EvmLedger())


def test_a_swap_is_the_same_on_both_command_by_command(pair: Pair) -> None:
    pair.reset()
    for step, refused in SWAP:
        outcome, found = pair.run(step)
        assert found is None, str(found)
        assert outcome.code == refused
    totals = [[ledger.total(one) for one in OWNERS] for ledger in (pair.first, pair.second)]
    assert totals[0] == totals[1]
    assert pair.first.total("provider") == 100_000 - 5_252 + 5_001 + 250
    assert pair.first.held() == pair.second.held() == 251


def test_a_swap_that_is_paid_for_ends_with_the_same_balances(pair: Pair) -> None:
    accepted = [step for step, refused in SWAP[:7] if refused is None]
    paid = [*accepted, Step("Reveal", "stranger", 1_060, {"offer": "A"})]
    assert first_difference(pair, paid) is None
    assert pair.second.total("developer") == pair.first.total("developer") == 100_000 - 11 + 3_123 - 78
    assert pair.second.total("treasury") == pair.first.total("treasury") == 78


def test_random_sequences_are_the_same_on_both(pair: Pair) -> None:
    tally = Tally()
    assert next(differences(pair, range(2_000_000, 2_000_010), tally), None) is None
    assert tally.accepted > 100
    assert tally.refused > 100
