"""The client's views say of each field what the contract's records say; neither can change without the other."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from goldengrain.chaincode.market import records
from goldengrain.chaincode.protocol.records import Record
from goldengrain.gateway.market import views

PAIRS: dict[type[Record], type[Record]] = {
    views.PolicyView: records.PolicyRecord,
    views.ProposalView: records.ProposalRecord,
    views.CollateralView: records.CollateralRecord,
    views.ChallengeView: records.ChallengeRecord,
    views.EnclaveView: records.EnclaveRecord,
    views.TaskStatus: records.TaskStatusRecord,
    views.TaskView: records.TaskRecord,
    views.SlotView: records.SlotRecord,
    views.LockView: records.Lock,
    views.ClaimView: records.ClaimRecord,
    views.OfferView: records.OfferRecord,
}
ADDED = {"id", "status", "claims"}
"""What queries put beside a record."""
LENIENT = {"state", "votes", "envelopes", "receipts", "open_claims", "reported_claims", "lock", "locked"}
"""What a client reads more leniently, for a newer contract: unknown names, longer lists, nested records."""


def shape(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name] for one in fields(kind)}


def test_every_view_is_compared() -> None:
    made = {one for one in vars(views).values() if isinstance(one, type) and one.__module__ == views.__name__}
    assert made == set(PAIRS)


@pytest.mark.parametrize(("view", "record"), PAIRS.items(), ids=lambda one: one.__name__)
def test_a_view_has_no_field_that_its_record_has_not(view: type[Record], record: type[Record]) -> None:
    seen, kept = shape(view), shape(record)
    assert seen.keys() - kept.keys() <= ADDED
    compared = seen.keys() & kept.keys() - LENIENT
    assert compared
    assert {name: seen[name] for name in compared} == {name: kept[name] for name in compared}
