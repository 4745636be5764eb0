"""What both markets have in common, so that one sequence of commands can be given to either: steps, outcomes, a ledger.

A `Step` is a command of `goldengrain.chaincode.protocol.commands` in which everything is named instead of hashed: the
sender by its part (`developer`), a task `T1`, an offer `A`, a proposal `P1`, an enclave `E3a`. Each ledger keeps its
own ids under these names, since the words for channel, contract and accounts differ; what the names stand for (keys,
secrets, digests of files) is the same on all and comes from `objects`.

    ledger.reset()
    task = {"task": "T1", "S": 10_000, "B": 20_000, "A": 30_000}
    ledger.run(Step("OpenTask", "provider", 0, task))                  # Outcome(None): accepted
    ledger.run(Step("Reveal", "developer", 60, {"offer": "A"}))        # Outcome("OFFER_NOT_FOUND")

**Commands and arguments.** `ARGUMENTS` lists them; one without a default has to be given. Amounts are smallest units,
scores ppm. A command that costs something pays exactly what is due (`pay: due`) or comes without any money (`pay:
nothing`); whoever owns less than is due sends all that it owns. So both end in the same refusal, `PAYMENT_SHORT`, after
all the others. A name that was never made, or whose making was refused, is of something that isn't there
(`TASK_NOT_FOUND`, ...); a name made again after it was accepted is another object, unless all arguments are the same.

**Times.** `Step.at` is the command's ledger time in seconds after `START_OF_ALL` (a ledger may put that moment where it
likes, and tell nobody). It never falls from step to step. `S`, `B`, `A` of a task are seconds after the same moment.

**Which refusal.** Where several rules refuse, the chaincode's order counts: that of the statements of its rule in
`chaincode/market`. Codes are those of `goldengrain.chaincode.protocol.errors`; `differences` lists those that the EVM
doesn't have.

**After each step** the ledger answers what a runner compares: the state and price of an offer, the state of a slot and
of a test set, what each account owns free, and what stands in escrow. A refused step changes none of it.

**The setting** into which `reset` puts a ledger is the same everywhere: `POLICY` in force with number 1, `OPERATORS`
voted in, all `ENCLAVES` but `NEWCOMER` registered until `POLICY["enclave_age"]` seconds after the start, and `FUNDS`
owned by each account in `FUNDED`. The treasury starts with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

Value = Any
"""A name, a word, an amount, a flag, or a list of them, as YAML has it."""


@dataclass(frozen=True)
class Account:
    """Somebody with a part; `organization` is the MSP id, on the EVM what governors set for the address."""

    name: str
    organization: str
    admin: bool = False
    """An organisation's admin: may propose and vote; on the EVM its governor."""


ACCOUNTS: Mapping[str, Account] = MappingProxyType(
    {
        one.name: one
        for one in (
            Account("provider", "Org1MSP"),
            Account("store", "Org1MSP"),
            Account("developer", "Org2MSP"),
            Account("colleague", "Org2MSP"),
            Account("rival", "Org3MSP"),
            Account("operator1", "Org1MSP"),
            Account("operator2", "Org2MSP"),
            Account("operator3", "Org3MSP"),
            Account("stranger", "Org4MSP"),
            Account("admin1", "Org1MSP", admin=True),
            Account("admin2", "Org2MSP", admin=True),
            Account("admin3", "Org3MSP", admin=True),
        )
    }
)
"""Who there is. `store` is the provider's colleague, `colleague` the developer's; the stranger's organisation is none
of the market's, and it owns nothing at the start, but it may do what anyone may."""

TREASURY = "treasury"
"""Owner of fees and of halves of bonds; nobody's account."""

ORGANIZATIONS = ("Org1MSP", "Org2MSP", "Org3MSP")
OPERATORS = ("operator1", "operator2", "operator3")
FUNDED = ("provider", "developer", "colleague", "rival", "operator1", "operator2", "operator3")
FUNDS = 100_000

