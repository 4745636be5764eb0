"""Plays the timeline on the embedded network and says, case by case, what differs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2, transaction_pb2

from goldengrain.gateway.identity import credentials_from_msp
from goldengrain.network.embedded.blocks import orderer_view
from tests.conformance.replay import comparing
from tests.conformance.replay.chaincodes import segments
from tests.conformance.replay.comparing import Got
from tests.conformance.replay.timeline import (
    Entry,
    accepted,
    block_time,
    header_in,
    header_of,
    timeline,
    transaction_ids,
)
from tests.conformance.replay.world import World, world
from tests.recordings.blocks import blocks
from tests.recordings.calls import Step

STREAMS = ("ChaincodeEvents", "Deliver", "DeliverFiltered", "DeliverWithPrivateData", "Broadcast")
PATIENCE_S = 10.0
QUIET_S = 0.15
"""How long nothing may come on a stream before it counts as waiting."""
MISSING_S = 2.0
"""The same while a recorded answer is missing: where the machine is busy an answer takes longer than `QUIET_S`."""
CLIENT_DEADLINE = 4
ORDERED_LATER = "gateway/orderer_down"
"""Its transaction was ordered when the orderer was back, which isn't recorded; then the client asked for its status."""
ALREADY_ORDERED = "gateway/order_duplicate"
"""Its transaction had been committed in a block that isn't recorded."""


async def run(folder: Path, left_out: frozenset[str], only: str = "") -> dict[str, list[str]]:
    """Play all cases but those left out; returns the differences by case, an empty list for none."""
    found: dict[str, list[str]] = {}
    async with world(folder) as recorded:
        player = Player(recorded, {entry.name for entry in timeline() if entry.name not in left_out})
        for entry in timeline():
            await player.catch_up(entry.time)
            if entry.name not in left_out:
                found[entry.name] = await player.play(entry)
            if only and entry.name == only:
                break
    return found


