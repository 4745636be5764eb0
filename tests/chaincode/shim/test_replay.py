"""What real peers of Fabric 3.1.5 said to a recorded chaincode, said again to the same script on our shim.

Every request that our shim sends is compared with the recorded one; the answer too. What differs on purpose stands in
`DIFFERENT`, by operation, with the reason.
"""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.peer import chaincode_pb2, proposal_response_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.shim.keys import FIRST_SIMPLE_KEY
from tests.chaincode.shim import recorded
from tests.chaincode.shim.conftest import Network
from tests.chaincode.shim.peer import FULL, FakePeer
from tests.chaincode.shim.recorded import Recorded, Type
from tests.chaincode.shim.script import Script

NO_BATCHES = chaincode_pb2.ChaincodeAdditionalParams(use_get_multiple_keys=True, max_size_get_multiple_keys=1000)

DIFFERENT_OPERATIONS = {
    "raw": "sends bytes that the shim never makes",
    "rawbytes": "sends bytes that the shim never makes",
    "wrongtx": "names another transaction, which the shim never does",
    "double": "two requests of one transaction at once: the shim sends the second after the first reply",
    "next": "names an unknown query, which the shim never does",
    "errormsg": "answers ERROR: the shim always answers COMPLETED",
    "panic": "ends the stream in the middle: an exception is an answer here",
    "panicon": "ends the stream in the middle: an exception is an answer here",
    "sleep": "outlasts the peer's timeout",
}
DIFFERENT_CASES = {
    "peer_errors_keys": "empty and reserved keys: the shim refuses them",
    "empty_key_commit": "empty and reserved keys: the shim refuses them",
    "write_batch_errors/0": "an empty key: the shim refuses it",
    "put_empty_value/0": "an empty value would be a delete: the shim refuses it",
    "peer_errors_collections": "an empty collection name: the shim refuses it",
    "range_reversed": "a range's start behind its end: the shim refuses it",
    "range_paginated": "pages of 0 and -1: the shim refuses them",
    "composite_range": "a simple range over composite keys: the shim refuses it",
    "keys_after": "its open range began with composite keys, which the shim leaves out",
    "event_empty_name": "an event without a name: the shim refuses it",
    "query_leveldb/2": "an empty query: the shim refuses it",
    "bad_metadata_key/2": "a validation parameter that is no policy would lock the key: the shim refuses it",
    "multi_too_big": "1001 keys: the shim keeps to the 1000 that the peer offers",
    "write_batch_too_big": "1001 records: the shim keeps to the 1000 that the peer offers",
    "unknown_function/1": "an unhandled exception: the shim has its own words for it",
}


class Replaying(FakePeer):
    """Answers with what was recorded, and notes where our requests differ."""

    async def replay(self, transaction: Recorded) -> list[str]:
        """Differences; none if the transaction went as recorded."""
        self._expected = recorded.without_needless(transaction)
        self._differences: list[str] = []
        self._completed: asyncio.Future[ChaincodeMessage] = asyncio.get_running_loop().create_future()
        await self.send(transaction.call)
        completed = await asyncio.wait_for(self._completed, 10)
        if self._expected:
            self._differences.append(f"not asked: {[Type.Name(request.type) for request, _ in self._expected]}")
        assert transaction.completed is not None
        if plain(completed) != plain(transaction.completed):
            self._differences.append(f"answered {plain(completed)}, recorded {plain(transaction.completed)}")
        return self._differences

    async def _handle(self, message: ChaincodeMessage) -> None:
        if message.type == Type.REGISTER:
            await super()._handle(message)
        elif message.type == Type.COMPLETED:
            self._completed.set_result(message)
        elif not self._expected or same(self._expected[0][0]) != same(message):
            self._differences.append(f"asked {Type.Name(message.type)} {message.payload!r}")
            await self.send(
                ChaincodeMessage(type=Type.ERROR, payload=b"differs", txid=message.txid, channel_id=message.channel_id)
            )
        else:
            await self.send(self._expected.pop(0)[1])


def same(request: ChaincodeMessage) -> ChaincodeMessage:
    """A request, with the open start of a range as our shim writes it."""
    if request.type == Type.GET_STATE_BY_RANGE:
        query = shim_pb2.GetStateByRange.FromString(request.payload)
        query.startKey = query.startKey or FIRST_SIMPLE_KEY
        request = ChaincodeMessage(
            type=request.type, payload=query.SerializeToString(), txid=request.txid, channel_id=request.channel_id
        )
    return request


def plain(completed: ChaincodeMessage) -> tuple[Any, ...]:
    """An answer without what the peer overwrites (event's chaincode and transaction) and how batches were fetched."""
    response = proposal_response_pb2.Response.FromString(completed.payload)
    payload: Any = response.payload
    if payload.startswith(b"["):
        payload = [
            {k: v for k, v in result.items() if k not in ("nexts", "closed")} if isinstance(result, dict) else result
            for result in json.loads(payload)
        ]
    event = completed.chaincode_event
    return response.status, response.message, payload, event.event_name, event.payload, completed.txid


def different(transaction: Recorded, step: int) -> set[str]:
    """Entries of the two tables that a transaction falls under."""
    names = transaction.names & DIFFERENT_OPERATIONS.keys()
    if transaction.organization != "Org1MSP":
        names.discard("panicon")  # recorded with [1]: the others went on
    return names | ({transaction.case, f"{transaction.case}/{step}"} & DIFFERENT_CASES.keys())


async def test_recorded_transactions_go_the_same_way_on_our_shim(network: Network, shared: Path | None) -> None:
    folder = shared and shared / "fabric-vectors" / "chaincode"
    if not folder or not folder.is_dir():
        pytest.skip("the recorded transcripts are not beside this checkout")
    script = Script()
    server = await network.serve(script)
    peers = {}
    for batches, params in ((True, FULL), (False, NO_BATCHES)):
        peer = Replaying(server.port, params=params)  # type: ignore[attr-defined]
        peers[batches] = await network.enter(peer)
    steps: Counter[str] = Counter()
    seen: dict[tuple[str, str], int] = {}
    used: Counter[str] = Counter()
    replayed = 0
    differences = {}
    for transaction in recorded.transactions(folder):
        identity = (transaction.case, transaction.call.txid)
        if identity not in seen:
            seen[identity] = steps[transaction.case]
            steps[transaction.case] += 1
        if excused := different(transaction, seen[identity]):
            used.update(excused)
            continue
        script.organization = transaction.organization
        found = await peers["batch" in transaction.names].replay(transaction)
        replayed += 1
        if found:
            differences[f"{transaction.case}/{seen[identity]} {transaction.organization}"] = found
    assert differences == {}
    assert used.keys() == DIFFERENT_OPERATIONS.keys() | DIFFERENT_CASES.keys(), "a table has entries that nothing needs"
    assert replayed > 200
    print(f"{replayed} recorded transactions went the same way, {used.total()} differ for a named reason")
