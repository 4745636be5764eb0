"""The embedded Fabric network as a `Ledger`: every step through Gateway client, peers, orderer and contract's process.

Times are exact to the second although the network's clock runs on: a client dates its transactions, here by the step,
and the network's clock is moved ahead so that it stays within W of them. One network serves many sequences; `reset`
brings back policy, funds and registrations, and what can't be brought back (a revocation) costs a new network.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.swaps import CONTRACT, start_contract, stop_contract
from goldengrain.chaincode.market.records import ClaimRecord, OfferRecord, SlotRecord, TaskStatusRecord
from goldengrain.chaincode.protocol import canonical, digests
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.accounts import account_of
from goldengrain.chaincode.protocol.clock import LedgerClock, advance
from goldengrain.chaincode.protocol.coins import Coin, Output
from goldengrain.chaincode.protocol.errors import NotFound
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.requests import Command, Query
from goldengrain.gateway import sync
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.market.refusals import named_refusals
from goldengrain.gateway.wallet import Wallet
from goldengrain.network import lifecycle, runtime
from goldengrain.network.home import Home
from goldengrain.network.ports import free_port
from goldengrain.network.topology import BatchSettings, Channel, Organization, Topology, User
from tests.parity.fabric import FabricLedger, Sent
from tests.parity.ledger import ACCOUNTS, ENCLAVES, FUNDED, FUNDS, OPERATORS, SEALED_TO, START_OF_ALL, Step
from tests.parity.memory import founding_policy, register

TOPOLOGY = Topology(
    organizations=tuple(
        Organization(
            f"Org{number}",
            f"Org{number}MSP",
            f"org{number}.example.com",
            users=tuple(User(one.name) for one in ACCOUNTS.values() if one.organization == f"Org{number}MSP"),
        )
        for number in range(1, 5)
    ),
    channel=Channel("market", BatchSettings(max_messages=1)),
)
"""Four organisations on the channel, three of them in the market."""


class StepClock:
    """What the client dates its transactions with."""

    def __init__(self) -> None:
        self.at = 0

    def now_ns(self) -> int:
        """The step's time in nanoseconds since 1970."""
        return self.at * 1_000_000_000


class Network:
    """A running network with the contract on it, and everybody's connection."""

    def __init__(self) -> None:
        self.clock = StepClock()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self.home = Home(folder / "home")
            runtime.up(self.home, TOPOLOGY)
            stack.callback(runtime.down, self.home)
            address = f"127.0.0.1:{free_port()}"
            deployment = asyncio.run(lifecycle.deploy(self.home, CONTRACT, "1", address))
            stack.callback(stop_contract, start_contract(self.home, address, deployment.package_id))
            self._contracts: dict[str, sync.Contract] = {}
            self.accounts: dict[str, bytes] = {}
            for one in ACCOUNTS.values():
                self._connect(stack, one.name, int(one.organization[3]), "Admin" if one.admin else one.name)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Stop all of it."""
        self._stack.close()

    def now(self) -> int:
        """The network's time in seconds since 1970."""
        return LedgerClock(self.home.clock_file).now()

    def submit(self, who: str, command: Command, at: int) -> Sent:
        """Send a command dated as told; raises the contract's refusal."""
        self.move_to(at)
        with named_refusals():
            result = self._contracts[who].submit(*command.to_args())
        return Sent(result.transaction_id, canonical.loads(result.payload, 1 << 20) if result.payload else {})

    def ask(self, query: Query) -> Any:
        """Ask the contract."""
        self.clock.at = self.now()
        with named_refusals():
            return canonical.loads(self._contracts["provider"].evaluate(*query.to_args()), 1 << 22)

    def move_to(self, at: int) -> None:
        """Bring the network's clock near a time; ahead of it by less than W already, it stays."""
        behind = at - self.now()
        if behind > 0:
            advance(self.home.clock_file, behind)
        self.clock.at = at

    def _connect(self, stack: ExitStack, name: str, number: int, user: str) -> None:
        member = TOPOLOGY.organizations[number - 1]
        profile = ConnectionProfile.load(self.home.connection_profile(member))
        who = Wallet(self.home.wallet).get(f"{user}@{member.domain}")
        gateway = sync.Gateway.connect(profile.gateway(), who.identity, who.signer, clock=self.clock)
        stack.enter_context(gateway)
        self._contracts[name] = gateway.network(TOPOLOGY.channel.name).contract(CONTRACT)
        self.accounts[name] = account_of(who.identity.msp_id, who.identity.certificate)


