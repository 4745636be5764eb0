"""Chaincodes on Fabric's own shims of Go, Node and Java run on the embedded network and find all that peers offer."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from goldengrain.gateway.errors import CommitError, EndorseError, EvaluateError
from goldengrain.network import runtime
from goldengrain.network.home import Home
from tests.conformance import programs
from tests.conformance.deployed import Deployed, patiently
from tests.conformance.ledger import CheckedLedger
from tests.conformance.scripted import collections
from tests.official.tools import HERE, go_program, java_program, node_program

pytestmark = [pytest.mark.check, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

LANGUAGES = ("go", "node", "java")
SECRET = b"a secret"
DENIED = "does not have read access permission|Unsuccessful response received"
"""What a stranger is told; Java's shim keeps the peer's words to itself."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    """A network with the example on our own shim, which the others call."""
    home = Home(tmp_path_factory.mktemp("official") / "home")
    runtime.up(home)
    try:
        async with programs.key_value(home) as found:
            yield found
    finally:
        runtime.down(home)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=LANGUAGES)
async def official(
    request: pytest.FixtureRequest, deployed: Deployed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployed]:
    """The chaincode of one language, with the collection `colA` of Org1 and Org2."""
    language = str(request.param)
    folder, source = tmp_path_factory.mktemp(language), HERE / "chaincode" / language
    match language:
        case "go":
            command = await asyncio.to_thread(go_program, source, folder)
        case "node":
            command = await asyncio.to_thread(node_program, source, folder, "main.js")
        case _:
            command = await asyncio.to_thread(java_program, source, folder, "example.Chaincode")
    async with programs.running(
        deployed.home,
        command,
        f"on-{language}",
        "put",
        "ready",
        "1",
        private=collections(),
    ) as found:
        yield found


async def read(chaincode: Deployed, *call: str, organization: int = 0) -> Any:
    """The JSON that an evaluation answers."""
    async with chaincode.contract(organization) as contract:
        return json.loads(await contract.evaluate(*call))


async def write(chaincode: Deployed, *call: str, **options: Any) -> None:
    async with chaincode.contract() as contract:
        assert (await contract.submit(*call, **options)).code == "VALID"


class TestOfficialChaincode:
    async def test_state_is_written_read_and_deleted(self, official: Deployed) -> None:
        await write(official, "put", "k", "v")
        async with official.contract(1) as other:
            assert await patiently(lambda: other.evaluate("get", "k")) == b"v"
        await write(official, "delete", "k")
        async with official.contract() as contract:
            with pytest.raises(EvaluateError) as refusal:
                await contract.evaluate("get", "k")
        assert refusal.value.chaincode_response == (400, "no key 'k'")
        assert await read(official, "history", "k") == [["", True], ["v", False]]

    async def test_a_range_of_three_batches_arrives_whole(self, official: Deployed) -> None:
        await write(official, "fill", "n", "250")
        found = await read(official, "range", "n", "o")
        assert found == [[f"n{number:04}", str(number)] for number in range(250)]
        assert await read(official, "range", "n0003", "n0005") == [["n0003", "3"], ["n0004", "4"]]
        assert await read(official, "range", "x", "y") == []

    async def test_pages_go_on_where_the_bookmark_says(self, official: Deployed) -> None:
        await write(official, "fill", "p", "7")
        keys, bookmark = [], ""
        for size in (3, 3, 1):
            page = await read(official, "page", "p", "q", "3", bookmark)
            assert page["fetched"] == size
            keys += [key for key, _ in page["rows"]]
            bookmark = page["bookmark"]
        assert keys == [f"p{number:04}" for number in range(7)]
        assert bookmark == ""

    async def test_composite_keys_are_found_by_their_beginning(self, official: Deployed) -> None:
        for colour, name in (("red", "b"), ("red", "a"), ("blue", "c")):
            await write(official, "putc", "car", colour, name, f"{colour} {name}")
        assert await read(official, "rangec", "car", "red") == [["a", "red a"], ["b", "red b"]]
        assert len(await read(official, "rangec", "car")) == 3

    async def test_private_data_are_with_their_members_alone(self, official: Deployed) -> None:
        await write(official, "pput", "colA", "p1", transient={"value": SECRET})
        await write(official, "pput", "colA", "p2", transient={"value": b"another"})
        async with official.contract(1) as member, official.contract(2) as stranger:
            assert await patiently(lambda: member.evaluate("pget", "colA", "p1")) == SECRET
            assert (await member.evaluate("phash", "colA", "p1")).decode() == hashlib.sha256(SECRET).hexdigest()
            found = json.loads(await member.evaluate("prange", "colA", "p", "q"))
            assert found == [["p1", "a secret"], ["p2", "another"]]
            with pytest.raises(EvaluateError, match=DENIED):
                await stranger.evaluate("pget", "colA", "p1")
            assert (await stranger.evaluate("phash", "colA", "p1")).decode() == hashlib.sha256(SECRET).hexdigest()
        for call in (("pdel", "colA", "p1"), ("ppurge", "colA", "p2")):
            await write(official, *call)
        async with official.contract() as contract:
            assert await contract.evaluate("prange", "colA", "p", "q") == b"[]"
            assert await contract.evaluate("pget", "colA", "p2") == b""

    async def test_a_keys_own_policy_decides_who_endorses(self, official: Deployed) -> None:
        await write(official, "put", "own", "1")
        await write(official, "setpolicy", "own", "Org3MSP")
        assert await read(official, "policy", "own") == ["Org3MSP"]
        await write(official, "put", "own", "2", endorsing_organizations=["Org3MSP"])
        await write(official, "put", "own", "3")
        async with official.contract() as contract:
            with pytest.raises(CommitError) as refusal:
                await contract.submit("put", "own", "4", endorsing_organizations=["Org1MSP", "Org2MSP"])
            assert refusal.value.validation_name == "ENDORSEMENT_POLICY_FAILURE"
            assert await contract.evaluate("get", "own") == b"3"

    async def test_events_and_errors_reach_the_client(self, official: Deployed) -> None:
        async with (
            official.network() as network,
            network.chaincode_events(official.name, await network.height()) as events,
        ):
            result = await network.contract(official.name).submit("event", "made", "it")
            event = await asyncio.wait_for(anext(events), 30)
        assert (event.name, event.payload, event.transaction_id) == ("made", b"it", result.transaction_id)
        async with official.contract() as contract:
            with pytest.raises(EndorseError) as refusal:
                await contract.submit("fail", "no more")
        assert refusal.value.chaincode_response == (500, "no more")

    async def test_the_caller_is_known(self, official: Deployed) -> None:
        for number in (0, 2):
            sender = await read(official, "whoami", organization=number)
            assert sender == {"msp_id": f"Org{number + 1}MSP", "common_name": f"User1@org{number + 1}.example.com"}

    async def test_a_chaincode_on_our_shim_is_called_from_it(self, official: Deployed, deployed: Deployed) -> None:
        await write(official, "call", deployed.name, "put", f"by {official.name}", "called")
        async with deployed.contract() as own, official.contract() as contract:
            assert await own.evaluate("get", f"by {official.name}") == b"called"
            assert await contract.evaluate("call", deployed.name, "get", f"by {official.name}") == b"called"

    async def test_fifty_transactions_at_once_all_commit(self, official: Deployed) -> None:
        async with official.contract() as contract:
            results = await asyncio.gather(*(contract.submit("put", f"many{i:02}", "1") for i in range(50)))
        assert {result.code for result in results} == {"VALID"}


class TestBlocksOfOfficialChaincode(CheckedLedger):
    pass
