"""The gateway peer killed before and within each step, on any network. Mixed into a test class per network.

Each call ends in its deadline and says whether the transaction can still commit; what may, its id resolves.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import pytest

from goldengrain.gateway.backoff import Reconnect
from goldengrain.gateway.clock import SystemClock
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.errors import (
    CommitUnknown,
    DeliverError,
    EndorseError,
    EvaluateError,
    SubmitUnknown,
    TransactionError,
)
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.network import Network
from goldengrain.gateway.status import Status
from goldengrain.gateway.transaction import Transaction
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.native import NativeNetwork
from tests.conformance.deployed import Deployed, patiently
from tests.gateway.certificates import expired

T = TypeVar("T")
DEADLINES = Deadlines(evaluate=2, endorse=3, submit=2, commit=3, deliver=2)
LONGEST_S = 3.5
UNDER_WAY_S = 0.3
GATEWAY = "peer0.org1.example.com"


@dataclass
class Victims:
    """A running network whose nodes can be killed, held and started again, and its key-value chaincode."""

    network: EmbeddedNetwork | NativeNetwork
    deployed: Deployed

    @property
    def orderer(self) -> str:
        owner, orderer = next(self.network.topology.orderers())
        return orderer.host(owner)

    async def kill(self, host: str) -> None:
        """As `kill -9` does; a node of the embedded network, which is one process, stops at once."""
        if isinstance(self.network, NativeNetwork):
            await self.network.stop_node(host, kill=True)
        else:
            await self.network.stop_node(host)

    async def start(self, host: str) -> None:
        await self.network.start_node(host)

    def hold(self, host: str) -> bool:
        """Have a real node take no step any more, while its connections stay; False for one of the embedded network."""
        if isinstance(self.network, NativeNetwork):
            os.kill(self._pid(host), signal.SIGSTOP)
        return isinstance(self.network, NativeNetwork)

    def release(self, host: str) -> None:
        """End a hold."""
        os.kill(self._pid(host), signal.SIGCONT)

    def _pid(self, host: str) -> int:
        record = json.loads((self.network.home.nodes / host / "process.json").read_bytes())
        return int(record["pid"])

    @asynccontextmanager
    async def connected(
        self,
        organization: int = 0,
        *,
        shared: bool = False,
        clock: SystemClock | None = None,
        user: Credentials | None = None,
    ) -> AsyncIterator[Network]:
        """The channel as User1 of an organisation, or somebody else, sees it through its own peer alone."""
        member = self.deployed.home.load_topology().organizations[organization]
        endpoint = ConnectionProfile.load(self.deployed.home.connection_profile(member)).gateway()
        user = user or self.user(organization)
        again = Reconnect(first=0.1, most=0.5)
        async with Gateway.connect(
            endpoint,
            user.identity,
            user.signer,
            clock=clock,
            deadlines=DEADLINES,
            reconnect=again,
            shared_commit_stream=shared,
        ) as gateway:
            yield gateway.network("market")

    def user(self, organization: int) -> Credentials:
        """User1 of an organisation."""
        member = self.deployed.home.load_topology().organizations[organization]
        return Wallet(self.deployed.home.wallet).get(f"User1@{member.domain}")

    def contract(self, network: Network) -> Contract:
        return network.contract(self.deployed.name)

    async def work_again(self, contract: Contract) -> None:
        """Start the gateway peer, and wait until it finds endorsers."""
        await self.start(GATEWAY)
        await patiently(lambda: contract.submit("put", "again", "1"))


async def ended(call: Awaitable[T], kind: type[TransactionError]) -> TransactionError:
    """The error that a call ends with, in its deadline."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        await call
    assert time.monotonic() - began < LONGEST_S
    assert caught.value.transaction_id
    return caught.value


async def outcome(network: Network, transaction: Transaction) -> Status:
    """What became of a transaction that may commit: by its id, and where that says nothing sent again as it is."""

    async def asked() -> Status:
        try:
            return await network.commit(transaction.transaction_id).status(1.0)
        except CommitUnknown:
            return await (await transaction.submit()).status()

    return await patiently(asked)


class Off(SystemClock):
    """A clock that is some seconds wrong."""

    def __init__(self, seconds: int) -> None:
        self._off = seconds * 10**9

    def now_ns(self) -> int:
        return super().now_ns() + self._off


