"""A small market in memory: three organisations, a provider, developers, two operators with an enclave each.

Everything is signed and attested for real: quotes of the simulated quoting enclave, secp256k1 reports. `World.founded`
is what most tests start from; `fork` gives each its own copy.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.memory import Committed, MemoryLedger
from goldengrain.chaincode.market.records import ClaimRecord, OfferRecord, SlotRecord, TaskRecord, TaskStatusRecord
from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import digests, quotes, signatures
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.accounts import Role
from goldengrain.chaincode.protocol.coins import Coin as CoinView
from goldengrain.chaincode.protocol.coins import Output, choose
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.chaincode.protocol.report import LOCKED_SIZE, Outcome, Report, Result
from goldengrain.chaincode.protocol.requests import Request
from goldengrain.chaincode.protocol.sealing import PrivateKey
from goldengrain.chaincode.protocol.tables import OfferState
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
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave.quoting.development_root import DevelopmentRoot
from goldengrain.enclave.quoting.simulated import SimulatedPlatform

START = 1_800_000_000
MEASUREMENT = hashlib.sha256(b"measurement of the tests' enclave").digest()
BUNDLE = hashlib.sha256(b"trust bundle").digest()
FUNDS = 100_000
DATASET_KEY = hashlib.sha256(b"dataset key").digest()
SCHEDULE = PriceSchedule.of((500_000, 1_000), (900_000, 5_001))


def word(text: str) -> bytes:
    """32 bytes that stand for something."""
    return hashlib.sha256(text.encode()).digest()


def caller(name: str, msp_id: str, role: Role | None = Role.CLIENT) -> Caller:
    """Somebody of an organisation."""
    return Caller(digests.account(msp_id, name.encode(), msp_id.encode()), msp_id, role)


ADMINS = {msp: caller("admin", msp, Role.ADMIN) for msp in ("Org1MSP", "Org2MSP", "Org3MSP")}
PROVIDER = caller("provider", "Org1MSP")
STORE = caller("store", "Org1MSP")
DEVELOPER = caller("developer", "Org2MSP")
OTHER_DEVELOPER = caller("other developer", "Org3MSP")
OPERATOR2 = caller("operator", "Org2MSP")
OPERATOR3 = caller("operator", "Org3MSP")
STRANGER = caller("stranger", "Org9MSP")
PEER = caller("peer0", "Org1MSP", Role.PEER)
NOBODY = caller("nobody", "Org1MSP", None)
FUNDED = (PROVIDER, DEVELOPER, OTHER_DEVELOPER, OPERATOR2, OPERATOR3)


@dataclass(frozen=True)
class TestEnclave:
    """An enclave's keys and the machine that it runs on."""

    __test__ = False
    name: str
    operator: Caller
    signing: bytes
    encryption: bytes

    @property
    def public(self) -> bytes:
        return signatures.public_key(self.signing)

    @property
    def id(self) -> bytes:
        return digests.enclave_id(self.public)


@cache
def root() -> DevelopmentRoot:
    with tempfile.TemporaryDirectory() as folder:
        return DevelopmentRoot.create(Path(folder) / "root", at=START)


@cache
def platform(name: str = "machine") -> SimulatedPlatform:
    return SimulatedPlatform(root(), name=name)


@cache
def root_id() -> bytes:
    return digests.sha256(root().root_der)


@cache
def enclave(name: str, operator: Caller) -> TestEnclave:
    return TestEnclave(name, operator, word(f"signing key of {name}"), PrivateKey.generate().public)


def enclave2() -> TestEnclave:
    return enclave("enclave of Org2", OPERATOR2)


def enclave3() -> TestEnclave:
    return enclave("enclave of Org3", OPERATOR3)


@cache
def provider_key() -> bytes:
    return PrivateKey.generate().public


