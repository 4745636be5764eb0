"""Every recorded case in the order of the recording, with its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import proposal_pb2, proposal_response_pb2
from google.protobuf.message import DecodeError

from tests.conformance.replay.chaincodes import STARTS
from tests.recordings import calls, transcripts
from tests.recordings.blocks import blocks
from tests.recordings.calls import Step

GATEWAY = "/gateway.Gateway/"
EVENTS_AFTER = 98
"""The event cases were recorded once more, after this block."""


@dataclass
class Entry:
    """One case: its name with the part it comes from, its time in seconds since 1970, its calls.

    A step without a request (`chaincode` cases of which no proposal was recorded) has the call in `unsigned`.
    """

    name: str
    what: str
    time: float
    steps: list[Step]
    unsigned: dict[int, dict[str, Any]] = field(default_factory=dict)
    expected: dict[int, dict[str, Any]] = field(default_factory=dict)


@cache
def timeline() -> tuple[Entry, ...]:
    """All cases of `lifecycle`, `chaincode` and `gateway` that call something, by time."""
    entries = [*_recorded("lifecycle"), *_chaincode(), *_recorded("gateway")]
    return tuple(sorted(entries, key=lambda entry: entry.time))


def header_of(step: Step) -> common_pb2.ChannelHeader | None:
    """The channel header of what a step sends, None if there is none to read."""
    try:
        match step.request_type:
            case "gateway.EvaluateRequest" | "gateway.EndorseRequest":
                signed = gateway_pb2.EndorseRequest.FromString(step.request).proposed_transaction
                return _of_proposal(signed.proposal_bytes)
            case "protos.SignedProposal":
                return _of_proposal(proposal_pb2.SignedProposal.FromString(step.request).proposal_bytes)
            case "gateway.SubmitRequest":
                envelope = gateway_pb2.SubmitRequest.FromString(step.request).prepared_transaction
                return header_in(envelope)
            case "common.Envelope":
                return header_in(common_pb2.Envelope.FromString(step.request))
    except DecodeError:
        return None
    return None


def header_in(envelope: common_pb2.Envelope) -> common_pb2.ChannelHeader:
    payload = common_pb2.Payload.FromString(envelope.payload)
    return common_pb2.ChannelHeader.FromString(payload.header.channel_header)


def block_time(block: common_pb2.Block) -> float:
    """The latest time that a transaction of a block names."""
    headers = [header_in(common_pb2.Envelope.FromString(raw)) for raw in block.data.data]
    return max(header.timestamp.ToNanoseconds() / 1e9 for header in headers)


def transaction_ids(block: common_pb2.Block) -> list[str]:
    """Ids of a block's transactions; a configuration has none."""
    return [header_in(common_pb2.Envelope.FromString(raw)).tx_id for raw in block.data.data]


def accepted(step: Step) -> bool:
    """Whether a recorded Submit or Broadcast was."""
    if step.method == "Broadcast":
        return ab_pb2.BroadcastResponse.FromString(step.answers[0]).status == common_pb2.SUCCESS
    return step.method == "Submit" and step.code == 0


def _of_proposal(raw: bytes) -> common_pb2.ChannelHeader:
    header = common_pb2.Header.FromString(proposal_pb2.Proposal.FromString(raw).header)
    return common_pb2.ChannelHeader.FromString(header.channel_header)


def _recorded(part: str) -> list[Entry]:
    found: list[Entry] = []
    now = 0.0
    for case in calls.cases(part).values():
        times = [_time(step) for step in case.steps]
        plausible = [time for time in times if time > 0 and (now == 0 or -60 < time - now < 3600)]
        if case.name.startswith("events_"):
            plausible = [max(block_time(blocks()[EVENTS_AFTER]), now) + 0.001]
        if case.name.startswith("deliver_next_block_"):  # recorded anew, and listed after later ones
            plausible = [now]
        if case.name.startswith("discovery_"):  # recorded anew, when all was done
            plausible = [block_time(blocks()[-1]) + 0.001]
        now = max([now, *plausible[:1]])
        if case.steps:
            found.append(Entry(f"{part}/{case.name}", case.what, now, case.steps))
    return found


