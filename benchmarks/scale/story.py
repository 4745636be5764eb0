"""What happens in a market, as a script of real commands: three tasks and twenty offers, every state of the tables.

`play` takes any `World`: on a ledger in memory it makes the records that are cloned, on a large ledger its commands are
what is measured. Each payment takes one coin that was minted for it, so that the same script touches equally many keys
on every ledger. The script's time begins where the ledger's stands and goes back there at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from goldengrain.chaincode.market.rules import Caller
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.coins import Output, coin_id
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.task import Award, DatasetDigests
from tests.chaincode.market.world import (
    OPERATOR2,
    OPERATOR3,
    STRANGER,
    TestEnclave,
    World,
    caller,
    enclave2,
    enclave3,
    spec,
    word,
)

OFFERS = 20
"""Offers of one story."""
ATTEMPTS = 8
COIN = 60_000
GUARD = 300
_AT_ONCE = 16
_COINS = {"provider": 3, "Org1MSP": 1, "Org2MSP": 11, "Org3MSP": 8}
"""Coins that the people of a story need, developers by their organisation; `_OPERATORS_COINS` both operators."""
_OPERATORS_COINS = {OPERATOR2.account: 8, OPERATOR3.account: 9}


@dataclass(frozen=True)
class People:
    """Who plays: clients of the three organisations."""

    provider: Caller
    storer: Caller
    developers: dict[str, Caller]

    @classmethod
    def of(cls, name: str) -> People:
        """People of a name, so that several stories needn't share accounts."""
        developers = {msp: caller(f"developer {name}", msp) for msp in ("Org1MSP", "Org2MSP", "Org3MSP")}
        return cls(caller(f"provider {name}", "Org1MSP"), caller(f"storer {name}", "Org1MSP"), developers)

    @property
    def accounts(self) -> tuple[bytes, ...]:
        """Accounts that own something."""
        return (self.provider.account, *(one.account for one in self.developers.values()))


@dataclass
class ScriptedWorld(World):
    """A world in which each payment takes one coin of a purse."""

    purse: dict[bytes, list[str]] = field(default_factory=dict)

    def coins(self, who: Caller, due: int) -> tuple[str, ...]:
        """Take the next coin of the purse; each is large enough."""
        return (self.purse[who.account].pop(),) if due else ()

    def fund(self, counts: dict[bytes, int]) -> None:
        """Mint as many coins for each account."""
        outputs = [Output(owner, COIN) for owner, count in counts.items() for _ in range(count)]
        for first in range(0, len(outputs), _AT_ONCE):
            batch = tuple(outputs[first : first + _AT_ONCE])
            voted = self.vote_through(c.Propose(c.Action.MINT, mint=batch))
            for index, output in enumerate(batch):
                self.purse.setdefault(output.owner, []).append(coin_id(voted.tx_id, index))


