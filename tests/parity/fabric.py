"""Steps as the chaincode's commands: what is common to the ledger in memory and to a network.

`FabricLedger` knows under every name the id that the ledger gave it, builds the command that a client would send, and
signs reports as an enclave would. A subclass sends, and reads records back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from goldengrain.chaincode.market.records import ClaimRecord, OfferRecord, SlotRecord, TaskStatusRecord
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import digests, pricing
from goldengrain.chaincode.protocol.coins import Coin, choose
from goldengrain.chaincode.protocol.errors import ContractError, PaymentShort
from goldengrain.chaincode.protocol.offer import EnvelopeDigest, Order
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.report import Outcome as Found
from goldengrain.chaincode.protocol.report import Report, Result
from goldengrain.chaincode.protocol.requests import Command
from goldengrain.chaincode.protocol.task import (
    Award,
    BenchmarkSpec,
    DatasetDigests,
    Metric,
    ModelInterface,
    ModelLimits,
    PriceSchedule,
    Task,
    Tensor,
    TensorType,
)
from goldengrain.chaincode.protocol.threshold import threshold
from goldengrain.chaincode.protocol.ticket import Ticket
from tests.parity import objects
from tests.parity.ledger import ACCOUNTS, CHUNK, ENCLAVES, SAMPLES, SIZE, TREASURY, Outcome, Step
from tests.parity.tampering import Signing

NO_SIGNATURE = bytes(64) + b"\x1b"


class Sent(NamedTuple):
    """An accepted command: its transaction's id and what it answered."""

    transaction: str
    answer: dict[str, Any]


@dataclass
class Names:
    """What was made under which name."""

    tasks: dict[str, Task] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    proposals: dict[str, str] = field(default_factory=dict)
    ids: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def add_task(self, name: str, task: Task) -> None:
        self.tasks[name], self.ids["task", name] = task, task.id

    def add_offer(self, name: str, order: Order) -> None:
        self.orders[name], self.ids["offer", name] = order, order.offer_id

    def task(self, name: str) -> bytes:
        """A task's id, or one that no task has."""
        return self.ids.get(("task", name)) or objects.word(f"no task {name}")

    def offer(self, name: str) -> bytes:
        """An offer's id, or one that no offer has."""
        return self.ids.get(("offer", name)) or objects.word(f"no offer {name}")

    def task_of(self, order: Order) -> Task:
        """The task of an order."""
        return next(self.tasks[name] for name in self.tasks if self.task(name) == order.task)

    def proposal(self, name: str) -> str:
        """A proposal's id, or one that no proposal has."""
        return self.proposals.get(name) or objects.word(f"no proposal {name}").hex()


def spec(seed: int) -> BenchmarkSpec:
    """The benchmark of every task."""
    interface = ModelInterface(Tensor("in", TensorType.FLOAT32, (0, 64)), Tensor("out", TensorType.FLOAT32, (0, 10)))
    return BenchmarkSpec(Metric.ACCURACY, False, SAMPLES, interface, ModelLimits(1 << 20, 100, 1 << 30, 1 << 30), seed)


def envelopes(some: list[str], of: Callable[[str], bytes]) -> tuple[EnvelopeDigest, ...]:
    """Envelopes for enclaves."""
    return tuple(EnvelopeDigest(objects.enclave_id(one), of(one)) for one in some)


