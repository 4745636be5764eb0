import json

import pytest
from fabric_protos.msp import identities_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.shim.example import KeyValueStore
from tests.chaincode.shim.conftest import Network
from tests.chaincode.shim.ledger import Ledger
from tests.chaincode.shim.peer import FakePeer, Outcome, new_tx_id, signed_proposal
from tests.chaincode.shim.test_identity import certificate


@pytest.fixture
async def peer(network: Network) -> FakePeer:
    return await network.peer(await network.serve(KeyValueStore()), Ledger({("", "a"): b"1", ("", "b"): b"2"}))


def answer(outcome: Outcome) -> tuple[int, str, bytes]:
    return outcome.response.status, outcome.response.message, outcome.response.payload


async def test_what_was_put_and_committed_is_found(peer: FakePeer) -> None:
    outcome = await peer.call("put", "c", "3")
    outcome.transaction.commit()
    assert answer(await peer.call("get", "c")) == (200, "", b"3")
    (await peer.call("delete", "c")).transaction.commit()
    assert answer(await peer.call("get", "c")) == (404, "no key 'c'", b"")
    assert json.loads((await peer.call("range", "", "")).response.payload) == [["a", "1"], ["b", "2"]]
    assert (await peer.call("add", "a", "4")).transaction.writes == [("put", "", "a", b"5")]
    assert (await peer.call("add", "a", "x")).response.status == 400


async def test_events_senders_refusals_and_crashes(peer: FakePeer) -> None:
    event = (await peer.call("event", "made", "it")).event
    assert event is not None
    assert (event.event_name, event.payload) == ("made", b"it")
    refused = await peer.call("fail", "no more")
    assert (answer(refused), refused.transaction.writes) == ((422, "no more", b""), [])
    crashed = await peer.call("crash")
    assert crashed.response.message.startswith("unhandled RuntimeError in the chaincode")
    assert (await peer.call("whoami")).response.status == 400  # the peer double's creator has no certificate


async def test_a_sender_sees_who_it_is(peer: FakePeer) -> None:
    creator = identities_pb2.SerializedIdentity(mspid="Org2MSP", id_bytes=certificate()).SerializeToString()
    tx_id = new_tx_id()
    outcome = await peer.call("whoami", tx_id=tx_id, proposal=signed_proposal(tx_id, creator=creator))
    assert json.loads(outcome.response.payload) == {"msp_id": "Org2MSP", "common_name": "alice"}


@pytest.mark.parametrize("call", [("nosuch",), (), ("put", "a"), ("get",)])
async def test_wrong_calls_are_told_what_is_right(peer: FakePeer, call: tuple[str, ...]) -> None:
    assert (await peer.call(*call)).response.status in (400, 404)


async def test_the_example_can_be_initialised(network: Network, peer: FakePeer) -> None:
    assert (await peer.call("x", kind=ChaincodeMessage.INIT)).response.status == 200
