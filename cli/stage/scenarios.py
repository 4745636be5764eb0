"""What goes wrong, and how it ends: six scenarios, each with the right money in the right place.

A scenario is a coroutine that plays on a set stage and returns its sales; it raises CheckFailed where something does
not end as the protocol says. Waiting times run on the ledger's clock, which the play moves forward.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from fabric_protos.common import common_pb2
from fabric_protos.peer import proposal_response_pb2, transaction_pb2

from goldengrain.chaincode.protocol.errors import GoldenGrainError, ReportSignatureInvalid
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.chaincode.protocol.task import PriceSchedule
from goldengrain.cli import operating, selling
from goldengrain.cli.errors import CheckFailed
from goldengrain.cli.evaluating import evaluate
from goldengrain.cli.stage import swap
from goldengrain.cli.stage.cast import Actor
from goldengrain.cli.stage.setting import Operation, Stage
from goldengrain.cli.stage.swap import Sale
from goldengrain.enclave.errors import (
    RequestRefused,
    TicketEndorserRefused,
    TicketNonceUnknown,
    TicketTooFewOrganizations,
)
from goldengrain.gateway.errors import BlobCorrupt
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.wallet import Wallet

E = TypeVar("E", bound=GoldenGrainError)
Ended = Sequence[tuple[Sale, int | None]]


@dataclass(frozen=True)
class Play:
    """What a scenario plays with: the stage, a developer's trained model and the name of the dataset."""

    stage: Stage
    dataset: str
    model: Path


@dataclass(frozen=True)
class Scenario:
    """A scenario: what happens in it, and the coroutine that plays it."""

    summary: str
    play: Callable[[Play], Awaitable[Ended]]
    schedule: PriceSchedule | None = None
    """Of the task that is played with; None is the dataset's."""


# --- what several scenarios check ----------------------------------------------------------------------------------


def require(fact: bool, otherwise: str) -> None:
    """Go on if a fact holds. Raises CheckFailed."""
    if not fact:
        raise CheckFailed(otherwise)


async def refused(kind: type[E], attempt: Awaitable[object], what: str) -> E:
    """Await an attempt that has to be refused with an error of one kind, and return the error."""
    try:
        await attempt
    except kind as error:
        return error
    raise CheckFailed(f"{what} was not refused")


async def require_state(stage: Stage, sale: Sale, state: OfferState) -> None:
    """Require that an offer is in a state."""
    found = (await swap.view(stage, sale)).state
    require(found is state, f"the offer is {found}, not {state}")


async def balance(actor: Actor) -> int:
    """What an actor holds in coins."""
    return await actor.market.credits.balance()


async def _locked(play: Play, schedule: PriceSchedule | None = None) -> tuple[bytes, Sale]:
    """A task with one offer up to the lock."""
    stage = play.stage
    task, sale, operation = await _claimed(play, schedule)
    state = await swap.report(stage, sale, operation, await swap.benchmark(stage, sale, operation))
    require(state == OfferState.LOCKED, f"the report left the offer {state}")
    return task, sale


async def _claimed(play: Play, schedule: PriceSchedule | None = None) -> tuple[bytes, Sale, Operation]:
    """A task with one offer up to the claim."""
    stage, developer = play.stage, play.stage.cast.developers[1]
    with stage.acts.act("a task is opened, a model offered, stored and claimed"):
        task = await swap.open_task(stage, play.dataset, schedule, slots=2)
        sale = await swap.offer(stage, task, developer, play.model)
        await swap.receipt(stage, sale)
        operation = await swap.claim(stage, sale)
    return task, sale, operation


async def _settle(play: Play, task: bytes, sale: Sale) -> int:
    with play.stage.acts.act("then all goes as it should: revealed, paid, opened, measured"):
        await swap.reveal(play.stage, sale)
        return await swap.buy(play.stage, task, sale)


# --- the scenarios -------------------------------------------------------------------------------------------------


