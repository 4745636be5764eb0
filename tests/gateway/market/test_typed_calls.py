"""Every function of the contract has a typed call, asynchronous and synchronous."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from goldengrain.chaincode.protocol.commands import FUNCTIONS, RegisterEnclave, SubmitReport, Vote
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.requests import Command, Query
from goldengrain.gateway.blocking import Attribute, Method
from goldengrain.gateway.market import Market, client, consortium, enclaves, handles, offers, sync, tasks
from goldengrain.gateway.market import credits as money
from goldengrain.gateway.market.calls import Caller
from tests.gateway.market.conftest import SECRET, Stage, policy

ID, TRANSACTION = bytes(32), "0" * 64


def report(offer: bytes) -> SubmitReport:
    return SubmitReport(offer, 1, Outcome.DECLINED, bytes(65))


def registration() -> RegisterEnclave:
    return RegisterEnclave(TRANSACTION, b"quote", ID, bytes(6), b"\2" + bytes(32), bytes(1216), ID)


Call = Callable[[Market, Stage, bytes], Awaitable[Any] | AsyncIterator[Any]]
CALLS: Mapping[str, Call] = {
    "Bootstrap": lambda m, s, o: m.consortium.bootstrap(policy(m.account)),
    "Propose": lambda m, s, o: m.consortium.propose_burn([f"{TRANSACTION}:0"]),
    "Vote": lambda m, s, o: m.consortium.vote(TRANSACTION),
    "Transfer": lambda m, s, o: m.credits.pay(s.developer.account, 1),
    "PutCollateral": lambda m, s, o: m.enclaves.put_collateral(ID, "{}"),
    "Challenge": lambda m, s, o: m.enclaves.challenge(ID),
    "RegisterEnclave": lambda m, s, o: m.enclaves.register(registration()),
    "OpenTask": lambda m, s, o: m.tasks.open(s.opening(seed=9)),
    "ShutTask": lambda m, s, o: m.task(ID).shut(),
    "RefundSlot": lambda m, s, o: m.task(ID).refund_slot(0),
    "OpenDataset": lambda m, s, o: m.task(ID).open_dataset(ID),
    "SlashAudit": lambda m, s, o: m.task(ID).slash_audit(),
    "SubmitOffer": lambda m, s, o: _another_offer(m, s, o),
    "WithdrawOffer": lambda m, s, o: m.offer(o).withdraw(),
    "Rewrap": lambda m, s, o: m.offer(o).rewrap(s.envelopes()),
    "Receipt": lambda m, s, o: m.offer(o).receipt(),
    "Claim": lambda m, s, o: m.offer(o).claim(s.enclaves[0], 60),
    "Lapse": lambda m, s, o: m.offer(o).lapse(1),
    "SubmitReport": lambda m, s, o: m.offers.report(report(o)),
    "Expire": lambda m, s, o: m.offer(o).expire(),
    "AwardOffer": lambda m, s, o: m.offer(o).award(),
    "Reveal": lambda m, s, o: m.offer(o).reveal(SECRET),
    "Forfeit": lambda m, s, o: m.offer(o).forfeit(),
    "Acknowledge": lambda m, s, o: m.offer(o).acknowledge(),
    "JobTicket": lambda m, s, o: m.offer(o).job_ticket(1, s.enclaves[0], ID),
    "GetPolicy": lambda m, s, o: m.consortium.policy(),
    "GetProposal": lambda m, s, o: m.consortium.proposal(TRANSACTION),
    "ListProposals": lambda m, s, o: m.consortium.proposals(),
    "ListPolicies": lambda m, s, o: m.consortium.policies(),
    "GetCoin": lambda m, s, o: m.credits.coin(ID, f"{TRANSACTION}:0"),
    "ListCoins": lambda m, s, o: m.credits.coins(),
    "GetCollateral": lambda m, s, o: m.enclaves.collateral(ID, bytes(6)),
    "GetChallenge": lambda m, s, o: m.enclaves.get_challenge(TRANSACTION),
    "GetEnclave": lambda m, s, o: m.enclaves.get(s.enclaves[0]),
    "ListEnclaves": lambda m, s, o: m.enclaves.listing(),
    "GetTask": lambda m, s, o: m.task(ID).get(),
    "ListTasks": lambda m, s, o: m.tasks.listing(),
    "Leaderboard": lambda m, s, o: m.task(ID).leaderboard(),
    "GetSlots": lambda m, s, o: m.task(ID).slots(),
    "GetOffer": lambda m, s, o: m.offer(o).get(),
    "ListOffers": lambda m, s, o: m.offers.listing(),
    "ListOpenJobs": lambda m, s, o: m.offers.open_jobs(),
}


async def _another_offer(market: Market, stage: Stage, offer: bytes) -> None:
    task = (await market.offers.get(offer)).order.task
    await market.offers.submit(stage.offering(task, market, attempt=2))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that a peer was asked to run."""
    names: list[str] = []

    def recording(method: Any) -> Any:
        async def record(self: Caller, request: Command | Query, *rest: Any, **more: Any) -> Any:
            names.append(request.function())
            return await method(self, request, *rest, **more)

        return record

    for name in ("send", "ask", "endorse"):
        monkeypatch.setattr(Caller, name, recording(getattr(Caller, name)))
    return names


def test_every_function_of_the_contract_is_in_the_table() -> None:
    assert sorted(CALLS) == sorted(FUNCTIONS)


@pytest.mark.parametrize("start", range(0, len(CALLS), 14))
async def test_each_has_a_typed_call_that_asks_the_peer_for_it(stage: Stage, sent: list[str], start: int) -> None:
    offer = await stage.stored_offer()
    for name in list(CALLS)[start : start + 14]:
        sent.clear()
        with suppress(ContractError):
            asked = CALLS[name](stage.provider, stage, offer)
            if isinstance(asked, AsyncIterator):
                _ = [one async for one in asked]
            else:
                await asked
        assert sent[-1:] == [name]


PAIRS = [
    (consortium.Consortium, sync.Consortium),
    (money.Credits, sync.Credits),
    (enclaves.Enclaves, sync.Enclaves),
    (tasks.Tasks, sync.Tasks),
    (offers.Offers, sync.Offers),
    (client.Market, sync.Market),
    (handles.TaskHandle, sync.TaskHandle),
    (handles.OpenedTask, sync.OpenedTask),
    (handles.OfferHandle, sync.OfferHandle),
    (handles.SubmittedOffer, sync.SubmittedOffer),
]


@pytest.mark.parametrize(("written", "derived"), PAIRS, ids=lambda one: one.__name__)
def test_the_synchronous_client_has_all_that_the_asynchronous_one_has(written: type, derived: type) -> None:
    methods = {name for name, _ in inspect.getmembers(written, inspect.isfunction) if not name.startswith("_")}
    made = {name for one in derived.__mro__ for name, value in vars(one).items() if isinstance(value, Method)}
    passed_on = {name for one in derived.__mro__ for name, value in vars(one).items() if isinstance(value, Attribute)}
    assert made == methods
    fields = {name for name, one in inspect.getmembers(written, lambda one: isinstance(one, property))}
    assert fields - passed_on == set()


async def test_a_name_that_no_call_sends_would_be_noticed(stage: Stage, sent: list[str]) -> None:
    with pytest.raises(ContractError):
        await stage.provider.send(Vote(TRANSACTION))
    assert sent == ["Vote"]
