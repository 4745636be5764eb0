"""Each fault at each step: the call ends within its deadline and says whether the transaction can still commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import pytest_asyncio

from goldengrain.gateway.contract import Contract, SubmitResult
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import (
    CommitStatusError,
    CommitUnknown,
    DeliverError,
    EndorseError,
    EvaluateError,
    SubmitUnknown,
    TransactionError,
)
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from tests.gateway.faults.proxy import Proxy
from tests.gateway.faults.served import PEERS, Served, served
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import CA, Fault, ServerDouble

DEADLINES = Deadlines(evaluate=0.8, endorse=0.8, submit=0.8, commit=0.8, deliver=0.8)
LONGEST_S = 0.8 * 3 + 1.0

STEPS: dict[str, tuple[type[TransactionError], bool]] = {
    "Evaluate": (EvaluateError, False),
    "Endorse": (EndorseError, False),
    "Submit": (SubmitUnknown, True),
    "CommitStatus": (CommitUnknown, True),
}


@pytest.fixture
async def proxy(server: ServerDouble) -> AsyncIterator[Proxy]:
    async with Proxy(server.endpoint) as proxy:
        yield proxy


@pytest.fixture
async def contract(proxy: Proxy, user: Credentials) -> AsyncIterator[Contract]:
    async with Gateway.connect(proxy.endpoint, user.identity, user.signer, deadlines=DEADLINES) as gateway:
        yield gateway.network(CHANNEL).contract(CHAINCODE)


async def kill(server: ServerDouble, proxy: Proxy) -> None:
    await server.stop()


async def cut(server: ServerDouble, proxy: Proxy) -> None:
    await proxy.refuse()


async def silence(server: ServerDouble, proxy: Proxy) -> None:
    proxy.silent = True


async def slow(server: ServerDouble, proxy: Proxy) -> None:
    proxy.delay = 2.0


FAULTS: list[Callable[[ServerDouble, Proxy], Awaitable[None]]] = [kill, cut, silence, slow]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
async def test_the_peer_fails_while_a_step_is_under_way(
    contract: Contract, server: ServerDouble, proxy: Proxy, user: Credentials, step: str, fault: Callable[..., object]
) -> None:
    server.faults[step] = [Fault(delay=0.3)]
    calling = asyncio.ensure_future(
        contract.evaluate("get", "k") if step == "Evaluate" else contract.submit("append", "k", "v")
    )
    await server.called(step)
    await fault(server, proxy)  # type: ignore[misc]
    kind, may_commit = STEPS[step]
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        await calling
    assert time.monotonic() - began < LONGEST_S
    error = caught.value
    assert error.may_commit is may_commit
    assert error.transaction_id is not None
    assert len(error.transaction_id) == 64
    await server.stop()
    await server.start(int(server.endpoint.address.rpartition(":")[2]))
    async with Gateway.connect(server.endpoint, user.identity, user.signer, deadlines=DEADLINES) as again:
        await resolve(again.network(CHANNEL).contract(CHAINCODE), server, error)


async def resolve(contract: Contract, server: ServerDouble, error: TransactionError) -> None:
    """By its id, and once at most."""
    assert error.transaction_id is not None
    committed = error.transaction_id in server.ledger.committed
    assert error.may_commit or not committed
    if committed:
        commit = Gateway(contract._session, False).network(CHANNEL).commit(error.transaction_id)
        assert (await commit.status()).successful
    assert server.ledger.state.get("k", (b"",))[0] == (b"v" if committed else b"")


async def test_slow_within_the_deadline_is_no_fault(contract: Contract, proxy: Proxy) -> None:
    proxy.delay = 0.02
    assert (await contract.submit("append", "k", "v")).code == "VALID"


async def test_a_connection_that_was_cut_between_calls_is_made_anew(contract: Contract, proxy: Proxy) -> None:
    assert (await contract.submit("append", "k", "v")).code == "VALID"
    proxy.cut()
    await asyncio.sleep(0.1)
    async with asyncio.timeout(10):
        await once_endorsed(contract, "append", "k", "w")
    assert (await contract.evaluate("get", "k")) == b"vw"


async def test_an_idle_stream_notices_a_dead_connection(server: ServerDouble, user: Credentials, proxy: Proxy) -> None:
    """Nothing is sent on it, so only asking tells; the next peer takes over."""
    both = [proxy.endpoint, server.endpoint]
    async with Gateway.connect(both, user.identity, user.signer, keepalive_s=0.5) as gateway:
        network = gateway.network(CHANNEL)
        gateway._session.peers.current.channel.get_state(try_to_connect=True)
        async with network.block_events(1) as blocks:
            proxy.silent = True
            waiting = asyncio.ensure_future(anext(blocks))
            async with Gateway.connect(server.endpoint, user.identity, user.signer) as other:
                await other.network(CHANNEL).contract(CHAINCODE).submit("put", "k", "v")
            assert (await asyncio.wait_for(waiting, 40)).header.number == 1


async def test_a_peers_certificate_that_has_expired_is_no_peer(user: Credentials) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    server = ServerDouble(_issued=CA.issue("peer0", hosts=("localhost",), until=yesterday))
    endpoint = await server.start()
    try:
        async with Gateway.connect(endpoint, user.identity, user.signer, deadlines=DEADLINES) as gateway:
            network = gateway.network(CHANNEL)
            with pytest.raises(EndorseError, match="its certificate of the expected authority") as caught:
                await network.contract(CHAINCODE).submit("put", "k", "v")
            assert caught.value.grpc_code is grpc.StatusCode.UNAVAILABLE
            assert not caught.value.may_commit
            with pytest.raises(DeliverError):
                await asyncio.wait_for(anext(network.block_events(0)), 5)
    finally:
        await server.stop()
    assert server.calls == []


async def once_endorsed(contract: Contract, *call: str) -> SubmitResult:
    """Submit a call that fails to be endorsed, and so has no effect, until it is."""
    while True:
        try:
            return await contract.submit(*call)
        except EndorseError:
            await asyncio.sleep(0.1)


# On the embedded network: what only a network knows.


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with served(tmp_path_factory.mktemp("faults") / "home") as network:
        yield network


@pytest.mark.check
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("shared", [False, True], ids=["asked", "told"])
async def test_the_orderer_is_gone_and_comes_back(network: Served, shared: bool) -> None:
    """For 30 s it is in `test_many.py`, and Fabric's own in `test_real_peers.py`."""
    user = network.user
    deadlines = Deadlines(endorse=5, submit=1, commit=3)
    async with Gateway.connect(
        network.endpoint(0), user.identity, user.signer, deadlines=deadlines, shared_commit_stream=shared
    ) as gateway:
        contract = gateway.network("market").contract("kv")
        await contract.submit("put", "gone", "0")
        await network.tell("stop", network.orderer)
        began = time.monotonic()
        with pytest.raises(SubmitUnknown) as caught:
            await contract.submit("add", "gone", "1")
        assert time.monotonic() - began < 4
        assert caught.value.may_commit
        waiting = asyncio.ensure_future(contract.submit("add", "gone", "10", attempts=20))
        await asyncio.sleep(3)
        await network.tell("start", network.orderer)
        assert (await waiting).code == "VALID"
        with pytest.raises(CommitStatusError):
            await gateway.network("market").commit(str(caught.value.transaction_id)).status(0.5)
        assert await contract.evaluate("get", "gone") == b"10"


@pytest.mark.check
@pytest.mark.asyncio(loop_scope="module")
async def test_the_gateway_peer_is_restarted(network: Served) -> None:
    user = network.user
    async with Gateway.connect(network.endpoint(0), user.identity, user.signer) as gateway:
        contract = gateway.network("market").contract("kv")
        async with gateway.network("market").block_events() as blocks:
            first = await contract.submit("put", "restarted", "1")
            await network.tell("stop", PEERS[0])
            with pytest.raises(EndorseError) as caught:
                await contract.submit("put", "restarted", "2")
            assert not caught.value.may_commit
            await network.tell("start", PEERS[0])
            async with asyncio.timeout(20):
                second = await once_endorsed(contract, "put", "restarted", "3")
                numbers = [(await anext(blocks)).header.number for _ in range(second.block - first.block + 1)]
    assert numbers == list(range(first.block, second.block + 1))
