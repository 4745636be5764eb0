"""Whole swaps over a network, many at once: every command through Gateway client, peers and the contract's process.

No benchmark runs in them: the reports are signed with keys of two registered (simulated) enclaves, as an enclave would.
Org1 provides, Org2 and Org3 develop and run each other's models.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from goldengrain.chaincode.protocol import canonical, digests, quotes, signatures
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.coins import Output, coin_id
from goldengrain.chaincode.protocol.errors import CollateralRollback
from goldengrain.chaincode.protocol.offer import EnvelopeDigest, Order
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.chaincode.protocol.report import LOCKED_SIZE, Outcome, Report, Result
from goldengrain.chaincode.protocol.requests import Command
from goldengrain.chaincode.protocol.sealing import PrivateKey
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
from goldengrain.chaincode.protocol.ticket import Claim, Ticket
from goldengrain.enclave.quoting.development_root import DevelopmentRoot
from goldengrain.enclave.quoting.simulated import SimulatedPlatform
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import EndorseError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.market import Committed, Market
from goldengrain.gateway.market.refusals import named_refusals
from goldengrain.gateway.wallet import Wallet
from goldengrain.network import lifecycle, runtime
from goldengrain.network.channel_admin import read_config
from goldengrain.network.home import Home
from goldengrain.network.ports import free_port
from goldengrain.network.topology import Topology
from goldengrain.network.trust_bundle import trust_bundle

CONTRACT = "golden-grain"
MODULE = "goldengrain.chaincode.market"
COIN = 100_000
SCORE = 700_000
LEASE = 3_600
_MINTS_AT_ONCE = 8


def word(text: str) -> bytes:
    """32 bytes that stand for something."""
    return hashlib.sha256(text.encode()).digest()


@dataclass
class Enclave:
    """A registered enclave's signing key, and the market of its operator's organisation."""

    name: str
    operator: Market
    signing: bytes
    bundle: bytes
    """Digest of the trust bundle that it believes."""
    encryption: bytes = field(default_factory=lambda: PrivateKey.generate().public)

    @property
    def public(self) -> bytes:
        """The compressed signing key."""
        return signatures.public_key(self.signing)

    @property
    def id(self) -> bytes:
        """The enclave's id."""
        return digests.enclave_id(self.public)


