"""Promise 4: whichever node stops at whichever step of a swap, it completes or is refunded; there is no third state."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol.tables import LIVE, OfferState
from goldengrain.cli.agents import agent as loop
from goldengrain.cli.agents.duty import Kind
from goldengrain.gateway.market.views import OfferView, TaskView
from tests.promises.faulty import ORDERER, PEERS, FaultyMarket, faulty_market

S = OfferState
STEPS = (S.OFFERED, S.STORED, S.CLAIMED, S.LOCKED, S.SETTLED)
OPEN = LIVE | {S.LOCKED}
PROVIDER, DEVELOPER, OPERATOR = PEERS  # their gateways
REFUNDED = {S.WITHDRAWN, S.EXPIRED, S.FORFEITED}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from goldengrain.enclave.models.datasets import load
    from goldengrain.enclave.models.train import train

    path = tmp_path_factory.mktemp("models") / "tree.onnx"
    path.write_bytes(train("tree", load("digits")).model)
    return path


@pytest.fixture
async def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyMarket]:
    monkeypatch.setattr(loop, "LOOK_S", 0.05)
    monkeypatch.setattr(loop, "RETRY_S", (0.05, 0.2))
    async with faulty_market(tmp_path / "home") as market:
        yield market


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


async def reached(market: FaultyMarket, offer: bytes, state: OfferState) -> bool:
    """Whether an offer is in a state, or beyond it."""
    view, _ = await market.ask(offer)
    return view.state not in STEPS or STEPS.index(view.state) >= STEPS.index(state)


async def acknowledged(market: FaultyMarket, offer: bytes) -> bool:
    view, _ = await market.ask(offer)
    return view.lock is not None and view.lock.acknowledged


def failures(market: FaultyMarket) -> int:
    """How often a command of an agent has failed."""
    return sum(one.kind is Kind.FAILED and one.duty is not None for one in market.said)


async def bites(market: FaultyMarket, offer: bytes, failed: int) -> bool:
    """Whether a further command has failed, or the last one of all was quicker."""
    return failures(market) > failed or await acknowledged(market, offer)


async def sold_while_stopping(market: FaultyMarket, model: Path, seed: int, victims: dict[OfferState, str]) -> bytes:
    """Sell a model; at each step a node stops while the next command is on its way, and comes back a little later."""
    dice = random.Random(seed)
    offer = await market.sell(model, seed)
    async with market.at_work():
        for state, victim in victims.items():
            await market.until(lambda state=state: reached(market, offer, state))  # type: ignore[misc]
            await asyncio.sleep(dice.uniform(0.0, 0.03))
            failed = failures(market)
            await market.network.stop_node(victim)
            if victim == ORDERER:  # whatever is sent now fails, and stays undone unless it is sent again
                await market.until(lambda failed=failed: bites(market, offer, failed))  # type: ignore[misc]
            else:
                await asyncio.sleep(dice.uniform(0.1, 0.4))
            await market.network.start_node(victim)
        await market.until(lambda: reached(market, offer, S.SETTLED))
    view, _ = await market.ask(offer)
    assert view.state is S.SETTLED
    return offer


async def require_opened(market: FaultyMarket, model: Path, offer: bytes) -> None:
    """What was sold is in the provider's hands: the very bytes that were sealed."""
    async with market.at_work():
        await market.until(lambda: acknowledged(market, offer))
    bought = market.home.path / "bought" / f"{offer.hex()}.onnx"
    assert digest(bought) == digest(model)


async def left_for_good(market: FaultyMarket, model: Path, seed: int, state: OfferState, victim: str) -> OfferState:
    """Sell a model; from a step on a side's gateway never answers again. Time passes, and the others end it."""
    offer = await market.sell(model, seed)

    async def ended() -> bool:
        view, task = await market.ask(offer)
        if view.state in OPEN:
            market.advance_past(next_deadline(view, task) + task.task.terms.guard)
        return view.state not in OPEN

    async with market.at_work():
        await market.until(lambda: reached(market, offer, state))
        await market.network.stop_node(victim)
        await market.until(ended)
    view, _ = await market.ask(offer)
    await market.network.start_node(victim)
    return view.state


def next_deadline(view: OfferView, task: TaskView) -> int:
    """The deadline after which somebody else may end what an offer waits for."""
    if view.state is S.LOCKED:
        assert view.lock is not None
        assert view.lock.deadline is not None
        return view.lock.deadline
    leases = [one.claim.lease_end for one in view.claims if one.state == "open"]
    return max(leases, default=task.task.last_report)


async def paid_out(market: FaultyMarket) -> bool:
    """Move time past B + G of every task; whether nothing is in escrow any more."""
    observer = market.cast.provider.market
    async for one in observer.tasks.listing():
        market.advance_past(one.task.last_report + one.task.terms.guard)
    supply = await observer.supply()
    assert supply.conserved
    return supply.escrow == 0


async def require_everything_is_paid_out(market: FaultyMarket) -> None:
    """In the end nothing is left in escrow: not a slot, not a bond, not a deposit."""
    async with market.at_work():
        await market.until(lambda: paid_out(market))


@pytest.mark.timeout(120)
async def test_a_swap_completes_or_is_refunded_whichever_node_stops(market: FaultyMarket, model: Path) -> None:
    victims = (PROVIDER, ORDERER, DEVELOPER, ORDERER, PROVIDER)
    await sold_while_stopping(market, model, 1, dict(zip(STEPS, victims, strict=True)))
    assert await left_for_good(market, model, 2, S.LOCKED, DEVELOPER) in {S.SETTLED, S.FORFEITED}
    await require_everything_is_paid_out(market)


@pytest.mark.check
@pytest.mark.timeout(300)
async def test_every_node_at_every_step(market: FaultyMarket, model: Path) -> None:
    nodes = (ORDERER, *PEERS)
    for round_ in range(len(nodes)):
        victims = {state: nodes[(round_ + step) % len(nodes)] for step, state in enumerate(STEPS)}
        offer = await sold_while_stopping(market, model, 100 + round_, victims)
        await require_opened(market, model, offer)
    left = ((S.OFFERED, PROVIDER), (S.STORED, OPERATOR), (S.CLAIMED, OPERATOR), (S.LOCKED, DEVELOPER))
    for number, (state, victim) in enumerate(left):
        assert await left_for_good(market, model, 200 + number, state, victim) in REFUNDED | {S.SETTLED}
    await require_everything_is_paid_out(market)
