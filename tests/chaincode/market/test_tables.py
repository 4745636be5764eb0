"""The tables of sections 6 and 7, walked: every command in every state, by every role, at both edges of every time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.errors import (
    AlreadyStored,
    ClaimsFull,
    ClientRequired,
    ContractError,
    DeveloperRequired,
    OfferClosed,
    OperatorRequired,
    ProviderRequired,
    TooEarly,
    TooLate,
)
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.requests import Command
from goldengrain.chaincode.protocol.tables import OFFER_COMMANDS, OfferState, Party, offer_refusal, offer_rules
from goldengrain.chaincode.protocol.task import Award
from tests.chaincode.market.world import (
    ADMINS,
    DEVELOPER,
    NOBODY,
    OPERATOR2,
    OPERATOR3,
    OTHER_DEVELOPER,
    PEER,
    PROVIDER,
    STORE,
    STRANGER,
    World,
    enclave,
    enclave3,
    word,
)

S = OfferState
GUARD = 300


def _settled(world: World, task: bytes) -> bytes:
    offer = world.locked(task)
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    return offer


def _withdrawn(world: World, task: bytes) -> bytes:
    offer = world.offer(task)
    world.send(DEVELOPER, c.WithdrawOffer(offer))
    return offer


def _reported(outcome: Outcome) -> Callable[[World, bytes], bytes]:
    def build(world: World, task: bytes) -> bytes:
        offer = world.claimed(task)
        world.reported(offer, outcome)
        return offer

    return build


def _expired(world: World, task: bytes) -> bytes:
    offer = world.offer(task)
    world.at(world.terms_of(task).last_report + GUARD + 1).send(STRANGER, c.Expire(offer))
    return offer


def _forfeited(world: World, task: bytes) -> bytes:
    offer = world.locked(task)
    world.at(_deadline(world, offer) + GUARD + 1).send(STRANGER, c.Forfeit(offer))
    return offer


def _outbid(world: World, task: bytes) -> bytes:
    for index in range(world.terms_of(task).slots):
        world.leading(task, OTHER_DEVELOPER, score=800_000 + 100 * index, attempt=index + 1)
    return world.leading(task, score=750_000)


def _displaced(world: World, task: bytes) -> bytes:
    offer = world.leading(task)
    for index in range(world.terms_of(task).slots):
        world.leading(task, OTHER_DEVELOPER, score=800_000 + 100 * index, attempt=index + 1)
    return offer


def _awarded(world: World, task: bytes, state: OfferState) -> bytes:
    offer = world.leading(task)
    world.at(world.terms_of(task).last_report + GUARD + 1).send(STRANGER, c.AwardOffer(offer))
    if state is S.SETTLED:
        world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    elif state is S.FORFEITED:
        world.at(_deadline(world, offer) + GUARD + 1).send(STRANGER, c.Forfeit(offer))
    return offer


def _deadline(world: World, offer: bytes) -> int:
    lock = world.offer_record(offer).lock
    assert lock is not None
    assert lock.deadline is not None
    return lock.deadline


BUILDERS: dict[OfferState, Callable[[World, bytes], bytes]] = {
    S.OFFERED: lambda world, task: world.offer(task),
    S.STORED: lambda world, task: world.stored(task),
    S.CLAIMED: lambda world, task: world.claimed(task),
    S.LOCKED: lambda world, task: world.locked(task),
    S.SETTLED: _settled,
    S.WITHDRAWN: _withdrawn,
    S.DECLINED: _reported(Outcome.DECLINED),
    S.FAILED: _reported(Outcome.FAILED),
    S.VOID: _reported(Outcome.UNUSABLE),
    S.EXPIRED: _expired,
    S.FORFEITED: _forfeited,
    S.LEADING: lambda world, task: world.leading(task),
    S.OUTBID: _outbid,
    S.DISPLACED: _displaced,
}
"""How each state is reached; the last three in a task of the award `best`."""

BEST = (S.LEADING, S.OUTBID, S.DISPLACED)
COMPETING = (S.OFFERED, S.STORED, S.CLAIMED, S.LOCKED, S.SETTLED, S.FORFEITED)
"""States that offers of both awards have; `best` gets to the last three by an award."""


def build(world: World, state: OfferState, award: Award = Award.EACH) -> tuple[bytes, bytes]:
    """A task of an award, and an offer for it in a state."""
    if state in BEST:
        award = Award.BEST
    task = world.open_task(award=award)
    if award is Award.BEST and state in (S.LOCKED, S.SETTLED, S.FORFEITED):
        return task, _awarded(world, task, state)
    return task, BUILDERS[state](world, task)


def command(name: str, world: World, offer: bytes) -> Command:
    """A command that is right in everything but, perhaps, who, when and the offer's state."""
    if name == "Claim":
        best = world.terms_of(world.offer_record(offer).order.task).award is Award.BEST
        return world.claiming(offer, enclave3(), slot=None if best else 1)
    if name == "SubmitReport":
        if world.state_of(offer) is S.CLAIMED:
            return world.report(offer)
        return c.SubmitReport(offer, 1, Outcome.DECLINED, bytes(65))
    if name == "Reveal":
        return c.Reveal(offer, world.secret(DEVELOPER))
    if name == "Lapse":
        return c.Lapse(offer, 1)
    if name == "Rewrap":
        third = enclave("a further enclave of Org2", OPERATOR2)
        world.register(third)
        return c.Rewrap(offer, (EnvelopeDigest(third.id, word("model for a further enclave")),))
    simple: dict[str, type[Command]] = {
        "WithdrawOffer": c.WithdrawOffer,
        "Receipt": c.Receipt,
        "Expire": c.Expire,
        "AwardOffer": c.AwardOffer,
        "Forfeit": c.Forfeit,
        "Acknowledge": c.Acknowledge,
    }
    return simple[name](offer)  # type: ignore[call-arg]


