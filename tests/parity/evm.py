"""The market of `contracts/market.vy` as a `Ledger`: steps become transactions, questions read the contract's words.

What `Step` names, this ledger knows by what it stands for here: accounts are addresses, organisations their numbers, an
enclave's claim is named by the enclave, since an enclave claims an offer once. Whoever is to pay and has left money
with the market pulls it first, so that what an account owns is its own again, as coins are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from goldengrain.chaincode.protocol import digests, signatures
from goldengrain.chaincode.protocol.errors import ContractError
from goldengrain.chaincode.protocol.report import Outcome as Found
from goldengrain.chaincode.protocol.report import Result
from goldengrain.chaincode.protocol.task import DatasetDigests, PriceSchedule
from goldengrain.chaincode.protocol.threshold import threshold
from tests.parity import abi, objects, tampering
from tests.parity.chain import CONTRACTS, UNIT, Chain, Deployed, Receipt, Refused, artifact
from tests.parity.evm_objects import (
    NOWHERE,
    Envelopes,
    Order,
    Place,
    Task,
    Terms,
    Ticket,
    ascending,
    bits,
    number,
    result_struct,
)
from tests.parity.fabric import spec
from tests.parity.ledger import (
    ACCOUNTS,
    CHUNK,
    ENCLAVES,
    FUNDED,
    FUNDS,
    OPERATORS,
    POLICY,
    SEALED_TO,
    SIZE,
    START_OF_ALL,
    TREASURY,
    Outcome,
    Step,
    Value,
)

STATES = (
    *("offered", "stored", "claimed", "leading", "locked", "settled", "withdrawn", "declined", "failed", "outbid"),
    *("displaced", "void", "expired", "forfeited"),
)
"""States of an offer from 1 on."""
DATASETS = ("hidden", "opened", "slashed")
SLOT_OF_STATE = {"claimed": "reserved", "leading": "leading", "locked": "locked"}
OPEN, REPORTED = 1, 2
"""States of a claim."""
ADOPT, REGISTER, REVOKE = 1, 3, 4
"""Kinds of proposals."""

STRUCT = (
    *("number", "organizations", "required", "colluding", "guard", "reveal_min", "reveal_max", "enclave_age"),
    *("proposal_age", "bundle", "previous_bundle", "previous_sunset", "benchmark_fee", "market_fee", "bond"),
    *("audit_bond", "deposit", "lease_min", "lease_max", "attempts_max", "operators", "paused", "test"),
)
"""Fields of the contract's `Policy`."""
ELSEWHERE: Mapping[str, Value] = {
    "number": 1,
    "colluding": 1,
    "bundle": objects.BUNDLE,
    "previous_bundle": digests.ZERO,
    "previous_sunset": 0,
    "test": False,
}
"""What the setting's policy has besides `POLICY`."""


def address(name: str) -> str:
    """Return an account's address; of a contract it is its name already."""
    if name.startswith("0x"):
        return name
    return "0x" + hashlib.sha256(f"address of {name}".encode()).hexdigest()[:40]


def organization(name: str) -> int:
    """Return the number of an account's organisation: 2 of Org2MSP."""
    return int(ACCOUNTS[name].organization[3:-3])


def envelopes(some: Sequence[str], of: Callable[[str], bytes]) -> Envelopes:
    """Envelopes for enclaves."""
    return ascending((objects.enclave_id(one), of(one)) for one in some)


@dataclass(frozen=True)
class OfferWord:
    """Where an offer stands, as the contract stores it."""

    state: str
    task: int
    slot: int | None

    @classmethod
    def of(cls, word: int) -> OfferWord:
        state, task, _, _, _, _, _, _, slot = bits(word, 8, 32, 8, 8, 1, 7, 64, 64, 16)
        return cls(STATES[state - 1], task, slot - 1 if slot else None)


@dataclass(frozen=True)
class ClaimWord:
    """A claim, as the contract stores it; state 0 of one that was never made."""

    lease_end: int
    number: int
    state: int

    @classmethod
    def of(cls, word: int) -> ClaimWord:
        _, lease_end, claim, state = bits(word, 160, 40, 16, 8)
        return cls(lease_end, claim, state)


@dataclass
class Names:
    """What was made under which name."""

    tasks: dict[str, Task] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)
    claims: dict[tuple[str, int], str] = field(default_factory=dict)
    """Enclaves by offer and number of the claim."""
    proposals: dict[str, tuple[int, int, bytes, dict[str, Value]]] = field(default_factory=dict)
    """Number, kind, body, and the policy that it proposes."""


