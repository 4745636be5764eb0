"""Queries: by id, in pages, with bookmarks."""

from __future__ import annotations

from collections.abc import Callable
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
    ProposalNotFound,
    TaskNotFound,
    UnknownCommand,
)
from goldengrain.chaincode.protocol.requests import Query
from tests.chaincode.market.world import (
    DEVELOPER,
    OTHER_DEVELOPER,
    PROVIDER,
    STORE,
    World,
    enclave2,
    enclave3,
    platform,
    root_id,
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
