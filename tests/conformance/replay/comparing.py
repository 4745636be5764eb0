"""An answer held against the recorded one; what may vary stands in `masks`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pprint import pformat
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fabric_protos.common import common_pb2
from fabric_protos.discovery import protocol_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.gossip import message_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import chaincode_event_pb2, events_pb2, proposal_pb2, proposal_response_pb2, transaction_pb2
from google.protobuf import text_format
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message

from tests.conformance.replay.masks import anonymous, plain, unordered
from tests.recordings.calls import Step

LONGEST = 900
SHORT = 160


@dataclass
class Got:
    """What a call came to: gRPC code (None: the stream stayed open), message, details, answers."""

    code: int | None
    message: str = ""
    details: tuple[tuple[str, str, str], ...] = ()
    answers: list[bytes] = field(default_factory=list)


def differences(step: Step, got: Got) -> list[str]:
    """Every way in which an answer differs from the recorded one."""
    found = []
    if (step.code, plain(step.message)) != (got.code, plain(got.message)):
        found.append(f"{step.method}: {got.code} {got.message!r}, recorded {step.code} {step.message!r}")
    found += _details(step, got)
    if len(step.answers) != len(got.answers):
        found.append(f"{step.method}: {len(got.answers)} answers, recorded {len(step.answers)}")
    compare = ANSWERS[step.method]
    for recorded, answer in zip(step.answers, got.answers, strict=False):
        if recorded != answer:
            try:
                found += compare(step, recorded, answer)
            except DecodeError as error:
                found.append(f"{step.method}: answered {answer[:60]!r}, which can't be parsed: {error}")
    return found


def _details(step: Step, got: Got) -> list[str]:
    recorded = [(msp_id, plain(message)) for _, msp_id, message in step.details]
    found = [(msp_id, plain(message)) for _, msp_id, message in got.details]
    if sorted(recorded) == sorted(found):
        return []
    if sorted(anonymous(f"{a} {b}") for a, b in recorded) == sorted(anonymous(f"{a} {b}") for a, b in found):
        return []  # another organisation was asked, and said the same
    if sorted((a, anonymous(b)) for a, b in recorded) == sorted((a, anonymous(b)) for a, b in found):
        return []
    return [f"{step.method}: details {found}, recorded {recorded}"]


def _same(kind: type[Message]) -> Callable[[Step, bytes, bytes], list[str]]:
    def compare(step: Step, recorded: bytes, got: bytes) -> list[str]:
        expected, answer = kind.FromString(recorded), kind.FromString(got)
        return [] if expected == answer else [f"{step.method}: {difference(expected, answer)}"]

    return compare


def _evaluated(step: Step, recorded: bytes, got: bytes) -> list[str]:
    expected = gateway_pb2.EvaluateResponse.FromString(recorded).result
    answer = gateway_pb2.EvaluateResponse.FromString(got).result
    same = (expected.status, expected.message, unordered(step.request, expected.payload)) == (
        answer.status,
        answer.message,
        unordered(step.request, answer.payload),
    )
    return [] if same else [f"Evaluate: {difference(expected, answer)}"]


def _endorsed(step: Step, recorded: bytes, got: bytes) -> list[str]:
    """Compare a prepared transaction: all but who endorsed; those signatures are verified."""
    expected = _Endorsed.read(gateway_pb2.EndorseResponse.FromString(recorded).prepared_transaction)
    answer = _Endorsed.read(gateway_pb2.EndorseResponse.FromString(got).prepared_transaction)
    found = []
    if expected.header != answer.header or expected.proposal != answer.proposal:
        found.append("Endorse: header or proposal of the transaction differ")
    if expected.payload != answer.payload:
        found.append(f"Endorse: {difference_of_results(expected.payload, answer.payload)}")
    named = gateway_pb2.EndorseRequest.FromString(step.request).endorsing_organizations
    theirs, ours = expected.organizations, answer.organizations
    if len(set(ours)) != len(theirs) or (named and set(ours) != set(theirs)):
        found.append(f"Endorse: endorsed by {ours}, recorded {theirs}")
    return found + _signatures(answer.payload, answer.endorsements)


@dataclass(frozen=True)
class _Endorsed:
    header: common_pb2.Header
    proposal: bytes
    payload: bytes
    endorsements: list[proposal_response_pb2.Endorsement]

    @classmethod
    def read(cls, envelope: common_pb2.Envelope) -> _Endorsed:
        payload = common_pb2.Payload.FromString(envelope.payload)
        (action,) = transaction_pb2.Transaction.FromString(payload.data).actions
        content = transaction_pb2.ChaincodeActionPayload.FromString(action.payload)
        endorsed = content.action
        return cls(
            payload.header,
            content.chaincode_proposal_payload,
            endorsed.proposal_response_payload,
            list(endorsed.endorsements),
        )

    @property
    def organizations(self) -> list[str]:
        return [identities_pb2.SerializedIdentity.FromString(one.endorser).mspid for one in self.endorsements]


def _discovered(step: Step, recorded: bytes, got: bytes) -> list[str]:
    """Compare answers of the discovery service: groups by who is in them, gossip by what it says and who signed it."""
    expected, answer = protocol_pb2.Response.FromString(recorded), protocol_pb2.Response.FromString(got)
    theirs, ours = (pformat([_result(one) for one in message.results]) for message in (expected, answer))
    found = [] if theirs == ours else [f"Discover: {_lines(theirs, ours)}"]
    if not all(_signed_by_itself(peer) for result in answer.results for peer in _peers(result)):
        found.append("Discover: what a peer says of itself isn't signed by it")
    return found


def _peers(result: protocol_pb2.QueryResult) -> list[protocol_pb2.Peer]:
    groups = [*result.members.peers_by_org.values()]
    for content in result.cc_query_res.content:
        groups += content.endorsers_by_groups.values()
    return [peer for group in groups for peer in group.peers]


def _signed_by_itself(peer: protocol_pb2.Peer) -> bool:
    certificate = identities_pb2.SerializedIdentity.FromString(peer.identity).id_bytes
    key = x509.load_pem_x509_certificate(certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        for signed in (peer.membership_info, peer.state_info):
            if signed.payload:
                key.verify(signed.signature, signed.payload, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _result(result: protocol_pb2.QueryResult) -> Any:
    kind = result.WhichOneof("result")
    if kind == "error":
        return plain(result.error.content)
    if kind == "members":
        return {name: sorted(map(_peer, peers.peers)) for name, peers in sorted(result.members.peers_by_org.items())}
    if kind == "cc_query_res":
        return [_descriptor(one) for one in result.cc_query_res.content]
    return text_format.MessageToString(result)


def _descriptor(found: protocol_pb2.EndorsementDescriptor) -> Any:
    """Names of groups are numbers at random: a group is who is in it."""
    groups = {name: tuple(sorted(map(_peer, peers.peers))) for name, peers in found.endorsers_by_groups.items()}
    layouts = [
        sorted((groups[name], count) for name, count in one.quantities_by_group.items()) for one in found.layouts
    ]
    return found.chaincode, sorted(groups.values()), sorted(layouts)


def _peer(peer: protocol_pb2.Peer) -> tuple[bytes, str, str]:
    """Who it is, and what is said of it without times."""
    alive = message_pb2.GossipMessage.FromString(peer.membership_info.payload)
    state = message_pb2.GossipMessage.FromString(peer.state_info.payload)
    assert not alive.HasField("alive_msg") or (alive.alive_msg.timestamp.inc_num and alive.alive_msg.timestamp.seq_num)
    alive.alive_msg.ClearField("timestamp")
    state.state_info.ClearField("timestamp")
    return peer.identity, plain(text_format.MessageToString(alive)), text_format.MessageToString(state)


def _proposal_response(step: Step, recorded: bytes, got: bytes) -> list[str]:
    expected = proposal_response_pb2.ProposalResponse.FromString(recorded)
    answer = proposal_response_pb2.ProposalResponse.FromString(got)
    found = []
    if expected.payload != answer.payload and unordered(step.request, expected.payload) != unordered(
        step.request, answer.payload
    ):
        found.append(f"ProcessProposal: {difference_of_results(expected.payload, answer.payload)}")
    if expected.endorsement.endorser != answer.endorsement.endorser:
        found.append("ProcessProposal: endorsed by another peer, or by none")
    elif answer.HasField("endorsement"):
        found += _signatures(answer.payload, [answer.endorsement])
    for message in (expected, answer):
        message.response.payload = unordered(step.request, message.response.payload)
        message.response.message = plain(message.response.message)
        message.ClearField("payload")
        message.ClearField("endorsement")
    if expected != answer:
        found.append(f"ProcessProposal: {difference(expected, answer)}")
    return found


def _signatures(payload: bytes, endorsements: list[proposal_response_pb2.Endorsement]) -> list[str]:
    for one in endorsements:
        certificate = identities_pb2.SerializedIdentity.FromString(one.endorser).id_bytes
        key = x509.load_pem_x509_certificate(certificate).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        try:
            key.verify(one.signature, payload + one.endorser, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return ["an endorsement's signature does not verify"]
    return []


def difference_of_results(recorded: bytes, got: bytes) -> str:
    """How two proposal response payloads differ, their nested messages unpacked."""
    return _lines(results(recorded), results(got))


def results(raw: bytes) -> str:
    """A proposal response payload as text."""
    try:
        payload = proposal_response_pb2.ProposalResponsePayload.FromString(raw)
        action = proposal_pb2.ChaincodeAction.FromString(payload.extension)
        text = [f"proposal hash {payload.proposal_hash.hex()}", _text(action.response), _text(action.chaincode_id)]
        text.append(_text(chaincode_event_pb2.ChaincodeEvent.FromString(action.events)))
        for entry in rwset_pb2.TxReadWriteSet.FromString(action.results).ns_rwset:
            text.append(f"namespace {entry.namespace}")
            text.append(_text(kv_rwset_pb2.KVRWSet.FromString(entry.rwset)))
            for part in entry.collection_hashed_rwset:
                text.append(f"collection {part.collection_name} {part.pvt_rwset_hash.hex()}")
                text.append(_text(kv_rwset_pb2.HashedRWSet.FromString(part.hashed_rwset)))
    except DecodeError:
        return repr(raw)
    return "\n".join(text)


def difference(recorded: Message, got: Message) -> str:
    """How two messages differ, in a few lines."""
    return _lines(_text(recorded), _text(got))


def _text(message: Message) -> str:
    return text_format.MessageToString(message)


def _lines(recorded: str, got: str) -> str:
    lines = list(difflib.unified_diff(recorded.splitlines(), got.splitlines(), "recorded", "ours", "", "", 0, ""))
    text = "; ".join(line.strip()[:SHORT] for line in lines[2:] if not line.startswith("@@"))
    return text[:LONGEST] or "the same fields in another encoding"


ANSWERS: dict[str, Callable[[Step, bytes, bytes], list[str]]] = {
    "Evaluate": _evaluated,
    "Endorse": _endorsed,
    "Submit": _same(gateway_pb2.SubmitResponse),
    "CommitStatus": _same(gateway_pb2.CommitStatusResponse),
    "ChaincodeEvents": _same(gateway_pb2.ChaincodeEventsResponse),
    "ProcessProposal": _proposal_response,
    "Broadcast": _same(ab_pb2.BroadcastResponse),
    "Deliver": _same(events_pb2.DeliverResponse),
    "DeliverFiltered": _same(events_pb2.DeliverResponse),
    "DeliverWithPrivateData": _same(events_pb2.DeliverResponse),
    "Discover": _discovered,
}


def against_fields(fields: dict[str, Any], envelope: common_pb2.Envelope) -> list[str]:
    """Compare an endorsement of which the recording holds only the decoded results."""
    action = proposal_pb2.ChaincodeAction.FromString(
        proposal_response_pb2.ProposalResponsePayload.FromString(_Endorsed.read(envelope).payload).extension
    )
    found = []
    ours, theirs = action.response, fields["response"]
    if (ours.status, ours.message, ours.payload) != (theirs["status"], theirs["message"], theirs["payload"].encode()):
        found.append(f"Endorse: {ours}, recorded {theirs}")
    recorded = [_decoded_namespace(entry) for entry in fields["rwset"]["ns"]]
    answer = []
    for entry in rwset_pb2.TxReadWriteSet.FromString(action.results).ns_rwset:
        collections = [
            (part.collection_name, part.pvt_rwset_hash.hex(), kv_rwset_pb2.HashedRWSet.FromString(part.hashed_rwset))
            for part in entry.collection_hashed_rwset
        ]
        answer.append((entry.namespace, kv_rwset_pb2.KVRWSet.FromString(entry.rwset), collections))
    if recorded != answer:
        found.append(f"Endorse: {_lines(str(recorded), str(answer))}")
    event = chaincode_event_pb2.ChaincodeEvent.FromString(action.events)
    named = fields["event"] or {"chaincode_id": "", "tx_id": "", "event_name": "", "payload": ""}
    if named != {
        "chaincode_id": event.chaincode_id,
        "tx_id": event.tx_id,
        "event_name": event.event_name,
        "payload": event.payload.decode(),
    }:
        found.append(f"Endorse: event {event}, recorded {named}")
    return found


def _decoded_namespace(fields: dict[str, Any]) -> tuple[Any, ...]:
    collections = [
        (part["collection"], part["pvt_rwset_hash"], ParseDict(part["hashed"], kv_rwset_pb2.HashedRWSet()))
        for part in fields["collections"]
    ]
    return fields["namespace"], ParseDict(fields["kv"], kv_rwset_pb2.KVRWSet()), collections
