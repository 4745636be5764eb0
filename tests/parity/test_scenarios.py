"""The scenario files, each on three ledgers: it happens what they say, the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.embedded import EmbeddedLedger
from tests.parity.evm import EvmLedger
from tests.parity.ledger import Ledger
from tests.parity.memory import MemoryLedger
from tests.parity.scenario import Scenario, parse, scenarios
from tests.parity.scenario_play import play

SCENARIOS = scenarios()
FIRST_TIER = ("27-reveal-until-d",)
"""What runs over the embedded network in the first tier, too; all do in the second."""


@pytest.fixture(scope="module")
def memory() -> Ledger:
    return MemoryLedger()


@pytest.fixture(scope="module")
def on_evm() -> Ledger:
    return EvmLedger()


@pytest.fixture(scope="module")
def embedded() -> Iterator[Ledger]:
    ledger = EmbeddedLedger()
    yield ledger
    ledger.close()


def played(scenario: Scenario, ledger: Ledger) -> None:
    """Play to the end; every step was expected, or `Disappointed` was raised."""
    assert len(list(play(scenario, ledger))) == len(scenario.steps)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_in_memory(memory: Ledger, scenario: Scenario) -> None:
    played(scenario, memory)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_on_the_evm(on_evm: Ledger, scenario: Scenario) -> None:
    played(scenario, on_evm)


@pytest.mark.parametrize("scenario", [one for one in SCENARIOS if one.name in FIRST_TIER], ids=lambda one: one.name)
def test_over_the_embedded_network(embedded: Ledger, scenario: Scenario) -> None:
    played(scenario, embedded)


@pytest.mark.check
@pytest.mark.parametrize("scenario", [one for one in SCENARIOS if one.name not in FIRST_TIER], ids=lambda one: one.name)
def test_all_over_the_embedded_network(embedded: Ledger, scenario: Scenario) -> None:
    played(scenario, embedded)


def test_the_scenario_in_the_docs(memory: Ledger, on_evm: Ledger) -> None:
    text = (Path(__file__).parents[2] / "docs" / "parity.md").read_text()
    scenario = parse("docs", text.partition("```yaml\n")[2].partition("```")[0])
    for ledger in (memory, on_evm):
        played(scenario, ledger)
