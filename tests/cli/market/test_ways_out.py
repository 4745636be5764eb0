"""Which way out is due follows from state and ledger time, by the tables that the contract consults."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from goldengrain.chaincode.protocol.tables import OfferState, SlotState
from goldengrain.cli.ways_out import ways_out_of, ways_out_of_slots

GUARD, B, LEASE_END, D = 45, 1_000, 500, 2_000
TASK: Any = SimpleNamespace(id=b"t" * 32, task=SimpleNamespace(last_report=B, terms=SimpleNamespace(guard=GUARD)))


def offer(state: OfferState, *leases: int) -> Any:
    claims = [
        SimpleNamespace(state="open", claim=SimpleNamespace(number=number, lease_end=end))
        for number, end in enumerate(leases, start=1)
    ]
    lock = SimpleNamespace(deadline=D) if state is OfferState.LOCKED else None
    return SimpleNamespace(id=b"o" * 32, state=state, claims=claims, lock=lock)


@pytest.mark.parametrize(
    ("view", "now", "expected"),
    [
        (offer(OfferState.OFFERED), B, {"Expire": GUARD + 1}),
        (offer(OfferState.STORED), B + GUARD, {"Expire": 1}),
        (offer(OfferState.STORED), B + GUARD + 1, {"Expire": 0}),
        (offer(OfferState.CLAIMED, LEASE_END), LEASE_END + GUARD, {"Expire": B - LEASE_END + 1, "Lapse": 1}),
        (offer(OfferState.CLAIMED, LEASE_END), LEASE_END + GUARD + 1, {"Expire": B - LEASE_END, "Lapse": 0}),
        (offer(OfferState.CLAIMED, LEASE_END), B + GUARD + 1, {"Expire": 0}),
        (offer(OfferState.CLAIMED, LEASE_END, B), B + GUARD + 1, {"Expire": 0}),
        (offer(OfferState.LEADING), B + GUARD + 1, {"AwardOffer": 0}),
        (offer(OfferState.LOCKED), D, {"Forfeit": GUARD + 1}),
        (offer(OfferState.LOCKED), D + GUARD + 1, {"Forfeit": 0}),
        (offer(OfferState.SETTLED), D + 10**6, {}),
        (offer(OfferState.EXPIRED), D + 10**6, {}),
    ],
)
def test_a_way_out_opens_a_guard_after_its_deadline(view: Any, now: int, expected: dict[str, int]) -> None:
    assert {one.command: one.wait for one in ways_out_of(view, TASK, now)} == expected


def test_each_open_claim_lapses_by_itself() -> None:
    ways = ways_out_of(offer(OfferState.CLAIMED, 100, 300), TASK, 200)
    assert [(one.claim, one.wait) for one in ways if one.command == "Lapse"] == [(1, 0), (2, 300 + GUARD + 1 - 200)]


def test_only_free_slots_are_refunded_and_only_after_the_benchmarks() -> None:
    slots: Any = [SimpleNamespace(index=0, state=SlotState.FREE), SimpleNamespace(index=1, state=SlotState.LOCKED)]
    assert [(one.slot, one.wait) for one in ways_out_of_slots(TASK, slots, B)] == [(0, GUARD + 1)]
    assert [(one.slot, one.wait) for one in ways_out_of_slots(TASK, slots, B + GUARD + 1)] == [(0, 0)]
