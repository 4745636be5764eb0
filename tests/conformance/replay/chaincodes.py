"""Chaincode servers that repeat, transaction by transaction, what the recorded chaincodes said to their peers."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import grpc
import grpc.aio
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2, proposal_pb2, proposal_response_pb2

from tests.conformance.replay.masks import QUERY_ID, unordered_definitions
from tests.recordings import transcripts
from tests.recordings.transcripts import Line

Message = chaincode_shim_pb2.ChaincodeMessage
STARTS = (Message.TRANSACTION, Message.INIT)
LATE_S = 0.8
"""When a recorded chaincode that slept through its timeout answers, in seconds."""


@dataclass(eq=False)
class Segment:
    """One run of a transaction on one recorded stream: from TRANSACTION to COMPLETED."""

    case: str
    organization: str
    lines: list[Line]

    @property
    def proposal(self) -> proposal_pb2.SignedProposal:
        message = self.lines[0].message
        assert message is not None
        return message.proposal


@cache
def segments() -> dict[tuple[str, str], list[Segment]]:
    """What was said by (chaincode, transaction), in order.

    Messages that name another transaction, or none, belong to the one that runs on that stream.
    """
    found: dict[tuple[str, str], list[Segment]] = defaultdict(list)
    open_at: dict[tuple[str, str, str, str], dict[str, Segment]] = defaultdict(dict)
    for line in transcripts.lines():
        running = open_at[line.case, line.chaincode, line.organization, line.connection]
        if line.message is not None and line.message.type in STARTS:
            segment = running[line.tx_id] = Segment(line.case, line.organization, [line])
            found[line.chaincode, line.tx_id].append(segment)
        elif running and (line.message is not None or line.what == "event:abort"):
            latest = next(reversed(running.values()))
            running.get(line.tx_id, latest).lines.append(line)
    return dict(found)


class Abort(Exception):
    """The recorded chaincode ended its stream here."""


@dataclass
class Running:
    """One transaction on one stream: what is left of its script, ids of queries by recorded id."""

    lines: Iterator[Line]
    improvised: bool = False
    waiting: Line | None = None
    ids: dict[bytes, bytes] = field(default_factory=dict)


class RecordedChaincode:
    """The server of one chaincode of one organisation. `case` is played now; `differences` collects what its
    peer said otherwise."""

    def __init__(self, name: str, organization: str, package_id: str) -> None:
        self.name = name
        self.organization = organization
        self.package_id = package_id
        self.case = ""
        self._played: set[Segment] = set()
        self.differences: list[str] = []

    async def start(self) -> str:
        """Listen on a free port; returns HOST:PORT."""
        self._server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            self._connect, request_deserializer=Message.FromString, response_serializer=Message.SerializeToString
        )
        handlers = grpc.method_handlers_generic_handler("protos.Chaincode", {"Connect": handler})
        self._server.add_generic_rpc_handlers((handlers,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        await self._server.stop(None)

    async def _connect(self, requests: AsyncIterator[Message], _: Any) -> AsyncIterator[Message]:
        outbox: asyncio.Queue[Message | None] = asyncio.Queue()
        name = chaincode_pb2.ChaincodeID(name=self.package_id).SerializeToString()
        outbox.put_nowait(Message(type=Message.REGISTER, payload=name))
        reader = asyncio.create_task(self._read(requests, outbox))
        try:
            while (message := await outbox.get()) is not None:
                yield message
        finally:
            reader.cancel()

    async def _read(self, requests: AsyncIterator[Message], outbox: asyncio.Queue[Message | None]) -> None:
        running: dict[str, Running] = {}
        try:
            async for message in requests:
                if message.txid or message.type == Message.ERROR:
                    self._handle(message, running, outbox)
        except Abort:
            pass
        finally:
            outbox.put_nowait(None)

    def _handle(self, message: Message, running: dict[str, Running], outbox: asyncio.Queue[Message | None]) -> None:
        if message.type in STARTS:
            segment = self._segment(message)
            if segment is None:
                outbox.put_nowait(improvised(message))
                running[message.txid] = Running(iter(()), improvised=True)
                return
            running[message.txid] = Running(iter(segment.lines))
        transaction = running.get(message.txid) or next(iter(reversed(running.values())), None)
        if transaction is None:
            self.differences.append(f"the peer sent {describe(message)} for no transaction")
            return
        if transaction.improvised:
            outbox.put_nowait(answered(message))
            return
        delay = LATE_S if message.type in STARTS and b'["sleep"' in message.payload else 0.0
        for answer in self._advance(transaction, message):
            if delay:
                asyncio.get_running_loop().call_later(delay, outbox.put_nowait, answer)
            else:
                outbox.put_nowait(answer)

    def _segment(self, message: Message) -> Segment | None:
        """What this organisation's chaincode said to this call; where only others were asked, what theirs said."""
        said = segments().get((self.name, message.txid), [])

        def unlikeness(segment: Segment) -> tuple[bool, ...]:
            other = segment.proposal != message.proposal
            return other, segment.case != self.case, segment.organization != self.organization, segment in self._played

        chosen = min(said, key=unlikeness, default=None)
        if chosen is not None:
            self._played.add(chosen)
        return chosen

    def _advance(self, transaction: Running, message: Message) -> Iterator[Message]:
        """Compare a message of the peer with the recorded one, and give what the chaincode said next."""
        expected = transaction.waiting or next(transaction.lines, None)
        transaction.waiting = None
        if expected is None or expected.message is None or expected.what != "peer->cc":
            self.differences.append(f"to chaincode {self.name}: {describe(message)}, where nothing was recorded")
        else:
            self._compare(transaction, expected.message, message)
        for line in transaction.lines:
            if line.what == "peer->cc":
                transaction.waiting = line
                return
            if line.what == "event:abort":
                raise Abort
            if line.message is not None and line.what == "cc->peer":
                yield translated(line.message, transaction.ids)

    def _compare(self, transaction: Running, recorded: Message, got: Message) -> None:
        pairs = zip(QUERY_ID.findall(recorded.payload), QUERY_ID.findall(got.payload), strict=False)
        for old, new in pairs:
            transaction.ids.setdefault(old, new)
        expected = translated(recorded, transaction.ids)
        if comparable(expected) != comparable(got):
            self.differences.append(f"to chaincode {self.name}: {describe(got)}, recorded {describe(expected)}")


