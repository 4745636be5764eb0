import asyncio
import hashlib
import json
from typing import Any

import pytest
from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import chaincode_pb2, proposal_response_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2

from goldengrain.chaincode.shim import (
    ChaincodeStub,
    InvalidArgument,
    InvalidKey,
    KeyModification,
    PeerRefused,
    Timestamp,
    composite_key,
    error,
    implicit_collection,
    signed_by,
)
from goldengrain.chaincode.shim.writes import MAX_BATCH_BYTES
from tests.chaincode.shim.conftest import Calling, Network
from tests.chaincode.shim.ledger import Ledger

OLD_PEER: dict[str, Any] = {"params": None}
SMALL = chaincode_pb2.ChaincodeAdditionalParams(
    use_write_batch=True, max_size_write_batch=2, use_get_multiple_keys=True, max_size_get_multiple_keys=2
)


def ledger(**values: bytes) -> Ledger:
    return Ledger({("", key): value for key, value in values.items()})


async def test_a_missing_key_is_none(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        assert await stub.get_state("a") == b"1"
        assert await stub.get_state("b") is None

    assert (await network.run(body, ledger=ledger(a=b"1"))).response.status == 200


async def test_reads_never_see_the_transactions_own_writes(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        await stub.put_state("a", b"new")
        await stub.del_state("b")
        await stub.flush_writes()
        assert await stub.get_states(["a", "b", "c"]) == [b"old", b"2", None]
        assert [item.key async for item in stub.range()] == ["a", "b"]

    outcome = await network.run(body, ledger=ledger(a=b"old", b=b"2"))
    outcome.transaction.commit()
    assert outcome.transaction.ledger.values == {("", "a"): b"new"}


async def test_several_keys_are_one_round_trip_on_a_peer_that_offers_it(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        assert await stub.get_states(["a", "x", "a"]) == [b"1", None, b"1"]
        assert await stub.get_states([]) == []

    outcome = await network.run(body, ledger=ledger(a=b"1"))
    assert outcome.transaction.kinds == ["GET_STATE_MULTIPLE"]


async def test_several_keys_are_read_one_by_one_on_an_older_peer(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        assert await stub.get_states(["a", "x"]) == [b"1", None]

    assert (await network.run(body, ledger=ledger(a=b"1"), **OLD_PEER)).transaction.kinds == ["GET_STATE"] * 2


async def test_messages_keep_to_the_sizes_that_the_peer_offers(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        assert await stub.get_states(list("abcde")) == [b"1", None, None, None, None]
        for key in "abcde":
            await stub.put_state(key, b"v")

    outcome = await network.run(body, ledger=ledger(a=b"1"), params=SMALL)
    assert outcome.transaction.kinds == ["GET_STATE_MULTIPLE"] * 3 + ["WRITE_BATCH_STATE"] * 3
    assert [write[2] for write in outcome.transaction.writes] == list("abcde")


async def test_a_batch_is_cut_before_it_is_too_large_for_a_message(network: Network) -> None:
    value = bytes(MAX_BATCH_BYTES // 2 - 1000)

    async def body(stub: ChaincodeStub) -> None:
        for key in "abc":
            await stub.put_state(key, value)

    assert (await network.run(body)).transaction.kinds == ["WRITE_BATCH_STATE"] * 2


@pytest.mark.parametrize("options", [{}, OLD_PEER])
async def test_writes_reach_the_peer_in_the_order_of_the_calls(network: Network, options: dict[str, Any]) -> None:
    policy = signed_by("Org1MSP")

    async def body(stub: ChaincodeStub) -> None:
        await stub.put_state("a", b"1")
        await stub.del_state("b")
        await stub.set_validation_parameter("a", policy)
        await stub.put_state("a", b"2")
        private = stub.private_data("colA")
        await private.put("p", b"3")
        await private.delete("q")
        await private.purge("r")
        await private.set_validation_parameter("p", policy)

    assert (await network.run(body, **options)).transaction.writes == [
        ("put", "", "a", b"1"),
        ("delete", "", "b", b""),
        ("VALIDATION_PARAMETER", "", "a", policy),
        ("put", "", "a", b"2"),
        ("put", "colA", "p", b"3"),
        ("delete", "colA", "q", b""),
        ("purge", "colA", "r", b""),
        ("VALIDATION_PARAMETER", "colA", "p", policy),
    ]


async def test_a_transaction_that_writes_nothing_sends_no_batch(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        await stub.get_state("a")

    assert (await network.run(body)).transaction.kinds == ["GET_STATE"]


@pytest.mark.parametrize("options", [{}, OLD_PEER])
async def test_a_refusal_writes_nothing(network: Network, options: dict[str, Any]) -> None:
    async def body(stub: ChaincodeStub) -> object:
        await stub.put_state("a", b"1")
        return error("no", 409)

    outcome = await network.run(body, **options)
    assert (outcome.response.status, outcome.transaction.requests) == (409, [])


async def test_what_the_peer_says_against_a_write_fails_the_transaction(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        await stub.private_data("nocoll").put("k", b"v")

    response = (await network.run(body)).response
    assert response.status == 500
    assert response.message.startswith("PEER_REFUSED: WRITE_BATCH_STATE failed: transaction ID: ")
    assert response.message.endswith(": collection market/cc/nocoll could not be found")


async def test_a_range_of_many_batches_is_read_whole(network: Network) -> None:
    values = {f"r{i:04}": b"%d" % i for i in range(250)}

    async def body(stub: ChaincodeStub) -> None:
        found = {key: value async for key, value in stub.range("r", "s")}
        assert found == values
        assert [item.key async for item in stub.range("r0248", "")] == ["r0248", "r0249", "z"]
        assert [item.key async for item in stub.range("x", "y")] == []
        assert await stub.range("x", "y").all() == []
        rest = stub.range("r", "s")
        first = await anext(rest)
        assert dict([first, *await rest.all()]) == values
        assert await rest.all() == []

    outcome = await network.run(body, ledger=ledger(z=b"1", **values))
    assert outcome.transaction.kinds == ["GET_STATE_BY_RANGE", "QUERY_STATE_NEXT", "QUERY_STATE_NEXT"] + [
        "GET_STATE_BY_RANGE"
    ] * 3 + ["GET_STATE_BY_RANGE", "QUERY_STATE_NEXT", "QUERY_STATE_NEXT"]
    assert outcome.transaction.open_queries == {}


async def test_a_range_left_early_is_closed_on_the_peer(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        async with stub.range() as found:
            async for item in found:
                assert item.key == "r000"
                break
        await found.aclose()
        assert [item async for item in found] == []
        async with stub.range():
            pass

    outcome = await network.run(body, ledger=ledger(**{f"r{i:03}": b"x" for i in range(101)}))
    assert outcome.transaction.kinds == ["GET_STATE_BY_RANGE", "QUERY_STATE_CLOSE"]
    assert outcome.transaction.open_queries == {}


@pytest.mark.parametrize("couchdb", [False, True], ids=["leveldb", "couchdb"])
@pytest.mark.parametrize("end", ["", "f", "f\x00"])
async def test_pages_follow_each_other_by_bookmark(network: Network, end: str, couchdb: bool) -> None:
    async def body(stub: ChaincodeStub) -> None:
        pages, bookmark = [], ""
        while True:
            items, bookmark = await stub.range_page("", end, 2, bookmark)
            pages.append([item.key for item in items])
            if not bookmark:
                break
        assert pages == [["a", "b"], ["c", "d"], ["e"]]

    state = ledger(a=b"1", b=b"1", c=b"1", d=b"1", e=b"1")
    state.couchdb = couchdb
    assert (await network.run(body, ledger=state)).response.status == 200


async def test_a_page_makes_a_transaction_read_only(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        await stub.put_state("a", b"1")
        await stub.range_page("", "", 2)

    assert "Paginated queries are supported only in a read-only" in (await network.run(body)).response.message


async def test_composite_keys_are_found_by_their_first_parts(network: Network) -> None:
    keys = [composite_key("own", parts) for parts in (["alice", "m1"], ["alice", "m2"], ["bob", "m3"], ["äb", "m4"])]

    async def body(stub: ChaincodeStub) -> None:
        assert [item.key async for item in stub.range_composite("own")] == keys
        assert [item.key async for item in stub.range_composite("own", ["alice"])] == keys[:2]
        assert [item.key async for item in stub.range_composite("own", ["alice", "m1"])] == keys[:1]
        assert [item.key async for item in stub.range()] == ["own"]
        page = await stub.range_composite_page("own", [], 3)
        assert ([item.key for item in page.items], page.bookmark) == (keys[:3], keys[3])
        assert stub.split_composite_key(stub.composite_key("own", ["a"])) == ("own", ["a"])

    state = ledger(own=b"1", **dict.fromkeys(keys, b"1"))
    assert (await network.run(body, ledger=state)).response.status == 200


async def test_all_composite_keys_are_found_and_nothing_else(network: Network) -> None:
    keys = [composite_key("a", ["1"]), composite_key("b", ["ä"]), composite_key("\U0010fffe", [])]

    async def body(stub: ChaincodeStub) -> None:
        assert [item.key async for item in stub.range_all_composite()] == keys
        page = await stub.range_all_composite_page(2)
        assert ([item.key for item in page.items], page.bookmark) == (keys[:2], keys[2])
        assert [item.key for item in (await stub.range_all_composite_page(2, page.bookmark)).items] == keys[2:]

    state = ledger(own=b"1", **{"\x01": b"1"}, **dict.fromkeys(keys, b"1"))
    outcome = await network.run(body, ledger=state)
    assert outcome.response.status == 200, outcome.response.message


async def test_an_organisations_own_collection_needs_no_definition(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        await stub.organization_data("Org1MSP").put("k", b"v")
        assert stub.private_data("_implicit_org_Org1MSP").collection == implicit_collection("Org1MSP")

    state = Ledger(collections=frozenset({"_implicit_org_Org1MSP"}))
    outcome = await network.run(body, ledger=state)
    assert outcome.transaction.writes == [("put", "_implicit_org_Org1MSP", "k", b"v")], outcome.response.message


async def test_private_data_is_read_from_its_collection(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        private = stub.private_data("colA")
        assert await private.get("p") == b"secret"
        assert await private.get("a") is None
        assert await private.get_many(["p", "a"]) == [b"secret", None]
        assert await private.hash("p") == hashlib.sha256(b"secret").digest()
        assert await private.hash("a") is None
        assert [item.key async for item in private.range()] == ["p"]
        assert [item.key async for item in private.range_composite("t")] == ["\x00t\x00"]

    state = Ledger({("", "a"): b"1", ("colA", "p"): b"secret", ("colA", "\x00t\x00"): b"x"})
    assert (await network.run(body, ledger=state)).response.status == 200


async def test_metadata_and_key_level_policies_are_read_back(network: Network) -> None:
    state = ledger(a=b"1")
    state.metadata["", "a"] = {"VALIDATION_PARAMETER": b"policy", "other": b"x"}

    async def body(stub: ChaincodeStub) -> None:
        assert await stub.metadata("a") == {"VALIDATION_PARAMETER": b"policy", "other": b"x"}
        assert await stub.validation_parameter("a") == b"policy"
        assert await stub.validation_parameter("b") is None
        assert await stub.private_data("colA").validation_parameter("a") is None

    assert (await network.run(body, ledger=state)).response.status == 200


async def test_history_is_read_in_the_peers_order(network: Network) -> None:
    state = Ledger()
    state.history["a"] = [
        kv_query_result_pb2.KeyModification(tx_id="02", is_delete=True),
        kv_query_result_pb2.KeyModification(tx_id="01", value=b"1"),
    ]
    state.history["a"][1].timestamp.seconds = 7

    async def body(stub: ChaincodeStub) -> None:
        found = [change async for change in stub.history("a")]
        assert found == [
            KeyModification("02", b"", Timestamp(0, 0), is_delete=True),
            KeyModification("01", b"1", Timestamp(7, 0), is_delete=False),
        ]

    assert (await network.run(body, ledger=state)).response.status == 200


async def test_a_rich_query_on_a_peer_without_couchdb_is_refused_by_the_peer(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        with pytest.raises(PeerRefused, match="ExecuteQuery not supported for leveldb"):
            _ = [item async for item in stub.query("{}")]
        with pytest.raises(PeerRefused, match="ExecuteQuery"):
            await stub.query_page("{}", 5)
        with pytest.raises(PeerRefused, match="ExecuteQuery"):
            _ = [item async for item in stub.private_data("colA").query("{}")]

    assert (await network.run(body)).response.status == 200


async def test_a_rich_query_is_read_whole_in_pages_and_from_a_collection_on_a_peer_with_couchdb(
    network: Network,
) -> None:
    state = Ledger(couchdb=True)
    for number in range(250):
        owner = "alice" if number % 2 else "bob"
        state.values["", f"k{number:03}"] = json.dumps({"owner": owner, "number": number}).encode()
    state.values["colA", "secret"] = b'{"owner": "alice"}'
    state.values["colB", "secret"] = b'{"owner": "alice"}'
    query = '{"selector": {"owner": "alice"}}'
    odd = [f"k{number:03}" for number in range(1, 250, 2)]

    async def body(stub: ChaincodeStub) -> None:
        assert [item.key async for item in stub.query(query)] == odd
        assert [item.key for item in await stub.private_data("colA").query(query).all()] == ["secret"]
        assert json.loads((await anext(stub.query(query))).value)["number"] == 1
        found, bookmark = list[str](), ""
        while (page := await stub.query_page(query, 50, bookmark)).items:
            found += [item.key for item in page.items]
            bookmark = page.bookmark
        assert found == odd
        for page_of in (stub.query_page("", 5), stub.query_page(query, 0)):
            with pytest.raises(InvalidArgument):
                await page_of

    assert (await network.run(body, ledger=state)).response.status == 200


async def test_another_chaincodes_answer_is_returned_refusals_included(network: Network) -> None:
    state = Ledger()
    state.callees["other"] = proposal_response_pb2.Response(status=200, payload=b"hi")
    state.callees["other/second"] = proposal_response_pb2.Response(status=404, message="not here")

    async def body(stub: ChaincodeStub) -> None:
        answer = await stub.invoke_chaincode("other", [b"f", b"\xff"])
        assert (answer.status, answer.payload) == (200, b"hi")
        answer = await stub.invoke_chaincode("other", [b"f"], "second")
        assert (answer.status, answer.message, answer.endorsable) == (404, "not here", False)
        with pytest.raises(PeerRefused, match="not found"):
            await stub.invoke_chaincode("nosuch", [])

    outcome = await network.run(body, ledger=state)
    assert outcome.response.status == 200
    spec = chaincode_pb2.ChaincodeSpec.FromString(outcome.transaction.requests[0].payload)
    assert list(spec.input.args) == [b"f", b"\xff"]


async def test_what_fabric_would_quietly_turn_into_something_else_is_refused(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        for key in ("", "\x00bad"):
            for refused in (stub.get_state(key), stub.put_state(key, b"v"), stub.del_state(key), stub.metadata(key)):
                with pytest.raises(InvalidKey):
                    await refused
            with pytest.raises(InvalidKey):
                await stub.get_states(["a", key])
            with pytest.raises(InvalidKey):
                stub.history(key)
        with pytest.raises(InvalidArgument, match="empty value"):
            await stub.put_state("a", b"")
        with pytest.raises(InvalidArgument):
            await stub.set_validation_parameter("a", b"not a policy")
        for size in (0, -1, 2**31):
            with pytest.raises(InvalidArgument):
                await stub.range_page("", "", size)
        for collection in ("", "_own", "_implicit_org_", "a b", "a/b", "a\x00", "ä"):
            with pytest.raises(InvalidArgument):
                stub.private_data(collection)
        with pytest.raises(InvalidArgument):
            stub.organization_data("")
        with pytest.raises(InvalidArgument):
            stub.set_event("")
        with pytest.raises(InvalidArgument):
            stub.query("")
        with pytest.raises(InvalidArgument):
            await stub.invoke_chaincode("", [])
        with pytest.raises(InvalidArgument):
            await stub.invoke_chaincode("other/channel", [])

    outcome = await network.run(body)
    assert (outcome.response.status, outcome.transaction.requests) == (200, [])


async def test_requests_of_one_transaction_take_their_turns(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        values = await asyncio.gather(*(stub.get_state(key) for key in "abcab"))
        assert values == [b"1", b"2", None, b"1", b"2"]

    outcome = await network.run(body, ledger=ledger(a=b"1", b=b"2"))
    assert [shim_pb2.GetState.FromString(r.payload).key for r in outcome.transaction.requests] == list("abcab")


async def test_what_is_larger_than_a_message_fails_its_transaction_only(network: Network) -> None:
    huge = bytes(101 << 20)

    async def body(stub: ChaincodeStub) -> bytes:
        if stub.function == "put":
            await stub.put_state("a", huge)
        return huge if stub.function == "return" else b"fine"

    peer = await network.peer(await network.serve(Calling(body)))
    for function in ("put", "return"):
        response = (await peer.call(function)).response
        assert (response.status, response.message.split(":")[0]) == (400, "INVALID_ARGUMENT")
    assert (await peer.call("f")).response.payload == b"fine"
