"""The production rules on the ledger in memory, as a `Ledger`: what every other implementation is held against."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.memory import MemoryLedger as Chain
from goldengrain.chaincode.market.records import ClaimRecord, CoinRecord, OfferRecord, SlotRecord, TaskStatusRecord
from goldengrain.chaincode.market.rules import Caller, Key, RecordT
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import digests, quotes
from goldengrain.chaincode.protocol.accounts import Role
from goldengrain.chaincode.protocol.coins import Coin, Output, coin_id
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.requests import Command
from tests.chaincode.market import world
from tests.chaincode.market.world import MEASUREMENT, platform, root_id
from tests.parity import objects
from tests.parity.fabric import FabricLedger, Sent
from tests.parity.ledger import (
    ACCOUNTS,
    ENCLAVES,
    FUNDED,
    FUNDS,
    OPERATORS,
    POLICY,
    SEALED_TO,
    START_OF_ALL,
)


@cache
def caller(name: str) -> Caller:
    """Who signs for a part."""
    one = ACCOUNTS[name]
    return world.caller(f"parity {name}", one.organization, Role.ADMIN if one.admin else Role.CLIENT)


def founding_policy(operators: tuple[bytes, ...]) -> Policy:
    """The setting's policy, with what only the chaincode has."""
    shared = {**POLICY, "operators": tuple(sorted(operators))}
    return world.policy(bundle=objects.BUNDLE, **shared)


class MemoryLedger(FabricLedger):
    """The chaincode's rules in this process."""

    name = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.base = START_OF_ALL
        self.reset()

    def reset(self) -> None:
        chain, coins = _founded()
        self.names = type(self.names)()
        self.chain = replace(chain, state=dict(chain.state), transactions=[], _names=list(chain._names))
        self.channel, self.contract = chain.channel, chain.contract
        self._coins_of = {owner: dict(some) for owner, some in coins.items()}

    def account(self, name: str) -> bytes:
        return caller(name).account

    def submit(self, sender: str, command: Command, at: int) -> Sent:
        self.chain.now = at
        committed = self.chain.submit(caller(sender), command)
        for name, value in committed.writes:
            if name.startswith("coin/"):
                _, owner, one = name.split("/")
                _keep(self._coins_of, bytes.fromhex(owner), one, value)
        return Sent(committed.tx_id, committed.result or {})

    def wallet(self, account: bytes) -> list[Coin]:
        return [Coin(one, account, amount) for one, amount in self._coins_of.get(account, {}).items()]

    def total(self, account: str) -> int:
        owner = digests.TREASURY if account == "treasury" else self.account(account)
        return sum(self._coins_of.get(owner, {}).values())

    def held(self) -> int:
        return self.chain.held - sum(sum(one.values()) for one in self._coins_of.values())

    def policy(self) -> Policy:
        return keys.POLICY.record.decode(self.chain.state[keys.POLICY.name]).policy

    def offer_record(self, offer: bytes) -> OfferRecord | None:
        return self._record(keys.offer(offer))

    def claim_record(self, offer: bytes, number: int) -> ClaimRecord | None:
        return self._record(keys.claim(offer, number))

    def slot_record(self, task: bytes, index: int) -> SlotRecord | None:
        return self._record(keys.slot(task, index))

    def status_record(self, task: bytes) -> TaskStatusRecord | None:
        return self._record(keys.task_status(task))

    def register(self, enclave: str, sender: str, at: int) -> None:
        register(self, enclave, sender, at)

    def _record(self, key: Key[RecordT]) -> RecordT | None:
        data = self.chain.state.get(key.name)
        return None if data is None else key.record.decode(data)


def register(ledger: FabricLedger, enclave: str, sender: str, at: int) -> None:
    """Put fresh collateral, challenge the sender, and send the enclave's quote: three transactions, three hands."""
    challenger = "provider" if ACCOUNTS[sender].organization != "Org1MSP" else "developer"
    ledger.submit(challenger, c.PutCollateral(root_id(), platform().collateral(at=at)), at)
    operator, public = ledger.account(sender), objects.public_key(enclave)
    challenge = ledger.submit(challenger, c.Challenge(operator), at).transaction
    data = quotes.report_data(
        ledger.channel,
        ledger.contract,
        operator,
        bytes.fromhex(challenge),
        public,
        objects.provider_key(),
        objects.BUNDLE,
    )
    quote = platform().quote(data, MEASUREMENT)
    ledger.submit(
        sender,
        c.RegisterEnclave(
            challenge, quote, root_id(), platform().fmspc, public, objects.provider_key(), objects.BUNDLE
        ),
        at,
    )


def _keep(coins: dict[bytes, dict[str, int]], owner: bytes, one: str, value: bytes | None) -> None:
    transaction, _, index = one.partition(":")
    mine = coins.setdefault(owner, {})
    if value is None:
        del mine[coin_id(transaction, int(index))]
    else:
        mine[coin_id(transaction, int(index))] = CoinRecord.decode(value).amount


@cache
def _founded() -> tuple[Chain, dict[bytes, dict[str, int]]]:
    ledger = object.__new__(MemoryLedger)
    FabricLedger.__init__(ledger)
    ledger.chain, ledger._coins_of = Chain(now=START_OF_ALL), {}
    ledger.channel, ledger.contract = ledger.chain.channel, ledger.chain.contract
    operators = tuple(caller(one).account for one in OPERATORS)
    ledger.submit("admin1", c.Bootstrap(founding_policy(operators)), START_OF_ALL)
    outputs = tuple(Output(caller(one).account, FUNDS) for one in FUNDED)
    made = ledger.submit("admin1", c.Propose(c.Action.MINT, mint=outputs), START_OF_ALL)
    ledger.submit("admin2", c.Vote(made.transaction), START_OF_ALL)
    for one in SEALED_TO:
        register(ledger, one, ENCLAVES[one], START_OF_ALL)
    return ledger.chain, ledger._coins_of
