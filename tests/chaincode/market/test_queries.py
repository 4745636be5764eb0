"""Queries: by id, in pages, with bookmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.errors import (
    ChallengeNotFound,
    CoinNotFound,
    CollateralNotFound,
    EnclaveNotFound,
    MalformedInput,
    NotFound,
    OfferNotFound,
    PolicyNotFound,
    ProposalNotFound,
    TaskNotFound,
    UnknownCommand,
)
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.requests import Query
from goldengrain.chaincode.protocol.tables import OfferState
from tests.chaincode.market.world import (
    DEVELOPER,
    OPERATOR3,
    OTHER_DEVELOPER,
    PROVIDER,
    STORE,
    World,
    enclave2,
    enclave3,
    platform,
    root_id,
    spec,
    word,
)


def pages(world: World, make: Callable[[str], Query]) -> list[list[Any]]:
    """All pages of a list."""
    result, bookmark = [], ""
    while True:
        answer = world.ask(make(bookmark))
        result.append(answer["items"])
        bookmark = answer["bookmark"]
        if not bookmark:
            return result


def test_pages_are_bounded_and_join_without_gap_or_repeat(world: World) -> None:
    (coin,) = world.coins(PROVIDER, 1)
    world.send(PROVIDER, c.Transfer((coin,), tuple(Output(STORE.account, 1) for _ in range(15))))
    got = pages(world, lambda mark: q.ListCoins(STORE.account, page_size=4, bookmark=mark))
    assert [len(page) for page in got] == [4, 4, 4, 3]
    assert len({one["id"] for page in got for one in page}) == 15
    assert all(one["owner"] == STORE.account.hex() for page in got for one in page)
    everything = [one for page in pages(world, lambda mark: q.ListCoins(page_size=7, bookmark=mark)) for one in page]
    assert sum(one["amount"] for one in everything) == world.ledger.minted


def test_every_list_pages(world: World, task: bytes) -> None:
    second = world.open_task(slots=1)
    offers = [world.stored(task), world.stored(task, OTHER_DEVELOPER), world.stored(second)]
    lists: list[tuple[Callable[[str], Query], int]] = [
        (lambda mark: q.ListTasks(page_size=1, bookmark=mark), 2),
        (lambda mark: q.ListEnclaves(page_size=1, bookmark=mark), 2),
        (lambda mark: q.ListOffers(page_size=1, bookmark=mark), 3),
        (lambda mark: q.ListOffers(task, page_size=1, bookmark=mark), 2),
        (lambda mark: q.ListOpenJobs(page_size=1, bookmark=mark), 3),
        (lambda mark: q.ListProposals(page_size=1, bookmark=mark), 1),
    ]
    for make, count in lists:
        assert [len(page) for page in pages(world, make)] == [1] * count
    assert {one["id"] for one in world.ask(q.ListOffers())["items"]} == {offer.hex() for offer in offers}


def test_a_bookmark_of_another_list_is_refused(world: World) -> None:
    with pytest.raises(MalformedInput):
        world.ask(q.ListCoins(STORE.account, bookmark="offer/00"))
    with pytest.raises(MalformedInput):
        world.ask(q.ListTasks(page_size=0))
    with pytest.raises(MalformedInput):
        world.ask(q.ListTasks(page_size=101))


def test_one_thing_by_its_id(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    assert world.ask(q.GetOffer(offer))["claims"][0]["claim"]["enclave"] == enclave3().id.hex()
    assert world.ask(q.ListOffers(task))["items"][0]["claims"][0]["state"] == "open"
    assert [one["state"] for one in world.ask(q.GetSlots(task))["items"]] == ["reserved", "free"]
    assert world.ask(q.GetTask(task))["id"] == task.hex()
    assert world.ask(q.GetEnclave(enclave2().id))["id"] == enclave2().id.hex()
    assert world.ask(q.GetCollateral(root_id(), platform().fmspc))["root"] == root_id().hex()
    (coin,) = world.coins(STORE, 0) or world.coins(PROVIDER, 1)
    assert world.ask(q.GetCoin(PROVIDER.account, coin))["id"] == coin
    challenge = world.challenge(DEVELOPER)
    assert world.ask(q.GetChallenge(challenge))["operator"] == DEVELOPER.account.hex()
    (proposal,) = world.ask(q.ListProposals())["items"]
    assert world.ask(q.GetProposal(proposal["id"])) == proposal
    assert world.ask(q.ListOpenJobs())["items"] == []


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (q.GetProposal("0" * 64), ProposalNotFound),
        (q.GetCoin(word("x"), "0" * 64 + ":0"), CoinNotFound),
        (q.GetCollateral(word("x"), bytes(6)), CollateralNotFound),
        (q.GetChallenge("0" * 64), ChallengeNotFound),
        (q.GetEnclave(word("x")), EnclaveNotFound),
        (q.GetTask(word("x")), TaskNotFound),
        (q.GetSlots(word("x")), TaskNotFound),
        (q.GetOffer(word("x")), OfferNotFound),
    ],
)
def test_what_is_not_there_is_refused_by_name(world: World, query: Query, error: type[NotFound]) -> None:
    with pytest.raises(error):
        world.ask(query)


@pytest.mark.parametrize("args", [[], [b"Nothing"], [b"\xff"], [b"GetPolicy", b"{}", b"{}"]])
def test_a_call_that_is_none_is_refused(world: World, args: list[bytes]) -> None:
    with pytest.raises((UnknownCommand, MalformedInput)):
        world.ledger.submit_args(PROVIDER, args)


def ids(pages_of: list[list[Any]]) -> list[str]:
    return [one["id"] for page in pages_of for one in page]


def test_offers_are_listed_by_task_developer_and_state(world: World) -> None:
    first, second = world.open_task(spec=spec(1)), world.open_task(spec=spec(2))
    mine = [world.locked(first), world.offer(second)]
    others = world.offer(first, OTHER_DEVELOPER)
    asked = {
        q.ListOffers(): {*mine, others},
        q.ListOffers(task=first): {mine[0], others},
        q.ListOffers(developer=DEVELOPER.account): set(mine),
        q.ListOffers(task=second, developer=DEVELOPER.account): {mine[1]},
        q.ListOffers(state=OfferState.OFFERED): {mine[1], others},
        q.ListOffers(task=first, state=OfferState.LOCKED): {mine[0]},
        q.ListOffers(developer=STORE.account): set(),
    }
    for query, wanted in asked.items():
        found = ids(pages(world, lambda mark, query=query: replace(query, page_size=1, bookmark=mark)))  # type: ignore[misc]  # a default binds the loop's value
        assert sorted(found) == sorted(one.hex() for one in wanted), query


def test_a_page_that_holds_nothing_that_fits_still_goes_on(world: World, task: bytes) -> None:
    world.offer(task)
    world.offer(task, OTHER_DEVELOPER)
    answer = world.ask(q.ListOffers(state=OfferState.SETTLED, page_size=1))
    assert answer["items"] == []
    assert answer["bookmark"]


def test_tasks_are_listed_by_provider_and_by_whether_they_take_offers(world: World) -> None:
    first, second = world.open_task(spec=spec(1)), world.open_task(spec=spec(2))
    world.send(PROVIDER, c.ShutTask(first))
    world.at(world.now + 1)
    assert sorted(ids(pages(world, lambda mark: q.ListTasks(PROVIDER.account, bookmark=mark)))) == sorted(
        [first.hex(), second.hex()]
    )
    assert world.ask(q.ListTasks(DEVELOPER.account))["items"] == []
    assert ids([world.ask(q.ListTasks(taking_offers=True))["items"]]) == [second.hex()]


def test_enclaves_are_listed_by_operator(world: World) -> None:
    assert len(world.ask(q.ListEnclaves())["items"]) == 2
    assert ids([world.ask(q.ListEnclaves(OPERATOR3.account))["items"]]) == [enclave3().id.hex()]


def test_open_jobs_of_an_enclave_are_those_that_it_may_claim(world: World) -> None:
    task = world.open_task(slots=4)
    of_org2 = world.stored(task)
    of_org3 = world.stored(task, OTHER_DEVELOPER)
    assert ids([world.ask(q.ListOpenJobs(enclave3().id))["items"]]) == [of_org2.hex()]
    assert ids([world.ask(q.ListOpenJobs(enclave2().id))["items"]]) == [of_org3.hex()]
    unsealed = world.open_task(spec=spec(3))
    world.stored(unsealed, sealed_to=(enclave2(),))
    assert ids([world.ask(q.ListOpenJobs(enclave3().id))["items"]]) == [of_org2.hex()]
    world.claim(of_org2)
    world.at(world.now + 1_000).send(STORE, c.Lapse(of_org2, 1))
    assert world.ask(q.ListOpenJobs(enclave3().id))["items"] == []
    with pytest.raises(EnclaveNotFound):
        world.ask(q.ListOpenJobs(word("nobody")))


def test_a_leaderboard_has_the_highest_scores_first_and_no_score_that_did_not_pass(world: World) -> None:
    task = world.open_task(slots=4)
    low = world.locked(task, score=600_000)
    high = world.claimed(task, OTHER_DEVELOPER, enclave2(), slot=1)
    world.reported(high, score=650_000, one=enclave2())
    declined = world.claimed(task, slot=2, attempt=2)
    world.reported(declined, Outcome.DECLINED)
    board = pages(world, lambda mark: q.Leaderboard(task, page_size=1, bookmark=mark))
    assert [one["lock"]["score"] for page in board for one in page] == [650_000, 600_000]
    assert ids(board) == [high.hex(), low.hex()]


def test_every_policy_stays_readable(world: World) -> None:
    world.change_policy(benchmark_fee=12)
    versions = [one["policy"] for page in pages(world, lambda mark: q.ListPolicies(1, mark)) for one in page]
    assert [(one["number"], one["benchmark_fee"]) for one in versions] == [(1, 11), (2, 12)]
    assert world.ask(q.GetPolicy(1))["policy"] == versions[0]
    with pytest.raises(PolicyNotFound):
        world.ask(q.GetPolicy(3))