def policy(**changes: Any) -> Policy:
    """The tests' policy."""
    fields: dict[str, Any] = {
        "number": 1,
        "organizations": ("Org1MSP", "Org2MSP", "Org3MSP"),
        "required": 2,
        "colluding": 1,
        "window": 120,
        "guard": 300,
        "reveal_min": 700,
        "reveal_max": 7_000,
        "challenge_age": 600,
        "enclave_age": 7 * 86_400,
        "proposal_age": 3_600,
        "roots": (AttestationRoot(root().root_der),),
        "measurements": (MEASUREMENT,),
        "statuses": ("UpToDate",),
        "operators": (OPERATOR2.account, OPERATOR3.account),
        "bundle": BUNDLE,
        "previous_bundle": None,
        "previous_bundle_sunset": None,
        "benchmark_fee": 11,
        "market_fee": 250,
        "bond": 1_000,
        "audit_bond": 500,
        "deposit": 70,
        "lease_min": 60,
        "lease_max": 3_600,
        "attempts_max": 5,
        "verifier": quotes.VERIFIER,
    }
    return Policy(**{**fields, **changes})


def spec(seed: int = 0) -> BenchmarkSpec:
    interface = ModelInterface(
        Tensor("input", TensorType.FLOAT32, (0, 64)), Tensor("output", TensorType.FLOAT32, (0, 10))
    )
    return BenchmarkSpec(Metric.ACCURACY, False, 1_000, interface, ModelLimits(1 << 20, 100, 1 << 30, 1 << 30), seed)


