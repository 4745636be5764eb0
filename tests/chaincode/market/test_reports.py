"""Tickets and reports: what the contract checks, and what each outcome does with the money."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.canonical import dumps
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.errors import (
    ClaimNotFound,
    ContractError,
    MalformedInput,
    OfferNotClaimed,
    OfferNotFound,
    ReportBelowThreshold,
    ReportMalformed,
    ReportScoreRefused,
    ReportSignatureInvalid,
    SecretMismatch,
    TooLate,
)
from goldengrain.chaincode.protocol.report import LOCKED_SIZE, Outcome, Report, Result
from goldengrain.chaincode.protocol.signatures import ORDER
from goldengrain.chaincode.protocol.tables import OfferState, SlotState
from tests.chaincode.market.world import (
    DEVELOPER,
    FUNDS,
    OPERATOR2,
    OPERATOR3,
    OTHER_DEVELOPER,
    PROVIDER,
    STRANGER,
    World,
    enclave2,
    enclave3,
    word,
)

TAMPERED: list[tuple[str, Callable[[c.SubmitReport], dict[str, Any]], type[ContractError]]] = [
    ("a higher score", lambda r: {"score": r.score + 100}, ReportSignatureInvalid),
    ("a lower score", lambda r: {"score": r.score - 100}, ReportSignatureInvalid),
    ("another locked key", lambda r: {"locked": b"\x01" + r.locked[1:]}, ReportSignatureInvalid),
    ("another model", lambda r: {"model": word("another model")}, ReportSignatureInvalid),
    ("another outcome", lambda r: _outcome(Outcome.DECLINED), ReportSignatureInvalid),
    ("the provider's fault", lambda r: _outcome(Outcome.UNUSABLE), ReportSignatureInvalid),
    (
        "a flipped signature",
        lambda r: {"signature": bytes([r.signature[0] ^ 1]) + r.signature[1:]},
        ReportSignatureInvalid,
    ),
    ("the other v", lambda r: {"signature": r.signature[:64] + bytes([55 - r.signature[64]])}, ReportSignatureInvalid),
    ("a high s", lambda r: {"signature": _high_s(r.signature)}, ReportSignatureInvalid),
    ("no signature", lambda r: {"signature": bytes(65)}, ReportSignatureInvalid),
    ("another claim", lambda r: {"claim": 2}, ClaimNotFound),
    ("another offer", lambda r: {"offer": word("another offer")}, OfferNotFound),
]


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {"outcome": outcome, "score": 0, "locked": b"", "model": None}


def _high_s(signature: bytes) -> bytes:
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


@pytest.mark.parametrize(("change", "error"), [row[1:] for row in TAMPERED], ids=[row[0] for row in TAMPERED])
def test_a_tampered_report_is_refused_and_the_true_one_settles(
    world: World, task: bytes, change: Callable[[c.SubmitReport], dict[str, Any]], error: type[ContractError]
) -> None:
    offer = world.claimed(task)
    true = world.report(offer)
    before = dict(world.ledger.state)
    with pytest.raises(error):
        world.send(OPERATOR3, replace(true, **change(true)))
    assert world.ledger.state == before
    world.send(OPERATOR3, true)
    assert world.state_of(offer) is OfferState.LOCKED


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "declined"},
        {"locked": "00"},
        {"model": None},
        {"outcome": "failed", "score": 0, "locked": ""},
        {"score": 1_000_001},
        {"score": -1},
        {"outcome": "splendid"},
        {"signature": "00"},
        {"score": 0.7},
    ],
)
def test_a_report_that_contradicts_itself_is_malformed(world: World, task: bytes, changes: dict[str, Any]) -> None:
    offer = world.claimed(task)
    document = {**world.report(offer).to_json(), **changes}
    before = dict(world.ledger.state)
    text = dumps({k: v for k, v in document.items() if not isinstance(v, float)})
    if isinstance(document["score"], float):
        text = text[:-1] + b',"score":0.7}'
    with pytest.raises((MalformedInput, ReportMalformed)):
        world.ledger.submit_args(OPERATOR3, [b"SubmitReport", text])
    assert world.ledger.state == before


def _signed(world: World, offer: bytes, score: int, **ticket: Any) -> c.SubmitReport:
    payload = world.ticket(offer)
    result = Result(Outcome.PASS, score, bytes(LOCKED_SIZE), word("model"))
    report = Report.of(payload.task, payload.order, replace(payload.ticket, **ticket), result)
    return c.SubmitReport(offer, 1, result.outcome, report.sign(enclave3().signing), score, result.locked, result.model)


@pytest.mark.parametrize(
    ("score", "error"),
    [(700_050, ReportScoreRefused), (499_900, ReportBelowThreshold), (0, ReportBelowThreshold)],
)
def test_what_a_broken_enclave_signs_is_checked_again(
    world: World, task: bytes, score: int, error: type[ContractError]
) -> None:
    offer = world.claimed(task)
    with pytest.raises(error):
        world.send(OPERATOR3, _signed(world, offer, score))
    world.send(OPERATOR3, _signed(world, offer, 500_000))


@pytest.mark.parametrize(
    "ticket",
    [
        {"threshold": 0},
        {"lease_end": 1},
        {"bundle": word("old bundle")},
        {"model_envelope": word("other")},
        {"dataset_envelope": word("other")},
        {"claim": 2},
        {"order": word("other")},
    ],
    ids=lambda ticket: next(iter(ticket)),
)
def test_a_report_on_a_ticket_of_another_state_does_not_verify(
    world: World, task: bytes, ticket: dict[str, Any]
) -> None:
    offer = world.claimed(task)
    with pytest.raises(ReportSignatureInvalid):
        world.send(OPERATOR3, _signed(world, offer, 700_000, **ticket))


def test_a_report_of_another_enclave_does_not_verify(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    true = world.report(offer)
    payload = world.ticket(offer)
    result = Result(Outcome.PASS, true.score, true.locked, true.model)
    forged = Report.of(payload.task, payload.order, payload.ticket, result).sign(enclave2().signing)
    with pytest.raises(ReportSignatureInvalid):
        world.send(OPERATOR3, replace(true, signature=forged))


@pytest.mark.parametrize(
    ("outcome", "state", "developer", "operator"),
    [
        (Outcome.DECLINED, OfferState.DECLINED, FUNDS - 11, FUNDS + 11),
        (Outcome.FAILED, OfferState.FAILED, FUNDS - 11, FUNDS + 11),
        (Outcome.UNUSABLE, OfferState.VOID, FUNDS, FUNDS),
    ],
)
def test_what_an_outcome_without_a_price_does_with_the_money(
    world: World, task: bytes, outcome: Outcome, state: OfferState, developer: int, operator: int
) -> None:
    offer = world.claimed(task)
    provider = world.balance(PROVIDER)
    world.reported(offer, outcome)
    assert world.state_of(offer) is state
    assert (world.balance(DEVELOPER), world.balance(OPERATOR3)) == (developer, operator)
    assert world.balance(PROVIDER) == provider
    assert (world.slot(task).state, world.slot(task).amount) == (SlotState.FREE, 5_001)
    world.offer(task, attempt=2)


def test_a_second_report_is_refused(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    report = world.report(offer)
    world.send(OPERATOR3, report)
    with pytest.raises(OfferNotClaimed):
        world.send(OPERATOR3, report)


def test_a_forfeited_price_and_half_the_bond_go_to_the_provider(world: World, task: bytes) -> None:
    offer = world.locked(task)
    provider = world.balance(PROVIDER)
    world.at(world.now + 1_000 + 301).send(STRANGER, c.Forfeit(offer))
    assert world.balance(PROVIDER) == provider + 3_000 + 250
    assert world.balance(TREASURY) == 251
    assert world.balance(DEVELOPER) == FUNDS - 501 - 11
    assert world.slot(task).state is SlotState.SPENT


def test_only_the_secret_opens_the_money(world: World, task: bytes) -> None:
    offer = world.locked(task)
    with pytest.raises(SecretMismatch):
        world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER, 2)))
    world.send(STRANGER, c.Reveal(offer, world.secret(DEVELOPER)))
    assert world.balance(STRANGER) == 0


def test_the_payout_owner_gets_the_price_and_the_developer_its_bond(world: World, task: bytes) -> None:
    offer = world.claimed(task, payout=STRANGER.account)
    world.reported(offer)
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    assert world.balance(STRANGER) == 3_000 - 75
    assert world.balance(DEVELOPER) == FUNDS - 11


@pytest.mark.parametrize(("score", "price"), [(500_000, 1_000), (900_000, 5_001), (1_000_000, 5_001), (899_900, 4_999)])
def test_the_slots_surplus_goes_back_to_the_provider_at_once(world: World, task: bytes, score: int, price: int) -> None:
    offer = world.claimed(task)
    before = world.balance(PROVIDER)
    world.reported(offer, score=score)
    assert world.slot(task).amount == price
    assert world.balance(PROVIDER) == before + 5_001 - price


def test_the_ladder_asks_more_of_an_organisations_next_offer(world: World, task: bytes) -> None:
    world.locked(task, score=700_000)
    second = world.claimed(task, attempt=2, slot=1)
    assert world.ticket(second).ticket.threshold == 700_100
    assert world.reported(second, Outcome.DECLINED)
    other = world.stored(task, OTHER_DEVELOPER)
    world.register(enclave2())
    world.vote_through(c.Propose(c.Action.REVOKE, revoke=enclave3().id))
    world.claim(other, enclave2(), slot=1)
    assert world.ticket(other, enclave2()).ticket.threshold == 500_000


def test_a_reserve_raises_the_threshold(world: World, task: bytes) -> None:
    offer = world.claimed(task, reserve=3_000)
    assert world.ticket(offer).ticket.threshold == 700_000


def test_a_ticket_is_a_pure_function_of_the_state_and_writes_nothing(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    asked = [q.JobTicket(offer, 1, enclave3().id, word(nonce)) for nonce in ("one", "two")]
    answers = [world.ledger.evaluate(who, ask) for who in (OPERATOR3, OPERATOR2, STRANGER) for ask in asked]
    assert len({answer.payload for answer in answers}) == 1
    assert all(answer.writes == () and answer.event is None for answer in answers)
    end = world.claim_record(offer).claim.lease_end
    assert world.ledger.evaluate(OPERATOR3, asked[0], at=end).payload == answers[0].payload
    with pytest.raises(TooLate):
        world.ledger.evaluate(OPERATOR3, asked[0], at=end + 1)


def test_a_ticket_is_for_the_claims_own_enclave(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    for ask, error in (
        (q.JobTicket(offer, 1, enclave2().id, word("n")), ClaimNotFound),
        (q.JobTicket(offer, 1, word("unknown"), word("n")), ClaimNotFound),
        (q.JobTicket(offer, 2, enclave3().id, word("n")), ClaimNotFound),
        (q.JobTicket(word("unknown"), 1, enclave3().id, word("n")), OfferNotFound),
    ):
        with pytest.raises(error):
            world.ask(ask)
    world.reported(offer)
    with pytest.raises(OfferNotClaimed):
        world.ask(q.JobTicket(offer, 1, enclave3().id, word("n")))


def test_a_declined_score_is_nowhere_on_the_ledger(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    report = world.report(offer, Outcome.DECLINED)
    committed = world.send(OPERATOR3, report)
    assert report.score == 0
    assert "score" not in (committed.event or ("", {}))[1]
    assert world.offer_record(offer).lock is None