class FabricLedger(ABC):
    """A ledger of the chaincode's; see `ledger.Ledger`."""

    channel: str
    contract: str

    def __init__(self) -> None:
        self.names = Names()
        self.base = 0
        """Ledger time in seconds since 1970 that steps count from."""

    # what a subclass does

    @abstractmethod
    def account(self, name: str) -> bytes:
        """An account's id."""

    @abstractmethod
    def submit(self, sender: str, command: Command, at: int) -> Sent:
        """Send a command at a time (seconds since 1970); raises the contract's refusal."""

    @abstractmethod
    def wallet(self, account: bytes) -> list[Coin]:
        """An account's coins."""

    @abstractmethod
    def policy(self) -> Policy:
        """The policy in force."""

    @abstractmethod
    def offer_record(self, offer: bytes) -> OfferRecord | None: ...

    @abstractmethod
    def claim_record(self, offer: bytes, number: int) -> ClaimRecord | None: ...

    @abstractmethod
    def slot_record(self, task: bytes, index: int) -> SlotRecord | None: ...

    @abstractmethod
    def status_record(self, task: bytes) -> TaskStatusRecord | None: ...

    @abstractmethod
    def register(self, enclave: str, sender: str, at: int) -> None:
        """Challenge an operator, and register its enclave with a fresh quote."""

    # questions

    def state(self, offer: str) -> str | None:
        record = self.offer_record(self.names.offer(offer))
        return None if record is None else str(record.state)

    def price(self, offer: str) -> int | None:
        record = self.offer_record(self.names.offer(offer))
        return None if record is None or record.lock is None else record.lock.price

    def slot(self, task: str, index: int) -> str | None:
        record = self.slot_record(self.names.task(task), index)
        return None if record is None else str(record.state)

    def dataset(self, task: str) -> str | None:
        record = self.status_record(self.names.task(task))
        return None if record is None else str(record.dataset)

    def total(self, account: str) -> int:
        owner = digests.TREASURY if account == TREASURY else self.account(account)
        return sum(coin.amount for coin in self.wallet(owner))

    # steps

    def run(self, step: Step) -> Outcome:
        try:
            COMMANDS[step.command](self, step, self.base + step.at)
        except ContractError as refusal:
            if type(refusal) is ContractError:
                raise
            return Outcome(refusal.code)
        return Outcome()

    def _coins(self, step: Step, due: int) -> tuple[str, ...]:
        """Coins for what is due; all of an account's where it owns less (the 16 largest)."""
        if step["pay"] == "nothing":
            return ()
        wallet = self.wallet(self.account(step.sender))
        try:
            return tuple(coin.id for coin in choose(wallet, due))
        except PaymentShort:
            return tuple(coin.id for coin in sorted(wallet, key=lambda coin: -coin.amount)[:16])

    def _open_task(self, step: Step, at: int) -> None:
        policy = self.policy()
        command = c.OpenTask(
            provider_key=objects.provider_key(),
            spec=spec(step["seed"]),
            dataset=DatasetDigests(
                objects.DATASET_CIPHERTEXT, objects.DATASET_PLAINTEXT, digests.sha256(objects.dataset_key())
            ),
            dataset_envelopes=envelopes(step["sealed_to"], objects.dataset_envelope),
            schedule=PriceSchedule.of(*((score, amount) for score, amount in step["schedule"])),
            award=Award(step["award"]),
            slots=step["slots"],
            last_offer=self.base + step["S"],
            last_report=self.base + step["B"],
            last_opening=self.base + step["A"],
            reveal=step["reveal"],
            eta=step["eta"],
            attempts=step["attempts"],
            enclaves=step["enclaves"],
            coins=(),
        )
        budget = command.slots * command.schedule.top_price
        command = replace(command, coins=self._coins(step, budget + pricing.share_up(budget, policy.audit_bond)))
        self.submit(step.sender, command, at)
        task = command.task(self.channel, self.contract, self.account(step.sender), policy)
        self.names.add_task(step["task"], task)

    def _shut_task(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.ShutTask(self.names.task(step["task"])), at)

    def _refund_slot(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.RefundSlot(self.names.task(step["task"]), step["slot"]), at)

    def _open_dataset(self, step: Step, at: int) -> None:
        key = objects.dataset_key(step["key"] == "right")
        self.submit(step.sender, c.OpenDataset(self.names.task(step["task"]), key), at)

    def _slash_audit(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.SlashAudit(self.names.task(step["task"])), at)

    def _submit_offer(self, step: Step, at: int) -> None:
        name, task = step["offer"], self.names.tasks.get(step["task"])
        least = task.minimum_bond if task is not None else 0
        bond = least if step["bond"] == "least" else step["bond"]
        payout = step.sender if step["payout"] == "sender" else step["payout"]
        command = c.SubmitOffer(
            task=self.names.task(step["task"]),
            payout=self.account(payout),
            attempt=step["attempt"],
            ciphertext=objects.ciphertext(name),
            size=SIZE,
            chunk_size=CHUNK,
            key_check=objects.key_check(name),
            secret_hash=objects.secret_hash(name),
            reserve=step["reserve"],
            bond=bond,
            envelopes=envelopes(step["sealed_to"], lambda enclave: objects.model_envelope(name, enclave)),
            coins=self._coins(step, bond + (task.benchmark_fee if task is not None else 0)),
            provider_may_operate=step["provider_may_operate"],
        )
        self.submit(step.sender, command, at)
        assert task is not None
        self.names.add_offer(name, command.order(task, self.account(step.sender)))

    def _withdraw_offer(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.WithdrawOffer(self.names.offer(step["offer"])), at)

    def _rewrap(self, step: Step, at: int) -> None:
        name = step["offer"]
        more = envelopes(step["sealed_to"], lambda enclave: objects.model_envelope(name, enclave))
        self.submit(step.sender, c.Rewrap(self.names.offer(name), more), at)

    def _receipt(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.Receipt(self.names.offer(step["offer"])), at)

    def _claim(self, step: Step, at: int) -> None:
        order = self.names.orders.get(step["offer"])
        task = self.names.task_of(order) if order is not None else None
        coins = self._coins(step, task.terms.deposit if task is not None else 0)
        enclave = objects.enclave_id(step["enclave"])
        command = c.Claim(self.names.offer(step["offer"]), enclave, step["lease"], coins, step["slot"])
        self.submit(step.sender, command, at)

    def _submit_report(self, step: Step, at: int) -> None:
        outcome = Found(step["outcome"])
        offer, number = self.names.offer(step["offer"]), step["claim"]
        record = self.claim_record(offer, number)
        enclave = next((one for one in ENCLAVES if record and objects.enclave_id(one) == record.claim.enclave), "E1a")
        if outcome is Found.PASS:
            locked = objects.locked(step["offer"], enclave)
            result = Result(outcome, step["score"], locked, objects.model(step["offer"]))
        else:
            result = Result(outcome)
        signing = Signing(result, enclave, NO_SIGNATURE)
        if record is not None:
            signing = self._signed(step, record, result, enclave)
        sent = signing.result
        command = c.SubmitReport(offer, number, sent.outcome, signing.signature, sent.score, sent.locked, sent.model)
        self.submit(step.sender, command, at)

    def _signed(self, step: Step, record: ClaimRecord, result: Result, enclave: str) -> Signing:
        order = self.names.orders[step["offer"]]
        task = self.names.task_of(order)
        best = self.best_passed(order)
        ticket = Ticket.of(
            order, record.claim, objects.BUNDLE, threshold(task.schedule.pairs, task.eta, best, order.reserve)
        )
        return Signing.of(Report.of(task, order, ticket, result), ticket, enclave, step["tamper"], task.eta)

    def best_passed(self, order: Order) -> int | None:
        """The best score that passed of the organisation in the task, from its offers."""
        mine = self._organization(order.developer)
        scores = []
        for name, other in self.names.orders.items():
            if other.task == order.task and self._organization(other.developer) == mine:
                record = self.offer_record(self.names.offer(name))
                if record is not None and record.lock is not None:
                    scores.append(record.lock.score)
        return max(scores, default=None)

    def _organization(self, account: bytes) -> str:
        return next(one.organization for one in ACCOUNTS.values() if self.account(one.name) == account)

    def _lapse(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.Lapse(self.names.offer(step["offer"]), step["claim"]), at)

    def _expire(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.Expire(self.names.offer(step["offer"])), at)

    def _award_offer(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.AwardOffer(self.names.offer(step["offer"])), at)

    def _reveal(self, step: Step, at: int) -> None:
        secret = objects.secret(step["offer"], step["secret"] == "right")
        self.submit(step.sender, c.Reveal(self.names.offer(step["offer"]), secret), at)

    def _forfeit(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.Forfeit(self.names.offer(step["offer"])), at)

    def _acknowledge(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.Acknowledge(self.names.offer(step["offer"])), at)

    def _propose(self, step: Step, at: int) -> None:
        if step["revoke"] is not None:
            command = c.Propose(c.Action.REVOKE, revoke=objects.enclave_id(step["revoke"]))
        else:
            policy, changes = self.policy(), dict(step["policy"])
            if "operators" in changes:
                changes["operators"] = tuple(sorted(self.account(one) for one in changes["operators"]))
            command = c.Propose(c.Action.POLICY, policy=replace(policy, number=policy.number + 1, **changes))
        self.names.proposals[step["proposal"]] = self.submit(step.sender, command, at).transaction

    def _vote(self, step: Step, at: int) -> None:
        self.submit(step.sender, c.Vote(self.names.proposal(step["proposal"])), at)

    def _register_enclave(self, step: Step, at: int) -> None:
        self.register(step["enclave"], step.sender, at)


COMMANDS: dict[str, Callable[[FabricLedger, Step, int], None]] = {
    "OpenTask": FabricLedger._open_task,
    "ShutTask": FabricLedger._shut_task,
    "RefundSlot": FabricLedger._refund_slot,
    "OpenDataset": FabricLedger._open_dataset,
    "SlashAudit": FabricLedger._slash_audit,
    "SubmitOffer": FabricLedger._submit_offer,
    "WithdrawOffer": FabricLedger._withdraw_offer,
    "Rewrap": FabricLedger._rewrap,
    "Receipt": FabricLedger._receipt,
    "Claim": FabricLedger._claim,
    "SubmitReport": FabricLedger._submit_report,
    "Lapse": FabricLedger._lapse,
    "Expire": FabricLedger._expire,
    "AwardOffer": FabricLedger._award_offer,
    "Reveal": FabricLedger._reveal,
    "Forfeit": FabricLedger._forfeit,
    "Acknowledge": FabricLedger._acknowledge,
    "Propose": FabricLedger._propose,
    "Vote": FabricLedger._vote,
    "RegisterEnclave": FabricLedger._register_enclave,
}
"""How each command of `ledger.ARGUMENTS` is sent."""