class EvmLedger:
    """The contract in Vyper on an EVM in this process; see `ledger.Ledger`."""

    name = "evm"

    def __init__(self, chain: Chain | None = None, folder: Path = CONTRACTS) -> None:
        self.names = Names()
        self.chain = chain or Chain(START_OF_ALL)
        self.registry, self.market = deploy(self.chain, folder)
        self.place = Place(self.chain.chain_id, number(self.market.address))
        self.policy: dict[str, Value] = {**POLICY, **ELSEWHERE}
        self._found()
        self._start = self.chain.evm.snapshot()

    def reset(self) -> None:
        self.chain.evm.revert(self._start)
        self._start = self.chain.evm.snapshot()
        self.chain.at(START_OF_ALL)
        self.names, self.policy = Names(), {**POLICY, **ELSEWHERE}

    def run(self, step: Step) -> Outcome:
        self.chain.at(START_OF_ALL + step.at)
        try:
            COMMANDS[step.command](self, step)
        except (Refused, ContractError) as refusal:
            return Outcome(refusal.code)
        return Outcome()

    # questions

    def state(self, offer: str) -> str | None:
        found = self._offer(offer)
        return None if found is None else found.state

    def price(self, offer: str) -> int | None:
        return self.names.prices.get(offer)

    def slot(self, task: str, index: int) -> str | None:
        if task not in self.names.tasks or index >= self.names.tasks[task].slots:
            return None
        one = self.names.tasks[task]
        if not self.market.ask("taken", one.digest()) >> index & 1:
            return "free"
        for name, order in self.names.orders.items():
            found = self._offer(name)
            if order.task == one and found is not None and found.slot == index:
                return SLOT_OF_STATE.get(found.state, "spent")
        return "spent"

    def dataset(self, task: str) -> str | None:
        if task not in self.names.tasks:
            return None
        *_, state = bits(self.market.ask("tasks", self.names.tasks[task].digest()), 32, 8, 40, 8, 8)
        return DATASETS[state]

    def total(self, account: str) -> int:
        if account == TREASURY:
            return self.market.ask("treasury")
        return self.chain.balance(address(account)) + self.market.ask("credits", number(address(account)))

    def held(self) -> int:
        free = sum(self.market.ask("credits", number(address(one))) for one in ACCOUNTS)
        return self.chain.balance(self.market.address) - free - self.market.ask("treasury")

    def claim(self, offer: str, number: int) -> ClaimWord | None:
        """Return a claim by its number, None where there is none."""
        if (offer, number) not in self.names.claims:
            return None
        enclave = objects.enclave_id(self.names.claims[offer, number])
        return ClaimWord.of(self.market.ask("claims", self._offer_id(offer), enclave))

    def pull(self, account: str) -> None:
        """Have an account take what the market owes it."""
        self.market.send(address(account), "pull")

    # what there is

    def _offer_id(self, name: str) -> bytes:
        order = self.names.orders.get(name)
        return order.offer_id if order is not None else objects.word(f"no offer {name}")

    def _offer(self, name: str) -> OfferWord | None:
        word = self.market.ask("offers", self._offer_id(name))
        return OfferWord.of(word) if word else None

    def _task(self, name: str) -> Task:
        """Return a task, or one that isn't there."""
        return self.names.tasks.get(name) or _no_task(self.place)

    def _order(self, name: str) -> Order:
        """Return an offer's order, or one that isn't there."""
        return self.names.orders.get(name) or _no_order(_no_task(self.place))

    def _enclave(self, offer: str, number: int) -> bytes:
        name = self.names.claims.get((offer, number))
        return objects.enclave_id(name) if name is not None else digests.ZERO

    def _claimants(self, offer: str, *states: int) -> list[bytes]:
        """Enclaves of an offer's claims in these states, ascending."""
        found = []
        for one, claim in self.names.claims:
            word = self.claim(one, claim) if one == offer else None
            if word is not None and word.state in states:
                found.append(self._enclave(offer, claim))
        return sorted(found)

    def _send(self, step: Step, function: str, *arguments: Any, value: int = 0) -> Receipt:
        return self.market.send(address(step.sender), function, *arguments, value=value)

    def _money(self, step: Step, due: int) -> int:
        """Return what is sent for what is due, pulled from the market where the sender hasn't got it."""
        if step["pay"] == "nothing":
            return 0
        sender = address(step.sender)
        if self.chain.balance(sender) < due and self.market.ask("credits", number(sender)):
            self.pull(step.sender)
        return min(due, self.chain.balance(sender))

    # the provider's

    def _open_task(self, step: Step) -> None:
        policy = self.policy
        task = Task(
            place=self.place,
            provider=address(step.sender),
            provider_key=objects.provider_key(),
            spec=spec(step["seed"]),
            dataset=DatasetDigests(
                objects.DATASET_CIPHERTEXT, objects.DATASET_PLAINTEXT, digests.sha256(objects.dataset_key())
            ),
            schedule=PriceSchedule.of(*((score, amount) for score, amount in step["schedule"])),
            award=step["award"],
            slots=step["slots"],
            last_offer=START_OF_ALL + step["S"],
            last_report=START_OF_ALL + step["B"],
            last_opening=START_OF_ALL + step["A"],
            reveal=step["reveal"],
            eta=step["eta"],
            attempts=step["attempts"],
            enclaves=step["enclaves"],
            terms=Terms(
                policy["benchmark_fee"],
                policy["market_fee"],
                policy["bond"],
                policy["audit_bond"],
                policy["deposit"],
                policy["required"],
                policy["guard"],
                policy["test"],
            ),
            envelopes=envelopes(step["sealed_to"], objects.dataset_envelope),
        )
        arguments = (task.struct(), task.points, task.spec_struct(), task.envelopes)
        made = self._send(step, "open_task", *arguments, value=self._money(step, task.due))
        assert made.output == task.digest()
        self.names.tasks[step["task"]] = task

    def _shut_task(self, step: Step) -> None:
        self._send(step, "shut_task", self._task(step["task"]).struct())

    def _refund_slot(self, step: Step) -> None:
        task = self._task(step["task"])
        self._send(step, "refund_slot", task.struct(), task.points, step["slot"])

    def _open_dataset(self, step: Step) -> None:
        task, key = self._task(step["task"]), objects.dataset_key(step["key"] == "right")
        self._send(step, "open_dataset", task.struct(), task.dataset.ciphertext, task.dataset.plaintext, key)

    def _slash_audit(self, step: Step) -> None:
        self._send(step, "slash_audit", self._task(step["task"]).struct())

    # the developer's

    def _submit_offer(self, step: Step) -> None:
        name, task = step["offer"], self._task(step["task"])
        known = step["task"] in self.names.tasks
        least = task.minimum_bond if known else 0
        bond = least if step["bond"] == "least" else step["bond"]
        order = Order(
            task=task,
            developer=address(step.sender),
            payout=address(step.sender if step["payout"] == "sender" else step["payout"]),
            attempt=step["attempt"],
            ciphertext=objects.ciphertext(name),
            size=SIZE,
            chunk_size=CHUNK,
            key_check=objects.key_check(name),
            secret_hash=objects.secret_hash(name),
            reserve=step["reserve"],
            bond=bond,
            provider_may_operate=step["provider_may_operate"],
            envelopes=envelopes(step["sealed_to"], lambda enclave: objects.model_envelope(name, enclave)),
        )
        due = bond + (task.fee if known else 0)
        arguments = (task.struct(), task.points, order.offering(), order.envelopes)
        made = self._send(step, "submit_offer", *arguments, value=self._money(step, due))
        assert made.output == order.offer_id
        self.names.orders[name] = order
        self.names.prices.pop(name, None)

    def _withdraw_offer(self, step: Step) -> None:
        order = self._order(step["offer"])
        self._send(step, "withdraw_offer", order.task.struct(), order.struct())

    def _rewrap(self, step: Step) -> None:
        name, order = step["offer"], self._order(step["offer"])
        more = envelopes(step["sealed_to"], lambda enclave: objects.model_envelope(name, enclave))
        self._send(step, "rewrap", order.struct(), order.envelopes, more)
        self.names.orders[name] = replace(order, envelopes=(*order.envelopes, *more))

    def _receipt(self, step: Step) -> None:
        self._send(step, "receipt", self._offer_id(step["offer"]))

    # the operator's

    def _claim(self, step: Step) -> None:
        name, order = step["offer"], self._order(step["offer"])
        due = order.task.terms.deposit if name in self.names.orders else 0
        made = self._send(
            step,
            "claim",
            self._offer_id(name),
            order.task.struct(),
            objects.enclave_id(step["enclave"]),
            step["lease"],
            0 if step["slot"] is None else step["slot"] + 1,
            order.envelopes,
            order.task.envelopes,
            value=self._money(step, due),
        )
        (claimed,) = made.events
        self.names.claims[name, abi.words(claimed.data)[0]] = step["enclave"]

    def _submit_report(self, step: Step) -> None:
        name, order = step["offer"], self._order(step["offer"])
        enclave = self.names.claims.get((name, step["claim"]), "E1a")
        claimed = (name, step["claim"]) in self.names.claims
        outcome, result = Found(step["outcome"]), Result(Found.FAILED)
        if outcome is Found.PASS:
            result = Result(outcome, step["score"], objects.locked(name, enclave), objects.model(name))
        elif outcome is not Found.FAILED:
            result = Result(outcome)
        signature = bytes(64) + b"\x1b"
        if claimed:
            result, signature = self._signed(step, order, enclave, result)
        made = self._send(
            step,
            "submit_report",
            order.task.struct(),
            order.task.points,
            order.struct(),
            order.envelopes,
            order.task.envelopes,
            result_struct(objects.enclave_id(enclave) if claimed else digests.ZERO, result, signature),
            result.locked,
            self._claimants(name, REPORTED),
        )
        for event in made.events:
            if event.name == "Priced":
                _, _, self.names.prices[name], _ = abi.words(event.data)

    def _signed(self, step: Step, order: Order, enclave: str, result: Result) -> tuple[Result, bytes]:
        """Sign a result as the enclave does, tampered with or not; returns what is sent."""
        tamper, claim = step["tamper"], self.claim(step["offer"], step["claim"])
        assert claim is not None
        task = order.task
        lowest = threshold(task.schedule.pairs, task.eta, self._best_passed(order), order.reserve)
        ticket = Ticket(order, claim.number, objects.enclave_id(enclave), objects.BUNDLE, claim.lease_end, lowest)
        report = ticket.report(result)
        changes: dict[str, dict[str, Any]] = {
            "claim": {"claim": claim.number + 1},
            "offer": {"offer": objects.word("another offer")},
            "ticket": {"ticket": replace(ticket, threshold=lowest + task.eta).digest()},
            "ledger": {"channel": self.place.chain_id + 1},
            "contract": {"contract": self.place.contract ^ 1},
        }
        signer = objects.signing_key(tampering.signer(tamper, enclave))
        signature = replace(report, **changes.get(tamper, {})).sign(signer)
        return (
            tampering.tampered_result(tamper, result, task.eta),
            tampering.tampered_signature(tamper, signature),
        )

    def _best_passed(self, order: Order) -> int | None:
        """The best score that passed of the organisation in the task, from what the contract keeps of it."""
        mine = next(organization(one) for one in ACCOUNTS if address(one) == order.developer)
        best = self.market.ask("sellers", order.task.digest(), mine) & (2**24 - 1)
        return best - 1 if best else None

    # anyone's

    def _lapse(self, step: Step) -> None:
        order = self._order(step["offer"])
        enclave = self._enclave(step["offer"], step["claim"])
        self._send(step, "lapse", order.task.struct(), order.struct(), enclave)

    def _expire(self, step: Step) -> None:
        order, claimants = self._order(step["offer"]), self._claimants(step["offer"], OPEN, REPORTED)
        self._send(step, "expire", order.task.struct(), order.struct(), claimants)

    def _award_offer(self, step: Step) -> None:
        self._send(step, "award_offer", self._offer_id(step["offer"]), self._order(step["offer"]).task.struct())

    def _reveal(self, step: Step) -> None:
        secret = objects.secret(step["offer"], step["secret"] == "right")
        self._send(step, "reveal", self._order(step["offer"]).struct(), secret)

    def _forfeit(self, step: Step) -> None:
        self._send(step, "forfeit", self._offer_id(step["offer"]), self._order(step["offer"]).task.struct())

    def _acknowledge(self, step: Step) -> None:
        self._send(step, "acknowledge", self._offer_id(step["offer"]), self._order(step["offer"]).task.struct())

    # the consortium's

    def _propose(self, step: Step) -> None:
        policy: dict[str, Value] = {}
        if step["revoke"] is not None:
            kind, body = REVOKE, objects.enclave_id(step["revoke"])
        else:
            policy = {**self.policy, **step["policy"], "number": self.policy["number"] + 1}
            kind, body = ADOPT, self._policy_body(policy)
        made = self.registry.send(address(step.sender), "propose", kind, body)
        self.names.proposals[step["proposal"]] = (made.words[0], kind, body, policy)

    def _vote(self, step: Step) -> None:
        proposal, kind, body, policy = self.names.proposals.get(step["proposal"], (2**64, REVOKE, digests.ZERO, {}))
        made = self.registry.send(address(step.sender), "vote", proposal, kind, body)
        if made.words[0] and policy:
            self.policy = policy

    def _register_enclave(self, step: Step) -> None:
        """Have the governors vote for an enclave of the sender's."""
        self._register(step["enclave"], step.sender)

    def _register(self, enclave: str, operator: str) -> None:
        point = signatures.uncompressed(objects.public_key(enclave))
        x, y = (int.from_bytes(point[at : at + 32], "big") for at in (0, 32))
        body = b"".join((abi.word(x), abi.word(y), abi.word(number(address(operator))), objects.BUNDLE))
        made = self.registry.send(address("admin1"), "propose", REGISTER, body)
        self.registry.send(address("admin2"), "vote", made.words[0], REGISTER, body)

    # the setting

    def _found(self) -> None:
        operators = [address(one) for one in OPERATORS]
        self.registry.send(address("admin1"), "bootstrap", _policy_struct(self.policy), operators)
        for one in SEALED_TO:
            self._register(one, ENCLAVES[one])
        for one in FUNDED:
            self.chain.evm.set_balance(address(one), FUNDS * UNIT)

    def _policy_body(self, policy: Mapping[str, Value]) -> bytes:
        operators = [address(one) for one in policy["operators"]]
        bootstrap = artifact("registry.vy").functions["bootstrap"]
        return bootstrap.arguments.write([_policy_struct(policy), operators])