ENCLAVES: Mapping[str, str] = MappingProxyType(
    {
        "E1a": "operator1",
        "E1b": "operator1",
        "E2a": "operator2",
        "E2b": "operator2",
        "E3a": "operator3",
        "E3b": "operator3",
        "E3c": "operator3",
        "N3": "operator3",
    }
)
"""Enclaves and their operators."""
NEWCOMER = "N3"
"""The one that isn't registered at the start."""
SEALED_TO = tuple(one for one in ENCLAVES if one != NEWCOMER)
"""To whom a task's or an offer's key is sealed where a step doesn't say otherwise."""

POLICY: Mapping[str, Value] = MappingProxyType(
    {
        "organizations": ORGANIZATIONS,
        "required": 2,
        "guard": 300,
        "reveal_min": 700,
        "reveal_max": 7_000,
        "enclave_age": 7 * 86_400,
        "proposal_age": 3_600,
        "operators": OPERATORS,
        "benchmark_fee": 11,
        "market_fee": 250,
        "bond": 1_000,
        "audit_bond": 500,
        "deposit": 70,
        "lease_min": 60,
        "lease_max": 3_600,
        "attempts_max": 5,
        "paused": False,
    }
)
"""What both ledgers know of the policy. Shares are basis points, times seconds. `Propose` changes any of them but
`organizations`, `required` and `guard`."""

VOTABLE = tuple(name for name in POLICY if name not in ("organizations", "required", "guard"))
SCHEDULE = ((500_000, 1_000), (900_000, 5_001))
SIZE, CHUNK = 5_000, 1_024
"""Bytes of every ciphertext and of its chunks."""
SAMPLES = 1_000
ENCRYPTION_KEY = 1_216
"""Bytes of the provider's key."""

NEEDED = object()
"""Default of an argument that has to be given."""

ARGUMENTS: Mapping[str, Mapping[str, Value]] = MappingProxyType(
    {
        # the provider's
        "OpenTask": {
            "task": NEEDED,  # its name from now on
            "award": "each",  # or best
            "slots": 2,
            "S": NEEDED,
            "B": NEEDED,
            "A": NEEDED,
            "reveal": 1_000,  # R
            "eta": 100,
            "attempts": 3,
            "enclaves": 1,
            "schedule": SCHEDULE,  # pairs of score and price
            "sealed_to": SEALED_TO,  # names of enclaves that get the test set's key
            "seed": 0,  # of the spec: tasks that differ in nothing are one
            "pay": "due",
        },
        "ShutTask": {"task": NEEDED},
        "RefundSlot": {"task": NEEDED, "slot": 0},
        "OpenDataset": {"task": NEEDED, "key": "right"},  # or wrong
        "SlashAudit": {"task": NEEDED},
        # the developer's
        "SubmitOffer": {
            "offer": NEEDED,  # its name from now on; key, secret and ciphertext are made of it
            "task": NEEDED,
            "attempt": 1,
            "reserve": 0,
            "bond": "least",  # or an amount; `least` is the task's minimum, 0 where there is no task
            "payout": "sender",  # or an account's name
            "provider_may_operate": False,
            "sealed_to": SEALED_TO,
            "pay": "due",
        },
        "WithdrawOffer": {"offer": NEEDED},
        "Rewrap": {"offer": NEEDED, "sealed_to": NEEDED},
        "Receipt": {"offer": NEEDED},
        # the operator's; `slot` is null where none is named
        "Claim": {"offer": NEEDED, "enclave": NEEDED, "lease": 600, "slot": None, "pay": "due"},
        "SubmitReport": {
            "offer": NEEDED,
            "claim": 1,
            "outcome": "pass",  # or declined, failed, unusable
            "score": 0,  # of a pass; signed by the claim's enclave over this ledger's digests, `locked` and model's
            "tamper": None,  # or one of TAMPERINGS
        },
        # anyone's
        "Lapse": {"offer": NEEDED, "claim": 1},
        "Expire": {"offer": NEEDED},
        "AwardOffer": {"offer": NEEDED},
        "Reveal": {"offer": NEEDED, "secret": "right"},  # or wrong
        "Forfeit": {"offer": NEEDED},
        "Acknowledge": {"offer": NEEDED},
        # the consortium's
        "Propose": {
            "proposal": NEEDED,  # its name from now on
            "policy": {},  # what is to differ from the policy in force when it is proposed: names of VOTABLE
            "revoke": None,  # or the enclave to revoke
        },
        "Vote": {"proposal": NEEDED},
        "RegisterEnclave": {"enclave": NEEDED},  # challenge and quote there, a vote here: `differences`
    }
)
"""Arguments of each command with their defaults."""

