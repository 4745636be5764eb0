"""Promise 12: a declined score appears nowhere on the ledger, and the number of attempts is held."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.errors import (
    AttemptsExhausted,
    LiveOfferExists,
    ReportBelowThreshold,
    ReportMalformed,
)
from goldengrain.chaincode.protocol.report import Outcome, Report, Result
from goldengrain.chaincode.protocol.tables import OfferState
from tests.chaincode.market.world import OPERATOR3, World, enclave3

SCORE = 123_400


def test_a_report_of_a_score_that_fails_cannot_carry_it(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    with pytest.raises(ReportMalformed):
        Result(Outcome.DECLINED, SCORE)
    payload = world.ticket(offer)
    result = Result(Outcome.PASS, SCORE, bytes(1184), bytes(32))
    signature = Report.of(payload.task, payload.order, payload.ticket, result).sign(enclave3().signing)
    low = c.SubmitReport(offer, 1, Outcome.PASS, signature, SCORE, result.locked, result.model)
    before = dict(world.ledger.state)
    with pytest.raises(ReportBelowThreshold):
        world.send(OPERATOR3, low)
    assert world.ledger.state == before
    world.reported(offer, Outcome.DECLINED)
    assert world.state_of(offer) is OfferState.DECLINED
    told = repr(world.ledger.transactions[-1].event).encode() + b"".join(world.ledger.state.values())
    assert str(SCORE).encode() not in told


def test_a_declined_offer_spends_its_attempt_and_there_are_only_so_many(world: World, task: bytes) -> None:
    granted = world.terms_of(task).attempts
    for attempt in range(1, granted + 1):
        offer = world.claimed(task, attempt=attempt)
        if attempt < granted:
            with pytest.raises(LiveOfferExists):
                world.offer(task, attempt=attempt + 1)
        world.reported(offer, Outcome.DECLINED)
    with pytest.raises(AttemptsExhausted):
        world.offer(task, attempt=granted + 1)


def test_a_pass_raises_what_the_next_attempt_has_to_reach(world: World, task: bytes) -> None:
    world.locked(task, score=700_000)
    again = world.claimed(task, attempt=2, slot=1)
    assert world.ticket(again).ticket.threshold == 700_000 + world.terms_of(task).eta