async def no_reveal(play: Play) -> Ended:
    """A developer stops after the lock: after D + G anyone ends it, price and half the bond go to the provider."""
    stage = play.stage
    provider, developer = stage.cast.provider, stage.cast.developers[1]
    with stage.acts.act("a swap goes as far as the lock"):
        _, sale = await _locked(play)
    view = await swap.view(stage, sale)
    lock = view.lock
    require(lock is not None, "a locked offer has a lock")
    deadline, price = (lock.deadline or 0, lock.price) if lock else (0, 0)
    had, treasury, paid = await balance(provider), await provider.market.credits.treasury(), await balance(developer)
    guard = (await provider.market.tasks.get(view.order.task)).task.terms.guard
    with stage.acts.act("the developer says nothing; D and the guard go by; an operator ends it"):
        stage.advance_past(deadline + guard)
        await swap.keep(stage, sale, await stage.cast.operators[0].market.offers.forfeit(sale.offer))
    half = view.bond // 2
    require(await balance(provider) == had + price + half, "the provider did not get price and half the bond")
    rest = await provider.market.credits.treasury() - treasury
    require(rest == view.bond - half, "the rest of the bond is not the treasury's")
    require(await balance(developer) == paid, "the developer got money for a key that it kept")
    await require_state(stage, sale, OfferState.FORFEITED)
    stage.acts.note(f"price {price:,} and {half:,} of the bond went to the provider, {rest:,} to the treasury")
    return [(sale, None)]


async def tampered_report(play: Play) -> Ended:
    """The host changes the score on its way: refused, nothing changes; then the true report settles."""
    stage = play.stage
    task, sale, operation = await _claimed(play)
    signed = await swap.benchmark(stage, sale, operation)
    lie = replace(signed, result=replace(signed.result, score=min(1_000_000, signed.result.score + 10_000)))
    with stage.acts.act("the operator raises the score by 10,000 ppm and hands that in"):
        error = await refused(ReportSignatureInvalid, swap.report(stage, sale, operation, lie), "the changed report")
        await require_state(stage, sale, OfferState.CLAIMED)
    stage.acts.note(f"refused: {error.code}")
    with stage.acts.act("the operator hands in the true report"):
        state = await swap.report(stage, sale, operation, signed)
        require(state == OfferState.LOCKED, f"the true report left the offer {state}")
    return [(sale, await _settle(play, task, sale))]


async def wrong_model(play: Play) -> Ended:
    """The stored ciphertext is not the one offered: no receipt, so no claim; after B + G the offer expires."""
    stage = play.stage
    provider, developer = stage.cast.provider, stage.cast.developers[1]
    with stage.acts.act("a model is offered, and other bytes lie in the developer's store"):
        task = await swap.open_task(stage, play.dataset, slots=2)
        had, budget = await balance(developer), await balance(provider)
        sale = await swap.offer(stage, task, developer, play.model)
        _exchange_bytes(stage, developer, (await swap.view(stage, sale)).order.ciphertext)
    with stage.acts.act("the provider fetches, hashes and confirms nothing"):
        error = await refused(BlobCorrupt, swap.receipt(stage, sale), "a ciphertext of another digest")
        await require_state(stage, sale, OfferState.OFFERED)
    stage.acts.note(f"refused: {error.code}")
    opened = (await provider.market.tasks.get(task)).task
    with stage.acts.act("B and the guard go by; the offer expires, the slots go back"):
        stage.advance_past(opened.last_report + opened.terms.guard)
        await swap.keep(stage, sale, await stage.cast.operators[0].market.offers.expire(sale.offer))
        for slot in await provider.market.tasks.free_slots(task):
            await stage.keep(await provider.market.tasks.refund_slot(task, slot))
    await require_state(stage, sale, OfferState.EXPIRED)
    require(await balance(developer) == had, "bond and fee did not come back to the developer")
    require(await balance(provider) == budget + opened.budget, "the slots did not come back to the provider")
    return [(sale, None)]


def _exchange_bytes(stage: Stage, developer: Actor, digest: bytes) -> None:
    """Put other bytes under a digest into the developer's store, as a cheat with access to its own disk would."""
    folder = stage.home.path / "store" / developer.organization.name
    (path,) = (one for one in folder.rglob("*") if one.is_file() and digest.hex() in one.as_posix().replace("/", ""))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


