"""What a player of random sequences sees of the chaincode's ledger: offers and their claims, enclaves, deadlines."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from goldengrain.chaincode.market.records import OfferRecord
from goldengrain.chaincode.protocol.tables import OfferState, offer_rules
from goldengrain.chaincode.protocol.task import Task
from tests.parity import objects
from tests.parity.fabric import FabricLedger
from tests.parity.ledger import ACCOUNTS, ENCLAVES, OPERATORS, POLICY, SEALED_TO, Step, Value

GUARD = POLICY["guard"]


@dataclass
class Watch:
    """A ledger, dice, the time that has come, and what was made so far."""

    ledger: FabricLedger
    dice: Random
    now: int = 0
    tasks: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)
    late: bool = False
    """Whether it is time to go past a task's deadlines, after which little else happens."""

    def step(self, command: str, sender: str, **arguments: Value) -> Step:
        """A step at this time."""
        return Step(command, sender, self.now, arguments)

    def chance(self, percent: int) -> bool:
        return self.dice.randrange(100) < percent

    def record(self, offer: str) -> OfferRecord:
        found = self.ledger.offer_record(self.ledger.names.offer(offer))
        assert found is not None
        return found

    def state(self, offer: str) -> OfferState:
        return self.record(offer).state

    def task_of(self, offer: str) -> Task:
        return self.ledger.names.task_of(self.record(offer).order)

    def task_name(self, offer: str) -> str:
        task = self.record(offer).order.task
        return next(name for name in self.ledger.names.tasks if self.ledger.names.task(name) == task)

    def seconds(self, moment: int) -> int:
        """Seconds after the start."""
        return moment - self.ledger.base

    def lease_end(self, offer: str, number: int) -> int:
        found = self.ledger.claim_record(self.ledger.names.offer(offer), number)
        assert found is not None
        return self.seconds(found.claim.lease_end)

    def operator(self, offer: str, number: int) -> str:
        found = self.ledger.claim_record(self.ledger.names.offer(offer), number)
        if found is None:
            return self.dice.choice(OPERATORS)
        return next(ENCLAVES[one] for one in ENCLAVES if objects.enclave_id(one) == found.claim.enclave)

    def developer(self, offer: str) -> str:
        account = self.record(offer).order.developer
        return next(one for one in ACCOUNTS if self.ledger.account(one) == account)

    def able(self, offer: str) -> list[str]:
        """Enclaves that may still run an offer."""
        record = self.record(offer)
        return [
            one
            for one, operator in ENCLAVES.items()
            if ACCOUNTS[operator].organization != record.developer_msp
            and objects.enclave_id(one) not in record.claimed_by
            and objects.enclave_id(one) in [envelope.enclave for envelope in record.envelopes]
            and (record.provider_may_operate or ACCOUNTS[operator].organization != "Org1MSP")
        ] or list(SEALED_TO)

    def wanted(self, offer: str) -> bool:
        record = self.record(offer)
        return len(record.open_claims) + len(record.reported_claims) < record.enclaves

    def an_offer(self, command: str) -> str:
        """An offer in a state for the command four times in five, else any, or one that isn't there."""
        if not self.offers or self.chance(1):
            return "nobody's"
        fit = [one for one in self.offers if offer_rules(command, self.state(one))]
        return self.dice.choice(fit if fit and self.chance(80) else self.offers)

    def a_task(self) -> str:
        return "nobody's" if self.chance(1) else self.dice.choice(self.tasks or ["nobody's"])

    def terms(self, task: str) -> Task | None:
        return self.ledger.names.tasks.get(task)

    # time

    def move_to(self, moment: int) -> None:
        self.now = max(self.now, moment)
