"""A peer that is a block behind: the client waits for it, or tries again, instead of taking its word (ADR 82)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import pytest

from goldengrain.chaincode.protocol.errors import CoinNotFound, OfferNotFound, ProviderRequired, TaskNotFound
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import EndorseError, PeerBehind, WaitTimeout
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.market import Market
from tests.gateway.ledger_double import CHANNEL
from tests.gateway.market.conftest import Stage
from tests.gateway.market.market_double import MarketLedger
from tests.gateway.server_double import Fault, ServerDouble

PATIENCE_S = 1.0
DEADLINES = Deadlines(2, 2, 2, 2, 0.5)


@dataclass
class Behind:
    """A further peer of the stage's channel that has stopped taking blocks, and a client of it alone."""

    stage: Stage
    peer: ServerDouble
    market: Market

    @property
    def target(self) -> str:
        return self.peer.endpoint.address

    async def catch_up(self, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        self.peer.ledger.state = self.stage.ledger.state
        self.peer.ledger.blocks = self.stage.ledger.blocks
        self.peer.ledger.committed = self.stage.ledger.committed
        await self.peer.cut()

    def client(self, stack: AsyncExitStack, *peers: ServerDouble) -> Market:
        who, clock = self.stage.ledger.members[1].user, self.stage.clock
        endpoints = [one.endpoint for one in peers]
        gateway = Gateway.connect(endpoints, who.identity, who.signer, clock=clock, deadlines=DEADLINES)
        stack.push_async_callback(gateway.close)
        return Market(gateway.network(CHANNEL), patience_s=PATIENCE_S)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def behind(stage: Stage, stack: AsyncExitStack) -> Behind:
    first = stage.ledger
    ledger = MarketLedger(first.members, first.orderer, dict(first.state), [], {})
    ledger.blocks = list(first.blocks)
    ledger.committed = dict(first.committed)
    peer = ServerDouble(ledger)
    await peer.start()
    stack.push_async_callback(peer.stop)
    found = Behind(stage, peer, None)  # type: ignore[arg-type]  # the client, made from it in the next line
    found.market = found.client(stack, peer)
    return found


async def test_what_another_client_knows_of_is_waited_for(stage: Stage, behind: Behind) -> None:
    task = await stage.provider.tasks.open(stage.opening())
    assert stage.provider.block == task.committed.block
    catching_up = asyncio.create_task(behind.catch_up(0.2))
    await behind.market.catch_up(stage.provider.block)
    assert catching_up.done()
    assert (await behind.market.tasks.get(task.id)).id == task.id
    assert behind.peer.calls.count("Evaluate") == 1


async def test_a_peer_that_stays_behind_is_named(stage: Stage, behind: Behind) -> None:
    task = await stage.provider.tasks.open(stage.opening())
    with pytest.raises(PeerBehind, match=rf"the peer at {behind.target} has no block {task.committed.block} "):
        await behind.market.catch_up(task.committed.block)
    with pytest.raises(PeerBehind):  # from now on it is not believed
        await behind.market.credits.balance()
    await behind.catch_up()
    assert await behind.market.credits.balance() > 0


async def test_what_is_not_there_yet_is_waited_for_without_a_word(stage: Stage, behind: Behind) -> None:
    task = await stage.provider.tasks.open(stage.opening())
    catching_up = asyncio.create_task(behind.catch_up(0.3))
    assert (await behind.market.tasks.get(task.id)).id == task.id
    await catching_up


async def test_a_command_about_it_is_too(stage: Stage, behind: Behind) -> None:
    task = await stage.provider.tasks.open(stage.opening())
    catching_up = asyncio.create_task(behind.catch_up(0.3))
    with pytest.raises(ProviderRequired):
        await behind.market.tasks.shut(task.id)
    await catching_up


async def test_what_is_nowhere_is_refused_after_some_seconds(behind: Behind) -> None:
    began = time.monotonic()
    with pytest.raises(TaskNotFound):
        await behind.market.tasks.get(bytes(32))
    assert PATIENCE_S / 2 < time.monotonic() - began < PATIENCE_S + 0.5
    with pytest.raises(CoinNotFound):  # coins go as they are spent: that is no reason to wait
        await behind.market.credits.coin(behind.market.account, f"{'0' * 64}:0")
    assert time.monotonic() - began < PATIENCE_S + 1.0


async def test_waiting_for_an_offer_is_no_longer_than_asked_for(behind: Behind) -> None:
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match="not there"):
        await behind.market.offer(bytes(32)).wait({OfferState.SETTLED}, timeout=0.3)
    assert time.monotonic() - began < PATIENCE_S
    with pytest.raises(OfferNotFound):
        await behind.market.offer(bytes(32)).get()