def comparable(message: Message) -> Any:
    return message.type, unordered_definitions(message.payload), message.txid, message.channel_id, message.proposal


def translated(message: Message, ids: dict[bytes, bytes]) -> Message:
    raw = message.SerializeToString()
    for old, new in ids.items():
        raw = raw.replace(old, new)
    return Message.FromString(raw)


def improvised(message: Message) -> Message:
    """The first thing that a script of one operation, `get` or `put`, says: for the few calls without a transcript."""
    ((name, *arguments),) = json.loads(chaincode_pb2.ChaincodeInput.FromString(message.payload).args[1])
    if name == "get":
        kind, payload = Message.GET_STATE, chaincode_shim_pb2.GetState(key=arguments[0]).SerializeToString()
    else:
        assert name == "put", f"no transcript of transaction {message.txid}, and nobody to make up {name}"
        put = chaincode_shim_pb2.PutState(key=arguments[0], value=arguments[1].encode())
        kind, payload = Message.PUT_STATE, put.SerializeToString()
    return Message(type=kind, payload=payload, txid=message.txid, channel_id=message.channel_id)


def answered(message: Message) -> Message:
    """Its end: what the peer gave, as the script chaincode writes it."""
    payload = json.dumps([message.payload.decode()], separators=(",", ":")).encode()
    response = proposal_response_pb2.Response(status=200, payload=payload)
    return Message(
        type=Message.COMPLETED,
        payload=response.SerializeToString(),
        txid=message.txid,
        channel_id=message.channel_id,
    )


def describe(message: Message) -> str:
    return f"{Message.Type.Name(message.type)} {message.payload[:300]!r}"
