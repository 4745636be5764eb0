"""What has to hold for our Gateway client on any network. Mixed into a test class per network, like `key_value`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from goldengrain.gateway.blocks import transactions
from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.errors import CommitUnknown, DeliverError, EndorseError, EventsError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.submission import Progress, Stage
from goldengrain.gateway.wallet import Wallet
from tests.conformance.deployed import Deployed


def someone(deployed: Deployed) -> Credentials:
    member = deployed.home.load_topology().organizations[0]
    return Wallet(deployed.home.wallet).get(f"User1@{member.domain}")


@asynccontextmanager
async def connected(deployed: Deployed, peers: tuple[int, ...] = (0,), *, signs: bool = True) -> AsyncIterator[Gateway]:
    """User1 of the first organisation at the gateway peers of some organisations, outcomes told by one stream."""
    members = deployed.home.load_topology().organizations
    profiles = [ConnectionProfile.load(deployed.home.connection_profile(members[number])) for number in peers]
    user = someone(deployed)
    signer = user.signer if signs else None
    endpoints = [profile.gateway() for profile in profiles]
    async with Gateway.connect(endpoints, user.identity, signer, shared_commit_stream=signs) as gateway:
        yield gateway


class GatewayClient:
    async def test_the_outcome_of_many_comes_over_one_stream(self, deployed: Deployed) -> None:
        async with connected(deployed) as gateway:
            contract = gateway.network("market").contract(deployed.name)
            results = await asyncio.gather(*(contract.submit("put", f"told{i:02}", "1") for i in range(40)))
            assert {one.code for one in results} == {"VALID"}
            asked = [await gateway.network("market").commit(one.transaction_id).status() for one in results[:5]]
            assert [one.block for one in asked] == [one.block for one in results[:5]]

    async def test_the_same_envelope_twice_has_one_outcome(self, deployed: Deployed) -> None:
        async with connected(deployed) as gateway:
            contract = gateway.network("market").contract(deployed.name)
            await contract.submit("put", "twice", "0")
            transaction = await contract.propose("add", "twice", "1").endorse()
            first, second = await transaction.submit(), await transaction.submit()
            status = await first.status()
            assert status.successful
            assert await second.status() == status
            assert await (await transaction.submit()).status() == status
            assert await contract.evaluate("get", "twice") == b"1"

    async def test_lost_races_are_proposed_anew(self, deployed: Deployed) -> None:
        told: list[Progress] = []
        async with connected(deployed) as gateway:
            contract = gateway.network("market").contract(deployed.name)
            await contract.submit("put", "raced", "0")
            adding = (contract.submit("add", "raced", "1", attempts=30, progress=told.append) for _ in range(6))
            await asyncio.gather(*adding)
            assert await contract.evaluate("get", "raced") == b"6"
        committed = [one for one in told if one.stage is Stage.COMMITTED]
        lost = [one for one in told if one.stage is Stage.LOST_RACE]
        assert len(committed) == len(lost) + 6 == len({one.transaction_id for one in committed})

    async def test_another_organisations_peer_takes_over(self, deployed: Deployed) -> None:
        async with connected(deployed, (0, 1)) as gateway:
            peers = gateway._session.peers
            contract = gateway.network("market").contract(deployed.name)
            await contract.submit("put", "first", "1")
            await peers.current.channel.close()
            peers.failed(peers.current)
            assert (await contract.submit("put", "second", "1")).code == "VALID"

    async def test_blocks_in_all_three_forms_from_a_number_and_from_now_on(self, deployed: Deployed) -> None:
        async with connected(deployed) as gateway, asyncio.timeout(60):
            network = gateway.network("market")
            async with (
                network.block_events() as whole,
                network.filtered_block_events() as filtered,
                network.private_block_events() as private,
            ):
                done = await network.contract(deployed.name).submit("put", "followed", "1")
                one = await anext(whole)
                while one.header.number < done.block:
                    one = await anext(whole)
                assert done.transaction_id in [each.transaction_id for each in transactions(one)]
                small, both = await anext(filtered), await anext(private)
                while small.number < done.block:
                    small = await anext(filtered)
                while both.block.header.number < done.block:
                    both = await anext(private)
                assert done.transaction_id in [each.txid for each in small.filtered_transactions]
                assert both.block.header == one.header
            async with network.fetch_blocks(0, done.block) as blocks:
                assert [each.header.number async for each in blocks] == list(range(done.block + 1))
            with pytest.raises(DeliverError):
                await network.fetch_block(10**6)

    async def test_everything_can_be_signed_elsewhere(self, deployed: Deployed) -> None:
        sign = someone(deployed).signer.sign
        async with connected(deployed, signs=False) as gateway, asyncio.timeout(60):
            network = gateway.network("market")
            proposal = network.contract(deployed.name).propose("event", "elsewhere", "signed")
            proposal = gateway.proposal_from_bytes(proposal.to_bytes(), sign(proposal.digest))
            transaction = await proposal.endorse()
            transaction = gateway.transaction_from_bytes("market", transaction.to_bytes(), sign(transaction.digest))
            commit = await transaction.submit()
            commit = gateway.commit_from_bytes(commit.to_bytes(), sign(commit.digest))
            status = (await commit.status()).check()
            request = network.chaincode_events_request(deployed.name, status.block)
            again = gateway.chaincode_events_request_from_bytes(request.to_bytes(), sign(request.digest))
            async with again.stream() as events:
                assert (await anext(events)).transaction_id == commit.transaction_id
            asked = network.block_events_request(status.block)
            signed = gateway.block_events_request_from_bytes(asked.to_bytes(), sign(asked.digest))
            async with signed.stream() as blocks:
                assert (await anext(blocks)).header.number == status.block

    async def test_what_cannot_be_says_why(self, deployed: Deployed) -> None:
        async with connected(deployed) as gateway, asyncio.timeout(60):
            elsewhere = gateway.network("nosuch")
            with pytest.raises(EndorseError) as caught:
                await elsewhere.contract(deployed.name).submit("put", "k", "v")
            assert not caught.value.may_commit
            with pytest.raises(DeliverError):
                await elsewhere.height()
            with pytest.raises(EventsError):
                await anext(elsewhere.chaincode_events(deployed.name, 0))
            with pytest.raises(CommitUnknown) as unknown:
                await gateway.network("market").commit("0" * 64).status(1.0)
            assert unknown.value.may_commit
