"""The benchmark of the embedded network: it runs, and what is wrong on the ledger is a failure."""

from __future__ import annotations

import pytest

from benchmarks import throughput
from benchmarks.blocks import check_blocks
from benchmarks.networks import NAME, open_network

pytestmark = pytest.mark.check


async def test_a_load_ends_with_its_blocks_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FABRIC_BIN", raising=False)
    monkeypatch.setattr(throughput, "_WARM_UP_S", 0.1)
    report = await throughput.run(0.1)
    assert report.failures == []
    assert [row["in_flight"] for row in report.rows] == [1, 32, 64]
    assert "blocks checked" in report.notes[-1]


async def test_a_transaction_that_is_not_on_the_ledger_once_is_a_failure() -> None:
    async with open_network("embedded") as bench, bench.channel() as network:
        result = await network.contract(NAME).submit("put", "k", "v")
        count, wrong = await check_blocks(network, [result.transaction_id, "f" * 64])
    assert count > 1
    assert wrong == [f"{'f' * 64} is 0 times VALID on the ledger"]