@dataclass
class MarketBench:
    """A founded market: users of three organisations, each account with a pile of coins, two enclaves."""

    home: Home
    clock: LedgerClock
    users: list[Market]
    admins: list[Market]
    policy: Policy
    enclaves: list[Enclave]
    platform: SimulatedPlatform
    contract_pid: int
    network_pid: int
    contract_address: str = ""
    piles: dict[bytes, list[str]] = field(default_factory=dict)
    conflicts: int = 0
    wait_for_peers: bool = False
    """Whether a command is done only once every organisation's peer has it: real peers commit at different moments."""
    _numbers: int = 0

    def number(self) -> int:
        """A number that no other swap has."""
        self._numbers += 1
        return self._numbers

    def coin(self, who: Market) -> tuple[str, ...]:
        """One of an account's coins, used once; each holds enough for any command here."""
        return (self.piles[who.account].pop(),)

    async def mint(self, per_account: int) -> None:
        """Give each user as many coins."""
        outputs = [Output(one.account, COIN) for one in self.users for _ in range(per_account)]
        batches = [outputs[first : first + 16] for first in range(0, len(outputs), 16)]
        for first in range(0, len(batches), _MINTS_AT_ONCE):
            await asyncio.gather(*(self._mint(one) for one in batches[first : first + _MINTS_AT_ONCE]))

    async def _mint(self, outputs: list[Output]) -> None:
        proposed = await self.admins[0].consortium.propose_mint(outputs)
        if self.wait_for_peers:
            await everywhere(self.users, proposed)
        voted = await self.admins[1].consortium.vote(proposed.answer["proposal"])
        if self.wait_for_peers:
            await everywhere(self.users, voted)
        for index, output in enumerate(outputs):
            self.piles.setdefault(output.owner, []).append(coin_id(voted.transaction_id, index))

    async def send(self, who: Market, command: Command) -> Committed:
        """Send a command once; a lost race is an error."""
        with named_refusals():
            result = await who.network.contract(CONTRACT).submit(*command.to_args())
        answer = canonical.loads(result.payload, 1 << 16) if result.payload else {}
        committed = Committed(command.function(), result.transaction_id, result.block, result.code, answer)
        if self.wait_for_peers:
            await everywhere(self.users, committed)
        return committed

    async def register(self, one: Enclave) -> None:
        """Register an enclave: Org1's user challenges it."""
        await register(self.users, self.platform, self.policy.roots[0].id, self.clock, one)

    def opening(self, slots: int = 1, coins: tuple[str, ...] = ()) -> c.OpenTask:
        """Terms of a task that no other has."""
        now, number = self.clock.now(), self.number()
        return c.OpenTask(
            provider_key=PROVIDER_KEY,
            spec=_spec(number),
            dataset=DatasetDigests(word("ciphertext"), word("dataset"), digests.sha256(word("dataset key"))),
            dataset_envelopes=tuple(EnvelopeDigest(one.id, word(f"dataset {one.name}")) for one in self.enclaves),
            schedule=PriceSchedule.of((500_000, 1_000), (900_000, 5_000)),
            award=Award.EACH,
            slots=slots,
            last_offer=now + 40_000,
            last_report=now + 80_000,
            last_opening=now + 160_000,
            reveal=3_000,
            eta=100,
            attempts=3,
            enclaves=1,
            coins=coins,
        )

    async def open_task(self, slots: int = 1) -> Task:
        """Open a task of Org1's."""
        opening = self.opening(slots, self.coin(self.users[0]))
        await self.send(self.users[0], opening)
        return opening.task(self.users[0].network.channel, CONTRACT, self.users[0].account, self.policy)


@dataclass
class Swap:
    """One swap, command by command."""

    bench: MarketBench
    task: Task
    organization: int
    """0 to 2: index of the developer's."""
    slot: int = 0
    attempt: int = 1
    order: Order | None = None
    claim: Claim | None = None
    enclaves: tuple[Enclave, ...] = ()
    """Those that its task's test set is sealed to."""

    def __post_init__(self) -> None:
        """Take the enclaves that the market has as it begins."""
        self.enclaves = self.enclaves or tuple(self.bench.enclaves)

    @property
    def developer(self) -> Market:
        """Who sells."""
        return self.bench.users[self.organization]

    @property
    def enclave(self) -> Enclave:
        """Who runs it: another organisation's."""
        return self.enclaves[0 if self.organization == 2 else 1]

    @property
    def name(self) -> str:
        """What its digests are made of."""
        return f"{self.task.id.hex()} {self.organization} {self.attempt}"

    @property
    def offer(self) -> bytes:
        """The offer's id."""
        assert self.order is not None
        return self.order.offer_id

    async def submit(self) -> Committed:
        """`SubmitOffer`."""
        command = c.SubmitOffer(
            task=self.task.id,
            payout=self.developer.account,
            attempt=self.attempt,
            ciphertext=word(f"model {self.name}"),
            size=5_000,
            chunk_size=1_024,
            key_check=word(f"key {self.name}"),
            secret_hash=digests.secret_hash(word(self.name)),
            reserve=0,
            bond=self.task.minimum_bond,
            envelopes=tuple(EnvelopeDigest(one.id, self._envelope(one)) for one in self.enclaves),
            coins=self.bench.coin(self.developer),
        )
        self.order = command.order(self.task, self.developer.account)
        return await self.bench.send(self.developer, command)

    async def receipt(self) -> Committed:
        """`Receipt`, by the provider's organisation."""
        return await self.bench.send(self.bench.users[0], c.Receipt(self.offer))

    async def claim_it(self) -> Committed:
        """`Claim`."""
        operator = self.enclave.operator
        command = c.Claim(self.offer, self.enclave.id, LEASE, self.bench.coin(operator), self.slot)
        committed = await self.bench.send(operator, command)
        self.claim = Claim(
            number=committed.answer["claim"],
            enclave=self.enclave.id,
            operator=operator.account,
            operator_msp=f"Org{self.bench.users.index(operator) + 1}MSP",
            lease_end=committed.answer["lease_end"],
            slot=self.slot,
            model_envelope=self._envelope(self.enclave),
            dataset_envelope=word(f"dataset {self.enclave.name}"),
        )
        return committed

    def _envelope(self, one: Enclave) -> bytes:
        return word(f"{self.name} {one.name}")

    async def report(self) -> Committed:
        """`SubmitReport`, a pass."""
        assert self.order is not None
        assert self.claim is not None
        lowest = threshold(self.task.schedule.pairs, self.task.eta, None, 0)
        ticket = Ticket.of(self.order, self.claim, self.enclave.bundle, lowest)
        result = Result(Outcome.PASS, SCORE, bytes(LOCKED_SIZE), word("model"))
        signature = Report.of(self.task, self.order, ticket, result).sign(self.enclave.signing)
        command = c.SubmitReport(
            self.offer, self.claim.number, Outcome.PASS, signature, SCORE, result.locked, result.model
        )
        return await self.bench.send(self.enclave.operator, command)

    async def reveal(self) -> Committed:
        """`Reveal`."""
        return await self.bench.send(self.developer, c.Reveal(self.offer, word(self.name)))

    async def acknowledge(self) -> Committed:
        """`Acknowledge`."""
        return await self.bench.send(self.bench.users[0], c.Acknowledge(self.offer))

    async def play(self) -> None:
        """Take all six steps."""
        for step in (self.submit, self.receipt, self.claim_it, self.report, self.reveal, self.acknowledge):
            await step()


