"""A chaincode that repeats what a recorded chaincode said to its peer, and compares what the peer answers.

The recordings are transcripts of real streams, see `chaincode/` in the recorded vectors. Ids of transactions and open
queries differ from run to run; they are translated in both directions.
"""

import base64
import gzip
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2, proposal_pb2

Message = chaincode_shim_pb2.ChaincodeMessage
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Recording:
    """What one case's chaincodes and peers said: by (chaincode, transaction) the messages of one peer's stream."""

    streams: dict[tuple[str, str], list[tuple[str, Message]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Recording":
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines()
        recording, connections = cls(), dict[tuple[str, str], str]()
        for line in map(json.loads, lines):
            if "msg" not in line or not line["txid"]:
                continue
            key = (line["cc"], line["txid"])
            if connections.setdefault(key, line["conn"]) == line["conn"]:
                message = Message.FromString(base64.b64decode(line["msg"]))
                recording.streams.setdefault(key, []).append((line["dir"], message))
        return recording

    def client(self, tx_id: str) -> int:
        """Number of the organisation whose user sent the transaction; 1 where no chaincode was called."""
        for (_, recorded), messages in self.streams.items():
            if recorded == tx_id and messages[0][1].HasField("proposal"):
                proposal = proposal_pb2.Proposal.FromString(messages[0][1].proposal.proposal_bytes)
                header = common_pb2.Header.FromString(proposal.header)
                creator = common_pb2.SignatureHeader.FromString(header.signature_header).creator
                msp_id = identities_pb2.SerializedIdentity.FromString(creator).mspid
                return int(msp_id.removeprefix("Org").removesuffix("MSP"))
        return 1


class RecordedChaincode:
    """Chaincode servers that play the recording of the step under test. `differences` collects what peers got wrong."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.differences: list[str] = []
        self.script: list[tuple[str, Message]] = []
        self.recorded_tx_id = ""

    def play(self, recording: Recording, recorded_tx_id: str) -> None:
        """Answer the next transaction as the recorded one was."""
        self.recorded_tx_id = recorded_tx_id
        self.script = recording.streams.get((self.name, recorded_tx_id), [])

    async def serve(self, address: str, package_id: str) -> grpc.aio.Server:
        server = grpc.aio.server()

        async def connect(requests: AsyncIterator[Message], _: Any) -> AsyncIterator[Message]:
            register = chaincode_pb2.ChaincodeID(name=package_id).SerializeToString()
            yield Message(type=Message.REGISTER, payload=register)
            async for message in requests:
                if message.type in (Message.TRANSACTION, Message.INIT):
                    async for answer in self._run(message, requests):
                        yield answer

        handler = grpc.stream_stream_rpc_method_handler(
            connect, request_deserializer=Message.FromString, response_serializer=Message.SerializeToString
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("protos.Chaincode", {"Connect": handler}),)
        )
        server.add_insecure_port(address)
        await server.start()
        return server

    async def _run(self, started: Message, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
        ids: dict[bytes, bytes] = {self.recorded_tx_id.encode(): started.txid.encode()}
        script = iter(self.script)
        _, first = next(script)
        self._compare(ids, first, started)
        for direction, recorded in script:
            if direction == "cc->peer":
                yield self._translated(ids, recorded)
            else:
                self._compare(ids, recorded, await anext(requests))

    def _translated(self, ids: dict[bytes, bytes], recorded: Message) -> Message:
        raw = recorded.SerializeToString()
        for old, new in ids.items():
            raw = raw.replace(old, new)
        return Message.FromString(raw)

    def _compare(self, ids: dict[bytes, bytes], recorded: Message, got: Message) -> None:
        for old, new in zip(_UUID.findall(recorded.payload), _UUID.findall(got.payload), strict=False):
            ids.setdefault(old, new)
        expected = self._translated(ids, recorded)
        if (expected.type, comparable(expected), expected.txid, expected.channel_id) != (
            got.type,
            comparable(got),
            got.txid,
            got.channel_id,
        ):
            self.differences.append(
                f"{Message.Type.Name(got.type)} {got.payload!r}, recorded {Message.Type.Name(recorded.type)} "
                f"{expected.payload!r}"
            )


def comparable(message: Message) -> bytes | list[int]:
    """The payload; of an answer that lists chaincode definitions, which have no order, its sorted bytes."""
    lists_definitions = message.payload.count(b"/Channel/Application/Endorsement") > 1
    return sorted(message.payload) if lists_definitions else message.payload
