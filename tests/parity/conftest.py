"""One EVM for a whole session: each test starts it over."""

from __future__ import annotations

import pytest

from tests.parity.evm import EvmLedger


@pytest.fixture(scope="session")
def shared_evm() -> EvmLedger:
    return EvmLedger()


@pytest.fixture
def evm(shared_evm: EvmLedger) -> EvmLedger:
    """The EVM's market in the setting."""
    shared_evm.reset()
    return shared_evm