def move_inside(name: str, world: World, task: bytes, offer: bytes) -> None:
    """Move time to where the command's window is open."""
    if name == "Lapse":
        world.at(world.claim_record(offer).claim.lease_end + GUARD + 1)
    elif name in ("Expire", "AwardOffer"):
        world.at(world.terms_of(task).last_report + GUARD + 1)
    elif name == "Forfeit":
        world.at(_deadline(world, offer) + GUARD + 1)


RIGHT: dict[Party, Caller] = {
    Party.ANYONE: STRANGER,
    Party.PROVIDER: PROVIDER,
    Party.PROVIDER_ORGANIZATION: STORE,
    Party.DEVELOPER: DEVELOPER,
    Party.OPERATOR: OPERATOR3,
    Party.CLAIM_OPERATOR: OPERATOR3,
}

SENDER: dict[str, Caller] = {
    "WithdrawOffer": DEVELOPER,
    "Rewrap": DEVELOPER,
    "Receipt": STORE,
    "Claim": OPERATOR3,
    "SubmitReport": OPERATOR3,
    "Acknowledge": PROVIDER,
}
"""Who is asked to send a command in a wrong state: who may in the right one."""


@pytest.mark.parametrize("name", OFFER_COMMANDS)
@pytest.mark.parametrize(
    ("award", "state"), [*((Award.EACH, one) for one in BUILDERS), *((Award.BEST, one) for one in COMPETING)]
)
def test_a_command_stands_exactly_in_the_states_of_the_table(
    world: World, name: str, award: Award, state: OfferState
) -> None:
    task, offer = build(world, state, award)
    full = name == "Claim" and state is S.CLAIMED  # a second claim is for tasks that want several enclaves
    rows = () if full else offer_rules(name, state)
    if not rows:
        wanted = command(name, world, offer)
        before = dict(world.ledger.state)
        expected = ClaimsFull("") if full else offer_refusal(name, state)
        with pytest.raises(type(expected)) as refusal:
            world.send(SENDER.get(name, STRANGER), wanted)
        assert type(refusal.value) is type(expected)
        assert world.ledger.state == before
        return
    move_inside(name, world, task, offer)
    sender = RIGHT[rows[0].party]
    if name == "Receipt" and state is S.STORED:
        sender = OTHER_DEVELOPER  # a further storer
    world.send(sender, command(name, world, offer))
    assert world.state_of(offer) in [after for row in rows for after in row.next]