class Player:
    """Plays cases one after the other; between them, brings the ledger to where the recorded one was."""

    def __init__(self, recorded: World, played: set[str]) -> None:
        self._world = recorded
        self._done: set[str] = set()
        self._owners: dict[str, str] = {}
        for entry in timeline():
            for step in entry.steps:
                header = header_of(step)
                if header is not None and (accepted(step) or _ordered_later(entry, step)) and entry.name in played:
                    self._owners[header.tx_id] = entry.name

    # -- the ledger between cases ------------------------------------------------------------------------------------

    async def catch_up(self, time: float) -> None:
        """Commit recorded blocks that no case makes, and those that a finished case should have made."""
        while self._world.height < len(blocks()):
            block = blocks()[self._world.height]
            owners = {self._owners.get(tx_id) for tx_id in transaction_ids(block)}
            ready = all(owner in self._done for owner in owners if owner) and block_time(block) <= time
            if not ready:
                return
            await self._commit(block)

    async def _commit(self, block: common_pb2.Block) -> None:
        for raw in block.data.data:
            await self._stage(common_pb2.Envelope.FromString(raw))
        await self._world.channel.commit(orderer_view(block))
        self._world.differences()  # the core's own tests hold every recorded block's bytes
        await asyncio.sleep(0)

    async def _stage(self, envelope: common_pb2.Envelope) -> None:
        """Endorse an approval again, since its private data isn't in the block."""
        payload = common_pb2.Payload.FromString(envelope.payload)
        header = header_in(envelope)
        creator = common_pb2.SignatureHeader.FromString(payload.header.signature_header).creator
        for action in transaction_pb2.Transaction.FromString(payload.data).actions if header.type == 3 else ():
            content = transaction_pb2.ChaincodeActionPayload.FromString(action.payload)
            if b"ApproveChaincodeDefinitionForMyOrg" not in content.chaincode_proposal_payload:
                continue
            proposal = proposal_pb2.Proposal(
                header=payload.header.SerializeToString(), payload=content.chaincode_proposal_payload
            )
            (peer,) = [one for one in self._world.network.peers if one.msp_id.encode() in creator]
            user = self._admin(peer.msp_id)
            raw = proposal.SerializeToString()
            signed = proposal_pb2.SignedProposal(proposal_bytes=raw, signature=user.signer.sign(sha256(raw).digest()))
            self._world.clock.now = header.timestamp.ToNanoseconds() / 1e9
            await peer.endorser.process(signed)

    def _admin(self, msp_id: str) -> Any:
        return self._user(msp_id, "Admin")

    def _user(self, msp_id: str, name: str) -> Any:
        home, topology = self._world.network.home, self._world.network.topology
        (organization,) = [one for one in topology.organizations if one.msp_id == msp_id]
        return credentials_from_msp(home.user(organization, name) / "msp", msp_id)

    # -- a case ------------------------------------------------------------------------------------------------------

    async def play(self, entry: Entry) -> list[str]:
        """Send a case's requests; what differs."""
        self._world.begin(entry.name, entry.time)
        await self._world.stop_nodes(entry.name)
        if entry.name == ALREADY_ORDERED:
            await self._order(entry.steps[0])
        found: list[str] = []
        for position, step in enumerate(entry.steps):
            ids: dict[str, str] = {}
            if position in entry.unsigned:
                step, ids = self._signed(step, entry.unsigned[position])
            if entry.name == ORDERED_LATER and step.method == "CommitStatus":
                await self._world.stop_nodes("")
                self._done.add(entry.name)
                await self.catch_up(entry.time)
            got = await self._call(step)
            if step.method == "Endorse" and not step.answers and step.code == 0:
                found += self._endorsed(entry.expected[position], got)
            else:
                found += [_back(text, ids) for text in comparing.differences(_renamed(step, ids), got)]
        await asyncio.sleep(0)
        self._done.add(entry.name)
        return found + self._world.differences()

    def _endorsed(self, fields: dict[str, Any], got: Got) -> list[str]:
        """Compare an endorsement of a chaincode case with the transaction in its block, or with what is known."""
        if got.code != 0:
            return [f"Endorse: {got.code} {got.message!r} {got.details}, recorded an endorsement"]
        ours = gateway_pb2.EndorseResponse.FromString(got.answers[0]).prepared_transaction
        for block in blocks():
            for tx_id, raw in zip(transaction_ids(block), block.data.data, strict=True):
                if tx_id == fields["tx_id"]:
                    recorded = common_pb2.Envelope.FromString(raw)
                    recorded.ClearField("signature")
                    request = gateway_pb2.EndorseRequest(endorsing_organizations=fields["orgs"])
                    step = Step("/gateway.Gateway/Endorse", "", request.SerializeToString(), "", [], 0)
                    step.answers = [gateway_pb2.EndorseResponse(prepared_transaction=recorded).SerializeToString()]
                    return comparing.differences(step, got)
        return comparing.against_fields(fields, ours)

    def _signed(self, step: Step, fields: dict[str, Any]) -> tuple[Step, dict[str, str]]:
        """A call of which no proposal was recorded: made anew, with another transaction id."""
        user = self._user("Org1MSP", "User1")
        nonce = os.urandom(24)
        tx_id = sha256(nonce + user.identity.serialized).hexdigest()
        chaincode = chaincode_pb2.ChaincodeID(name=fields["chaincode"])
        header = common_pb2.ChannelHeader(
            type=common_pb2.ENDORSER_TRANSACTION,
            channel_id="market",
            tx_id=tx_id,
            extension=proposal_pb2.ChaincodeHeaderExtension(chaincode_id=chaincode).SerializeToString(),
        )
        header.timestamp.FromNanoseconds(int(self._world.clock.now * 1e9))
        call = chaincode_pb2.ChaincodeInput(
            args=[arg.encode() for arg in fields["args"]], is_init=fields.get("is_init", False)
        )
        spec = chaincode_pb2.ChaincodeInvocationSpec(
            chaincode_spec=chaincode_pb2.ChaincodeSpec(type=1, chaincode_id=chaincode, input=call)
        )
        signature_header = common_pb2.SignatureHeader(creator=user.identity.serialized, nonce=nonce)
        proposal = proposal_pb2.Proposal(
            header=common_pb2.Header(
                channel_header=header.SerializeToString(), signature_header=signature_header.SerializeToString()
            ).SerializeToString(),
            payload=proposal_pb2.ChaincodeProposalPayload(input=spec.SerializeToString()).SerializeToString(),
        ).SerializeToString()
        signed = proposal_pb2.SignedProposal(
            proposal_bytes=proposal, signature=user.signer.sign(sha256(proposal).digest())
        )
        kind = gateway_pb2.EvaluateRequest if step.method == "Evaluate" else gateway_pb2.EndorseRequest
        request = kind(transaction_id=tx_id, channel_id="market", proposed_transaction=signed)
        made = Step(step.rpc, step.target, request.SerializeToString(), step.request_type, step.answers, step.code)
        made.message, made.details = step.message, step.details
        return made, {fields["tx_id"]: tx_id}

    async def _order(self, step: Step) -> None:
        """Submit the transaction with a step's id, as was done before; the block that holds it isn't recorded."""
        header = header_of(step)
        assert header is not None
        tx_id, signed = header.tx_id, segments()["vec", header.tx_id][0].proposal
        asked = gateway_pb2.EndorseRequest(transaction_id=tx_id, channel_id="market", proposed_transaction=signed)
        endorse = Step("/gateway.Gateway/Endorse", step.target, asked.SerializeToString(), "gateway.EndorseRequest")
        got = await self._call(endorse)
        envelope = gateway_pb2.EndorseResponse.FromString(got.answers[0]).prepared_transaction
        envelope.signature = self._user("Org1MSP", "User1").signer.sign(sha256(envelope.payload).digest())
        ready = gateway_pb2.SubmitRequest(transaction_id=tx_id, channel_id="market", prepared_transaction=envelope)
        submit = Step("/gateway.Gateway/Submit", step.target, ready.SerializeToString(), "gateway.SubmitRequest")
        submit.code = 0
        await self._call(submit)

    # -- a call ------------------------------------------------------------------------------------------------------

    async def _call(self, step: Step) -> Got:
        channel = self._world.channels[step.target]
        height = self._world.height
        awaited = accepted(step) and self._expect_block(step)
        deadline = 0.4 if step.code == CLIENT_DEADLINE else PATIENCE_S
        try:
            async with asyncio.timeout(PATIENCE_S + 1):
                if step.method in STREAMS:
                    got = await self._stream(channel, step)
                else:
                    got = Got(0, answers=[await channel.unary_unary(step.rpc)(step.request, timeout=deadline)])
        except grpc.aio.AioRpcError as error:
            return _failure(error)
        except TimeoutError:
            return Got(None, "no end")
        if awaited:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self._world.channel.ledger.arrivals.wait_for_height(height + 1)
        return got

    def _expect_block(self, step: Step) -> bool:
        """Set the orderer to cut the recorded block; whether this step completes it."""
        header, height = header_of(step), self._world.height
        self._world.batch_of(1)
        if header is None or height >= len(blocks()):
            return True
        tx_ids = transaction_ids(blocks()[height])
        if header.tx_id not in tx_ids:
            return False
        self._world.batch_of(len(tx_ids))
        return bool(tx_ids[-1] == header.tx_id)

    async def _stream(self, channel: grpc.aio.Channel, step: Step) -> Got:
        if step.method == "ChaincodeEvents":
            call: Any = channel.unary_stream(step.rpc)(step.request)
        else:
            call = channel.stream_stream(step.rpc)()
            await call.write(step.request)
        answers: list[bytes] = []
        try:
            ended = await self._collect(call, step, answers)
            return Got(0 if ended else None, answers=answers)
        except grpc.aio.AioRpcError as error:
            return _failure(error, answers)
        finally:
            call.cancel()

    async def _collect(self, call: Any, step: Step, answers: list[bytes]) -> bool:
        """Take what comes on a stream until it ends (True), or until nothing comes any more.

        While recorded answers are missing, recorded blocks that no case makes are committed.
        """
        while True:
            reading, quiet = asyncio.ensure_future(call.read()), 0.0
            while not (await asyncio.wait([reading], timeout=QUIET_S))[0]:
                quiet += QUIET_S
                complete = len(answers) >= len(step.answers)
                if complete or (not await self._next_free_block() and quiet >= MISSING_S):
                    reading.cancel()
                    return False
            answer = reading.result()
            if answer is grpc.aio.EOF:
                code = await call.code()
                if code is grpc.StatusCode.OK:
                    return True
                trailing = await call.trailing_metadata()
                raise grpc.aio.AioRpcError(code, await call.initial_metadata(), trailing, await call.details())
            answers.append(answer)

    async def _next_free_block(self) -> bool:
        """Commit the next recorded block if no case makes it."""
        if self._world.height >= len(blocks()):
            return False
        block = blocks()[self._world.height]
        if any(tx_id in self._owners for tx_id in transaction_ids(block)):
            return False
        await self._commit(block)
        return True