def _time(step: Step) -> float:
    header = header_of(step)
    return 0.0 if header is None else header.timestamp.ToNanoseconds() / 1e9


def _chaincode() -> list[Entry]:
    proposals = _proposals()
    envelopes = {
        tx_id: raw for block in blocks() for tx_id, raw in zip(transaction_ids(block), block.data.data, strict=True)
    }
    found: dict[str, Entry] = {}
    now = 0.0
    for call in transcripts.calls():
        fields = call.fields
        signed = proposals.get(fields["tx_id"])
        if signed is not None:
            now = _of_proposal(signed.proposal_bytes).timestamp.ToNanoseconds() / 1e9
        entry = found.setdefault(call.case, Entry(f"chaincode/{call.case}", call.what, now, []))
        entry.expected[len(entry.steps)] = fields
        if signed is None:
            entry.unsigned[len(entry.steps)] = fields
        entry.steps.append(_ask(fields, signed))
        if "commit" in fields:
            envelope = common_pb2.Envelope.FromString(envelopes[fields["tx_id"]])
            request = gateway_pb2.SubmitRequest(
                transaction_id=fields["tx_id"], channel_id="market", prepared_transaction=envelope
            )
            raw = request.SerializeToString()
            entry.steps.append(Step(GATEWAY + "Submit", "peer0.org1", raw, "gateway.SubmitRequest", [b""], 0))
    return list(found.values())


def _proposals() -> dict[str, proposal_pb2.SignedProposal]:
    found: dict[str, proposal_pb2.SignedProposal] = {}
    for line in transcripts.lines():
        if line.message is not None and line.message.type in STARTS and line.message.HasField("proposal"):
            found.setdefault(line.tx_id, line.message.proposal)
    return found


def _ask(fields: dict[str, Any], signed: proposal_pb2.SignedProposal | None) -> Step:
    """The Evaluate or Endorse call of a chaincode case."""
    organizations = fields["orgs"]
    if fields["mode"] == "evaluate":
        request: Any = gateway_pb2.EvaluateRequest(
            transaction_id=fields["tx_id"],
            channel_id="market",
            proposed_transaction=signed,
            target_organizations=organizations,
        )
    else:
        request = gateway_pb2.EndorseRequest(
            transaction_id=fields["tx_id"],
            channel_id="market",
            proposed_transaction=signed,
            endorsing_organizations=organizations,
        )
    name = "Evaluate" if fields["mode"] == "evaluate" else "Endorse"
    step = Step(GATEWAY + name, _gateway(signed), request.SerializeToString(), f"gateway.{name}Request")
    if error := fields.get("error"):
        step.code, step.message = error["code"], error["message"]
        step.details = tuple((one["address"], one["msp_id"], one["message"]) for one in error["details"])
    else:
        step.code = 0
        if name == "Evaluate":
            response = _response(fields["response"])
            step.answers = [gateway_pb2.EvaluateResponse(result=response).SerializeToString()]
    return step


def _gateway(signed: proposal_pb2.SignedProposal | None) -> str:
    """A client asks the gateway of its own organisation."""
    if signed is None:
        return "peer0.org1"
    header = common_pb2.Header.FromString(proposal_pb2.Proposal.FromString(signed.proposal_bytes).header)
    creator = common_pb2.SignatureHeader.FromString(header.signature_header).creator
    msp_id = identities_pb2.SerializedIdentity.FromString(creator).mspid
    return f"peer0.{msp_id.removesuffix('MSP').lower()}"


def _response(fields: dict[str, Any]) -> proposal_response_pb2.Response:
    payload = fields["payload"]
    raw = bytes.fromhex(payload["hex"]) if isinstance(payload, dict) else payload.encode()
    return proposal_response_pb2.Response(status=fields["status"], message=fields["message"], payload=raw)