COMMANDS_OF_A_SWAP = 6
PROVIDER_KEY = PrivateKey.generate().public
MEASUREMENT = word("measurement")
WINDOW = 120


def _spec(seed: int) -> BenchmarkSpec:
    interface = ModelInterface(Tensor("in", TensorType.FLOAT32, (0, 64)), Tensor("out", TensorType.FLOAT32, (0, 10)))
    return BenchmarkSpec(Metric.ACCURACY, False, 1_000, interface, ModelLimits(1 << 20, 100, 1 << 30, 1 << 30), seed)


def _policy(root: bytes, bundle: bytes, operators: tuple[bytes, ...]) -> Policy:
    return Policy(
        number=1,
        organizations=("Org1MSP", "Org2MSP", "Org3MSP"),
        required=2,
        colluding=1,
        window=WINDOW,
        guard=300,
        reveal_min=700,
        reveal_max=7_000,
        challenge_age=3_600,
        enclave_age=7 * 86_400,
        proposal_age=3_600,
        roots=(AttestationRoot(root),),
        measurements=(MEASUREMENT,),
        statuses=("UpToDate",),
        operators=operators,
        bundle=bundle,
        previous_bundle=None,
        previous_bundle_sunset=None,
        benchmark_fee=10,
        market_fee=250,
        bond=1_000,
        audit_bond=500,
        deposit=100,
        lease_min=60,
        lease_max=LEASE,
        attempts_max=5,
        verifier=quotes.VERIFIER,
    )


async def _first(attempt: Callable[[], Awaitable[Committed]]) -> Committed:
    """Try until the peers of a majority of organisations know each other."""
    deadline = time.monotonic() + 90.0
    while True:
        try:
            return await attempt()
        except EndorseError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def everywhere(users: list[Market], committed: Committed) -> None:
    """Wait until every user's peer has a transaction's block."""
    for user in users:
        for _ in range(1_000):
            if await user.network.height() > committed.block:
                break
            await asyncio.sleep(0.02)
        else:
            raise RuntimeError(f"a peer has no block {committed.block} after 20 s")


