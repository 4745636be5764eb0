"""Every refusal of section 8's checks 1 to 13, each one defect away from a ticket that is accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from fabric_protos.common import common_pb2 as common
from fabric_protos.ledger.rwset import rwset_pb2 as rwset
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2 as kvrwset

from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave import errors
from goldengrain.enclave.msp import P256_ORDER
from goldengrain.enclave.ticket import MAX_NONCES, Nonces, TicketVerifier

from .fabric import CONTRACT, NOW, Consortium, Forge, Member, Parts, Signed, issue, revocation_list
from .market import Deal


@pytest.fixture
def verifier(deal: Deal, bundle: TrustBundle) -> TicketVerifier:
    return TicketVerifier(deal.keys.enclave, bundle, deal.keys.expires)


def test_good_ticket_is_accepted(verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    nonce = verifier.nonces.make()
    payload = verifier.verify(forge.ticket(deal.payload(), nonce))
    assert payload == deal.payload()
    assert verifier.last_seen == NOW


# --- one defect before signing: a ticket that organisations really endorsed ------------------------------------------


def _set(path: str, value: object) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        *parents, name = path.split(".")
        target: object = parts
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value)

    return change


def _argument(index: int, value: bytes) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        parts.invocation.chaincode_spec.input.args[index] = value

    return change


def _namespace(name: str, **fields: object) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        parts.sets.append((rwset.NsReadWriteSet(namespace=name, **fields), kvrwset.KVRWSet()))

    return change


INPUT = "invocation.chaincode_spec.input"
BEFORE: dict[str, tuple[Callable[[Parts], object], type[errors.TicketRefused]]] = {
    "config transaction": (_set("header.type", common.CONFIG), errors.TicketChannelMismatch),
    "epoch 1": (_set("header.epoch", 1), errors.TicketChannelMismatch),
    "another channel": (_set("header.channel_id", "other"), errors.TicketChannelMismatch),
    "another contract in the header": (_set("extension.chaincode_id.name", "other"), errors.TicketChannelMismatch),
    "another contract in the input": (
        _set("invocation.chaincode_spec.chaincode_id.name", "other"),
        errors.TicketInputMismatch,
    ),
    "a contract's path": (_set("invocation.chaincode_spec.chaincode_id.path", "x"), errors.TicketInputMismatch),
    "a contract's version": (_set("invocation.chaincode_spec.chaincode_id.version", "1"), errors.TicketInputMismatch),
    "init": (_set(f"{INPUT}.is_init", True), errors.TicketInputMismatch),
    "decorations": (
        lambda p: p.invocation.chaincode_spec.input.decorations.update({"x": b"y"}),
        errors.TicketInputMismatch,
    ),
    "transient data": (lambda p: p.proposal_payload.TransientMap.update({"x": b"y"}), errors.TicketInputMismatch),
    "another function": (_argument(0, b"GetOffer"), errors.TicketInputMismatch),
    "an argument too many": (
        lambda p: p.invocation.chaincode_spec.input.args.append(b"x"),
        errors.TicketInputMismatch,
    ),
    "an argument missing": (lambda p: p.invocation.chaincode_spec.input.args.pop(), errors.TicketInputMismatch),
    "a claim with a leading zero": (_argument(2, b"01"), errors.TicketInputMismatch),
    "another enclave": (_argument(3, b"ab" * 32), errors.TicketInputMismatch),
    "upper case": (_argument(4, b"AB" * 32), errors.TicketInputMismatch),
    "a nonce that nobody made": (_argument(4, b"ab" * 32), errors.TicketNonceUnknown),
    "the hash of another proposal": (_set("proposal_hash", bytes(range(32))), errors.TicketProposalHashMismatch),
    "an action of another contract": (_set("action.chaincode_id.name", "other"), errors.TicketActionRefused),
    "status 201": (_set("action.response.status", 201), errors.TicketActionRefused),
    "status 500": (_set("action.response.status", 500), errors.TicketActionRefused),
    "an event": (_set("action.events", b"\n\x01x"), errors.TicketActionRefused),
    "a foreign namespace": (_namespace("lscc"), errors.TicketReadWriteSetRefused),
    "a namespace of private data": (_namespace(f"{CONTRACT}$$p"), errors.TicketReadWriteSetRefused),
    "a write": (lambda p: p.sets[1][1].writes.add(key="k", value=b"v"), errors.TicketReadWriteSetRefused),
    "a write to the lifecycle": (lambda p: p.sets[0][1].writes.add(key="k"), errors.TicketReadWriteSetRefused),
    "a metadata write": (lambda p: p.sets[1][1].metadata_writes.add(key="k"), errors.TicketReadWriteSetRefused),
    "private data": (
        lambda p: p.sets[1][0].collection_hashed_rwset.add(collection_name="c"),
        errors.TicketReadWriteSetRefused,
    ),
    "two actions": (_set("extra_actions", 1), errors.TicketEndorsementsDiffer),
    "no endorsement": (lambda p: p.endorsers.clear(), errors.TicketEndorsementsDiffer),
    "one organisation only": (lambda p: p.endorsers.pop(), errors.TicketTooFewOrganizations),
    "the same organisation twice": (
        lambda p: p.endorsers.__setitem__(1, p.endorsers[0]),
        errors.TicketTooFewOrganizations,
    ),
    "a payload with a space": (
        lambda p: _set("action.response.payload", p.action.response.payload + b" ")(p),
        errors.TicketPayloadMismatch,
    ),
    "a payload of version 2": (
        lambda p: _set("action.response.payload", p.action.response.payload.replace(b'"v":1', b'"v":2'))(p),
        errors.TicketPayloadMismatch,
    ),
    "an empty payload": (_set("action.response.payload", b""), errors.TicketPayloadMismatch),
    "the claim of another ticket": (_argument(2, b"2"), errors.TicketPayloadMismatch),
    "the offer of another ticket": (_argument(1, b"ab" * 32), errors.TicketPayloadMismatch),
    "after the lease": (_set("header.timestamp.seconds", NOW + 601), errors.TicketTimeRefused),
}


@pytest.mark.parametrize("name", BEFORE)
def test_defect_is_refused_by_name(name: str, verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    change, refusal = BEFORE[name]
    with pytest.raises(refusal) as caught:
        verifier.verify(forge.ticket(deal.payload(), verifier.nonces.make(), change))
    assert type(caught.value) is refusal
    assert verifier.last_seen == 0


# --- one defect after signing: a ticket that somebody changed --------------------------------------------------------


def _unknown_field(message: str) -> Callable[[Signed], None]:
    unknown = b"\xfa\x3f\x01x"  # field 1023, one byte

    def change(signed: Signed) -> None:
        if message == "channel header":
            signed.payload.header.channel_header += unknown
        elif message == "signature header":
            signed.payload.header.signature_header += unknown
        elif message == "proposal payload":
            signed.action_payload.chaincode_proposal_payload += unknown
        elif message == "response payload":
            signed.action_payload.action.proposal_response_payload += unknown
        else:
            signed.action_payload.action.endorsements[0].endorser += unknown

    return change


def _cut(signed: Signed) -> None:
    signed.action_payload.action.proposal_response_payload = signed.action_payload.action.proposal_response_payload[:-3]


def _swap_signatures(signed: Signed) -> None:
    first, second = signed.action_payload.action.endorsements
    first.signature, second.signature = second.signature, first.signature


def _high_s(signed: Signed) -> None:
    one = signed.action_payload.action.endorsements[0]
    r, s = decode_dss_signature(one.signature)
    one.signature = encode_dss_signature(r, P256_ORDER - s)


def _other_payload(signed: Signed) -> None:
    action = signed.action_payload.action
    action.proposal_response_payload = action.proposal_response_payload.replace(
        b'"threshold":500000', b'"threshold":400000'
    )


AFTER: dict[str, tuple[Callable[[Signed], object], type[errors.TicketRefused]]] = {
    **{
        f"an unknown field in the {message}": (_unknown_field(message), errors.TicketMalformed)
        for message in ("channel header", "signature header", "proposal payload", "response payload", "endorser")
    },
    "a response cut short": (_cut, errors.TicketMalformed),
    "another header": (
        lambda s: setattr(s.payload.header, "signature_header", common.SignatureHeader(nonce=b"n").SerializeToString()),
        errors.TicketProposalHashMismatch,
    ),
    "signatures swapped": (_swap_signatures, errors.TicketEndorserRefused),
    "a high s": (_high_s, errors.TicketEndorserRefused),
    "a lower threshold than was signed": (_other_payload, errors.TicketEndorserRefused),
    "a signature that is none": (
        lambda s: setattr(s.action_payload.action.endorsements[0], "signature", b"no"),
        errors.TicketEndorserRefused,
    ),
}


@pytest.mark.parametrize("name", AFTER)
def test_change_after_signing_is_refused_by_name(name: str, verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    late, refusal = AFTER[name]
    with pytest.raises(refusal) as caught:
        verifier.verify(forge.ticket(deal.payload(), verifier.nonces.make(), late=late))
    assert type(caught.value) is refusal


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"\n\x02\n\xff", bytes(2 * 1024 * 1024)])
def test_bytes_that_are_no_transaction_are_refused(data: bytes, verifier: TicketVerifier) -> None:
    with pytest.raises(errors.TicketMalformed):
        verifier.verify(data)


# --- endorsers who may not endorse -----------------------------------------------------------------------------------


def _peer(issuer: str | None = "Org1MSP", **fields: Any) -> Callable[[Consortium], Member]:
    def make(consortium: Consortium) -> Member:
        authority = issue("ca.Org1MSP", "Org1MSP", None, authority=True) if issuer is None else consortium.roots[issuer]
        return issue("peer0", "Org1MSP", authority, **({"units": ("peer",)} | fields))

    return make


ENDORSERS: dict[str, Callable[[Consortium], Member]] = {
    "a client": lambda consortium: consortium.client,
    "an admin": _peer(units=("admin",)),
    "no role": _peer(units=()),
    "two roles": _peer(units=("peer", "client")),
    "another organisation's authority": _peer("Org2MSP"),
    "an unknown authority with the same name": _peer(None),
    "issued by a peer": lambda consortium: issue("p", "Org1MSP", consortium.peers["Org1MSP"], units=("peer",)),
    "itself an authority": _peer(authority=True),
    "expired": _peer(end=NOW - 1),
    "not yet valid": _peer(start=NOW + 60),
    "a key on P-384": _peer(curve=ec.SECP384R1()),
    "an unknown organisation": lambda consortium: replace(consortium.peers["Org1MSP"], msp_id="Org9MSP"),
}


@pytest.mark.parametrize("kind", ENDORSERS)
def test_endorser_is_refused(kind: str, verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    endorser = ENDORSERS[kind](forge.consortium)
    with pytest.raises(errors.TicketEndorserRefused):
        verifier.verify(
            forge.ticket(deal.payload(), verifier.nonces.make(), lambda p: p.endorsers.__setitem__(0, endorser))
        )


def test_one_bad_endorser_among_enough_good_ones_is_refused(verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    client = forge.consortium.client
    with pytest.raises(errors.TicketEndorserRefused):
        verifier.verify(forge.ticket(deal.payload(), verifier.nonces.make(), lambda p: p.endorsers.append(client)))


def test_two_certificates_in_one_identity_are_refused(verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    class Double(Member):
        @property
        def pem(self) -> bytes:
            return super().pem + forge.consortium.roots["Org1MSP"].pem

    peer = forge.consortium.peers["Org1MSP"]
    double = Double(peer.msp_id, peer.key, peer.certificate)
    with pytest.raises(errors.TicketEndorserRefused, match="exactly one"):
        verifier.verify(
            forge.ticket(deal.payload(), verifier.nonces.make(), lambda p: p.endorsers.__setitem__(0, double))
        )


@pytest.mark.parametrize("which", ["peer", "nobody"])
def test_revoked_endorser_is_refused(which: str, consortium: Consortium, forge: Forge, deal: Deal) -> None:
    serial = consortium.peers["Org1MSP"].certificate.serial_number if which == "peer" else 1
    bundle = consortium.bundle(revoked=revocation_list(consortium.roots["Org1MSP"], serial))
    verifier = TicketVerifier(deal.keys.enclave, bundle, deal.keys.expires)
    ticket = forge.ticket(deal.payload(bundle=bundle.digest()), verifier.nonces.make())
    if which == "nobody":
        verifier.verify(ticket)
        return
    with pytest.raises(errors.TicketEndorserRefused, match="revoked"):
        verifier.verify(ticket)


def test_bundle_with_a_foreign_revocation_list_is_refused(consortium: Consortium) -> None:
    with pytest.raises(errors.BundleRefused):
        TicketVerifier(bytes(32), consortium.bundle(revoked=revocation_list(consortium.roots["Org2MSP"])), NOW)


# --- nonce, payload, time, digests -----------------------------------------------------------------------------------


def test_nonce_serves_once(verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    ticket = forge.ticket(deal.payload(), verifier.nonces.make())
    verifier.verify(ticket)
    with pytest.raises(errors.TicketNonceUnknown):
        verifier.verify(ticket)


def test_nonce_is_spent_by_a_ticket_that_fails_later(verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    nonce = verifier.nonces.make()
    with pytest.raises(errors.TicketTooFewOrganizations):
        verifier.verify(forge.ticket(deal.payload(), nonce, lambda p: p.endorsers.pop()))
    with pytest.raises(errors.TicketNonceUnknown):
        verifier.verify(forge.ticket(deal.payload(), nonce))


def test_oldest_nonce_gives_way() -> None:
    nonces = Nonces()
    first, second = nonces.make(), nonces.make()
    for _ in range(MAX_NONCES - 1):
        nonces.make()
    assert not nonces.spend(first)
    assert nonces.spend(second)


@pytest.mark.parametrize(
    "changed", [{"channel": "other"}, {"contract": "other"}, {"bundle": bytes(32)}, {"enclave": bytes(32)}]
)
def test_ticket_for_something_else_is_refused(
    changed: dict[str, object], verifier: TicketVerifier, forge: Forge, deal: Deal
) -> None:
    good = forge.parts(deal.payload(), nonce := verifier.nonces.make())

    def ask_as_before(parts: Parts) -> None:
        parts.invocation.CopyFrom(good.invocation)

    with pytest.raises(errors.TicketPayloadMismatch):
        verifier.verify(forge.ticket(deal.payload(**changed), nonce, ask_as_before))


def test_ticket_after_own_expiry_is_refused(forge: Forge, deal: Deal, bundle: TrustBundle) -> None:
    verifier = TicketVerifier(deal.keys.enclave, bundle, NOW - 1)
    with pytest.raises(errors.TicketTimeRefused, match="expired"):
        verifier.verify(forge.ticket(deal.payload(), verifier.nonces.make()))


def test_time_may_step_back_by_twice_the_window_only(verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    verifier.verify(forge.ticket(deal.payload(), verifier.nonces.make()))
    back = replace(forge, at=NOW - 240)
    verifier.verify(back.ticket(deal.payload(), verifier.nonces.make()))
    further = replace(forge, at=NOW - 241)
    with pytest.raises(errors.TicketTimeRefused, match="seen"):
        verifier.verify(further.ticket(deal.payload(), verifier.nonces.make()))


def _with(payload: JobTicketPayload, name: str) -> JobTicketPayload:
    if name == "another task":
        return replace(payload, task=replace(payload.task, slots=2))
    if name == "another order":
        return replace(payload, order=replace(payload.order, reserve=1))
    order = {
        "an order for another task": replace(payload.order, task=bytes(32)),
        "an order of another spec": replace(payload.order, spec=bytes(32)),
        "an order for another provider": replace(payload.order, provider_key=bytes(32)),
        "an order of another channel": replace(payload.order, channel="other"),
    }[name]
    ticket = replace(payload.ticket, order=order.digest(), offer=order.offer_id)
    return JobTicketPayload(payload.task, order, ticket)


@pytest.mark.parametrize(
    "name",
    [
        "another task",
        "another order",
        "an order for another task",
        "an order of another spec",
        "an order for another provider",
        "an order of another channel",
    ],
)
def test_digests_are_recomputed(name: str, verifier: TicketVerifier, forge: Forge, deal: Deal) -> None:
    payload = _with(deal.payload(), name)
    with pytest.raises(errors.TicketDigestMismatch):
        verifier.verify(forge.ticket(payload, verifier.nonces.make()))


def test_checks_carry_section_8s_numbers() -> None:
    def leaves(kind: type[errors.TicketRefused]) -> list[type[errors.TicketRefused]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]

    numbers = {kind.check for kind in leaves(errors.TicketRefused)}
    assert numbers == set(range(15))


def test_the_checks_are_numbered_and_named_as_the_module_says() -> None:
    from goldengrain.enclave import ticket

    listed = re.findall(r"^ ?(\d+)\. ", ticket.__doc__ or "", re.MULTILINE)
    assert [int(number) for number in listed] == list(range(1, 17))
    for kind in errors.TicketRefused.__subclasses__():
        if kind.check <= 13:
            entry = (ticket.__doc__ or "").split(f"{kind.check:2}. ", 1)[1].split(f"{kind.check + 1:2}. ", 1)[0]
            assert f"`{kind.__name__}`" in entry
