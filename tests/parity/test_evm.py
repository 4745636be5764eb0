"""The EVM contract on its own: what its code may weigh, a whole swap, its money and those who attack it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol.errors import ERRORS
from tests.parity import objects
from tests.parity.chain import CODES, CONTRACTS, SIZE_LIMIT, Deployed, Refused, Reverted, artifact
from tests.parity.evm import EvmLedger, address
from tests.parity.ledger import FUNDED, FUNDS, TREASURY, Outcome, Step

TASK = {"task": "T1", "S": 10_000, "B": 20_000, "A": 30_000}
TESTING = CONTRACTS / "testing"
EARNED = 3_000 - 75
"""Price of the swap's score, less the market fee."""


def swap(payout: str = "sender") -> list[Step]:
    """A whole swap, from opening the task to the provider's thanks."""
    return [
        Step("OpenTask", "provider", 0, TASK),
        Step("SubmitOffer", "developer", 1, {"offer": "A", "task": "T1", "payout": payout}),
        Step("Receipt", "store", 2, {"offer": "A"}),
        Step("Claim", "operator3", 3, {"offer": "A", "enclave": "E3a", "slot": 0}),
        Step("SubmitReport", "operator3", 4, {"offer": "A", "score": 700_000}),
        Step("Reveal", "developer", 5, {"offer": "A"}),
        Step("Acknowledge", "provider", 6, {"offer": "A"}),
    ]


def play(ledger: EvmLedger, steps: list[Step]) -> None:
    for step in steps:
        assert ledger.run(step) == Outcome(), step


def attacker_of(ledger: EvmLedger) -> Deployed:
    """Somebody to whom the market owes the price of a swap."""
    attacker = ledger.chain.deploy("attacker.vy", ledger.market.address, folder=TESTING)
    play(ledger, swap(payout=attacker.address))
    return attacker


def calldata(ledger: EvmLedger, function: str, *arguments: object) -> bytes:
    call = ledger.market.artifact.functions[function]
    return call.selector + call.arguments.write(arguments)


@pytest.mark.parametrize("name", ["market.vy", "registry.vy"])
def test_code_is_as_small_as_ethereum_wants_it(name: str) -> None:
    assert artifact(name).size <= SIZE_LIMIT


def test_no_two_codes_share_a_selector() -> None:
    assert len(CODES) == len(ERRORS)


def test_a_whole_swap(evm: EvmLedger) -> None:
    play(evm, swap())
    assert evm.state("A") == "settled"
    assert evm.price("A") == 3_000
    assert evm.total("developer") == FUNDS + EARNED - 11
    assert evm.held() + sum(evm.total(one) for one in (*FUNDED, TREASURY)) == FUNDS * len(FUNDED)


def test_reset_forgets_everything(evm: EvmLedger) -> None:
    play(evm, swap())
    evm.reset()
    assert evm.state("A") is None
    assert evm.slot("T1", 0) is None
    assert evm.total("developer") == FUNDS
    assert evm.held() == 0


def test_what_is_pulled_is_what_was_due_and_nothing_twice(evm: EvmLedger) -> None:
    play(evm, swap())
    before = evm.chain.balance(address("developer"))
    evm.pull("developer")
    assert evm.chain.balance(address("developer")) == before + EARNED + 501
    evm.pull("developer")
    assert evm.chain.balance(address("developer")) == before + EARNED + 501


def test_what_is_over_is_credited(evm: EvmLedger) -> None:
    play(evm, swap()[:3])
    order = evm.names.orders["A"]
    claim = (order.offer_id, order.task.struct(), objects.enclave_id("E3a"), 600, 1)
    before = evm.total("operator3")
    evm.chain.at(1_800_000_010)
    evm.market.send(address("operator3"), "claim", *claim, order.envelopes, order.task.envelopes, value=1_000)
    assert evm.total("operator3") == before - 70
    assert evm.chain.balance(address("operator3")) == FUNDS - 1_000


def test_dust_below_a_unit_is_refused(evm: EvmLedger) -> None:
    play(evm, swap()[:3])
    order = evm.names.orders["A"]
    claim = (order.offer_id, order.task.struct(), objects.enclave_id("E3a"), 600, 1)
    data = calldata(evm, "claim", *claim, order.envelopes, order.task.envelopes)
    with pytest.raises(RuntimeError) as refusal:
        evm.chain.evm.message_call(address("operator3"), evm.market.address, data, value=70 * 10**9 + 1)
    selector = next(one for one, code in CODES.items() if code == "COINS_REFUSED")
    assert f"output: 0x{selector.hex()} " in str(refusal.value)


def test_who_pulls_again_while_being_paid_gets_nothing_more(evm: EvmLedger) -> None:
    attacker = attacker_of(evm)
    before = evm.chain.balance(evm.market.address)
    attacker.send(address("stranger"), "plan", calldata(evm, "pull"), False)
    attacker.send(address("stranger"), "attack")
    assert attacker.ask("succeeded") == 3
    assert evm.chain.balance(attacker.address) == EARNED
    assert evm.chain.balance(evm.market.address) == before - EARNED


def test_who_reveals_again_while_being_paid_is_refused(evm: EvmLedger) -> None:
    attacker = attacker_of(evm)
    again = calldata(evm, "reveal", evm.names.orders["A"].struct(), objects.secret("A"))
    attacker.send(address("stranger"), "plan", again, False)
    attacker.send(address("stranger"), "attack")
    assert (attacker.ask("calls"), attacker.ask("succeeded")) == (1, 0)
    assert evm.chain.balance(attacker.address) == EARNED


def test_who_takes_no_money_stops_nobody_elses_swap(evm: EvmLedger) -> None:
    attacker = attacker_of(evm)
    attacker.send(address("stranger"), "plan", b"", True)
    with pytest.raises(Reverted):
        attacker.send(address("stranger"), "attack")
    assert evm.state("A") == "settled"
    assert evm.chain.balance(attacker.address) == 0
    evm.pull("operator3")
    assert evm.chain.balance(address("operator3")) == FUNDS + 11


def test_nobody_but_the_voters_spends_the_treasury(evm: EvmLedger) -> None:
    play(evm, swap())
    with pytest.raises(Refused) as refusal:
        evm.market.send(address("admin1"), "spend", address("admin1"), 75)
    assert refusal.value.code == "ADMIN_REQUIRED"
    assert evm.total(TREASURY) == 75


@pytest.mark.check
def test_a_market_that_pays_before_it_books_is_drained(tmp_path: Path) -> None:
    """The attack is one: against a contract with the two lines the other way round it works."""
    folder = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, folder)
    book = folder / "book.vy"
    right = "    self.credits[mine] = 0\n" + (pay := '    raw_call(msg.sender, b"", value=amount * UNIT)\n')
    assert right in book.read_text()
    book.write_text(book.read_text().replace(right, pay + "    self.credits[mine] = 0\n"))
    ledger = EvmLedger(folder=folder)
    attacker = attacker_of(ledger)
    attacker.send(address("stranger"), "plan", calldata(ledger, "pull"), False)
    attacker.send(address("stranger"), "attack")
    assert ledger.chain.balance(attacker.address) > EARNED
