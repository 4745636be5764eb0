import asyncio
import logging
import sys

import pytest
from fabric_protos.peer import chaincode_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.shim import ChaincodeStub, Response, TransactionEnded, error, success
from goldengrain.chaincode.shim.exchange import PeerOffers
from tests.chaincode.shim.conftest import Calling, Network
from tests.chaincode.shim.ledger import Ledger
from tests.chaincode.shim.peer import call_message, new_tx_id, signed_proposal


class RefusedError(GoldenGrainError):
    code = "NO_SUCH_OFFER"
    status = 404


async def test_a_stub_shows_its_transaction(network: Network) -> None:
    tx_id = new_tx_id()
    proposal = signed_proposal(tx_id, creator=b"\x0a\x07Org1MSP\x12\x03pem", transient={"k": b"v"}, seconds=9, nanos=1)

    async def body(stub: ChaincodeStub) -> None:
        assert (stub.channel_id, stub.tx_id, stub.is_init) == ("market", tx_id, False)
        assert (stub.function, stub.parameters) == ("f", ("x", "ä"))
        assert stub.args == (b"f", b"x", "ä".encode())
        assert (stub.transient, stub.timestamp) == ({"k": b"v"}, (9, 1))
        assert dict(stub.decorations) == {"d": b"1"}
        assert stub.creator == b"\x0a\x07Org1MSP\x12\x03pem"
        assert (stub.identity.msp_id, stub.identity.certificate_pem) == ("Org1MSP", b"pem")
        assert stub.signed_proposal == proposal
        assert stub.channel_header.tx_id == tx_id
        assert len(stub.binding) == 32

    peer = await network.peer(await network.serve(Calling(body)))
    outcome = await peer.call("f", "x", "ä", tx_id=tx_id, proposal=proposal, decorations={"d": b"1"})
    assert outcome.response.status == 200, outcome.response.message