async def test_the_next_peer_is_not_believed_before_it_has_what_the_first_one_told(
    stage: Stage, behind: Behind, stack: AsyncExitStack
) -> None:
    market = behind.client(stack, stage.server, behind.peer)
    sent = await market.credits.pay(stage.provider.account, 10)
    before = await market.credits.balance()
    await stage.server.stop()
    catching_up = asyncio.create_task(behind.catch_up(0.3))
    assert await market.credits.balance() == before
    assert catching_up.done()
    assert market.network.target == behind.target
    assert market.block == sent.block
    await stage.server.start()


async def test_events_tell_how_far_the_peer_is(stage: Stage) -> None:
    async with stage.developer.events() as events:
        paid = await stage.provider.credits.pay(stage.operator.account, 10)
        await anext(events)
    assert stage.developer.block == paid.block


def refused_elsewhere(text: str) -> Fault:
    detail = ("peer0.org3:7051", "Org3MSP", f"chaincode response {text}")
    return Fault(grpc.StatusCode.ABORTED, "failed to endorse transaction", (detail,))


@pytest.mark.parametrize(
    "text", ["409, OFFER_NOT_STORED: it is offered", "404, OFFER_NOT_FOUND: no such offer", "404, COIN_NOT_FOUND: none"]
)
async def test_an_endorser_that_is_behind_the_gateways_peer_is_asked_again(
    stage: Stage, stack: AsyncExitStack, text: str
) -> None:
    market = Behind.client(Behind(stage, stage.server, stage.developer), stack, stage.server)
    stage.server.faults["Endorse"] = [refused_elsewhere(text), refused_elsewhere(text)]
    assert (await market.credits.pay(stage.provider.account, 10)).code == "VALID"
    assert stage.server.faults["Endorse"] == []


async def test_endorsers_at_different_blocks_are_asked_again(stage: Stage, stack: AsyncExitStack) -> None:
    market = Behind.client(Behind(stage, stage.server, stage.developer), stack, stage.server)
    text = "failed to assemble transaction: ProposalResponsePayloads do not match"
    stage.server.faults["Endorse"] = [Fault(grpc.StatusCode.ABORTED, text)]
    assert (await market.credits.pay(stage.provider.account, 10)).code == "VALID"


async def test_what_the_gateways_own_peer_refuses_as_well_is_final(stage: Stage, stack: AsyncExitStack) -> None:
    market = Behind.client(Behind(stage, stage.server, stage.developer), stack, stage.server)
    task = await stage.provider.tasks.open(stage.opening())
    stage.server.faults["Endorse"] = [refused_elsewhere("403, PROVIDER_REQUIRED: only the provider may")]
    stage.server.calls.clear()
    with pytest.raises(ProviderRequired):
        await market.tasks.shut(task.id)
    assert stage.server.calls == ["Endorse", "Evaluate"]


async def test_other_failures_of_endorsing_are_not_repeated(stage: Stage, stack: AsyncExitStack) -> None:
    market = Behind.client(Behind(stage, stage.server, stage.developer), stack, stage.server)
    stage.server.faults["Endorse"] = [Fault(grpc.StatusCode.FAILED_PRECONDITION, "no combination of peers")]
    with pytest.raises(EndorseError):
        await market.credits.pay(stage.provider.account, 10)