async def oracle_abuse(play: Play) -> Ended:
    """A host asks its enclave without a valid job ticket in four ways: nothing is signed; then the swap settles."""
    stage = play.stage
    task, sale, operation = await _claimed(play)
    claimed, operator = swap.claimed_of(sale), operation.operator
    staged = operating.stage(stage.stores, operation.host.exchange, claimed)
    async with operation.host.client() as enclave:

        async def ask(ticket: bytes) -> object:
            return await enclave.run_job(
                ticket, staged.model_envelope, staged.dataset_envelope, staged.model, staged.dataset
            )

        async def ticket(nonce: bytes, organizations: Sequence[str] | None = None) -> bytes:
            return await operating.job_ticket(operator.market, claimed, nonce, organizations)

        with stage.acts.act("the host asks without a ticket, with one organisation's, with clients', by an old nonce"):
            none = await refused(RequestRefused, ask(b""), "no ticket")
            alone = await ticket(await enclave.nonce(), [operator.organization.msp_id])
            few = await refused(TicketTooFewOrganizations, ask(alone), "one organisation's ticket")
            forged = endorsed_by(await ticket(await enclave.nonce()), _clients(stage))
            clients = await refused(TicketEndorserRefused, ask(forged), "a ticket endorsed by clients")
            nonce = await enclave.nonce()
            await refused(TicketTooFewOrganizations, ask(await ticket(nonce, [operator.organization.msp_id])), "it")
            old = await refused(TicketNonceUnknown, ask(await ticket(nonce)), "an old nonce")
    operating.unstage(operation.host.exchange, staged)
    stage.acts.note("refused: " + ", ".join(one.code for one in (none, few, clients, old)))
    await require_state(stage, sale, OfferState.CLAIMED)
    with stage.acts.act("with a true ticket the enclave answers"):
        await swap.report(stage, sale, operation, await swap.benchmark(stage, sale, operation))
    return [(sale, await _settle(play, task, sale))]


def _clients(stage: Stage) -> list[Credentials]:
    """Client identities of two organisations, whom the host has on its side."""
    wallet = Wallet(stage.home.wallet)
    return [wallet.get(one.label) for one in stage.cast.operators]


def endorsed_by(transaction: bytes, signers: Iterable[Credentials]) -> bytes:
    """The same prepared transaction with endorsements of others over the same bytes."""
    envelope = common_pb2.Envelope.FromString(transaction)
    payload = common_pb2.Payload.FromString(envelope.payload)
    message = transaction_pb2.Transaction.FromString(payload.data)
    action = transaction_pb2.ChaincodeActionPayload.FromString(message.actions[0].payload)
    response = action.action.proposal_response_payload
    del action.action.endorsements[:]
    for one in signers:
        creator = one.identity.serialized
        signature = one.signer.sign(sha256(response + creator).digest())
        action.action.endorsements.append(proposal_response_pb2.Endorsement(endorser=creator, signature=signature))
    message.actions[0].payload = action.SerializeToString()
    payload.data = message.SerializeToString()
    envelope.payload = payload.SerializeToString()
    return envelope.SerializeToString()


DECLINING = PriceSchedule.of((999_000, 10_000), (1_000_000, 20_000))
"""A schedule that pays for nothing that the play's models reach."""


async def below_threshold(play: Play) -> Ended:
    """A model below the schedule's first point is declined, and its score is to be found nowhere."""
    stage = play.stage
    developer, operator = stage.cast.developers[1], stage.cast.operators[1]
    had = await balance(developer)
    task, sale, operation = await _claimed(play, DECLINING)
    with stage.acts.act("the enclave compares and says no more than that"):
        signed = await swap.benchmark(stage, sale, operation)
        require(signed.outcome is Outcome.DECLINED and signed.result.score == 0, "the report tells more than declined")
        await swap.report(stage, sale, operation, signed)
    await require_state(stage, sale, OfferState.DECLINED)
    view = await stage.cast.provider.market.tasks.get(task)
    fee = view.task.terms.benchmark_fee
    require(await balance(developer) == had - fee, "the developer pays the benchmark fee and nothing else")
    require(operation.operator is operator, "the fee goes to the operator that claimed")
    with stage.acts.act("the score is searched for in every transaction, block, event and log"):
        provider = stage.cast.provider.market
        score = (await evaluate(provider, stage.home, stage.stores, task, sale.model.read_bytes())).exact
        require(bool(await _search(stage, [DECLINING.points[0].score])), "the search finds nothing at all")
        places = await _search(stage, [score, score - score % view.task.eta])
        require(not places, f"the declined score stands in {', '.join(places)}")
    stage.acts.note("it stands nowhere")
    return [(sale, None)]


