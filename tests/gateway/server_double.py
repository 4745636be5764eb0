"""Fabric's services (Gateway, Endorser, Deliver) over TLS, on top of :class:`LedgerDouble`, with faults on demand."""

# ruff: noqa: N802 - the methods bear the RPCs' names

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import grpc
import grpc.aio
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2, gateway_pb2_grpc
from fabric_protos.msp import identities_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    events_pb2,
    events_pb2_grpc,
    peer_pb2_grpc,
    proposal_pb2,
    proposal_response_pb2,
)
from google.rpc import status_pb2

from goldengrain.gateway.blocks import transactions
from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.identity import Identity
from tests.gateway.certificates import Ca, Issued
from tests.gateway.ledger_double import CHANNEL, LedgerDouble, RefusedError

CA = Ca("tls")


@dataclass
class Fault:
    """What an RPC does instead of its work: fail with a code, and say what each peer said; or wait first."""

    code: grpc.StatusCode | None = None
    message: str = ""
    details: tuple[tuple[str, str, str], ...] = ()
    delay: float = 0.0
    after_work: bool = False


@dataclass
class ServerDouble:
    ledger: LedgerDouble = field(default_factory=LedgerDouble)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    held: list[common_pb2.Envelope] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    endpoint: Endpoint = field(default_factory=lambda: Endpoint("none:1"))
    break_after: int | None = None
    """After how many messages each stream breaks; None: never."""
    _issued: Issued | None = None
    hold: bool = False
    """Whether submitted transactions wait in ``held`` instead of going into a block each."""

    async def start(self, port: int = 0, beside: ServerDouble | None = None) -> Endpoint:
        """Serve on a port; ``beside`` another peer of the same channel, whose ledger it shares."""
        if beside is not None:
            self.ledger = beside.ledger
        self._grown = beside._grown if beside is not None else asyncio.Condition()
        issued = self._issued = self._issued or CA.issue("peer0", hosts=("localhost", "127.0.0.1"))
        self._server = grpc.aio.server()
        gateway_pb2_grpc.add_GatewayServicer_to_server(self, self._server)  # type: ignore[arg-type]
        peer_pb2_grpc.add_EndorserServicer_to_server(self, self._server)  # type: ignore[arg-type]
        events_pb2_grpc.add_DeliverServicer_to_server(self, self._server)  # type: ignore[arg-type]
        credentials = grpc.ssl_server_credentials([(issued.key, issued.certificate)])
        port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        await self._server.start()
        self.endpoint = Endpoint.parse(f"grpcs://localhost:{port}", CA.pem)
        return self.endpoint

    async def stop(self) -> None:
        await self._server.stop(None)

    async def restart(self, pause: float = 0.0) -> None:
        """Stop at once, and serve on the same port again after a while."""
        await self.stop()
        await asyncio.sleep(pause)
        grown = self._grown
        await self.start(int(self.endpoint.address.rpartition(":")[2]))
        self._grown = grown

    async def called(self, name: str) -> None:
        """Wait until an RPC of that name has arrived."""
        async with self._grown:
            await self._grown.wait_for(lambda: name in self.calls)

    async def cut(self) -> None:
        """Put what is held into one block."""
        if self.held:
            self.ledger.order(*self.held)
            self.held.clear()
        async with self._grown:
            self._grown.notify_all()

    async def _fault(self, name: str, context: Any, after: bool = False) -> None:
        if not after:
            self.calls.append(name)
            async with self._grown:
                self._grown.notify_all()
        waiting = self.faults.get(name)
        if not waiting or waiting[0].after_work is not after:
            return
        fault = waiting.pop(0)
        await asyncio.sleep(fault.delay)
        if fault.code is not None:
            await self._abort(context, fault.code, fault.message, fault.details)

    async def _abort(
        self, context: Any, code: grpc.StatusCode, message: str, details: tuple[tuple[str, str, str], ...] = ()
    ) -> None:
        status = status_pb2.Status(code=code.value[0], message=message)
        for address, msp_id, text in details:
            status.details.add().Pack(gateway_pb2.ErrorDetail(address=address, msp_id=msp_id, message=text))
        metadata = (("grpc-status-details-bin", status.SerializeToString()),) if details else ()
        await context.abort(code, message, metadata)

    async def _signed_by(self, context: Any, creator: bytes, signature: bytes, message: bytes) -> None:
        parsed = identities_pb2.SerializedIdentity.FromString(creator)
        key = Identity(parsed.mspid, parsed.id_bytes).x509.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        try:
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            await self._abort(context, grpc.StatusCode.PERMISSION_DENIED, "access denied")

    async def _check_proposal(self, signed: proposal_pb2.SignedProposal, context: Any) -> None:
        header = common_pb2.Header.FromString(proposal_pb2.Proposal.FromString(signed.proposal_bytes).header)
        signer = common_pb2.SignatureHeader.FromString(header.signature_header)
        await self._signed_by(context, signer.creator, signed.signature, signed.proposal_bytes)
        transaction_id = common_pb2.ChannelHeader.FromString(header.channel_header).tx_id
        assert transaction_id == sha256(signer.nonce + signer.creator).hexdigest()

    async def Evaluate(self, request: gateway_pb2.EvaluateRequest, context: Any) -> gateway_pb2.EvaluateResponse:
        await self._fault("Evaluate", context)
        self.requests.append(request)
        await self._check_proposal(request.proposed_transaction, context)
        try:
            answer = self.ledger.run(request.proposed_transaction)
        except RefusedError as error:
            text = f"evaluate call to endorser returned error: {error}"
            detail = ("127.0.0.1:7051", "Org1MSP", str(error))
            await self._abort(context, grpc.StatusCode.UNKNOWN, text, (detail,))
        return gateway_pb2.EvaluateResponse(result=answer.response)

    async def Endorse(self, request: gateway_pb2.EndorseRequest, context: Any) -> gateway_pb2.EndorseResponse:
        await self._fault("Endorse", context)
        self.requests.append(request)
        await self._check_proposal(request.proposed_transaction, context)
        try:
            envelope = self.ledger.endorse(request.proposed_transaction, list(request.endorsing_organizations))
        except RefusedError as error:
            text = "failed to endorse transaction, see attached details for more info"
            detail = ("127.0.0.1:7051", "Org1MSP", str(error))
            await self._abort(context, grpc.StatusCode.ABORTED, text, (detail,))
        return gateway_pb2.EndorseResponse(prepared_transaction=envelope)

    async def Submit(self, request: gateway_pb2.SubmitRequest, context: Any) -> gateway_pb2.SubmitResponse:
        await self._fault("Submit", context)
        envelope = request.prepared_transaction
        payload = common_pb2.Payload.FromString(envelope.payload)
        creator = common_pb2.SignatureHeader.FromString(payload.header.signature_header).creator
        await self._signed_by(context, creator, envelope.signature, envelope.payload)
        self.held.append(envelope)
        if not self.hold:
            await self.cut()
        await self._fault("Submit", context, after=True)
        return gateway_pb2.SubmitResponse()

    async def CommitStatus(
        self, request: gateway_pb2.SignedCommitStatusRequest, context: Any
    ) -> gateway_pb2.CommitStatusResponse:
        await self._fault("CommitStatus", context)
        asked = gateway_pb2.CommitStatusRequest.FromString(request.request)
        await self._signed_by(context, asked.identity, request.signature, request.request)
        async with self._grown:
            await self._grown.wait_for(lambda: asked.transaction_id in self.ledger.committed)
        code, block = self.ledger.committed[asked.transaction_id]
        return gateway_pb2.CommitStatusResponse(result=code, block_number=block)  # type: ignore[arg-type]

    async def ChaincodeEvents(
        self, request: gateway_pb2.SignedChaincodeEventsRequest, context: Any
    ) -> AsyncIterator[gateway_pb2.ChaincodeEventsResponse]:
        await self._fault("ChaincodeEvents", context)
        asked = gateway_pb2.ChaincodeEventsRequest.FromString(request.request)
        await self._signed_by(context, asked.identity, request.signature, request.request)
        sent = 0
        number = asked.start_position.specified.number
        after = asked.after_transaction_id
        if asked.start_position.HasField("next_commit"):
            number = len(self.ledger.blocks)
        while True:
            block = await self._block(number)
            calls = [one for one in transactions(block) if one.valid and one.call and one.call.event]
            while after and calls and after in [one.transaction_id for one in calls]:
                calls.pop(0)
            events = [
                chaincode_event_pb2.ChaincodeEvent(
                    chaincode_id=event.chaincode,
                    tx_id=event.transaction_id,
                    event_name=event.name,
                    payload=event.payload,
                )
                for one in calls
                if one.call and (event := one.call.event)
            ]
            if events:
                yield gateway_pb2.ChaincodeEventsResponse(events=events, block_number=number)
                sent += 1
                await self._break(context, sent)
            number += 1

    async def _break(self, context: Any, sent: int) -> None:
        if sent == self.break_after:
            await self._abort(context, grpc.StatusCode.UNAVAILABLE, "broken")

    async def _block(self, number: int) -> common_pb2.Block:
        async with self._grown:
            await self._grown.wait_for(lambda: number < len(self.ledger.blocks))
        return self.ledger.blocks[number]

    async def ProcessProposal(
        self, request: proposal_pb2.SignedProposal, context: Any
    ) -> proposal_response_pb2.ProposalResponse:
        await self._fault("ProcessProposal", context)
        await self._check_proposal(request, context)
        try:
            answer = self.ledger.run(request)
        except RefusedError as error:
            status, message = str(error).removeprefix("chaincode response ").split(", ", 1)
            return proposal_response_pb2.ProposalResponse(
                response=proposal_response_pb2.Response(status=int(status), message=message)
            )
        return proposal_response_pb2.ProposalResponse(response=answer.response)

    async def Deliver(self, requests: Any, context: Any) -> AsyncIterator[events_pb2.DeliverResponse]:
        async for block in self._deliver("Deliver", requests, context):
            yield block if isinstance(block, events_pb2.DeliverResponse) else events_pb2.DeliverResponse(block=block)

    async def DeliverFiltered(self, requests: Any, context: Any) -> AsyncIterator[events_pb2.DeliverResponse]:
        async for block in self._deliver("DeliverFiltered", requests, context):
            if isinstance(block, events_pb2.DeliverResponse):
                yield block
                continue
            filtered = events_pb2.FilteredBlock(channel_id=CHANNEL, number=block.header.number)
            for one in transactions(block):
                filtered.filtered_transactions.add(txid=one.transaction_id, tx_validation_code=one.code)  # type: ignore[arg-type]
            yield events_pb2.DeliverResponse(filtered_block=filtered)

    async def DeliverWithPrivateData(self, requests: Any, context: Any) -> AsyncIterator[events_pb2.DeliverResponse]:
        async for block in self._deliver("DeliverWithPrivateData", requests, context):
            if isinstance(block, events_pb2.DeliverResponse):
                yield block
                continue
            yield events_pb2.DeliverResponse(block_and_private_data=events_pb2.BlockAndPrivateData(block=block))

    async def _deliver(self, name: str, requests: Any, context: Any) -> AsyncIterator[Any]:
        await self._fault(name, context)
        async for envelope in requests:
            payload = common_pb2.Payload.FromString(envelope.payload)
            creator = common_pb2.SignatureHeader.FromString(payload.header.signature_header).creator
            await self._signed_by(context, creator, envelope.signature, envelope.payload)
            channel = common_pb2.ChannelHeader.FromString(payload.header.channel_header).channel_id
            if channel != CHANNEL:
                yield events_pb2.DeliverResponse(status=common_pb2.NOT_FOUND)
                return
            seek = ab_pb2.SeekInfo.FromString(payload.data)
            height = len(self.ledger.blocks)
            number = self._position(seek.start, height)
            last = self._position(seek.stop, height)
            while number <= last:
                if number >= len(self.ledger.blocks) and seek.behavior == ab_pb2.SeekInfo.FAIL_IF_NOT_READY:
                    yield events_pb2.DeliverResponse(status=common_pb2.NOT_FOUND)
                    return
                yield await self._block(number)
                number += 1
                await self._break(context, number - self._position(seek.start, height))
            yield events_pb2.DeliverResponse(status=common_pb2.SUCCESS)

    def _position(self, position: ab_pb2.SeekPosition, height: int) -> int:
        kind = position.WhichOneof("Type")
        if kind == "specified":
            return position.specified.number
        return {"newest": height - 1, "oldest": 0, "next_commit": height}[kind or "oldest"]