class GatewayKills:
    @pytest.mark.parametrize("seconds", [-3600, 3600])
    async def test_a_clock_that_is_off_is_refused_before_anything_is_sent(self, victims: Victims, seconds: int) -> None:
        async with victims.connected(clock=Off(seconds)) as network:
            error = await ended(victims.contract(network).submit("put", "k", "v"), EndorseError)
            assert not error.may_commit
            assert "timestamp" in str(error)
            with pytest.raises(DeliverError, match="clocks of client and peer"):
                await network.height()

    async def test_a_client_whose_certificate_has_expired_is_refused(self, victims: Victims) -> None:
        folder = victims.network.home.organization(victims.network.topology.organizations[0]) / "ca"
        (authority,), (key,) = folder.glob("*-cert.pem"), folder.glob("*_sk")
        user = expired(victims.user(0), authority.read_bytes(), key.read_bytes())
        async with victims.connected(user=user) as network:
            contract = victims.contract(network)
            assert not (await ended(contract.submit("put", "k", "v"), EndorseError)).may_commit
            await ended(contract.evaluate("get", "k"), EvaluateError)

    async def test_before_evaluate_and_endorse(self, victims: Victims) -> None:
        async with victims.connected() as network:
            contract = victims.contract(network)
            await contract.submit("put", "before", "0")
            await victims.kill(GATEWAY)
            evaluating = await ended(contract.evaluate("get", "before"), EvaluateError)
            endorsing = await ended(contract.submit("put", "before", "1"), EndorseError)
            assert not evaluating.may_commit
            assert not endorsing.may_commit
            with pytest.raises(DeliverError):
                await asyncio.wait_for(network.height(), LONGEST_S)
            await victims.work_again(contract)
            assert await contract.evaluate("get", "before") == b"0"
            with pytest.raises(CommitUnknown):
                await network.commit(str(endorsing.transaction_id)).status(0.3)

    async def test_before_submit(self, victims: Victims) -> None:
        async with victims.connected() as network:
            contract = victims.contract(network)
            transaction = await contract.propose("add", "before submit", "1").endorse()
            await victims.kill(GATEWAY)
            assert (await ended(transaction.submit(), SubmitUnknown)).may_commit
            await victims.work_again(contract)
            assert (await outcome(network, transaction)).successful
            assert await contract.evaluate("get", "before submit") == b"1"

    async def test_before_commit_status(self, victims: Victims) -> None:
        async with victims.connected() as network:
            contract = victims.contract(network)
            transaction = await contract.propose("add", "before status", "1").endorse()
            commit = await transaction.submit()
            await victims.kill(GATEWAY)
            assert (await ended(commit.status(), CommitUnknown)).may_commit
            await victims.work_again(contract)
            assert (await outcome(network, transaction)).successful
            assert await contract.evaluate("get", "before status") == b"1"

    @pytest.mark.parametrize("step", ["evaluate", "endorse"])
    async def test_within_a_call_of_the_chaincode(self, victims: Victims, step: str) -> None:
        async with victims.connected() as network:
            contract = victims.contract(network)
            await contract.submit("put", "within", "0")
            victims.deployed.program.pause()
            call = contract.evaluate("get", "within") if step == "evaluate" else contract.submit("put", "within", "1")
            calling = asyncio.ensure_future(call)
            await asyncio.sleep(UNDER_WAY_S)
            assert not calling.done()
            await victims.kill(GATEWAY)
            stage = EvaluateError if step == "evaluate" else EndorseError
            error = await ended(calling, stage)  # type: ignore[arg-type]  # the call is of either result
            assert not error.may_commit
            victims.deployed.program.resume()
            await victims.work_again(contract)
            assert await contract.evaluate("get", "within") == b"0"

    async def test_within_submit(self, victims: Victims) -> None:
        async with victims.connected() as network:
            contract = victims.contract(network)
            transaction = await contract.propose("add", "within submit", "1").endorse()
            held = victims.hold(victims.orderer)
            submitting = asyncio.ensure_future(transaction.submit())
            await asyncio.sleep(UNDER_WAY_S if held else 0)
            assert not submitting.done()
            await victims.kill(GATEWAY)
            if held:
                assert (await ended(submitting, SubmitUnknown)).may_commit
                victims.release(victims.orderer)
            else:  # its answer may have been quicker
                await asyncio.gather(submitting, return_exceptions=True)
            await victims.work_again(contract)
            assert (await outcome(network, transaction)).successful
            assert await contract.evaluate("get", "within submit") == b"1"

    @pytest.mark.parametrize("shared", [False, True], ids=["asked", "told"])
    async def test_within_commit_status(self, victims: Victims, shared: bool) -> None:
        async with victims.connected(shared=shared) as network:
            contract, key = victims.contract(network), f"within status {shared}"
            transaction = await contract.propose("add", key, "1").endorse()
            commit = await transaction.submit()
            asking = asyncio.ensure_future(commit.status())
            await asyncio.sleep(0)
            await victims.kill(GATEWAY)
            with suppress(CommitUnknown):  # the block may have been quicker
                assert (await asking).successful
            await victims.work_again(contract)
            assert (await outcome(network, transaction)).successful
            assert await contract.evaluate("get", key) == b"1"

    async def test_within_streams(self, victims: Victims) -> None:
        """What another organisation's peer takes meanwhile comes once, in order, when this one is back."""
        async with victims.connected() as network, victims.connected(1) as elsewhere:
            contract, other = victims.contract(network), victims.contract(elsewhere)
            async with network.chaincode_events(victims.deployed.name) as events, network.block_events() as blocks:
                sent = [await contract.submit("event", "told", "0")]
                seen = [(await anext(events)).payload]
                numbers = [(await anext(blocks)).header.number]
                await victims.kill(GATEWAY)
                for number in range(1, 4):
                    call = other.submit("event", "told", str(number), endorsing_organizations=["Org2MSP", "Org3MSP"])
                    sent.append(await call)
                await victims.start(GATEWAY)
                async with asyncio.timeout(30):
                    seen += [(await anext(events)).payload for _ in range(3)]
                    while numbers[-1] < sent[-1].block:
                        numbers.append((await anext(blocks)).header.number)
                await patiently(lambda: contract.submit("put", "again", "1"))
        assert seen == [b"0", b"1", b"2", b"3"]
        assert numbers == list(range(numbers[0], sent[-1].block + 1))