def _ordered_later(entry: Entry, step: Step) -> bool:
    return entry.name == ORDERED_LATER and step.method == "Submit"


def _failure(error: grpc.aio.AioRpcError, answers: list[bytes] | None = None) -> Got:
    details: list[tuple[str, str, str]] = []
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = [(one.address, one.msp_id, one.message) for one in _error_details(value)]
    return Got(error.code().value[0], error.details() or "", tuple(details), answers or [])


def _error_details(raw: bytes) -> list[gateway_pb2.ErrorDetail]:
    from google.rpc import status_pb2

    found = []
    for packed in status_pb2.Status.FromString(raw).details:
        detail = gateway_pb2.ErrorDetail()
        if packed.Unpack(detail):
            found.append(detail)
    return found


def _renamed(step: Step, ids: dict[str, str]) -> Step:
    if not ids:
        return step
    ((old, new),) = ids.items()
    details = tuple((a, b, message.replace(old, new)) for a, b, message in step.details)
    renamed = Step(step.rpc, step.target, step.request, step.request_type, step.answers, step.code)
    renamed.message, renamed.details = step.message.replace(old, new), details
    return renamed


def _back(text: str, ids: dict[str, str]) -> str:
    for old, new in ids.items():
        text = text.replace(new, old)
    return text