@dataclass
class World:
    """A ledger and those who use it."""

    ledger: MemoryLedger = field(default_factory=lambda: MemoryLedger(now=START))

    @classmethod
    def founded(cls) -> World:
        """Founded, everybody funded, both enclaves registered."""
        return _founded().fork()

    def fork(self) -> World:
        ledger = self.ledger
        return World(
            replace(
                ledger,
                state=dict(ledger.state),
                transactions=list(ledger.transactions),
                _names=list(ledger._names),
            )
        )

    @property
    def now(self) -> int:
        return self.ledger.now

    def at(self, moment: int) -> World:
        """Move time to a moment."""
        self.ledger.now = moment
        return self

    def send(self, who: Caller, request: Request) -> Committed:
        return self.ledger.submit(who, request)

    def ask(self, request: Request, who: Caller = PROVIDER) -> Any:
        return self.ledger.evaluate(who, request).result

    def balance(self, who: Caller | bytes) -> int:
        return self.ledger.balances().get(who if isinstance(who, bytes) else who.account, 0)

    def coins(self, who: Caller, due: int) -> tuple[str, ...]:
        """Coins that a client would take for an amount."""
        mine = [CoinView.from_json(item) for item in self.ask(q.ListCoins(owner=who.account, page_size=100))["items"]]
        return tuple(coin.id for coin in choose(mine, due))

    # the consortium

    def found(self, **changes: Any) -> World:
        self.send(ADMINS["Org1MSP"], c.Bootstrap(policy(**changes)))
        return self

    def vote_through(self, proposal: c.Propose) -> Committed:
        made = self.send(ADMINS["Org1MSP"], proposal)
        return self.send(ADMINS["Org2MSP"], c.Vote(made.tx_id))

    def change_policy(self, **changes: Any) -> Committed:
        current = Policy.from_json(self.ask(q.GetPolicy())["policy"])
        return self.vote_through(
            c.Propose(c.Action.POLICY, policy=replace(current, number=current.number + 1, **changes))
        )

    def mint(self, *who: Caller, amount: int = FUNDS) -> Committed:
        return self.vote_through(c.Propose(c.Action.MINT, mint=tuple(Output(one.account, amount) for one in who)))

    # enclaves

    def put_collateral(self, **kind: Any) -> Committed:
        return self.send(PROVIDER, c.PutCollateral(root_id(), platform().collateral(at=self.now, **kind)))

    def challenge(self, operator: Caller, by: Caller = PROVIDER) -> str:
        return self.send(by, c.Challenge(operator.account)).tx_id

    def registration(
        self, one: TestEnclave, challenge: str | None = None, bundle: bytes = BUNDLE, **kind: Any
    ) -> c.RegisterEnclave:
        challenge = challenge or self.challenge(one.operator)
        report_data = quotes.report_data(
            self.ledger.channel,
            self.ledger.contract,
            one.operator.account,
            bytes.fromhex(challenge),
            one.public,
            one.encryption,
            bundle,
        )
        quote = platform().quote(report_data, kind.pop("measurement", MEASUREMENT), **kind)
        return c.RegisterEnclave(challenge, quote, root_id(), platform().fmspc, one.public, one.encryption, bundle)

    def register(self, one: TestEnclave) -> Committed:
        return self.send(one.operator, self.registration(one))

    # a swap, step by step

    def terms(self, **changes: Any) -> c.OpenTask:
        sealed_to = changes.pop("sealed_to", (enclave2(), enclave3()))
        fields: dict[str, Any] = {
            "provider_key": provider_key(),
            "spec": spec(),
            "dataset": DatasetDigests(word("dataset ciphertext"), word("dataset"), digests.sha256(DATASET_KEY)),
            "dataset_envelopes": tuple(EnvelopeDigest(e.id, word(f"dataset for {e.name}")) for e in sealed_to),
            "schedule": SCHEDULE,
            "award": Award.EACH,
            "slots": 2,
            "last_offer": self.now + 10_000,
            "last_report": self.now + 20_000,
            "last_opening": self.now + 30_000,
            "reveal": 1_000,
            "eta": 100,
            "attempts": 3,
            "enclaves": 1,
            "coins": (),
        }
        return c.OpenTask(**{**fields, **changes})

    def open_task(self, who: Caller = PROVIDER, **changes: Any) -> bytes:
        terms = self.terms(**changes)
        if "coins" not in changes:
            task = terms.task(self.ledger.channel, self.ledger.contract, who.account, self.policy)
            terms = replace(terms, coins=self.coins(who, task.budget + task.audit_bond))
        return bytes.fromhex(self.send(who, terms).result["task"])

    @property
    def policy(self) -> Policy:
        return Policy.from_json(self.ask(q.GetPolicy())["policy"])

    def offering(self, task: bytes, who: Caller = DEVELOPER, **changes: Any) -> c.SubmitOffer:
        sealed_to = changes.pop("sealed_to", (enclave2(), enclave3()))
        attempt = changes.get("attempt", 1)
        name = f"model {attempt} of {who.account.hex()}"
        terms = self.task(task).task
        bond = changes.get("bond", terms.minimum_bond)
        fields: dict[str, Any] = {
            "task": task,
            "payout": who.account,
            "attempt": attempt,
            "ciphertext": word(name),
            "size": 5_000,
            "chunk_size": 1_024,
            "key_check": word(f"key of {name}"),
            "secret_hash": digests.secret_hash(self.secret(who, attempt)),
            "reserve": 0,
            "bond": bond,
            "envelopes": tuple(EnvelopeDigest(e.id, word(f"{name} for {e.name}")) for e in sealed_to),
            "coins": (),
        }
        if "coins" not in changes:
            fields["coins"] = self.coins(who, bond + terms.benchmark_fee)
        return c.SubmitOffer(**{**fields, **changes})

    @staticmethod
    def secret(who: Caller, attempt: int = 1) -> bytes:
        return word(f"r of {who.account.hex()} {attempt}")

    def offer(self, task: bytes, who: Caller = DEVELOPER, **changes: Any) -> bytes:
        return bytes.fromhex(self.send(who, self.offering(task, who, **changes)).result["offer"])

    def stored(self, task: bytes, who: Caller = DEVELOPER, **changes: Any) -> bytes:
        offer = self.offer(task, who, **changes)
        self.send(STORE, c.Receipt(offer))
        return offer

    def claiming(self, offer: bytes, one: TestEnclave | None = None, **changes: Any) -> c.Claim:
        one = one or enclave3()
        slot = 0 if self.terms_of(self.offer_record(offer).order.task).award is Award.EACH else None
        fields: dict[str, Any] = {"offer": offer, "enclave": one.id, "lease": 600, "slot": slot}
        if "coins" not in changes:
            fields["coins"] = self.coins(one.operator, self.policy.deposit)
        return c.Claim(**{**fields, **changes})

    def claim(self, offer: bytes, one: TestEnclave | None = None, **changes: Any) -> int:
        one = one or enclave3()
        answer = self.send(one.operator, self.claiming(offer, one, **changes)).result
        return int(answer["claim"])

    def claimed(self, task: bytes, who: Caller = DEVELOPER, one: TestEnclave | None = None, **changes: Any) -> bytes:
        slot = {"slot": changes.pop("slot")} if "slot" in changes else {}
        offer = self.stored(task, who, **changes)
        self.claim(offer, one, **slot)
        return offer

    def ticket(self, offer: bytes, one: TestEnclave | None = None, claim: int = 1) -> JobTicketPayload:
        one = one or enclave3()
        ask = q.JobTicket(offer, claim, one.id, word("nonce"))
        return JobTicketPayload.from_bytes(self.ledger.evaluate(one.operator, ask).payload)

    def report(
        self,
        offer: bytes,
        outcome: Outcome = Outcome.PASS,
        score: int = 700_000,
        one: TestEnclave | None = None,
        claim: int = 1,
    ) -> c.SubmitReport:
        one = one or enclave3()
        passed = outcome is Outcome.PASS
        result = Result(outcome, score, bytes(LOCKED_SIZE), word("model")) if passed else Result(outcome)
        payload = self.ticket(offer, one, claim)
        signature = Report.of(payload.task, payload.order, payload.ticket, result).sign(one.signing)
        return c.SubmitReport(offer, claim, outcome, signature, result.score, result.locked, result.model)

    def reported(self, offer: bytes, outcome: Outcome = Outcome.PASS, **changes: Any) -> Committed:
        one = changes.get("one") or enclave3()
        return self.send(one.operator, self.report(offer, outcome, **changes))

    def locked(self, task: bytes, who: Caller = DEVELOPER, score: int = 700_000, **changes: Any) -> bytes:
        offer = self.claimed(task, who, **changes)
        self.reported(offer, score=score)
        return offer

    # several enclaves, and the award `best`

    def team(self, size: int) -> tuple[TestEnclave, ...]:
        """Enclaves of Org3, registered, that may run models of Org2; as many operators are voted in."""
        names = ["enclave of Org3", *(f"{number}. enclave of Org3" for number in range(2, size + 1))]
        members = tuple(enclave(name, OPERATOR3) for name in names)
        if len(self.policy.operators) < size:
            others = [word(f"operator {number}") for number in range(size - 2)]
            self.change_policy(operators=(*others, OPERATOR2.account, OPERATOR3.account))
        for one in members:
            if keys.enclave(one.id).name not in self.ledger.state:
                self.register(one)
        return members

    def open_for(self, members: tuple[TestEnclave, ...], **changes: Any) -> bytes:
        """Open a task that wants a report of each of these enclaves."""
        return self.open_task(enclaves=len(members), sealed_to=(*members, enclave2()), **changes)

    def claimed_by_all(self, task: bytes, members: tuple[TestEnclave, ...], **changes: Any) -> bytes:
        """Have every enclave claim one offer; its claims are numbered as the enclaves are."""
        offer = self.stored(task, sealed_to=members, **changes)
        for one in members:
            self.claim(offer, one)
        return offer

    def leading(self, task: bytes, who: Caller = DEVELOPER, score: int = 700_000, **changes: Any) -> bytes:
        """Bring an offer of a `best` task to its report: leading, or outbid where the slots are better taken."""
        one = enclave2() if who.msp_id == "Org3MSP" else enclave3()
        offer = self.claimed(task, who, one, **changes)
        self.reported(offer, score=score, one=one)
        return offer

    # what is on the ledger

    def task(self, task: bytes) -> TaskRecord:
        return TaskRecord.decode(self.ledger.state[keys.task(task).name])

    def slot(self, task: bytes, index: int = 0) -> SlotRecord:
        return SlotRecord.decode(self.ledger.state[keys.slot(task, index).name])

    def status(self, task: bytes) -> TaskStatusRecord:
        return TaskStatusRecord.decode(self.ledger.state[keys.task_status(task).name])

    def bond_of(self, offer: bytes) -> int:
        """The bond that came with an offer, from its event."""
        return next(
            int(one.event[1]["bond"])
            for one in self.ledger.transactions
            if one.event and one.event[0] == "SubmitOffer" and one.event[1]["offer"] == offer.hex()
        )

    def offer_record(self, offer: bytes) -> OfferRecord:
        return OfferRecord.decode(self.ledger.state[keys.offer(offer).name])

    def state_of(self, offer: bytes) -> OfferState:
        return self.offer_record(offer).state

    def claim_record(self, offer: bytes, number: int = 1) -> ClaimRecord:
        return ClaimRecord.decode(self.ledger.state[keys.claim(offer, number).name])

    def terms_of(self, task: bytes) -> Task:
        return self.task(task).task


@cache
def _founded() -> World:
    world = World().found()
    world.mint(*FUNDED)
    world.put_collateral()
    for one in (enclave2(), enclave3()):
        world.register(one)
    return world