def start_contract(home: Home, address: str, package_id: str, module: str = MODULE) -> subprocess.Popen[bytes]:
    """Start the contract's process and wait until it serves."""
    command = [sys.executable, "-m", module, "--address", address, "--package-id", package_id]
    command += ["--clock", str(home.clock_file), "--log-level", "warning"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert server.stdout is not None
    if b"ready" not in server.stdout.readline():
        raise RuntimeError("the contract's process did not start")
    return server


def stop_contract(server: subprocess.Popen[bytes]) -> None:
    """End a process started here."""
    server.terminate()
    server.wait(10)
    assert server.stdout is not None
    server.stdout.close()


@asynccontextmanager
async def open_market(
    coins: int, *, kind: str = "embedded", topology: Topology | None = None
) -> AsyncIterator[MarketBench]:
    """Bring up a network in a temporary folder with a founded market on it; `coins` for each account.

    `kind` is the network's runtime.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        state = await asyncio.to_thread(partial(runtime.up, home, topology, runtime=kind))
        try:
            address = f"127.0.0.1:{free_port()}"
            deployment = await lifecycle.deploy(home, CONTRACT, "1", address)
            server = start_contract(home, address, deployment.package_id)
            try:
                async with AsyncExitStack() as stack:
                    bench = await found(home, stack, Path(folder), server.pid, state.pid)
                    bench.wait_for_peers, bench.contract_address = kind != "embedded", address
                    await bench.mint(coins)
                    yield bench
            finally:
                stop_contract(server)
        finally:
            await asyncio.to_thread(runtime.down, home)


async def found(home: Home, stack: AsyncExitStack, folder: Path, contract: int, network: int) -> MarketBench:
    """Found the market and register two enclaves; waits for peers that gossip has not found yet."""
    users = [await connect_user(home, stack, number, "User1") for number in range(3)]
    admins = [await connect_user(home, stack, number, "Admin") for number in range(2)]
    clock = LedgerClock(home.clock_file)
    root = DevelopmentRoot.create(folder / "root", at=clock.now())
    platform = SimulatedPlatform(root)
    channel = users[0].network.channel
    bundle = trust_bundle(await read_config(home, channel), channel, CONTRACT, window=WINDOW, required=2).digest()
    policy = _policy(root.root_der, bundle, tuple(sorted(one.account for one in users[1:])))
    await everywhere(users, await _first(lambda: admins[0].consortium.bootstrap(policy)))
    enclaves = [Enclave(f"enclave {number}", users[number], word(f"signing {number}"), bundle) for number in (1, 2)]
    for one in enclaves:
        await register(users, platform, policy.roots[0].id, clock, one)
    return MarketBench(home, clock, users, admins, policy, enclaves, platform, contract, network)


async def register(
    users: list[Market], platform: SimulatedPlatform, root: bytes, clock: LedgerClock, one: Enclave
) -> None:
    """Register an enclave; everybody's peer has it then."""
    account, channel = one.operator.account, one.operator.network.channel
    challenged = await users[0].enclaves.challenge(account)
    await everywhere(users, challenged)
    with suppress(CollateralRollback):
        stored = await users[0].enclaves.put_collateral(root, platform.collateral(at=clock.now()))
        await everywhere(users, stored)
    challenge = challenged.transaction_id
    nonce = bytes.fromhex(challenge)
    data = quotes.report_data(channel, CONTRACT, account, nonce, one.public, one.encryption, one.bundle)
    quote = platform.quote(data, MEASUREMENT)
    registration = c.RegisterEnclave(challenge, quote, root, platform.fmspc, one.public, one.encryption, one.bundle)
    await everywhere(users, await one.operator.enclaves.register(registration))


async def connect_user(
    home: Home, stack: AsyncExitStack, organization: int, user: str, deadlines: Deadlines | None = None
) -> Market:
    """The market of a user of an organisation (an index), by its wallet's credentials as they are now."""
    topology = home.load_topology()
    member = topology.organizations[organization]
    profile = ConnectionProfile.load(home.connection_profile(member))
    who = Wallet(home.wallet).get(f"{user}@{member.domain}")
    clock = LedgerClock(home.clock_file)
    gateway = await stack.enter_async_context(
        Gateway.connect(profile.gateway(), who.identity, who.signer, clock=clock, deadlines=deadlines)
    )
    return Market(gateway.network(topology.channel.name))
