"""What concerns the whole market client: policies, enclaves, waiting, organisations out of reach, odd answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest

from goldengrain.chaincode.protocol.commands import WithdrawOffer
from goldengrain.chaincode.protocol.errors import (
    ChallengeNotFound,
    CollateralNotFound,
    ContractError,
    MalformedInput,
    QuoteRootUnknown,
)
from goldengrain.chaincode.protocol.queries import GetOffer, GetPolicy
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.checkpoint import Checkpointer
from goldengrain.gateway.errors import EndorseError, MarketClientError, WaitInVain, WaitTimeout
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.market.announcements import Announcement, EventUnreadable
from goldengrain.gateway.market.calls import with_some_of
from goldengrain.gateway.market.sync import Market
from goldengrain.gateway.market.views import OfferView, read
from goldengrain.gateway.market.waiting import ahead
from goldengrain.gateway.sync import Gateway
from tests.gateway.market.conftest import FUNDS, Stage
from tests.gateway.server_double import Fault


async def test_a_policy_follows_by_vote(stage: Stage) -> None:
    first = await stage.provider.consortium.policy()
    assert first.policy.number == 1
    admin = stage.admins["Org2MSP"]
    proposed = await admin.consortium.propose_policy(replace(first.policy, number=2, deposit=5))
    await stage.admins["Org3MSP"].consortium.vote(proposed.transaction_id)
    second = await stage.provider.consortium.policy()
    assert (second.policy.number, second.policy.deposit) == (2, 5)


async def test_enclaves_are_listed_and_challenged(stage: Stage) -> None:
    enclaves = [one async for one in stage.provider.enclaves.listing()]
    assert {one.id for one in enclaves} == set(stage.enclaves)
    assert (await stage.provider.enclaves.get(stage.enclaves[0])).operator == stage.operator.account
    sent = await stage.provider.enclaves.challenge(stage.operator.account)
    challenge = await stage.operator.enclaves.get_challenge(sent.transaction_id)
    assert (challenge.id, challenge.msp_id, challenge.used_by) == (sent.transaction_id, "Org1MSP", None)
    with pytest.raises(ChallengeNotFound):
        await stage.operator.enclaves.get_challenge("0" * 64)
    with pytest.raises(CollateralNotFound):
        await stage.operator.enclaves.collateral(bytes(32), bytes(6))
    with pytest.raises(QuoteRootUnknown):
        await stage.operator.enclaves.put_collateral(bytes(32), "{}")


async def test_any_command_and_query_may_be_sent_as_it_stands(stage: Stage) -> None:
    assert (await stage.provider.ask(GetPolicy()))["policy"]["number"] == 1
    with pytest.raises(ContractError):
        await stage.provider.send(WithdrawOffer(bytes(32)))


async def test_waiting_for_a_state_that_comes_by_an_event(stage: Stage) -> None:
    opened = await stage.provider.tasks.open(stage.opening())
    task = opened.id
    offering = stage.offering(task, stage.developer)
    offer = offering.order((await stage.provider.tasks.get(task)).task, stage.developer.account).offer_id
    waiting = asyncio.ensure_future(stage.provider.offers.wait(offer, {OfferState.STORED}, timeout=5))
    await stage.server.called("ChaincodeEvents")
    sent = await stage.developer.offers.submit(offering)
    assert sent.id == offer
    assert not waiting.done()
    await stage.provider.offers.receipt(offer)
    view = await asyncio.wait_for(waiting, 1)
    assert (view.id, view.state) == (offer, OfferState.STORED)


async def test_waiting_ends_with_what_was_seen(stage: Stage) -> None:
    with pytest.raises(WaitTimeout, match=r"is not there after 0\.1 s, not locked or settled"):
        await stage.provider.offers.wait(bytes(32), {OfferState.LOCKED, OfferState.SETTLED}, timeout=0.1)


BENCHMARKED = {"stored", "claimed", "declined", "failed", "leading", "outbid", "displaced", "locked", "void"}
AHEAD = {
    "offered": BENCHMARKED | {"withdrawn", "expired", "settled", "forfeited"},
    "stored": BENCHMARKED | {"expired", "settled", "forfeited"},
    "claimed": BENCHMARKED | {"expired", "settled", "forfeited"},
    "leading": {"displaced", "locked", "settled", "forfeited"},
    "locked": {"settled", "forfeited"},
}
"""Section 6: what an offer can come to from a state; from any other, nothing."""


@pytest.mark.parametrize("state", OfferState)
def test_what_an_offer_can_still_come_to(state: OfferState) -> None:
    assert ahead(state) == AHEAD.get(state, set())


async def test_waiting_ends_at_once_when_the_offer_can_get_there_no_more(stage: Stage) -> None:
    task = (await stage.provider.tasks.open(stage.opening())).id
    offer = (await stage.developer.offers.submit(stage.offering(task, stage.developer))).id
    waiting = asyncio.ensure_future(stage.provider.offers.wait(offer, {OfferState.LOCKED}, timeout=60))
    await stage.server.called("ChaincodeEvents")
    assert not waiting.done()
    await stage.developer.offers.withdraw(offer)
    with pytest.raises(WaitInVain, match=r"is withdrawn and can't become locked any more; .* `goldengrain model seal`"):
        await asyncio.wait_for(waiting, 1)
    with pytest.raises(WaitInVain, match="is withdrawn and can't become locked or settled any more"):
        await stage.provider.offer(offer).wait({OfferState.LOCKED, OfferState.SETTLED}, timeout=5)


async def test_waiting_for_what_is_past_names_what_may_still_come(stage: Stage) -> None:
    offer = await stage.stored_offer()
    await stage.operator.offers.claim(offer, stage.enclaves[0], 600)
    with pytest.raises(WaitInVain, match=r"is claimed and can't become offered any more; it may still become claimed"):
        await stage.provider.offers.wait(offer, {OfferState.OFFERED}, timeout=5)


async def test_waiting_goes_on_when_the_event_stream_breaks(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.gateway.market.waiting.POLL", 0.1)
    offer = await stage.stored_offer()
    stage.server.faults["ChaincodeEvents"] = [Fault(grpc.StatusCode.UNAVAILABLE, "gone")]
    waiting = asyncio.ensure_future(stage.provider.offers.wait(offer, {OfferState.CLAIMED}, timeout=5))
    await stage.server.called("ChaincodeEvents")
    await stage.operator.offers.claim(offer, stage.enclaves[0], 600)
    assert (await waiting).state is OfferState.CLAIMED


async def test_announcements_are_typed_and_go_on_from_a_checkpoint(stage: Stage) -> None:
    start = len(stage.ledger.blocks)
    offer = await stage.stored_offer()
    task = (await stage.provider.offers.get(offer)).order.task
    checkpoint, seen = Checkpointer(), []
    async for said in stage.provider.announcements(start, checkpoint):
        seen.append((said.command, said.task, said.offer))
        checkpoint.record_event(said.event)
        if said.command == "SubmitOffer":
            assert said.facts["bond"] == 1000
            assert f"offer/{offer.hex()}" in said.changes
            break
    async for said in stage.provider.announcements(checkpoint=checkpoint):
        seen.append((said.command, said.task, said.offer))
        break
    assert seen == [("OpenTask", task, None), ("SubmitOffer", task, offer), ("Receipt", None, offer)]


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"v":2,"changes":{}}', b'{"v":1}'])
def test_an_event_of_another_version_is_refused_by_name(payload: bytes) -> None:
    with pytest.raises(EventUnreadable):
        Announcement.of(ChaincodeEvent(1, "0" * 64, "golden-grain", "Vote", payload))


async def test_other_organisations_are_asked_when_some_are_out_of_reach() -> None:
    tried: list[Sequence[str]] = []

    async def attempt(chosen: Sequence[str]) -> str:
        tried.append(chosen)
        if "B" in chosen:
            raise EndorseError("connection refused")
        return "done"

    assert await with_some_of(["A", "B", "C"], 2, attempt) == "done"
    assert tried == [("A", "B"), ("A", "C")]


async def test_a_refusal_is_final_and_so_is_the_last_failure() -> None:
    tried: list[Sequence[str]] = []

    async def refused(chosen: Sequence[str]) -> None:
        tried.append(chosen)
        raise EndorseError("chaincode response 409, TOO_LATE: it is over")

    with pytest.raises(EndorseError):
        await with_some_of(["A", "B", "C"], 2, refused)
    assert len(tried) == 1

    async def unreachable(chosen: Sequence[str]) -> None:
        tried.append(chosen)
        raise EndorseError(f"no answer from {chosen}")

    with pytest.raises(EndorseError, match="'B', 'C'"):
        await with_some_of(["A", "B", "C"], 2, unreachable)
    with pytest.raises(MarketClientError, match="2 organisations have to endorse this, only 1 may"):
        await with_some_of(["A"], 2, unreachable)


@pytest.mark.parametrize("payload", [b"", b"[]", b"1.5", b"{"])
async def test_an_answer_that_is_no_object_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, payload: bytes
) -> None:
    async def evaluate(*_: Any, **__: Any) -> bytes:
        return payload

    monkeypatch.setattr(stage.provider._caller.contract, "evaluate", evaluate)
    with pytest.raises(MarketClientError, match="GetPolicy answered"):
        await stage.provider.ask(GetPolicy())


async def test_fields_of_a_newer_contract_are_passed_over(stage: Stage) -> None:
    offer = await stage.stored_offer()
    await stage.operator.offers.claim(offer, stage.enclaves[0], 600)
    document = await stage.provider.ask(GetOffer(offer))
    document["novelty"] = 1
    document["claims"][0]["novelty"] = 1
    assert read(OfferView, document).claims[0].state == "open"
    del document["bond"]
    with pytest.raises(MalformedInput, match="lacks bond"):
        read(OfferView, document)


async def test_the_synchronous_market_is_the_same_market(stage: Stage) -> None:
    """Its calls run in threads here, since the server of this test needs the test's own loop."""
    offer = await stage.stored_offer()
    network = stage.provider.network
    endpoint, who = stage.server.endpoint, stage.ledger.members[0].user

    def in_a_thread() -> tuple[int, list[bytes], list[bytes], str]:
        with Gateway.connect(endpoint, who.identity, who.signer, clock=stage.clock) as gateway:
            market = Market.on(gateway.network(network.channel))
            market.credits.pay(stage.developer.account, 10)
            listed = [one.id for one in market.offers.listing()]
            first = next(market.offers.open_jobs())
            assert market.account == stage.provider.account
            assert market.network.channel == network.channel
            assert market.supply().conserved
            waited = market.offers.wait(offer, {OfferState.STORED})
            return market.credits.balance(stage.developer.account), listed, [first.id], waited.state

    balance, listed, jobs, state = await asyncio.to_thread(in_a_thread)
    assert (balance, listed, jobs, state) == (FUNDS - 1100 + 10, [offer], [offer], "stored")