async def _search(stage: Stage, numbers: Sequence[int]) -> list[str]:
    """Where one of some numbers is written: by itself, not as digits inside a longer number or a digest."""
    digits = "|".join(str(number) for number in numbers).encode()
    wanted = re.compile(rb"(?<![0-9a-fA-F])(?:" + digits + rb")(?![0-9a-fA-F])")
    network = stage.cast.provider.market.network
    async with network.fetch_blocks(0, await network.height() - 1) as blocks:
        places = [f"block {one.header.number}" async for one in blocks if wanted.search(one.SerializeToString())]
    logs = [path for path in stage.home.logs.rglob("*") if path.is_file()]
    return places + [path.name for path in logs if wanted.search(path.read_bytes())]


async def copied_offer(play: Play) -> Ended:
    """Another developer sends an offer's ciphertext and envelopes as its own: the enclave says failed."""
    stage = play.stage
    owner, copier = stage.cast.developers[1], stage.cast.developers[0]
    with stage.acts.act("a model is offered"):
        task = await swap.open_task(stage, play.dataset, slots=2)
        sale = await swap.offer(stage, task, owner, play.model)
    had = await balance(copier)
    with stage.acts.act("another developer sends the same ciphertext, commitments and envelopes as its own"):
        copied = await _copy(stage, sale, copier)
        await swap.receipt(stage, copied)
        operation = await swap.claim(stage, copied, stage.operation_for(owner))
        state = await swap.report(stage, copied, operation, await swap.benchmark(stage, copied, operation))
    require(state == OfferState.FAILED, f"the copy ended {state}")
    fee = (await stage.cast.provider.market.tasks.get(task)).task.terms.benchmark_fee
    require(await balance(copier) == had - fee, "the copier loses the benchmark fee and nothing else")
    with stage.acts.act("the true offer goes its way"):
        await swap.receipt(stage, sale)
        operation = await swap.claim(stage, sale)
        await swap.report(stage, sale, operation, await swap.benchmark(stage, sale, operation))
    return [(copied, None), (sale, await _settle(play, task, sale))]


async def _copy(stage: Stage, sale: Sale, copier: Actor) -> Sale:
    view = await swap.view(stage, sale)
    command = selling.load(stage.home, sale.offer).command
    own = stage.stores.of(copier.organization.msp_id)
    source = stage.stores.of(sale.developer.organization.msp_id)
    for digest in (view.order.ciphertext, *(one.digest for one in view.envelopes)):
        own.put_bytes(source.read(digest))
    copy = replace(command, payout=copier.account)
    task = await copier.market.tasks.get(command.task)
    copied = Sale(copier, copy.order(task.task, copier.account).offer_id, sale.model)
    await swap.keep(stage, copied, (await copier.market.offers.submit(copy)).committed)
    return copied


SCENARIOS: dict[str, Scenario] = {
    "no-reveal": Scenario("a developer stops after the lock: forfeited", no_reveal),
    "tampered-report": Scenario("the host changes the score: refused, then the true report settles", tampered_report),
    "wrong-model": Scenario("the stored ciphertext is not the one offered: no receipt, expired", wrong_model),
    "oracle-abuse": Scenario("a host asks the enclave without a valid ticket: nothing is signed", oracle_abuse),
    "below-threshold": Scenario("too low a score is declined and stands nowhere", below_threshold, DECLINING),
    "copied-offer": Scenario("another developer sends the offer as its own: failed", copied_offer),
}
