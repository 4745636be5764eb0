"""The client on the embedded network: other services, the market's contract, three organisations' gateways."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from fabric_protos.common import common_pb2

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.commands import Transfer
from goldengrain.chaincode.protocol.errors import OfferNotFound, PolicyNotFound, TaskNotFound
from goldengrain.chaincode.protocol.queries import GetPolicy
from goldengrain.gateway.audit import audit
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import CommitError, CommitUnknown, DeliverError, EndorseError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.market import Market
from goldengrain.gateway.network import Network
from goldengrain.gateway.wallet import Wallet
from goldengrain.network import lifecycle, runtime
from goldengrain.network.home import Home
from tests.gateway.market.conftest import policy

CHAINCODE = "golden-grain"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A running network with the market's contract on it."""
    home = Home(tmp_path_factory.mktemp("home"))
    runtime.up(home)
    address = f"127.0.0.1:{free_port()}"
    deployment = asyncio.run(lifecycle.deploy(home, CHAINCODE, "1", address))
    command = [sys.executable, "-m", "goldengrain.chaincode.market", "--address", address]
    command += ["--package-id", deployment.package_id, "--clock", str(home.clock_file)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert server.stdout is not None
    try:
        assert b"ready" in server.stdout.readline()
        yield home
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()
        runtime.down(home, purge=True)


@asynccontextmanager
async def network(home: Home, organization: int, user: str = "User1") -> AsyncIterator[Network]:
    topology = home.load_topology()
    member = topology.organizations[organization - 1]
    profile = ConnectionProfile.load(home.connection_profile(member))
    who = Wallet(home.wallet).get(f"{user}@{member.domain}")
    clock = LedgerClock(home.clock_file)
    async with Gateway.connect(profile.gateway(), who.identity, who.signer, clock=clock) as gateway:
        yield gateway.network(topology.channel.name)


@pytest.fixture
async def markets(home: Home) -> AsyncIterator[list[Market]]:
    """The market as User1 of each organisation sees it, founded, each with 1000 credits or more."""
    async with AsyncExitStack() as stack:
        users = [Market(await stack.enter_async_context(network(home, number))) for number in (1, 2, 3)]
        admins = [Market(await stack.enter_async_context(network(home, number, "Admin"))) for number in (1, 2)]
        if not await founded(users[0]):
            await admins[0].consortium.bootstrap(policy(users[2].account))
        minted = await admins[0].consortium.propose_mint([Output(one.account, 1000) for one in users])
        await admins[1].consortium.vote(minted.answer["proposal"])
        yield users


async def founded(market: Market) -> bool:
    try:
        await market.consortium.policy()
    except PolicyNotFound:
        return False
    return True


async def test_money_moves_between_organisations_and_is_conserved(markets: list[Market]) -> None:
    one, two, _ = markets
    before = await two.credits.balance()
    sent = await one.credits.pay(two.account, 5)
    assert sent.code == "VALID"
    assert await two.credits.balance() == before + 5
    assert (await one.supply()).conserved


async def test_payments_at_once_do_not_conflict(markets: list[Market]) -> None:
    one, two, _ = markets
    await one.credits.transfer([Output(one.account, 10)] * 10)
    before = await two.credits.balance()
    await asyncio.gather(*(one.credits.pay(two.account, 10) for _ in range(10)))
    assert await two.credits.balance() == before + 100


async def test_refusals_come_under_their_own_names(markets: list[Market]) -> None:
    with pytest.raises(OfferNotFound) as caught:
        await markets[0].offers.get(bytes(32))
    assert caught.value.__cause__ is not None
    with pytest.raises(TaskNotFound):
        await markets[0].tasks.shut(bytes(32))


async def test_every_block_verifies_through_every_gateway(home: Home, markets: list[Market]) -> None:
    sent = (await markets[0].credits.pay(markets[1].account, 1)).transaction_id
    chains = []
    for market in markets:
        genesis = common_pb2.Block.FromString(home.genesis_file("market").read_bytes())
        found = await audit(market.network, genesis)
        assert found.outcome(sent).valid
        chains.append([(one.transaction_id, one.code_name) for one in found.transactions])
    shortest = min(len(chain) for chain in chains)
    assert chains[0][:shortest] == chains[1][:shortest] == chains[2][:shortest]


async def test_events_of_all_payments_arrive_in_order(markets: list[Market]) -> None:
    start = await markets[0].network.height()
    async with markets[1].events(start) as events:
        ids = [(await markets[0].credits.pay(markets[1].account, 1)).transaction_id for _ in range(3)]
        async with asyncio.timeout(10):
            found = [await anext(events) for _ in range(3)]
    assert [one.transaction_id for one in found] == ids
    assert {one.name for one in found} == {"Transfer"}


async def test_a_lost_race_is_a_read_conflict(markets: list[Market]) -> None:
    contract = markets[0].network.contract(CHAINCODE)
    (coin, *_) = await markets[0].credits.coins()
    join = Transfer((coin.id,), ())
    first = await contract.propose(*join.to_args()).endorse()
    second = await contract.propose(*join.to_args()).endorse()
    (await (await first.submit()).status()).check()
    with pytest.raises(CommitError) as caught:
        (await (await second.submit()).status()).check()
    assert caught.value.is_read_conflict


async def test_the_same_envelope_twice_commits_once(markets: list[Market]) -> None:
    (coin, *_) = await markets[0].credits.coins()
    contract = markets[0].network.contract(CHAINCODE)
    transaction = await contract.propose(*Transfer((coin.id,), ()).to_args()).endorse()
    first = await (await transaction.submit()).status()
    second = await (await transaction.submit()).status()
    assert first == second


async def test_an_unknown_transaction_stays_unknown(home: Home) -> None:
    async with network(home, 1) as channel:
        with pytest.raises(CommitUnknown) as caught:
            await channel.commit("0" * 64).status(deadline=0.5)
        assert caught.value.may_commit
        with pytest.raises(DeliverError):
            await channel.fetch_block(10**6)


async def test_chosen_organisations_endorse(home: Home, markets: list[Market]) -> None:
    contract = markets[0].network.contract(CHAINCODE)
    proposal = contract.propose(*GetPolicy().to_args(), endorsing_organizations=["Org2MSP", "Org3MSP"])
    transaction = await proposal.endorse()
    assert {one.msp_id for one in transaction.endorsements} == {"Org2MSP", "Org3MSP"}
    with pytest.raises(EndorseError, match="NopeMSP"):
        await contract.propose(*GetPolicy().to_args(), endorsing_organizations=["NopeMSP"]).endorse()


async def test_a_peer_answers_about_itself(home: Home) -> None:
    member = home.load_topology().organizations[0]
    endpoint = ConnectionProfile.load(home.connection_profile(member)).gateway()
    admin = Wallet(home.wallet).get(f"Admin@{member.domain}")
    async with Endorser.connect(endpoint, admin.identity, admin.signer) as peer:
        assert await peer.channels() == ["market"]
        info = await peer.chain_info("market")
        block = await peer.block_by_number("market", info.height - 1)
        assert block.header.number == info.height - 1