@dataclass
class Story:
    """One play of the script; `number` makes its tasks' ids differ from those of other plays."""

    world: ScriptedWorld
    people: People
    number: int = 0
    _tasks: int = 0

    def play(self) -> None:
        """Play all of it; the world's time is put back at the end."""
        start = self.world.now
        own = zip(self.people.accounts, _COINS.values(), strict=True)
        self.world.fund({**dict(own), **_OPERATORS_COINS})
        each, best, over = self._open(Award.EACH, 8), self._open(Award.BEST, 2), self._open(Award.EACH, 3)
        self._of_org2(each)
        self._of_org3(each)
        self._competition(best)
        self._what_ends(over)
        self.world.at(start)

    # steps

    def _open(self, award: Award, slots: int) -> bytes:
        self._tasks += 1
        name = f"{self.number}.{self._tasks}"
        key = self._dataset_key(self._tasks)
        dataset = DatasetDigests(word(f"ciphertext {name}"), word(f"dataset {name}"), digests.sha256(key))
        return self.world.open_task(
            self.people.provider, award=award, slots=slots, attempts=ATTEMPTS, dataset=dataset, spec=spec()
        )

    def _dataset_key(self, task: int) -> bytes:
        return word(f"dataset key {self.number}.{task}")

    def _stored(self, task: bytes, msp_id: str, attempt: int) -> bytes:
        offer = self.world.offer(task, self.people.developers[msp_id], attempt=attempt)
        self.world.send(self.people.storer, c.Receipt(offer))
        return offer

    def _claimed(self, task: bytes, msp_id: str, attempt: int, slot: int | None) -> bytes:
        offer = self._stored(task, msp_id, attempt)
        self.world.claim(offer, _runner(msp_id), slot=slot)
        return offer

    def _passed(self, task: bytes, msp_id: str, attempt: int, slot: int | None, score: int) -> bytes:
        offer = self._claimed(task, msp_id, attempt, slot)
        self.world.reported(offer, score=score, one=_runner(msp_id))
        return offer

    def _settled(self, task: bytes, msp_id: str, attempt: int, slot: int, score: int) -> bytes:
        offer = self._passed(task, msp_id, attempt, slot, score)
        developer = self.people.developers[msp_id]
        self.world.send(developer, c.Reveal(offer, self.world.secret(developer, attempt)))
        return offer

    def _acknowledged(self, task: bytes, msp_id: str, attempt: int, slot: int, score: int) -> None:
        self.world.send(self.people.provider, c.Acknowledge(self._settled(task, msp_id, attempt, slot, score)))

    # the three tasks

    def _of_org2(self, task: bytes) -> None:
        world, mine = self.world, "Org2MSP"
        developer = self.people.developers[mine]
        world.send(developer, c.WithdrawOffer(world.offer(task, developer, attempt=1)))
        world.reported(self._claimed(task, mine, 2, 0), Outcome.DECLINED)
        world.reported(self._claimed(task, mine, 3, 0), Outcome.FAILED)
        self._acknowledged(task, mine, 4, 0, 600_000)
        self._acknowledged(task, mine, 5, 1, 700_000)
        self._passed(task, mine, 6, 2, 800_000)
        self._stored(task, mine, 7)

    def _of_org3(self, task: bytes) -> None:
        world, mine = self.world, "Org3MSP"
        world.reported(self._claimed(task, mine, 1, 3), Outcome.UNUSABLE, one=enclave2())
        self._acknowledged(task, mine, 2, 3, 550_000)
        self._settled(task, mine, 3, 4, 650_000)
        forfeited = self._passed(task, mine, 4, 5, 750_000)
        deadline = world.now + world.terms_of(task).reveal
        now = world.now
        world.at(deadline + GUARD + 1).send(STRANGER, c.Forfeit(forfeited))
        world.at(now)
        self._claimed(task, mine, 5, 6)

    def _competition(self, task: bytes) -> None:
        self._passed(task, "Org2MSP", 1, None, 600_000)
        self._passed(task, "Org3MSP", 1, None, 700_000)
        self._passed(task, "Org1MSP", 1, None, 550_000)  # outbid
        self._passed(task, "Org2MSP", 2, None, 800_000)  # displaces the first
        self._passed(task, "Org3MSP", 2, None, 750_000)  # displaces the second
        developer = self.people.developers["Org2MSP"]
        offer = self.world.offer(task, developer, attempt=3, sealed_to=(enclave3(),))
        envelope = EnvelopeDigest(enclave2().id, word(f"rewrapped {self.number}"))
        self.world.send(developer, c.Rewrap(offer, (envelope,)))

    def _what_ends(self, task: bytes) -> None:
        world, provider = self.world, self.people.provider
        self._acknowledged(task, "Org3MSP", 1, 0, 600_000)
        lapsed = self._claimed(task, "Org2MSP", 1, 1)
        now = world.now
        world.at(now + 600 + GUARD + 1).send(STRANGER, c.Lapse(lapsed, 1))
        world.send(provider, c.ShutTask(task))
        world.at(world.terms_of(task).last_report + GUARD + 1)
        world.send(STRANGER, c.Expire(lapsed))
        world.send(STRANGER, c.RefundSlot(task, 1))
        world.send(provider, c.OpenDataset(task, self._dataset_key(self._tasks)))
        world.at(now)


@dataclass
class Rest:
    """Commands that no swap needs: awarding, slashing, transfers, voting, registering. Not part of what is cloned."""

    world: ScriptedWorld
    people: People
    number: int = 0

    def play(self) -> None:
        """Play them on two tasks of their own; the world's time is put back at the end."""
        world, start = self.world, self.world.now
        provider, developer = self.people.provider, self.people.developers["Org2MSP"]
        world.fund({provider.account: 2, developer.account: 1, OPERATOR3.account: 1})
        world.send(provider, c.Transfer(world.coins(provider, 1), (Output(developer.account, 5),)))
        world.put_collateral()
        world.register(enclave3())
        dataset = DatasetDigests(word(f"c {self.number}"), word(f"d {self.number}"), word(f"k {self.number}"))
        task = world.open_task(provider, award=Award.BEST, slots=1, dataset=dataset)
        offer = world.offer(task, developer)
        world.send(self.people.storer, c.Receipt(offer))
        world.claim(offer, enclave3())
        world.reported(offer)
        world.at(world.terms_of(task).last_report + GUARD + 1).send(STRANGER, c.AwardOffer(offer))
        world.at(world.terms_of(task).last_opening + GUARD + 1).send(STRANGER, c.SlashAudit(task))
        world.at(start)


def _runner(msp_id: str) -> TestEnclave:
    """The enclave that runs models of an organisation: another one's."""
    return enclave2() if msp_id == "Org3MSP" else enclave3()


def founded(world: ScriptedWorld) -> ScriptedWorld:
    """Found the consortium on an empty ledger, and register both enclaves."""
    world.found(attempts_max=ATTEMPTS)
    world.put_collateral()
    for one in (enclave2(), enclave3()):
        world.register(one)
    return world
