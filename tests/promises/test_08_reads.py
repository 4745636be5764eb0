"""Promise 8: no write depends on a range, a rich query or history; every page is bounded; nothing is read after it."""

from __future__ import annotations

from typing import Any

import pytest

from goldengrain.chaincode.market.memory import Committed, MemoryLedger
from goldengrain.chaincode.market.rules import MAX_READS, Caller, Found, Get, Scan
from goldengrain.chaincode.protocol.commands import COMMANDS
from goldengrain.chaincode.protocol.queries import MAX_PAGE
from goldengrain.chaincode.protocol.task import MAX_SLOTS
from tests.chaincode.market.determinism import STEPS
from tests.chaincode.market.game import WEIGHTED, Game, Tally


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Get | Scan[Any]]]]:
    """Every call's function and what it asked to read."""
    calls: list[tuple[str, list[Get | Scan[Any]]]] = []
    execute, reading = MemoryLedger._execute, MemoryLedger._read

    def executed(ledger: MemoryLedger, caller: Caller, args: list[bytes], at: int | None) -> Committed:
        calls.append((args[0].decode(), []))
        return execute(ledger, caller, args, at)

    def read(ledger: MemoryLedger, request: Get | Scan[Any], names: list[str]) -> Found:
        calls[-1][1].append(request)
        return reading(ledger, request, names)

    monkeypatch.setattr(MemoryLedger, "_execute", executed)
    monkeypatch.setattr(MemoryLedger, "_read", read)
    return calls


def test_commands_read_single_keys_only_at_most_three_times_and_pages_are_bounded(
    watched: list[tuple[str, list[Get | Scan[Any]]]],
) -> None:
    tally = Tally()
    for seed in range(12):
        game = Game(tally)
        game.step("open", seed)
        for number in range(STEPS):
            game.step(WEIGHTED[(seed * 7 + number * 13) % len(WEIGHTED)], seed * 1000 + number)
        game.end()
    seen = {name for name, _ in watched}
    assert {
        "Transfer",
        "OpenTask",
        "SubmitOffer",
        "Claim",
        "SubmitReport",
        "Reveal",
        "Expire",
    } <= seen & COMMANDS.keys()
    for name, requests in watched:
        assert len(requests) <= MAX_READS, name
        for one in requests:
            if isinstance(one, Scan):
                assert name not in COMMANDS, f"{name} reads a range"
                assert one.size <= max(MAX_PAGE, MAX_SLOTS)
        keys = [key.name for one in requests if isinstance(one, Get) for key in one.keys]
        if name in COMMANDS:
            assert len(keys) == len(set(keys)), f"{name} reads a key twice"
