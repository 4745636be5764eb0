"""Section 6 walked for tasks that want two and three enclaves: every command, with every number of open claims and held
reports, by every role, at both edges of every time.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from _pytest.mark.structures import ParameterSet

from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.errors import (
    AlreadyReported,
    ClaimsFull,
    ContractError,
    DeveloperRequired,
    OperatorRequired,
    TooEarly,
    TooLate,
)
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.requests import Command
from goldengrain.chaincode.protocol.tables import OFFER_COMMANDS, OfferState, offer_refusal, offer_rules
from goldengrain.chaincode.protocol.task import Award
from tests.chaincode.market.test_tables import GUARD, SENDER
from tests.chaincode.market.world import (
    ADMINS,
    DEVELOPER,
    NOBODY,
    OPERATOR2,
    PROVIDER,
    STORE,
    STRANGER,
    TestEnclave,
    World,
)

S = OfferState


@dataclass(frozen=True)
class Stage:
    """How far an offer is: it wants `enclaves` reports; `reported` are held, `open_` claims run."""

    award: Award
    enclaves: int
    reported: int
    open_: int

    def __str__(self) -> str:
        return f"{self.award}-{self.enclaves}-{self.reported}-{self.open_}"

    @property
    def full(self) -> bool:
        return self.reported + self.open_ == self.enclaves


ALL_STAGES = [
    Stage(award, enclaves, reported, open_)
    for award in Award
    for enclaves in (2, 3)
    for reported in range(enclaves)
    for open_ in range(enclaves - reported + 1)
    if reported + open_ > 0
]


def stages(*chosen: Stage) -> list[ParameterSet]:
    """Stages as parameters: the simplest tasks in the first tier, the others in the second."""
    first = [one.award is Award.EACH and one.enclaves == 2 for one in chosen]
    marks: list[tuple[pytest.MarkDecorator, ...]] = [() if plain else (pytest.mark.check,) for plain in first]
    return [pytest.param(one, marks=mark, id=str(one)) for one, mark in zip(chosen, marks, strict=True)]


STAGES = stages(*ALL_STAGES)
CLAIMED_COMMANDS = [name for name in OFFER_COMMANDS if offer_rules(name, S.CLAIMED)]


@dataclass
class Scene:
    """A world with an offer at a stage."""

    world: World
    stage: Stage
    members: tuple[TestEnclave, ...]
    task: bytes
    offer: bytes

    @classmethod
    def at(cls, world: World, stage: Stage) -> Scene:
        members = world.team(stage.enclaves)
        task = world.open_for(members, award=stage.award)
        offer = world.stored(task, sealed_to=members)
        scene = cls(world, stage, members, task, offer)
        for number in range(1, stage.reported + stage.open_ + 1):
            scene.claim(number)
        for number in range(1, stage.reported + 1):
            world.reported(offer, one=members[number - 1], claim=number)
        return scene

    def claim(self, number: int) -> None:
        slot = 0 if self.stage.award is Award.EACH and number == 1 else None
        self.world.claim(self.offer, self.members[number - 1], slot=slot)

    @property
    def next_claim(self) -> int:
        """Number of the first open claim; where none is open, of the last that reported."""
        return self.stage.reported + 1 if self.stage.open_ else self.stage.reported

    def command(self, name: str) -> Command:
        if name == "Claim":
            free = self.stage.reported + self.stage.open_
            one = self.members[free] if free < len(self.members) else self.world.team(len(self.members) + 1)[-1]
            return self.world.claiming(self.offer, one, slot=None)
        if name == "SubmitReport":
            if not self.stage.open_:
                return c.SubmitReport(self.offer, self.next_claim, Outcome.DECLINED, bytes(65))
            return self.world.report(self.offer, one=self.members[self.next_claim - 1], claim=self.next_claim)
        if name == "Lapse":
            return c.Lapse(self.offer, self.next_claim)
        assert name == "Expire"
        return c.Expire(self.offer)

    def move_inside(self, name: str) -> None:
        if name == "Lapse":
            self.world.at(self.lease_end + GUARD + 1)
        elif name == "Expire":
            self.world.at(self.world.terms_of(self.task).last_report + GUARD + 1)

    @property
    def lease_end(self) -> int:
        return self.world.claim_record(self.offer, self.next_claim).claim.lease_end

    def refusal(self, name: str) -> type[ContractError] | None:
        """What the stage refuses a command with."""
        if name == "Claim" and self.stage.full:
            return ClaimsFull
        if name in ("SubmitReport", "Lapse") and not self.stage.open_:
            return AlreadyReported
        return None

    def next_state(self, name: str) -> OfferState:
        last = self.stage.reported + 1 == self.stage.enclaves
        if name == "SubmitReport" and last:
            return S.LOCKED if self.stage.award is Award.EACH else S.LEADING
        if name == "Lapse" and self.stage.open_ == 1 and not self.stage.reported:
            return S.STORED
        return S.EXPIRED if name == "Expire" else S.CLAIMED


def refused(world: World, sender: Caller, wanted: Command, error: type[ContractError]) -> None:
    before = dict(world.ledger.state)
    with pytest.raises(ContractError) as refusal:
        world.send(sender, wanted)
    assert type(refusal.value) is error
    assert world.ledger.state == before


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", CLAIMED_COMMANDS)
def test_a_command_does_what_the_stage_says(world: World, name: str, stage: Stage) -> None:
    scene = Scene.at(world, stage)
    wanted, sender = scene.command(name), SENDER.get(name, STRANGER)
    error = scene.refusal(name)
    if error is not None:
        refused(world, sender, wanted, error)
        return
    scene.move_inside(name)
    world.send(sender, wanted)
    assert world.state_of(scene.offer) is scene.next_state(name)
    assert scene.next_state(name) in {after for row in offer_rules(name, S.CLAIMED) for after in row.next}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", [name for name in OFFER_COMMANDS if not offer_rules(name, S.CLAIMED)])
def test_what_is_not_for_claimed_offers_is_refused_at_every_stage(world: World, name: str, stage: Stage) -> None:
    scene = Scene.at(world, stage)
    simple = {
        "WithdrawOffer": c.WithdrawOffer(scene.offer),
        "Rewrap": None,
        "Receipt": c.Receipt(scene.offer),
        "AwardOffer": c.AwardOffer(scene.offer),
        "Reveal": c.Reveal(scene.offer, world.secret(DEVELOPER)),
        "Forfeit": c.Forfeit(scene.offer),
        "Acknowledge": c.Acknowledge(scene.offer),
    }
    wanted = simple[name]
    if wanted is None:
        further = world.team(stage.enclaves + 1)[-1]
        wanted = c.Rewrap(scene.offer, tuple(world.offering(scene.task, sealed_to=(further,)).envelopes))
    refused(world, SENDER.get(name, STRANGER), wanted, type(offer_refusal(name, S.CLAIMED)))


@pytest.mark.parametrize("stage", stages(*(one for one in ALL_STAGES if one.open_ or not one.full)))
def test_wrong_roles_are_refused_at_every_stage(world: World, stage: Stage) -> None:
    scene = Scene.at(world, stage)
    for sender in (OPERATOR2, DEVELOPER, PROVIDER, STORE, ADMINS["Org3MSP"]):
        if stage.open_:
            refused(world, sender, scene.command("SubmitReport"), OperatorRequired)
        if not stage.full:
            refused(world, sender, scene.command("Claim"), OperatorRequired)
        if sender is not DEVELOPER:
            before = dict(world.ledger.state)
            with pytest.raises(ContractError) as refusal:
                world.send(sender, c.WithdrawOffer(scene.offer))
            assert isinstance(refusal.value, DeveloperRequired)
            assert world.ledger.state == before


@pytest.mark.parametrize("stage", stages(*(one for one in ALL_STAGES if one.open_)))
@pytest.mark.parametrize("name", ["SubmitReport", "Lapse"])
def test_both_edges_of_every_lease(world: World, name: str, stage: Stage) -> None:
    scene = Scene.at(world, stage)
    wanted, sender = scene.command(name), SENDER.get(name, NOBODY)
    edge, beyond, error = (
        (scene.lease_end, scene.lease_end + 1, TooLate)
        if name == "SubmitReport"
        else (scene.lease_end + GUARD + 1, scene.lease_end + GUARD, TooEarly)
    )
    world.at(beyond)
    refused(world, sender, wanted, error)
    world.at(edge).send(sender, wanted)
    assert world.state_of(scene.offer) is scene.next_state(name)


@pytest.mark.parametrize("stage", STAGES)
def test_both_edges_of_b(world: World, stage: Stage) -> None:
    scene = Scene.at(world, stage)
    last = world.terms_of(scene.task).last_report
    world.at(last + GUARD)
    refused(world, NOBODY, c.Expire(scene.offer), TooEarly)
    world.at(last + GUARD + 1).send(NOBODY, c.Expire(scene.offer))
    assert world.state_of(scene.offer) is S.EXPIRED