WRONG_ROLES: list[tuple[str, OfferState, Caller, type[ContractError]]] = [
    ("WithdrawOffer", S.OFFERED, OTHER_DEVELOPER, DeveloperRequired),
    ("WithdrawOffer", S.OFFERED, PROVIDER, DeveloperRequired),
    ("WithdrawOffer", S.OFFERED, OPERATOR2, DeveloperRequired),
    ("Rewrap", S.STORED, OPERATOR2, DeveloperRequired),
    ("Rewrap", S.OFFERED, PROVIDER, DeveloperRequired),
    ("Receipt", S.OFFERED, PEER, ClientRequired),
    ("Receipt", S.OFFERED, NOBODY, ClientRequired),
    ("Claim", S.STORED, OPERATOR2, OperatorRequired),
    ("Claim", S.STORED, DEVELOPER, OperatorRequired),
    ("Claim", S.STORED, ADMINS["Org3MSP"], OperatorRequired),
    ("Claim", S.STORED, PEER, ClientRequired),
    ("SubmitReport", S.CLAIMED, OPERATOR2, OperatorRequired),
    ("SubmitReport", S.CLAIMED, DEVELOPER, OperatorRequired),
    ("Acknowledge", S.SETTLED, STORE, ProviderRequired),
    ("Acknowledge", S.SETTLED, DEVELOPER, ProviderRequired),
]


@pytest.mark.parametrize(("name", "state", "sender", "error"), WRONG_ROLES)
def test_the_wrong_party_is_refused_by_name_and_nothing_changes(
    world: World, name: str, state: OfferState, sender: Caller, error: type[ContractError]
) -> None:
    task, offer = build(world, state)
    move_inside(name, world, task, offer)
    wanted = command(name, world, offer)
    before = dict(world.ledger.state)
    with pytest.raises(error):
        world.send(sender, wanted)
    assert world.ledger.state == before


ANYBODY = [STRANGER, PEER, NOBODY, PROVIDER, DEVELOPER, OPERATOR2, ADMINS["Org3MSP"]]


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("Lapse", S.CLAIMED),
        ("Expire", S.STORED),
        ("AwardOffer", S.LEADING),
        ("Reveal", S.LOCKED),
        ("Forfeit", S.LOCKED),
    ],
)
@pytest.mark.parametrize("sender", ANYBODY, ids=range(len(ANYBODY)))
def test_each_way_out_is_open_to_anybody(world: World, name: str, state: OfferState, sender: Caller) -> None:
    task, offer = build(world, state)
    move_inside(name, world, task, offer)
    world.send(sender, command(name, world, offer))


