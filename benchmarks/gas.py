"""What the market costs on the EVM: gas per command, and per whole swap with 1, 4 and 16 offers in one task.

The contract is `tests/parity/contracts`; each transaction is priced from cold, as a block of its own would be (see
`tests.parity.meter`). A swap is offer, receipt, claim, report and reveal; opening the task and the provider's thanks
stand apart. Every key is sealed to two enclaves, of two operators. Whatever is pulled is one more transaction an
account.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.report import Report, Value
from tests.parity.evm import EvmLedger
from tests.parity.ledger import START_OF_ALL, Step
from tests.parity.meter import MeteredChain, Spent

OFFERS = (1, 4, 16)
AIM = 600_000
"""Gas of one offer from `offer` to `settled` with one enclave."""
SEALED_TO = ("E2a", "E3a")
SELLERS = (("developer", "operator3", "E3a"), ("rival", "operator2", "E2a"))
"""Developers, each with an operator and an enclave of another organisation."""
APART = ("open_task", "acknowledge", "pull")
PUBLISHED = {
    "SGX quote verified on the chain (Automata's DCAP attestation contract, as published)": 4_000_000,
    "one exchange in FairDEx (as published)": 600_000,
}
"""Figures of others, rounded; they were not measured here."""


async def run(seconds: float) -> Report:
    """Measure; `seconds` means nothing here, gas takes no time."""
    report = Report("gas")
    with MeteredChain(START_OF_ALL) as chain:
        ledger = EvmLedger(chain)
        measured = {count: _measure(ledger, chain, count) for count in OFFERS}
    one = _first_swap(measured[1])
    report.rows += [_row(spent.function, [spent]) for spent in measured[1]]
    report.rows += [_row(f"swap of {count} offers, each", _swaps(spent), count) for count, spent in measured.items()]
    report.rows += [{"what": what, "gas": gas} for what, gas in PUBLISHED.items()]
    report.notes.append(f"one offer from offer to settled: {one:,} gas; aim {AIM:,}")
    if one > AIM:
        report.failures.append(f"one offer costs {one:,} gas, over {AIM:,}")
    return report


def _measure(ledger: EvmLedger, chain: MeteredChain, count: int) -> list[Spent]:
    """Play a task with that many offers, all settled."""
    ledger.reset()
    chain.metered, chain.spent = False, []
    for setting in _more_attempts():
        _accept(ledger, setting)
    chain.metered = True
    for step in _task(count):
        _accept(ledger, step)
    for seller, operator, _ in SELLERS[: min(count, len(SELLERS))]:
        ledger.pull(seller)
        ledger.pull(operator)
    return chain.spent


def _accept(ledger: EvmLedger, step: Step) -> None:
    outcome = ledger.run(step)
    if not outcome.accepted:
        raise RuntimeError(f"{step} was refused: {outcome}")


def _more_attempts() -> Iterator[Step]:
    yield Step("Propose", "admin1", 0, {"proposal": "P", "policy": {"attempts_max": max(OFFERS)}})
    yield Step("Vote", "admin2", 0, {"proposal": "P"})


def _task(count: int) -> Iterator[Step]:
    """Open a task and bring its offers to their end, one after the other, each a better one than the last."""
    times = {"S": 10_000, "B": 20_000, "A": 30_000}
    task = {"task": "T", "slots": count, "attempts": max(OFFERS), "sealed_to": SEALED_TO, **times}
    yield Step("OpenTask", "provider", 0, task)
    for index in range(count):
        seller, operator, enclave = SELLERS[index % len(SELLERS)]
        step = partial(_step, offer=f"O{index}", at=10 * index)
        attempt = 1 + index // len(SELLERS)
        yield step("SubmitOffer", seller, task="T", attempt=attempt, sealed_to=SEALED_TO)
        yield step("Receipt", "store")
        yield step("Claim", operator, enclave=enclave, slot=index)
        yield step("SubmitReport", operator, score=600_000 + 1_000 * index)
        yield step("Reveal", seller)
        yield step("Acknowledge", "provider")


def _step(command: str, sender: str, *, at: int, **arguments: Value | tuple[str, ...]) -> Step:
    return Step(command, sender, 1 + at, arguments)


def _swaps(spent: list[Spent]) -> list[Spent]:
    return [one for one in spent if one.function not in APART]


def _first_swap(spent: list[Spent]) -> int:
    return sum(one.gas for one in _swaps(spent))


def _row(what: str, spent: list[Spent], parts: int = 1) -> dict[str, Value]:
    return {
        "what": what,
        "gas": sum(one.gas for one in spent) // parts,
        "calldata_bytes": sum(one.calldata for one in spent) // parts,
        "logged_bytes": sum(one.logged for one in spent) // parts,
        "gas_of_logged_bytes": sum(one.logged_gas for one in spent) // parts,
    }