def deploy(chain: Chain, folder: Path = CONTRACTS) -> tuple[Deployed, Deployed]:
    """Put registry and market on a chain, all accounts enrolled; returns both."""
    founders = [(address(one.name), organization(one.name), one.admin) for one in ACCOUNTS.values()]
    registry = chain.deploy("registry.vy", founders, folder=folder)
    return registry, chain.deploy("market.vy", registry.address, folder=folder)


def _policy_struct(policy: Mapping[str, Value]) -> list[Value]:
    """The contract's `Policy`: organisations are bits, and it counts the operators itself."""
    members = sum(1 << (int(one[3:-3]) - 1) for one in policy["organizations"])
    return [{**policy, "organizations": members, "operators": 0}[name] for name in STRUCT]


def _no_task(place: Place) -> Task:
    """A task that is nowhere."""
    return Task(
        place=place,
        provider=NOWHERE,
        provider_key=b"",
        spec=spec(0),
        dataset=DatasetDigests(digests.ZERO, digests.ZERO, digests.ZERO),
        schedule=PriceSchedule.of((0, 1)),
        award="each",
        slots=0,
        last_offer=0,
        last_report=0,
        last_opening=0,
        reveal=0,
        eta=1,
        attempts=0,
        enclaves=0,
        terms=Terms(0, 0, 0, 0, 0, 0, 0, False),
        envelopes=(),
    )