class EmbeddedLedger(FabricLedger):
    """The chaincode on a network of four organisations."""

    name = "embedded"
    channel, contract = TOPOLOGY.channel.name, CONTRACT

    def __init__(self) -> None:
        super().__init__()
        self._network: Network | None = None
        self._spoiled = False

    @property
    def network(self) -> Network:
        """The network, which is founded at the first `reset`."""
        assert self._network is not None, "reset the ledger first"
        return self._network

    def close(self) -> None:
        """Stop the network."""
        if self._network is not None:
            self._network.close()
            self._network = None

    def reset(self) -> None:
        self.names = type(self.names)()
        if self._spoiled:
            self.close()
        if self._network is None:
            self._found()
        self.base = max(self.network.now(), self.base + 1)  # the same task, opened in the same second, would be one
        self.network.move_to(self.base)
        self._restore_policy()
        self._restore_funds()
        for one in SEALED_TO:
            register(self, one, ENCLAVES[one], self.base)

    def run(self, step: Step) -> Any:
        outcome = super().run(step)
        lasting = step.command == "RegisterEnclave" or (step.command == "Propose" and step["revoke"] is not None)
        self._spoiled = self._spoiled or lasting
        return outcome

    def _found(self) -> None:
        """Start at the tests' own date, before which their attestation root wasn't made."""
        self._network, self._spoiled, self.base = Network(), False, 0
        self.network.move_to(START_OF_ALL)
        policy = founding_policy(tuple(self.account(one) for one in OPERATORS))
        self.network.submit("admin1", c.Bootstrap(policy), self.network.now())

    def _restore_policy(self) -> None:
        policy = self.policy()
        wanted = founding_policy(tuple(self.account(one) for one in OPERATORS))
        if policy.to_json() | {"number": 0} != wanted.to_json() | {"number": 0}:
            fields = {**wanted.to_json(), "number": policy.number + 1}
            self._carry(c.Propose(c.Action.POLICY, policy=Policy.from_json(fields)))

    def _restore_funds(self) -> None:
        """Mint what an account lacks; what it has above its funds goes to the treasury."""
        lacking = []
        for name in ACCOUNTS:
            account, wanted = self.account(name), FUNDS if name in FUNDED else 0
            wallet = self.wallet(account)
            total = sum(coin.amount for coin in wallet)
            if total < wanted:
                lacking.append(Output(account, wanted - total))
            elif total > wanted:
                coins = tuple(coin.id for coin in sorted(wallet, key=lambda coin: -coin.amount)[:16])
                surplus = Output(digests.TREASURY, total - wanted)
                self.submit(name, c.Transfer(coins, (surplus,)), self.base)
        if lacking:
            self._carry(c.Propose(c.Action.MINT, mint=tuple(lacking)))

    def _carry(self, proposal: c.Propose) -> None:
        made = self.submit("admin1", proposal, self.base)
        self.submit("admin2", c.Vote(made.transaction), self.base)

    def account(self, name: str) -> bytes:
        return self.network.accounts[name]

    def submit(self, sender: str, command: Command, at: int) -> Sent:
        return self.network.submit(sender, command, at)

    def wallet(self, account: bytes) -> list[Coin]:
        found, bookmark = [], ""
        while True:
            page = self.network.ask(q.ListCoins(owner=account, page_size=100, bookmark=bookmark))
            found += [Coin.from_json(one) for one in page["items"]]
            bookmark = page["bookmark"]
            if not bookmark:
                return found

    def policy(self) -> Policy:
        return Policy.from_json(self.network.ask(q.GetPolicy())["policy"])

    def held(self) -> int:
        """Sum up escrows of what these steps have made; older sequences have none of theirs to find here."""
        total = 0
        for name in self.names.tasks:
            task = self.names.task(name)
            slots = self.network.ask(q.GetSlots(task))["items"]
            total += sum(one["amount"] for one in slots) + self._asked(q.GetTask(task))["status"]["audit_bond"]
        for name in self.names.orders:
            offer = self._asked(q.GetOffer(self.names.offer(name)))
            total += offer["bond"] + offer["fee"] + sum(one["deposit"] for one in offer["claims"])
        return total

    def offer_record(self, offer: bytes) -> OfferRecord | None:
        found = self._asked(q.GetOffer(offer))
        if found is None:
            return None
        return OfferRecord.from_json({name: value for name, value in found.items() if name != "claims"})

    def claim_record(self, offer: bytes, number: int) -> ClaimRecord | None:
        found = self._asked(q.GetOffer(offer))
        records = [] if found is None else [ClaimRecord.from_json(one) for one in found["claims"]]
        return next((one for one in records if one.claim.number == number), None)

    def slot_record(self, task: bytes, index: int) -> SlotRecord | None:
        found = self._asked(q.GetSlots(task))
        records = [] if found is None else [SlotRecord.from_json(one) for one in found["items"]]
        return next((one for one in records if one.index == index), None)

    def status_record(self, task: bytes) -> TaskStatusRecord | None:
        found = self._asked(q.GetTask(task))
        return None if found is None else TaskStatusRecord.from_json(found["status"])

    def register(self, enclave: str, sender: str, at: int) -> None:
        register(self, enclave, sender, at)

    def _asked(self, query: Query) -> Any:
        try:
            return self.network.ask(query)
        except NotFound:
            return None
