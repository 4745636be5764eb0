"""A peer's side of the chaincode stream, over real gRPC: dials the server, waits for REGISTER, runs transactions."""

import asyncio
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    chaincode_shim_pb2_grpc,
    proposal_pb2,
    proposal_response_pb2,
)
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from tests.chaincode.shim.ledger import Ledger, Transaction

CHANNEL = "market"
FULL = chaincode_pb2.ChaincodeAdditionalParams(
    use_write_batch=True, max_size_write_batch=1000, use_get_multiple_keys=True, max_size_get_multiple_keys=1000
)
"""What a peer of Fabric 3.1 offers; one of 2.5 sends READY without a payload."""

_LIMITS = [("grpc.max_send_message_length", 100 << 20), ("grpc.max_receive_message_length", 100 << 20)]
_numbers = itertools.count(1)


def new_tx_id() -> str:
    return os.urandom(32).hex()


def signed_proposal(
    tx_id: str,
    channel_id: str = CHANNEL,
    *,
    creator: bytes | None = None,
    transient: Mapping[str, bytes] | None = None,
    seconds: int = 1_790_000_000,
    nanos: int = 5,
    header_type: int = common_pb2.ENDORSER_TRANSACTION,
) -> proposal_pb2.SignedProposal:
    """A proposal as a client makes it; the signature is a placeholder: shims don't check it."""
    if creator is None:
        creator = identities_pb2.SerializedIdentity(mspid="Org1MSP", id_bytes=b"pem").SerializeToString()
    channel_header = common_pb2.ChannelHeader(type=header_type, channel_id=channel_id, tx_id=tx_id, epoch=0)
    channel_header.timestamp.seconds, channel_header.timestamp.nanos = seconds, nanos
    signature_header = common_pb2.SignatureHeader(creator=creator, nonce=b"n" * 24)
    header = common_pb2.Header(
        channel_header=channel_header.SerializeToString(), signature_header=signature_header.SerializeToString()
    )
    payload = proposal_pb2.ChaincodeProposalPayload(TransientMap=transient or {})
    proposal = proposal_pb2.Proposal(header=header.SerializeToString(), payload=payload.SerializeToString())
    return proposal_pb2.SignedProposal(proposal_bytes=proposal.SerializeToString(), signature=b"signature")


def call_message(
    *args: bytes | str,
    tx_id: str | None = None,
    kind: ChaincodeMessage.Type.ValueType = ChaincodeMessage.TRANSACTION,
    proposal: proposal_pb2.SignedProposal | None = None,
    decorations: Mapping[str, bytes] | None = None,
) -> ChaincodeMessage:
    """TRANSACTION or INIT."""
    tx_id = tx_id or new_tx_id()
    chaincode_input = chaincode_pb2.ChaincodeInput(
        args=[arg.encode() if isinstance(arg, str) else arg for arg in args],
        decorations=decorations or {},
        is_init=kind == ChaincodeMessage.INIT,
    )
    return ChaincodeMessage(
        type=kind,
        payload=chaincode_input.SerializeToString(),
        txid=tx_id,
        channel_id=CHANNEL,
        proposal=proposal or signed_proposal(tx_id),
    )


@dataclass
class Outcome:
    """How a call ended: the chaincode's answer and event, or its ERROR; and what the peer saw of it."""

    response: proposal_response_pb2.Response
    event: chaincode_event_pb2.ChaincodeEvent | None
    transaction: Transaction


class FakePeer:
    """Dials a chaincode server and runs calls on it, as many at once as are asked for."""

    def __init__(
        self,
        port: int,
        ledger: Ledger | None = None,
        params: chaincode_pb2.ChaincodeAdditionalParams | None = FULL,
        credentials: grpc.ChannelCredentials | None = None,
        accept: Sequence[str] | None = None,
    ) -> None:
        self.ledger = ledger or Ledger()
        self.registered_as = ""
        self.received: list[ChaincodeMessage] = []
        self.unmatched: list[ChaincodeMessage] = []
        self.name = f"peer{next(_numbers)}"
        self._params = params
        self._accept = accept
        target = f"127.0.0.1:{port}"
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, _LIMITS)
        else:
            options = [*_LIMITS, ("grpc.ssl_target_name_override", "localhost")]
            self._channel = grpc.aio.secure_channel(target, credentials, options)
        self._running: dict[tuple[str, str], tuple[Transaction, asyncio.Future[ChaincodeMessage]]] = {}
        self._ready = asyncio.Event()
        self._writing = asyncio.Lock()

    async def __aenter__(self) -> "FakePeer":
        stub: Any = chaincode_shim_pb2_grpc.ChaincodeStub(self._channel)
        self._call = stub.Connect()
        self._reader = asyncio.create_task(self._read())
        await asyncio.wait_for(self._ready.wait(), 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Go away without a word."""
        self._call.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._channel.close()

    async def end(self) -> grpc.StatusCode:
        """End the stream as a peer that stops does; the status it ends with."""
        await self._call.done_writing()
        await asyncio.gather(self._reader, return_exceptions=True)
        code: grpc.StatusCode = await self._call.code()
        return code

    async def call(self, *args: bytes | str, **options: object) -> Outcome:
        """Call the chaincode and answer its requests until it is done."""
        return await self.run(call_message(*args, **options))  # type: ignore[arg-type]

    async def run(self, message: ChaincodeMessage) -> Outcome:
        """Send TRANSACTION or INIT and answer the chaincode's requests until it is done."""
        key = (message.channel_id, message.txid)
        transaction = Transaction(self.ledger, *key)
        answer: asyncio.Future[ChaincodeMessage] = asyncio.get_running_loop().create_future()
        self._running[key] = (transaction, answer)
        try:
            await self.send(message)
            completed = await answer
        finally:
            del self._running[key]
        assert completed.type == ChaincodeMessage.COMPLETED
        event = completed.chaincode_event if completed.HasField("chaincode_event") else None
        return Outcome(proposal_response_pb2.Response.FromString(completed.payload), event, transaction)

    async def send(self, message: ChaincodeMessage) -> None:
        """Send any message."""
        async with self._writing:
            await self._call.write(message)

    async def _read(self) -> None:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                self.received.append(message)
                await self._handle(message)
        finally:
            for _, answer in self._running.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("chaincode stream terminated"))

    async def _handle(self, message: ChaincodeMessage) -> None:
        if message.type == ChaincodeMessage.REGISTER:
            self.registered_as = chaincode_pb2.ChaincodeID.FromString(message.payload).name
            if self._accept is None or self.registered_as in self._accept:
                payload = self._params.SerializeToString() if self._params else b""
                await self.send(ChaincodeMessage(type=ChaincodeMessage.REGISTERED))
                await self.send(ChaincodeMessage(type=ChaincodeMessage.READY, payload=payload))
            self._ready.set()
            return
        running = self._running.get((message.channel_id, message.txid))
        if running is None:
            self.unmatched.append(message)
        elif message.type in (ChaincodeMessage.COMPLETED, ChaincodeMessage.ERROR):
            running[1].set_result(message)
        else:
            await self.send(running[0].answer(message))
