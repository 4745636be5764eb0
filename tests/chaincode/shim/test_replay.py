"""What real peers of Fabric 3.1.5 said to a recorded chaincode, said again to the same script on our shim.

Every request that our shim sends is compared with the recorded one; the answer too. What differs on purpose stands in
`tests/conformance/replay/differences.yaml`, with the reason.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from fabric_protos.peer import chaincode_pb2, proposal_response_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.shim.keys import FIRST_SIMPLE_KEY
from tests.chaincode.shim import recorded
from tests.chaincode.shim.conftest import Network
from tests.chaincode.shim.peer import FULL, FakePeer
from tests.chaincode.shim.recorded import Recorded, Type
from tests.chaincode.shim.script import Script
from tests.conformance.replay.known import of_shim

NO_BATCHES = chaincode_pb2.ChaincodeAdditionalParams(use_get_multiple_keys=True, max_size_get_multiple_keys=1000)

DIFFERENT_OPERATIONS, DIFFERENT_CASES = of_shim()


@dataclass
class Outcome:
    """How one recorded transaction went on our shim: why it wasn't tried, or what differed."""

    name: str
    case: str
    excuses: set[str]
    differences: list[str]


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


async def replay_all(network: Network) -> list[Outcome]:
    """Replay every recorded transaction."""
    script = Script()
    server = await network.serve(script)
    peers = {}
    for batches, params in ((True, FULL), (False, NO_BATCHES)):
        peer = Replaying(server.port, params=params)  # type: ignore[attr-defined]
        peers[batches] = await network.enter(peer)
    steps: Counter[str] = Counter()
    seen: dict[tuple[str, str], int] = {}
    found = []
    for transaction in recorded.transactions():
        identity = (transaction.case, transaction.call.txid)
        if identity not in seen:
            seen[identity] = steps[transaction.case]
            steps[transaction.case] += 1
        name = f"{transaction.case}/{seen[identity]} {transaction.organization}"
        excuses = different(transaction, seen[identity])
        script.organization = transaction.organization
        differences = [] if excuses else await peers["batch" in transaction.names].replay(transaction)
        found.append(Outcome(name, transaction.case, excuses, differences))
    return found


async def test_recorded_transactions_go_the_same_way_on_our_shim(network: Network) -> None:
    outcomes = await replay_all(network)
    assert {one.name: one.differences for one in outcomes if one.differences} == {}
    used = {excuse for one in outcomes for excuse in one.excuses}
    assert used == DIFFERENT_OPERATIONS.keys() | DIFFERENT_CASES.keys(), "differences.yaml lists what nothing needs"
    assert len([one for one in outcomes if not one.excuses]) > 200
