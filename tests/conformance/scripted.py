"""What has to hold for every function of our shim on any network; the chaincode runs scripts (see `script.py`)."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from fabric_protos.common import policies_pb2
from fabric_protos.peer import collection_pb2

from goldengrain.chaincode.shim import composite_key, implicit_collection, signed_by
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import CommitError
from tests.conformance.deployed import Deployed, patiently

MEMBERS = ("Org1MSP", "Org2MSP")


def collections(members: Sequence[str] = MEMBERS) -> collection_pb2.CollectionConfigPackage:
    """Collection `colA`, of Org1 and Org2 if nobody else is named: only its members read and write it."""
    policy = policies_pb2.SignaturePolicyEnvelope.FromString(signed_by(*members, at_least=1, role="MEMBER"))
    config = collection_pb2.StaticCollectionConfig(
        name="colA",
        member_orgs_policy=collection_pb2.CollectionPolicyConfig(signature_policy=policy),
        required_peer_count=0,
        maximum_peer_count=1,
        member_only_read=True,
        member_only_write=True,
    )
    return collection_pb2.CollectionConfigPackage(
        config=[collection_pb2.CollectionConfig(static_collection_config=config)]
    )


async def submit(contract: Contract, *operations: list[Any], **options: Any) -> list[Any]:
    result = await contract.submit("script", json.dumps(operations), **options)
    return list(json.loads(result.payload))


async def evaluate(contract: Contract, *operations: list[Any], **options: Any) -> list[Any]:
    return list(json.loads(await contract.evaluate("script", json.dumps(operations), **options)))


async def hash_and_value(contract: Contract, organization: str, collection: str, key: str) -> list[Any]:
    """What an organisation's peer says of a private key, once it has the key's block."""
    read = [["phash", collection, key], ["pget", collection, key]]
    for _ in range(200):
        found = await patiently(lambda: evaluate(contract, *read, target_organizations=[organization]))
        if found[0] != "@hex:":
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"no hash of {key} at {organization}'s peer")


class ScriptedContract:
    async def test_reads_see_committed_state_only(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            assert await submit(contract, ["put", "own", "1"], ["get", "own"], ["range", "own", "owo"]) == [
                "",
                "",
                {"n": 0, "first": [], "last": []},
            ]
            assert await evaluate(contract, ["get", "own"]) == ["1"]

    async def test_a_batch_of_writes_commits_whole(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            await submit(
                contract, ["batch", [["fill", "batch", 1200], ["del", "batch0007"], ["put", "batch0008", "x"]]]
            )
            read = await evaluate(contract, ["range", "batch", "batci"], ["multi", ["batch0007", "batch0008"]])
        assert read[0] == {
            "n": 1199,
            "first": [["batch0000", "v0"], ["batch0001", "v1"], ["batch0002", "v2"]],
            "last": [["batch1199", "v1199"]],
        }
        assert read[1] == ["", "x"]

    async def test_more_keys_than_one_message_takes_are_read(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            # one question each to a peer of 2.5, and each is one to its CouchDB
            (values,) = await evaluate(contract, ["multi", [f"none{i}" for i in range(1001)]], deadline=60)
        assert values == [""] * 1001

    async def test_pages_follow_each_other(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            await submit(contract, ["fill", "page", 0, 5])
            first, second = await evaluate(
                contract, ["rangep", "page", "pagf", 3, ""], ["rangep", "page", "pagf", 3, "page0003"]
            )
            (_, refused) = await evaluate(contract, ["put", "page", "1"], ["rangep", "page", "pagf", 3, ""])
        assert (first["n"], first["bookmark"], second["n"], second["bookmark"]) == (3, "page0003", 2, "")
        assert "Paginated queries are supported only in a read-only transaction" in refused["error"]

    async def test_composite_keys_stay_out_of_open_ranges(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            await submit(contract, ["putc", "own~model", ["ä", "1"], "x"], ["putc", "own~model", ["b", "2"], "y"])
            some, everything = await evaluate(contract, ["rangec", "own~model", ["b"]], ["range", "", "\x02"])
        assert some["first"] == [[composite_key("own~model", ["b", "2"]), "y"]]
        assert everything["n"] == 0

    async def test_private_data_stays_with_its_members(self, scripted: Deployed) -> None:
        secret = {"transient": {"v": b"secret"}, "endorsing_organizations": MEMBERS}
        async with scripted.contract(0) as contract:
            await submit(contract, ["pput", "colA", "p", "@t:v"], ["pget", "colA", "p"], **secret)
            (digest, value, found) = await evaluate(
                contract, ["phash", "colA", "p"], ["pget", "colA", "p"], ["prange", "colA", "", ""]
            )
            assert (value, found["first"]) == ("secret", [["p", "secret"]])
        async with scripted.contract(2) as outsider:
            read = await hash_and_value(outsider, "Org3MSP", "colA", "p")
            assert read[0] == digest
            assert "does not have read access permission" in read[1]["error"]
        async with scripted.contract(0) as contract:
            await submit(contract, ["ppurge", "colA", "p"], endorsing_organizations=MEMBERS)
            assert await evaluate(contract, ["pget", "colA", "p"], ["phash", "colA", "p"]) == ["", "@hex:"]

    async def test_an_organisations_own_collection_is_its_own(self, scripted: Deployed) -> None:
        own = implicit_collection("Org2MSP")
        options = {"transient": {"v": b"secret"}, "endorsing_organizations": ["Org2MSP"]}
        async with scripted.contract(1) as contract:
            await submit(contract, ["pput", own, "p", "@t:v"], **options)
            value, digest = await evaluate(
                contract, ["pget", own, "p"], ["phash", own, "p"], target_organizations=["Org2MSP"]
            )
        assert value == "secret"
        async with scripted.contract(0) as other:
            seen = await hash_and_value(other, "Org1MSP", own, "p")
        assert seen[0] == digest
        assert "error" in seen[1]

    async def test_a_private_key_has_a_policy_of_its_own(self, scripted: Deployed) -> None:
        options = {"transient": {"v": b"1"}, "endorsing_organizations": MEMBERS}
        async with scripted.contract() as contract:
            await submit(
                contract, ["pput", "colA", "own", "@t:v"], ["psetvp", "colA", "own", 1, ["Org2MSP"]], **options
            )
            (metadata,) = await evaluate(contract, ["getmeta", "own", "colA"])
            assert metadata == [["VALIDATION_PARAMETER", f"@hex:{signed_by('Org2MSP').hex()}"]]
            with pytest.raises(CommitError) as refusal:
                await submit(contract, ["pdel", "colA", "own"], endorsing_organizations=["Org1MSP"])
            assert refusal.value.validation_name == "ENDORSEMENT_POLICY_FAILURE"
            await submit(contract, ["pdel", "colA", "own"], endorsing_organizations=["Org2MSP"])
            assert await patiently(lambda: evaluate(contract, ["pget", "colA", "own"])) == [""]

    async def test_all_composite_keys_come_in_pages(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            await submit(contract, *(["putc", "paged", [str(number)], "x"] for number in range(3)))
            (first,) = await evaluate(contract, ["rangeallp", 2, ""])
            keys, bookmark = list(first["first"]), first["bookmark"]
            while bookmark:
                (page,) = await evaluate(contract, ["rangeallp", 2, bookmark])
                keys, bookmark = keys + page["first"], page["bookmark"]
        assert [key for key, _ in keys if "paged" in key] == [composite_key("paged", [str(i)]) for i in range(3)]
        assert all(key.startswith("\x00") for key, _ in keys)

    async def test_a_keys_own_policy_takes_the_place_of_the_chaincodes(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            await submit(contract, ["put", "guarded", "1"], ["setvp", "guarded", 1, ["Org2MSP"]])
            (metadata,) = await evaluate(contract, ["getmeta", "guarded"])
            assert metadata == [["VALIDATION_PARAMETER", f"@hex:{signed_by('Org2MSP').hex()}"]]
            with pytest.raises(CommitError) as refusal:
                await submit(contract, ["put", "guarded", "2"], endorsing_organizations=["Org1MSP"])
            assert refusal.value.validation_name == "ENDORSEMENT_POLICY_FAILURE"
            await submit(contract, ["put", "guarded", "3"], endorsing_organizations=["Org2MSP"])
            assert await patiently(lambda: evaluate(contract, ["get", "guarded"])) == ["3"]

    async def test_history_tells_every_change(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            for operation in (["put", "told", "1"], ["put", "told", "2"], ["del", "told"]):
                await submit(contract, operation)
            (changes,) = await evaluate(contract, ["history", "told"])
        assert [change[1:] for change in changes] == [["", True], ["2", False], ["1", False]]

    async def test_a_chaincode_calls_another_one(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            answers = await submit(contract, ["invoke", "kv", ["put", "called", "1"]], ["invoke", "kv", ["whoami"]])
            assert [answer["status"] for answer in answers] == [200, 200]
            assert json.loads(answers[1]["payload"])["msp_id"] == "Org1MSP"
            refused, found, missing = await submit(
                contract,
                ["invoke", "kv", ["fail", "no"]],
                ["invoke", "kv", ["get", "called"]],
                ["invoke", "nosuch", []],
            )
            assert (refused["status"], refused["message"], found["payload"]) == (422, "no", "1")
            assert "chaincode nosuch not found" in missing["error"]
            (never,) = await evaluate(contract, ["invoke", "kv", ["get", "never"]])
            assert never["status"] == 404

    async def test_a_rich_query_is_answered_by_peers_with_couchdb_and_refused_by_others(
        self, scripted: Deployed
    ) -> None:
        red, private = '{"selector":{"color":"red"}}', {"endorsing_organizations": MEMBERS}
        async with scripted.contract() as contract:
            if scripted.home.load_topology().organizations[0].peers[0].couchdb is None:
                (answer,) = await evaluate(contract, ["query", red])
                assert "ExecuteQuery not supported for leveldb" in answer["error"]
                return
            cars = [["put", f"car{i}", json.dumps({"color": "red" if i % 2 else "blue"})] for i in range(10)]
            await submit(contract, *cars, ["put", "plain", "no JSON"])
            await submit(contract, ["pput", "colA", "secret", '{"color":"red"}'], **private)
            found, hidden, wrong = await evaluate(
                contract, ["query", red], ["query", red, "colA"], ["query", '{"selector":5}']
            )
            assert (found["n"], found["last"]) == (5, [["car9", '{"color":"red"}']])
            assert hidden["first"] == [["secret", '{"color":"red"}']]
            assert "invalid" in wrong["error"]
            (pages,) = await evaluate(contract, ["queryp", red, 2])
            assert pages == [["car1", "car3"], ["car5", "car7"], ["car9"]]

    async def test_64_scripts_at_once_keep_their_replies_apart(self, scripted: Deployed) -> None:
        async with scripted.contract() as contract:
            await submit(contract, ["fill", "apart", 0, 64])
            answers = await asyncio.gather(
                *(evaluate(contract, ["get", f"apart{i:04}"], ["range", "apart", "aparu"]) for i in range(64))
            )
        assert [answer[0] for answer in answers] == [f"v{i}" for i in range(64)]