async def test_arguments_that_are_not_text_are_still_there_as_bytes(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> bytes:
        assert stub.args[1] == b"\xff"
        return stub.parameters[0].encode()

    response = (await network.run(body, b"f", b"\xff")).response
    assert (response.status, response.message.split(":")[0]) == (400, "INVALID_ARGUMENT")


async def test_a_call_without_arguments_has_an_empty_function(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> bytes:
        return repr((stub.function, stub.parameters)).encode()

    peer = await network.peer(await network.serve(Calling(body)))
    assert (await peer.run(call_message())).response.payload == b"('', ())"


async def test_init_reaches_init(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        return None

    peer = await network.peer(await network.serve(Calling(body)))
    assert (await peer.call("f", kind=ChaincodeMessage.INIT)).response.payload == b"initialised"


@pytest.mark.parametrize("status", [0, 199, 200, 201, 399, 400, 404, 500, 600])
async def test_a_status_is_passed_on_as_it_is(network: Network, status: int) -> None:
    async def body(stub: ChaincodeStub) -> Response:
        return Response(status, f"msg {status}", b"payload")

    response = (await network.run(body)).response
    assert (response.status, response.message, response.payload) == (status, f"msg {status}", b"payload")


async def test_the_last_event_set_is_sent_with_the_answer(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        stub.set_event("one", b"1")
        stub.set_event("two")

    event = (await network.run(body)).event
    assert event is not None
    assert (event.event_name, event.payload) == ("two", b"")


async def test_a_refused_transaction_has_no_event(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> Response:
        stub.set_event("one", b"1")
        return error("no")

    assert (await network.run(body)).event is None


async def test_a_named_refusal_keeps_its_code_text_and_status(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        await stub.put_state("a", b"1")
        raise RefusedError("there is no offer 7: list them with ListOffers")

    outcome = await network.run(body)
    assert outcome.response.status == 404
    assert outcome.response.message == "NO_SUCH_OFFER: there is no offer 7: list them with ListOffers"
    assert outcome.transaction.writes == []


@pytest.mark.parametrize(
    "failure",
    [KeyError("s3cret"), RecursionError("s3cret"), SystemExit("s3cret"), asyncio.CancelledError("s3cret")],
    ids=lambda failure: type(failure).__name__,
)
async def test_an_unhandled_exception_names_its_class_and_leaks_nothing(
    network: Network, failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(stub: ChaincodeStub) -> None:
        try:
            raise ValueError("s3cret cause")
        except ValueError:
            raise failure from None

    with caplog.at_level(logging.INFO):
        outcome = await network.run(body)
    assert outcome.response.status == 500
    tx_id = outcome.transaction.tx_id
    name = type(failure).__name__
    assert outcome.response.message == f"unhandled {name} in the chaincode: see its log for transaction {tx_id}"
    assert tx_id in caplog.text
    assert "in body" in caplog.text
    assert "s3cret" not in caplog.text.replace("raise ValueError", "")


@pytest.mark.parametrize("answer", ["text", 7, Response("200"), Response(2**40), Response(200, "\ud800")])  # type: ignore[arg-type]
async def test_an_answer_that_cannot_be_sent_is_an_error(network: Network, answer: object) -> None:
    async def body(stub: ChaincodeStub) -> object:
        await stub.put_state("a", b"1")
        return answer

    outcome = await network.run(body)
    assert outcome.response.status == 500
    assert outcome.transaction.writes == []


@pytest.mark.parametrize("part", ["payload", "proposal"])
async def test_a_malformed_call_is_answered_with_an_error(network: Network, part: str) -> None:
    async def body(stub: ChaincodeStub) -> None:
        _ = stub.timestamp

    message = call_message("f")
    if part == "payload":
        message.payload = b"\xff\xff"
    else:
        message.proposal.proposal_bytes = b"\xff"
    peer = await network.peer(await network.serve(Calling(body)))
    assert (await peer.run(message)).response.message.startswith("INVALID_ARGUMENT: ")


async def test_a_guard_runs_before_every_call_and_can_refuse_it(network: Network) -> None:
    calls: list[str] = []

    async def guard(stub: ChaincodeStub) -> None:
        calls.append(stub.function)
        if stub.timestamp.seconds < 100:
            raise RefusedError("too old")

    async def body(stub: ChaincodeStub) -> None:
        calls.append("invoked")

    peer = await network.peer(await network.serve(Calling(body), guard=guard))
    tx_id = new_tx_id()
    assert (await peer.call("a")).response.status == 200
    refused = await peer.call("b", tx_id=tx_id, proposal=signed_proposal(tx_id, seconds=99))
    assert (refused.response.status, refused.response.message) == (404, "NO_SUCH_OFFER: too old")
    assert calls == ["a", "invoked", "b"]


async def test_300_transactions_at_once_each_get_their_own_replies(network: Network) -> None:
    state = Ledger({("", f"k{i}"): b"%d" % i for i in range(300)})
    inside = 0
    most = 0

    async def body(stub: ChaincodeStub) -> bytes:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        number = stub.parameters[0]
        first = await stub.get_state(f"k{number}")
        await asyncio.sleep(0.05)
        (second,) = await stub.get_states([f"k{number}"])
        await stub.put_state(f"out{number}", first or b"?")
        stub.set_event("done", number.encode())
        inside -= 1
        assert first == second
        return first or b"?"

    peer = await network.peer(await network.serve(Calling(body)), state)
    outcomes = await asyncio.gather(*(peer.call("f", str(i)) for i in range(300)))
    for i, outcome in enumerate(outcomes):
        assert outcome.response.payload == b"%d" % i
        assert outcome.transaction.writes == [("put", "", f"out{i}", b"%d" % i)]
        assert outcome.event is not None
        assert outcome.event.payload == b"%d" % i
    assert most > 200
    assert peer.unmatched == []


async def test_a_failing_or_slow_transaction_does_not_disturb_another(network: Network) -> None:
    release = asyncio.Event()

    async def body(stub: ChaincodeStub) -> bytes:
        await stub.get_state("a")
        if stub.function == "slow":
            await release.wait()
        if stub.function == "crash":
            raise ZeroDivisionError
        if stub.function == "exit":
            sys.exit(3)
        return stub.function.encode()

    peer = await network.peer(await network.serve(Calling(body)))
    slow = asyncio.create_task(peer.call("slow"))
    others = await asyncio.gather(*(peer.call(name) for name in ["crash", "fine", "exit", "fine"] * 25))
    assert [o.response.payload for o in others if o.response.status == 200] == [b"fine"] * 50
    assert not slow.done()
    release.set()
    assert (await slow).response.payload == b"slow"


async def test_a_request_given_up_does_not_shift_the_replies(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> None:
        for _ in range(20):
            abandoned = asyncio.create_task(stub.get_state("a"))
            await asyncio.sleep(0)
            abandoned.cancel()
            assert await stub.get_state("b") == b"2"
            with pytest.raises(asyncio.CancelledError):
                await abandoned

    outcome = await network.run(body, ledger=Ledger({("", "a"): b"1", ("", "b"): b"2"}))
    assert outcome.response.status == 200, outcome.response.message


async def test_a_stub_is_useless_after_its_transaction(network: Network) -> None:
    stubs: list[ChaincodeStub] = []

    async def body(stub: ChaincodeStub) -> None:
        stubs.append(stub)

    await network.run(body)
    with pytest.raises(TransactionEnded):
        await stubs[0].get_state("a")


async def test_a_call_that_comes_again_ends_the_first_and_is_answered(network: Network) -> None:
    started: list[int] = []
    ended: list[int] = []
    began = asyncio.Event()

    async def body(stub: ChaincodeStub) -> bytes:
        number = len(started)
        started.append(number)
        try:
            if number == 0:
                began.set()
                await asyncio.Event().wait()
            await stub.put_state("a", b"1")
            return await stub.get_state("a") or b"none"
        finally:
            ended.append(number)

    peer = await network.peer(await network.serve(Calling(body)), Ledger({("", "a"): b"old"}))
    message = call_message("f")
    first = asyncio.create_task(peer.run(message))
    await began.wait()
    await peer.send(message)
    outcome = await first
    assert (outcome.response.payload, outcome.transaction.writes) == (b"old", [("put", "", "a", b"1")])
    assert sorted(started) == sorted(ended) == [0, 1]


async def test_a_call_that_hangs_is_ended_some_day_and_answered(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    async def body(stub: ChaincodeStub) -> bytes:
        if stub.function == "hang":
            try:
                await stub.put_state("a", b"1")
                await asyncio.Event().wait()
            finally:
                ended.append(stub.tx_id)
        return b"fine"

    peer = await network.peer(await network.serve(Calling(body), time_limit=0.1))
    hung, fine = await asyncio.gather(peer.call("hang"), peer.call("f"))
    assert (hung.response.status, hung.response.message) == (504, "the transaction took more than 0.1 s")
    assert hung.transaction.writes == []
    assert fine.response.payload == b"fine"
    assert ended == [hung.transaction.tx_id]
    assert hung.transaction.tx_id in caplog.text


async def test_unknown_messages_and_late_replies_are_ignored_and_keepalive_is_answered(network: Network) -> None:
    async def body(stub: ChaincodeStub) -> bytes:
        return b"fine"

    peer = await network.peer(await network.serve(Calling(body)))
    await peer.send(ChaincodeMessage(type=99, txid="x"))  # type: ignore[arg-type]
    await peer.send(ChaincodeMessage(type=ChaincodeMessage.RESPONSE, txid="x", channel_id="y"))
    await peer.send(ChaincodeMessage(type=ChaincodeMessage.KEEPALIVE))
    assert (await peer.call("f")).response.payload == b"fine"
    assert [message.type for message in peer.unmatched] == [ChaincodeMessage.KEEPALIVE]


async def test_malformed_ready_does_not_go_unnoticed(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    async def body(stub: ChaincodeStub) -> None:
        return None

    peer = await network.peer(await network.serve(Calling(body)), accept=[])
    await peer.send(ChaincodeMessage(type=ChaincodeMessage.READY, payload=b"\xff"))
    await peer.end()
    assert "InvalidArgument" in caplog.text


def test_offers_of_nothing_are_no_offers() -> None:
    assert PeerOffers.from_ready(b"") == PeerOffers(0, 0)
    params = chaincode_pb2.ChaincodeAdditionalParams(max_size_write_batch=5, use_get_multiple_keys=True)
    assert PeerOffers.from_ready(params.SerializeToString()) == PeerOffers(0, 0)


def test_success_and_error_are_what_they_say() -> None:
    assert success(b"x") == Response(200, "", b"x")
    assert error("no") == Response(500, "no")