def edges_of_offer(name: str, world: World, task: bytes, offer: bytes) -> tuple[int, type[ContractError]]:
    """The last second in which one side may act, or the first for the other, and what comes beyond."""
    terms = world.terms_of(task)
    if name in ("Lapse", "SubmitReport"):
        lease_end = world.claim_record(offer).claim.lease_end
        return (lease_end + GUARD + 1, TooEarly) if name == "Lapse" else (lease_end, TooLate)
    if name in ("Expire", "AwardOffer"):
        return terms.last_report + GUARD + 1, TooEarly
    deadline = _deadline(world, offer)
    return (deadline, TooLate) if name == "Reveal" else (deadline + GUARD + 1, TooEarly)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("Lapse", S.CLAIMED),
        ("SubmitReport", S.CLAIMED),
        ("Expire", S.OFFERED),
        ("Expire", S.STORED),
        ("Expire", S.CLAIMED),
        ("AwardOffer", S.LEADING),
        ("Reveal", S.LOCKED),
        ("Forfeit", S.LOCKED),
    ],
)
def test_both_edges_of_an_offers_times(world: World, name: str, state: OfferState) -> None:
    task, offer = build(world, state)
    wanted = command(name, world, offer)
    edge, error = edges_of_offer(name, world, task, offer)
    beyond = edge - 1 if error is TooEarly else edge + 1
    sender = SENDER.get(name, STRANGER)
    before = dict(world.ledger.state)
    with pytest.raises(error):
        world.at(beyond).send(sender, wanted)
    assert world.ledger.state == before
    world.at(edge).send(sender, wanted)


def test_both_edges_of_s(world: World, task: bytes) -> None:
    last = world.terms_of(task).last_offer
    wanted = world.offering(task)
    with pytest.raises(TooLate):
        world.at(last + 1).send(DEVELOPER, wanted)
    world.at(last).send(DEVELOPER, wanted)


TASK_EDGES: list[tuple[Callable[[bytes], Command], Caller, str, int, type[ContractError]]] = [
    (c.ShutTask, PROVIDER, "last_offer", 0, TooLate),
    (lambda task: c.RefundSlot(task, 0), STRANGER, "last_report", GUARD + 1, TooEarly),
    (lambda task: c.OpenDataset(task, word("dataset key")), PROVIDER, "last_report", GUARD + 1, TooEarly),
    (lambda task: c.OpenDataset(task, word("dataset key")), PROVIDER, "last_opening", 0, TooLate),
    (c.SlashAudit, STRANGER, "last_opening", GUARD + 1, TooEarly),
]


@pytest.mark.parametrize(("make", "sender", "deadline", "after", "error"), TASK_EDGES, ids=range(len(TASK_EDGES)))
def test_both_edges_of_a_tasks_times(
    world: World,
    task: bytes,
    make: Callable[[bytes], Command],
    sender: Caller,
    deadline: str,
    after: int,
    error: type[ContractError],
) -> None:
    edge = int(getattr(world.terms_of(task), deadline)) + after
    with pytest.raises(error):
        world.at(edge - 1 if error is TooEarly else edge + 1).send(sender, make(task))
    world.at(edge).send(sender, make(task))


@pytest.mark.parametrize("make", [c.ShutTask, lambda task: c.OpenDataset(task, word("dataset key"))])
@pytest.mark.parametrize("sender", [STORE, DEVELOPER, ADMINS["Org1MSP"]], ids=["store", "developer", "admin"])
def test_only_the_provider_shuts_a_task_and_opens_its_test_set(
    world: World, task: bytes, make: Callable[[bytes], Command], sender: Caller
) -> None:
    with pytest.raises(ProviderRequired):
        world.at(world.terms_of(task).last_report + GUARD + 1).send(sender, make(task))


def test_the_guard_keeps_opposing_actions_apart(world: World, task: bytes) -> None:
    offer = world.locked(task)
    deadline = _deadline(world, offer)
    for moment in (deadline + 1, deadline + GUARD):
        with pytest.raises(TooLate):
            world.at(moment).send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
        with pytest.raises(TooEarly):
            world.send(PROVIDER, c.Forfeit(offer))


def test_a_receipt_and_an_acknowledgement_are_given_once(world: World, task: bytes) -> None:
    offer = world.stored(task)
    with pytest.raises(AlreadyStored):
        world.send(STORE, c.Receipt(offer))
    world = World.founded()
    offer = _settled(world, world.open_task())
    world.send(PROVIDER, c.Acknowledge(offer))
    with pytest.raises(OfferClosed):
        world.send(PROVIDER, c.Acknowledge(offer))