def _no_order(task: Task) -> Order:
    """An order that is nowhere."""
    return Order(task, NOWHERE, NOWHERE, 0, digests.ZERO, 0, 0, digests.ZERO, digests.ZERO, 0, 0, False, ())


COMMANDS: dict[str, Callable[[EvmLedger, Step], None]] = {
    "OpenTask": EvmLedger._open_task,
    "ShutTask": EvmLedger._shut_task,
    "RefundSlot": EvmLedger._refund_slot,
    "OpenDataset": EvmLedger._open_dataset,
    "SlashAudit": EvmLedger._slash_audit,
    "SubmitOffer": EvmLedger._submit_offer,
    "WithdrawOffer": EvmLedger._withdraw_offer,
    "Rewrap": EvmLedger._rewrap,
    "Receipt": EvmLedger._receipt,
    "Claim": EvmLedger._claim,
    "SubmitReport": EvmLedger._submit_report,
    "Lapse": EvmLedger._lapse,
    "Expire": EvmLedger._expire,
    "AwardOffer": EvmLedger._award_offer,
    "Reveal": EvmLedger._reveal,
    "Forfeit": EvmLedger._forfeit,
    "Acknowledge": EvmLedger._acknowledge,
    "Propose": EvmLedger._propose,
    "Vote": EvmLedger._vote,
    "RegisterEnclave": EvmLedger._register_enclave,
}
"""How each command of `ledger.ARGUMENTS` is sent."""