TAMPERINGS: Mapping[str, str] = MappingProxyType(
    {
        "signer": "signed by another registered enclave (E1a; by E2a where E1a is the claim's)",
        "score": "the score is raised by eta after signing",
        "outcome": "signed as `declined`, sent as `failed` (or the other way round)",
        "locked": "the last byte of `locked` is flipped after signing",
        "model": "the model's digest is another than signed",
        "claim": "signed for the claim number that follows",
        "offer": "signed over another offer's id",
        "ticket": "signed over a ticket whose threshold is one eta higher",
        "ledger": "signed for another channel (EVM: another chain id)",
        "contract": "signed for another contract (EVM: another address)",
        "bit": "the last bit of the signature's r is flipped",
        "high-s": "s is replaced by n - s, and v by the other one",
        "recovery": "v is 0 or 1 instead of 27 or 28",
        "parity": "v is 28 instead of 27, or the other way round",
        "zero": "r, s are zero and v is 27",
    }
)
"""What may be done to a report between enclave and ledger. All are `REPORT_SIGNATURE_INVALID`."""

START_OF_ALL = 1_800_000_000
"""Where `Step.at` counts from, for ledgers that may choose: seconds since 1970."""


@dataclass(frozen=True)
class Step:
    """A command: its name, its sender's, its time in seconds after the start, its arguments (defaults left out)."""

    command: str
    sender: str
    at: int
    arguments: Mapping[str, Value] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Value:
        """Return an argument or its default; KeyError of one that has to be given."""
        if name in self.arguments:
            return self.arguments[name]
        default = ARGUMENTS[self.command][name]
        if default is NEEDED:
            raise KeyError(f"{self.command} needs {name}")
        return default


@dataclass(frozen=True)
class Outcome:
    """What became of a step: `code` is None where it was accepted, else the error's stable code."""

    code: str | None = None

    @property
    def accepted(self) -> bool:
        return self.code is None

    def __str__(self) -> str:
        return self.code or "accepted"


class Ledger(Protocol):
    """A market that steps are given to. Questions cost nothing and change nothing."""

    @property
    def name(self) -> str:
        """What it is called in messages: `memory`, `embedded`, `evm`."""
        ...

    def reset(self) -> None:
        """Go back to the setting described above; all names are forgotten."""

    def run(self, step: Step) -> Outcome:
        """Send a command. Raises only where the ledger itself is broken (a refusal without a code, a failed call)."""
        ...

    def state(self, offer: str) -> str | None:
        """Return an offer's state, a word of `tables.OfferState`; None where there is no such offer."""
        ...

    def price(self, offer: str) -> int | None:
        """Return the price that an offer's passing score has, from its last report on, whatever its state; or None."""
        ...

    def slot(self, task: str, index: int) -> str | None:
        """Return a slot's state, a word of `tables.SlotState`; None where there is no such task or slot."""
        ...

    def dataset(self, task: str) -> str | None:
        """Return a test set's state, a word of `tables.DatasetState`; None where there is no such task."""
        ...

    def total(self, account: str) -> int:
        """Return what an account (or `treasury`) owns free: coins; on the EVM balance and what it may pull."""
        ...

    def held(self) -> int:
        """Return what stands in escrow: slots, audit bonds, offers' bonds and fees, deposits."""
        ...
