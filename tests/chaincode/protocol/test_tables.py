"""Section 6's table, copied here by hand as state x command, against the one in the code."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.protocol import commands, errors, tables
from goldengrain.chaincode.protocol.tables import ALWAYS, DatasetState, Deadline, OfferState, Window

STANDS = {
    "offered": {"WithdrawOffer", "Rewrap", "Receipt", "Expire"},
    "stored": {"Rewrap", "Receipt", "Claim", "Expire"},
    "claimed": {"Claim", "Lapse", "SubmitReport", "Expire"},
    "leading": {"AwardOffer"},
    "locked": {"Reveal", "Forfeit"},
    "settled": {"Acknowledge"},
}
NAMED = {
    ("offered", "Claim"): errors.OfferNotStored,
    ("offered", "SubmitReport"): errors.OfferNotClaimed,
    ("stored", "Lapse"): errors.OfferNotClaimed,
    ("stored", "WithdrawOffer"): errors.OfferStateRefuses,
    ("claimed", "Rewrap"): errors.OfferStateRefuses,
    ("claimed", "Reveal"): errors.OfferNotLocked,
    ("settled", "Reveal"): errors.OfferNotLocked,
    ("settled", "Forfeit"): errors.OfferNotLocked,
    ("locked", "Acknowledge"): errors.OfferNotSettled,
    ("locked", "Claim"): errors.OfferStateRefuses,
    ("locked", "AwardOffer"): errors.OfferNotLeading,
    ("expired", "Reveal"): errors.OfferClosed,
}


@pytest.mark.parametrize("state", list(OfferState))
@pytest.mark.parametrize("command", tables.OFFER_COMMANDS)
def test_every_command_in_every_state_stands_or_is_refused_by_name(state: OfferState, command: str) -> None:
    if command in STANDS.get(state, set()):
        assert tables.require_offer(command, state)
        return
    with pytest.raises(errors.OfferStateRefuses) as refusal:
        tables.require_offer(command, state)
    assert refusal.value.status == 409
    expected = NAMED.get((str(state), command))
    assert expected is None or refusal.type is expected


def test_a_new_offer_has_rows_of_its_own() -> None:
    assert [rule.next for rule in tables.offer_rules("SubmitOffer", None)] == [(OfferState.OFFERED,)]
    assert tables.offer_rules("SubmitOffer", OfferState.OFFERED) == ()
    assert tables.offer_rules("Claim", None) == ()


def test_a_refusal_names_the_states_that_the_command_is_for() -> None:
    refusal = tables.offer_refusal("Rewrap", OfferState.CLAIMED)
    assert str(refusal) == "the offer is claimed; Rewrap is for offered, stored"


def test_only_a_leading_offer_is_displaced() -> None:
    assert tables.DISPLACEMENTS == {OfferState.LEADING: OfferState.DISPLACED}


def test_the_tables_and_the_commands_name_each_other() -> None:
    named = {rule.command for rule in tables.OFFER_RULES} | set(tables.TASK_RULES)
    market = {"Bootstrap", "Propose", "Vote", "Transfer", "PutCollateral", "Challenge", "RegisterEnclave"}
    assert named | market == set(commands.COMMANDS)


def test_every_state_is_reached_and_the_closed_ones_are_those_of_the_protocol() -> None:
    reached = {state for rule in tables.OFFER_RULES for state in rule.next} | set(tables.DISPLACEMENTS.values())
    assert reached == set(OfferState)
    assert {str(state) for state in tables.CLOSED} == {
        "withdrawn", "declined", "failed", "outbid", "displaced", "void", "expired", "forfeited",
    }  # fmt: skip
    assert {str(state) for state in tables.LIVE} == {"offered", "stored", "claimed"}


def test_opposing_actions_are_kept_apart_by_the_guard() -> None:
    reveal = tables.require_offer("Reveal", OfferState.LOCKED)[0].window
    forfeit = tables.require_offer("Forfeit", OfferState.LOCKED)[0].window
    deadlines = {Deadline.D: 1_000}
    reveal.require(1_000, 300, deadlines)
    with pytest.raises(errors.TooLate):
        reveal.require(1_001, 300, deadlines)
    with pytest.raises(errors.TooEarly, match="in 1 s"):
        forfeit.require(1_300, 300, deadlines)
    forfeit.require(1_301, 300, deadlines)


def test_a_window_binds_by_every_deadline_that_is_given() -> None:
    window = Window(after=(Deadline.B, Deadline.EVERY_LEASE))
    window.require(200, 10, {Deadline.B: 100})
    with pytest.raises(errors.TooEarly):
        window.require(200, 10, {Deadline.B: 100, Deadline.EVERY_LEASE: 195})
    ALWAYS.require(0, 10, {Deadline.B: 100})


def test_the_test_set_is_opened_or_slashed_once() -> None:
    assert tables.require_task("OpenDataset", DatasetState.HIDDEN).next_dataset is DatasetState.OPENED
    assert tables.require_task("SlashAudit", DatasetState.HIDDEN).next_dataset is DatasetState.SLASHED
    for command in ("OpenDataset", "SlashAudit"):
        with pytest.raises(errors.DatasetOpened):
            tables.require_task(command, DatasetState.OPENED)
        with pytest.raises(errors.AuditSlashed):
            tables.require_task(command, DatasetState.SLASHED)
    with pytest.raises(errors.TaskShut):
        tables.require_task("ShutTask", DatasetState.HIDDEN, shut=True)
    assert tables.require_task("RefundSlot", DatasetState.SLASHED, shut=True)
    assert tables.require_task("ShutTask", DatasetState.HIDDEN)


def test_the_docs_get_every_row() -> None:
    text = tables.markdown()
    assert text.count("\n| ") == len(tables.OFFER_RULES) + len(tables.TASK_RULES) + 3
    assert "| locked | Forfeit (anyone; ts > D + G) | forfeited |" in text
