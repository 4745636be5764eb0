"""Makes the evidence of a case directory: the accepted control, with the case's one defect; and judges it.

`python -m tests.enclave.judging` judges every case and prints the verdicts as JSON, for comparison between processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from fabric_protos.common import common_pb2 as common
from fabric_protos.ledger.rwset import rwset_pb2 as rwset
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2 as kvrwset

from goldengrain.chaincode.protocol import collateral as collaterals
from goldengrain.chaincode.protocol import quotes, signatures
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.enclave import ratls
from goldengrain.enclave.__main__ import read_bundle
from goldengrain.enclave.errors import error_from_reply
from goldengrain.enclave.job import Bench
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.msp import P256_ORDER, Endorsers
from goldengrain.enclave.quoting import DevelopmentRoot, QuoteSource, SimulatedPlatform, SourceKind, simulated_source
from goldengrain.enclave.ratls import Trust
from goldengrain.enclave.runner import Runner
from goldengrain.enclave.service import Service
from goldengrain.enclave.ticket import TicketVerifier
from goldengrain.enclave.verify import INTEL, root_certificate
from tests.chaincode.protocol import samples

from . import test_ratls
from .fabric import CHANNEL, CONTRACT, Consortium, Forge, Member, Parts, Signed, issue, revocation_list
from .fabric import NOW as TICKET_TIME
from .market import Deal

CASES = Path(__file__).parent / "cases"
RECORDED = Path(__file__).parent / "recorded"
NOW = samples.NOW
CODE, OTHER = samples.word("measurement"), samples.word("other")
OPERATOR = samples.word("operator1")
FAMILIES = ("tickets", "quotes", "collateral", "certificates", "hosts")
KEYS = {"signing_key": signatures.public_key(OTHER), "encryption_key": samples.PROVIDER_KEY.public}


@dataclass(frozen=True)
class Case:
    """A case directory."""

    family: str
    name: str
    refused: str
    control: str
    defect: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.family}/{self.name}"


def load(path: Path) -> Case:
    document = yaml.safe_load(path.read_text())
    assert set(document) <= {"why", "control", "refused", "defect"}, path
    assert document["why"], path
    assert len(document["defect"]) == 1, f"{path}: a case differs from its control in one defect"
    return Case(
        path.parents[1].name, path.parent.name, document["refused"], document.get("control", "sgx"), document["defect"]
    )


def cases() -> list[Case]:
    return [load(path) for path in sorted(CASES.glob("*/*/case.yaml"))]


def judge(case: Case | None, family: str, control: str = "sgx") -> str:
    """Return `accepted`, or the code that refuses; without a case it is the control that is judged."""
    defect = {} if case is None else dict(case.defect)
    try:
        JUDGES[family](defect, Tee(control.upper()))
    except GoldenGrainError as error:
        return error.code
    return "accepted"


# --- quotes ----------------------------------------------------------------------------------------------------------


@cache
def _root(name: str) -> DevelopmentRoot:
    return DevelopmentRoot.create(Path(tempfile.mkdtemp()) / name, at=NOW)


def _policy(platform: SimulatedPlatform, changed: Mapping[str, str]) -> Policy:
    root: bytes = _root("own").root_der
    if changed.get("roots") == "other":
        root = _root("other").root_der
    elif changed.get("roots") == INTEL:
        root = root_certificate(INTEL, (RECORDED / "intel_sgx_v3.collateral.json").read_text())
    made = samples.policy(roots=(AttestationRoot(root),), measurements=(platform.measurement_of(CODE),))
    return replace(made, bundle=OTHER) if changed.get("bundle") == "other" else made


def _registration(policy: Policy) -> quotes.Registration:
    return quotes.Registration(
        channel="market",
        contract="golden-grain",
        operator=OPERATOR,
        challenge=samples.word("challenge"),
        challenged=OPERATOR,
        challenge_made=NOW - 10,
        challenge_used=False,
        quote=b"",
        root=AttestationRoot(_root("own").root_der).id,
        signing_key=signatures.public_key(samples.SIGNING_KEY),
        encryption_key=samples.ENCLAVE_KEY.public,
        bundle=samples.policy().bundle,
    )


def _changed(registration: quotes.Registration, fields: Mapping[str, Any]) -> quotes.Registration:
    values: dict[str, Any] = dict(fields)
    for name, value in fields.items():
        if name == "challenge_made":
            values[name] = NOW + value
        elif value == "other":
            values[name] = KEYS.get(name, "other" if name in ("channel", "contract") else OTHER)
    return replace(registration, **values)


def _quote(defect: dict[str, Any], tee: Tee) -> None:
    platform = SimulatedPlatform(_root("own"), tee=tee, **defect.get("platform", {}))
    intel = "root" in defect
    policy = _policy(platform, {"roots": INTEL} if intel else defect.get("policy", {}))
    registration = _registration(policy)
    if intel:
        registration = replace(registration, root=policy.roots[0].id)
    options = dict(defect.get("quote", {}))
    code = OTHER if options.pop("code", None) == "other" else CODE
    quote = _edited(platform.quote(registration.report_data(), code, **options), defect.get("bytes", {}))
    registration = _changed(replace(registration, quote=quote), defect.get("registration", {}))
    collateral = platform.collateral(at=NOW, **defect.get("collateral", {}))
    quotes.verify_registration(registration, collateral, policy, NOW)


def _edited(quote: bytes, change: Mapping[str, Any]) -> bytes:
    data = bytearray(quote)
    if "cut" in change:
        return quote[: change["cut"]]
    if "pad" in change:
        return quote + bytes(change["pad"])
    if "flip" in change:
        data[change["flip"]] ^= 1
    if "set" in change:
        position, value = change["set"]
        data[position : position + len(value) // 2] = bytes.fromhex(value)
    return bytes(data)


def _collateral(defect: dict[str, Any], tee: Tee) -> None:
    root = _root("own")
    fmspc = bytes.fromhex(defect["fmspc"]) if "fmspc" in defect else None
    platform = SimulatedPlatform(root, tee=tee)
    source = SimulatedPlatform(
        _root("other") if "root" in defect else root,
        tee=Tee(defect.get("tee", tee)),
        **({} if fmspc is None else {"fmspc": fmspc}),
    )
    document = json.loads(source.collateral(at=NOW))
    document |= defect.get("field", {})
    for name, other in defect.get("copy", {}).items():
        document[name] = document[other]
    for name in defect.get("mix", ()):
        document[name] = json.loads(SimulatedPlatform(root, tee=Tee.TDX).collateral(at=NOW))[name]
    text = defect.get("text") or json.dumps(document)
    at = NOW + defect.get("at", 0)
    good = collaterals.read_collateral(text, root.root_der, at)
    good.require_newer(defect.get("stored", (0, 0, 0, 0)))
    quotes.inspect_quote(platform.quote(bytes(64), CODE), text, root.root_der, at)


# --- certificates ----------------------------------------------------------------------------------------------------


def _certificate(defect: dict[str, Any], tee: Tee) -> None:
    root = _root("own")
    platform = SimulatedPlatform(root, tee=tee)
    options = dict(defect.get("quote", {}))
    code = OTHER if options.pop("code", None) == "other" else CODE
    rules = test_ratls.AllOf(
        (
            test_ratls.StatusIn(("UpToDate",)),
            test_ratls.NotDebug(),
            test_ratls.MeasurementIn((platform.measurement_of(CODE),)),
        )
    )
    world = test_ratls.World(root, platform, Trust((root.root_der,), rules), platform.collateral(at=NOW))
    evidence = test_ratls._evidence(world, quote=lambda data: platform.quote(data, code, **options))
    if "evidence" in defect:
        evidence = _evidence_of(defect["evidence"], world)
    fields: dict[str, Any] = {}
    for name, value in defect.get("certificate", {}).items():
        if name == "end":
            fields["end"] = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=value)
        else:
            fields["signer"] = ec.generate_private_key(ec.SECP384R1())
    made = test_ratls._rebuilt(world, evidence, **fields)
    ratls.check(made, world.trust, world.collateral, NOW)


def _evidence_of(kind: str | None, world: test_ratls.World) -> Any:
    if kind is None:
        return None
    quote = partial(world.platform.quote, code=CODE)
    good = test_ratls._evidence(world, quote=quote)
    if kind == "stolen":
        stolen = good(bytes(32))
        return lambda digest: stolen
    bound = _registration(samples.policy()).report_data() if kind == "registration" else bytes(64)
    return test_ratls._evidence(world, quote=quote, bound=lambda claims: bound)


# --- tickets ---------------------------------------------------------------------------------------------------------


@cache
def _deal() -> tuple[Consortium, Forge, Deal]:
    consortium = Consortium()
    return consortium, Forge(consortium), Deal.make(consortium.bundle(), EnclaveKeys.make(TICKET_TIME - 3_600))


def _set(parts: Parts, path: str, value: object) -> None:
    *parents, name = path.split(".")
    target: object = parts
    for parent in parents:
        target = getattr(target, parent)
    setattr(target, name, value)


def _endorser(kind: str, consortium: Consortium) -> Member:
    own, foreign = consortium.roots["Org1MSP"], consortium.roots["Org2MSP"]
    if kind == "client":
        return consortium.client
    if kind == "unknown-organisation":
        return replace(consortium.peers["Org1MSP"], msp_id="Org9MSP")
    if kind == "unknown-authority":
        own = issue("ca.Org1MSP", "Org1MSP", None, authority=True)
    fields: dict[str, Any] = {"units": ("admin",) if kind == "admin" else ("peer",)}
    fields |= {"expired": {"end": TICKET_TIME - 1}, "not-yet": {"start": TICKET_TIME + 60}}.get(kind, {})
    if kind == "p384":
        fields["curve"] = ec.SECP384R1()
    return issue("peer0", "Org1MSP", foreign if kind == "other-authority" else own, **fields)


BEFORE: dict[str, Callable[[Parts], object]] = {
    "write": lambda parts: parts.sets[1][1].writes.add(key="k", value=b"v"),
    "foreign-namespace": lambda parts: parts.sets.append((rwset.NsReadWriteSet(namespace="lscc"), kvrwset.KVRWSet())),
    "no-endorsement": lambda parts: parts.endorsers.clear(),
    "one-endorsement": lambda parts: parts.endorsers.pop(),
    "same-twice": lambda parts: parts.endorsers.__setitem__(1, parts.endorsers[0]),
    "space": lambda parts: _set(parts, "action.response.payload", parts.action.response.payload + b" "),
}


def _after(kind: str, signed: Signed) -> None:
    action = signed.action_payload.action
    if kind == "unknown-field":
        signed.payload.header.channel_header += b"\xfa\x3f\x01x"
    elif kind == "cut":
        action.proposal_response_payload = action.proposal_response_payload[:-3]
    elif kind == "other-header":
        signed.payload.header.signature_header = common.SignatureHeader(nonce=b"n").SerializeToString()
    elif kind == "lower-threshold":
        low, lower = b'"threshold":500000', b'"threshold":400000'
        action.proposal_response_payload = action.proposal_response_payload.replace(low, lower)
    elif kind == "swap-signatures":
        first, second = action.endorsements
        first.signature, second.signature = second.signature, first.signature
    else:
        r, s = decode_dss_signature(action.endorsements[0].signature)
        action.endorsements[0].signature = encode_dss_signature(r, P256_ORDER - s)


def _ticket(defect: dict[str, Any], tee: Tee) -> None:
    consortium, forge, deal = _deal()
    before = defect.get("before")
    revoked = consortium.peers["Org1MSP"].certificate.serial_number
    listed = revocation_list(consortium.roots["Org1MSP"], revoked) if before == "revoke" else None
    bundle = consortium.bundle(revoked=listed)
    expires = TICKET_TIME + defect["expires"] if "expires" in defect else deal.keys.expires
    verifier = TicketVerifier(deal.keys.enclave, bundle, expires, TICKET_TIME + defect.get("seen", 0))
    fields = {name: bytes.fromhex(value) for name, value in defect.get("ticket", {}).items()}
    payload = deal.payload(**({"bundle": bundle.digest()} | fields))
    if defect.get("payload") == "other-task":
        payload = replace(payload, task=replace(payload.task, slots=2))
    elif defect.get("payload") == "other-order":
        payload = replace(payload, order=replace(payload.order, reserve=1))

    def change(parts: Parts) -> None:
        for path, value in defect.get("set", {}).items():
            _set(parts, path, value)
        for path, value in defect.get("set_bytes", {}).items():
            _set(parts, path, bytes.fromhex(value))
        if "argument" in defect:
            index, value = defect["argument"]
            parts.invocation.chaincode_spec.input.args[index] = value.encode()
        if "endorser" in defect:
            parts.endorsers[0] = _endorser(defect["endorser"], consortium)
        if before in BEFORE:
            BEFORE[before](parts)

    late = (lambda signed: _after(defect["after"], signed)) if "after" in defect else None
    ticket = forge.ticket(payload, verifier.nonces.make(), change, late)
    if before == "restart":
        verifier = TicketVerifier(deal.keys.enclave, bundle, expires)
    elif before == "replay":
        verifier.verify(ticket)
    verifier.verify(ticket)


# --- hosts: what lies on the machine, and what is asked over the socket ----------------------------------------------


def _host(defect: dict[str, Any], tee: Tee) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _sealed_keys(Path(folder) / "state", defect.get("sealed"))
        _trust_bundle(Path(folder) / "bundle.json", defect.get("bundle"))
        asyncio.run(_request(Path(folder), tee, defect.get("request", '{"v":1,"request":"nonce"}').encode()))
    _source(tee, defect.get("source"))


def _sealed_keys(folder: Path, defect: str | None) -> None:
    made = EnclaveKeys.unseal_or_make(folder, CODE, OTHER, TICKET_TIME)
    (sealed,), secret = folder.glob("*.sealed"), folder / "machine.secret"
    data = sealed.read_bytes()
    if defect == "flip":
        sealed.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif defect == "cut":
        sealed.write_bytes(data[:-1])
    elif defect == "machine":
        secret.write_bytes(bytes(32))
    elif defect == "secret":
        secret.write_bytes(secret.read_bytes()[:-1])
    assert EnclaveKeys.unseal_or_make(folder, CODE, OTHER, TICKET_TIME) == made


def _trust_bundle(path: Path, defect: str | None) -> None:
    consortium = _deal()[0]
    foreign = revocation_list(consortium.roots["Org2MSP"]) if defect == "revocation" else None
    document = consortium.bundle(revoked=foreign).to_json()
    if defect == "field":
        document["more"] = 1
    path.write_text("no" if defect == "not-json" else json.dumps(document, sort_keys=True, separators=(",", ":")))
    channel = "other" if defect == "channel" else CHANNEL
    Endorsers(read_bundle(path, channel, "other" if defect == "contract" else CONTRACT))


async def _request(folder: Path, tee: Tee, request: bytes) -> None:
    deal = _deal()[2]
    source = simulated_source(_root("own"), "e1", CODE, tee)
    bench = Bench(deal.keys, deal.bundle, Runner(spares=0))
    service = Service("e1", bench, source, folder, LedgerClock(), lambda: deal.keys)
    with contextlib.redirect_stderr(io.StringIO()):
        reply = json.loads(await service.answer(request))
    if "error" in reply:
        raise error_from_reply(reply["error"]["code"], reply["error"]["message"])


def _source(tee: Tee, defect: str | None) -> None:
    platform = SimulatedPlatform(_root("own"), tee=tee)

    class Raw:
        def quote(self, report_data: bytes) -> bytes:
            if defect == "noise":
                return bytes(2_000)
            return platform.quote(bytes(64) if defect == "other" else report_data, CODE)

    QuoteSource(SourceKind.SIMULATED, Raw()).quote(bytes(range(64)))


JUDGES: dict[str, Callable[[dict[str, Any], Tee], None]] = {
    "tickets": _ticket, "quotes": _quote, "collateral": _collateral, "certificates": _certificate, "hosts": _host,
}  # fmt: skip


def main() -> None:
    """Judge all cases and controls."""
    verdicts = {case.id: judge(case, case.family, case.control) for case in cases()}
    verdicts |= {f"control {family} {tee}": judge(None, family, tee) for family in FAMILIES for tee in ("sgx", "tdx")}
    json.dump(verdicts, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
