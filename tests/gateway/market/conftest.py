from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from goldengrain.chaincode.protocol import quotes
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.commands import OpenTask, SubmitOffer
from goldengrain.chaincode.protocol.digests import enclave_id, key_check, secret_hash
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.chaincode.protocol.sealing import PrivateKey
from goldengrain.chaincode.protocol.signatures import public_key
from goldengrain.chaincode.protocol.task import (
    Award,
    BenchmarkSpec,
    DatasetDigests,
    Metric,
    ModelInterface,
    ModelLimits,
    PriceSchedule,
    Tensor,
    TensorType,
)
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.market import Market
from tests.gateway.ledger_double import CHANNEL
from tests.gateway.market.market_double import START, MarketLedger, MovingClock
from tests.gateway.server_double import ServerDouble

BUNDLE = b"b" * 32
MEASUREMENT = b"m" * 32
SECRET = b"r" * 32
KEY = b"k" * 32
FUNDS = 1_000_000

PROVIDER_KEY = PrivateKey.generate().public


def policy(*operators: bytes) -> Policy:
    return Policy(
        number=1,
        organizations=("Org1MSP", "Org2MSP", "Org3MSP"),
        required=2,
        colluding=1,
        window=5,
        guard=10,
        reveal_min=60,
        reveal_max=3600,
        challenge_age=600,
        enclave_age=86_400,
        proposal_age=3600,
        roots=(AttestationRoot(b"c" * 100),),
        measurements=(MEASUREMENT,),
        statuses=("UpToDate",),
        operators=operators,
        bundle=BUNDLE,
        previous_bundle=None,
        previous_bundle_sunset=None,
        benchmark_fee=100,
        market_fee=250,
        bond=1000,
        audit_bond=500,
        deposit=1000,
        lease_min=60,
        lease_max=3600,
        attempts_max=3,
        verifier=quotes.VERIFIER,
        test=True,
    )


@dataclass
class Stage:
    """A founded market: one client per organisation with funds, its admins, two registered enclaves of Org3's."""

    server: ServerDouble
    ledger: MarketLedger
    clock: MovingClock
    markets: dict[str, Market]
    admins: dict[str, Market]
    enclave_keys: list[bytes]

    @property
    def provider(self) -> Market:
        return self.markets["Org1MSP"]

    @property
    def developer(self) -> Market:
        return self.markets["Org2MSP"]

    @property
    def operator(self) -> Market:
        return self.markets["Org3MSP"]

    @property
    def enclaves(self) -> list[bytes]:
        return [enclave_id(public_key(key)) for key in self.enclave_keys]

    def envelopes(self) -> tuple[EnvelopeDigest, ...]:
        return tuple(EnvelopeDigest(one, b"e" * 32) for one in self.enclaves)

    def opening(self, slots: int = 4, seed: int = 0) -> OpenTask:
        axis = (0, 64)
        return OpenTask(
            provider_key=PROVIDER_KEY,
            spec=BenchmarkSpec(
                metric=Metric.ACCURACY,
                wilson=False,
                samples=100,
                interface=ModelInterface(
                    Tensor("input", TensorType.FLOAT32, axis), Tensor("output", TensorType.FLOAT32, (0, 10))
                ),
                limits=ModelLimits(10**6, 1000, 10**9, 10**9),
                seed=seed,
            ),
            dataset=DatasetDigests(b"1" * 32, b"2" * 32, b"3" * 32),
            dataset_envelopes=self.envelopes(),
            schedule=PriceSchedule.of((500_000, 1000), (1_000_000, 10_000)),
            award=Award.EACH,
            slots=slots,
            last_offer=START + 1000,
            last_report=START + 2000,
            last_opening=START + 4000,
            reveal=600,
            eta=1000,
            attempts=3,
            enclaves=1,
            coins=(),
        )

    def offering(self, task: bytes, developer: Market, attempt: int = 1) -> SubmitOffer:
        return SubmitOffer(
            task=task,
            payout=developer.account,
            attempt=attempt,
            ciphertext=b"x" * 32,
            size=5000,
            chunk_size=1 << 20,
            key_check=key_check(KEY),
            secret_hash=secret_hash(SECRET),
            reserve=0,
            bond=1000,
            envelopes=self.envelopes(),
            coins=(),
        )

    async def stored_offer(self, task: bytes | None = None) -> bytes:
        """Bring an offer as far as a receipt; opens a task for it unless one is given."""
        if task is None:
            task = (await self.provider.tasks.open(self.opening())).id
        sent = await self.developer.offers.submit(self.offering(task, self.developer))
        offer = sent.id
        await self.provider.offers.receipt(offer)
        return offer


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    ledger, clock = MarketLedger(), MovingClock()
    server = ServerDouble(ledger)
    endpoint = await server.start()
    deadlines = Deadlines(5, 5, 5, 5, 5)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)

        async def market(who: Credentials) -> Market:
            gateway = Gateway.connect(endpoint, who.identity, who.signer, clock=clock, deadlines=deadlines)
            return Market((await stack.enter_async_context(gateway)).network(CHANNEL), patience_s=0.0)

        markets = {one.msp_id: await market(one.user) for one in ledger.members}
        admins = {one.msp_id: await market(one.ca.credentials(one.msp_id, "Admin", "admin")) for one in ledger.members}
        first = policy(markets["Org3MSP"].account)
        keys = [ledger.register_enclave(number, ledger.members[2], first) for number in (1, 2)]
        stage = Stage(server, ledger, clock, markets, admins, keys)
        await admins["Org1MSP"].consortium.bootstrap(first)
        outputs = [Output(one.account, FUNDS) for one in markets.values()]
        proposed = await admins["Org1MSP"].consortium.propose_mint(outputs)
        await admins["Org2MSP"].consortium.vote(proposed.answer["proposal"])
        yield stage
