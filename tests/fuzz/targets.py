"""What is fuzzed: every parser of the protocol, and every call of the contract on markets in many states.

A target takes bytes and raises what must never be raised; a named refusal (`ContractError`) is what it expects.
`TARGETS` are run by atheris (`python -m tests.fuzz`), and on the corpus by the first tier, on any Python.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from goldengrain.chaincode.market.memory import MemoryLedger
from goldengrain.chaincode.protocol import canonical, collateral, commands, quotes, sealing, signatures
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.accounts import Identity, certificate_names
from goldengrain.chaincode.protocol.errors import ContractError, GoldenGrainError
from goldengrain.chaincode.protocol.offer import EnvelopeDigest, Order
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.records import Record
from goldengrain.chaincode.protocol.task import MAX_SLOTS, Task
from goldengrain.chaincode.protocol.ticket import Claim, JobTicketPayload, Ticket
from tests.chaincode.market import determinism
from tests.fuzz.attestation import attestation
from tests.fuzz.changing import Source, changed
from tests.fuzz.documents import documents
from tests.fuzz.neighbours import neighbours
from tests.fuzz.stores import stores

RECORDS: tuple[type[Record], ...] = (
    Policy, Task, Order, EnvelopeDigest, Claim, Ticket, JobTicketPayload, *commands.COMMANDS.values(),
    *q.QUERIES.values(),
)  # fmt: skip
WORD = bytes(range(32))
GAMES = 5


def _read_back(kind: type[Record], data: bytes) -> None:
    record = kind.from_bytes(data)
    written = record.to_bytes()
    if kind.from_bytes(written) != record:
        raise AssertionError(f"{kind.__name__} is not read back as it was written")


def _json(data: bytes) -> None:
    document = canonical.loads(data)
    if canonical.loads(canonical.dumps(document)) != document:
        raise AssertionError("JSON is not read back as it was written")


def _root() -> bytes:
    return next(iter(_some_policy().roots)).certificate


@cache
def _some_policy() -> Policy:
    documents = [json.loads(bytes.fromhex(call["args"][1])) for call in _calls() if _function(call) == "Bootstrap"]
    return Policy.from_json(documents[0]["policy"])


@cache
def _private() -> sealing.PrivateKey:
    return sealing.PrivateKey.generate()


PARSERS: tuple[Callable[[bytes], object], ...] = (
    _json,
    lambda data: commands.parse(data.split(b"\0", 1)),
    lambda data: quotes.inspect_quote(data, "{}", _root(), 1_800_000_000),
    lambda data: collateral.read_collateral(data.decode("utf-8", "surrogateescape"), _root(), 1_800_000_000),
    lambda data: signatures.recover(WORD, data),
    lambda data: Identity.from_pem("Org1MSP", data),
    certificate_names,
    lambda data: sealing.open_dataset_key(_private(), data, WORD),
    lambda data: sealing.unlock_key(_private(), data, WORD, WORD, WORD),
    *(lambda data, kind=kind: _read_back(kind, data) for kind in RECORDS),  # type: ignore[misc]  # bound as a default
)


def parsers(data: bytes) -> None:
    """Give a parser, which the first bytes choose, the rest."""
    source = Source(data)
    parser = PARSERS[source.number(len(PARSERS))]
    try:
        parser(source.rest())
    except GoldenGrainError:
        return


def files(data: bytes) -> None:
    """Give what comes out of decryption, a model or a test set, to the enclave's checks; the first bytes choose."""
    source = Source(data)
    check = _file_checks()[source.number(4)]
    try:
        check(source.rest())
    except GoldenGrainError:
        return


@cache
def _file_checks() -> tuple[Callable[[bytes], object], ...]:
    from goldengrain.enclave.dataset import unpack
    from goldengrain.enclave.onnx_rules.check import check_model
    from goldengrain.enclave.weights import check_weights
    from tests.enclave import nets
    from tests.enclave.hostile.containers import SPEC
    from tests.enclave.market import INTERFACE, LIMITS, SAMPLES

    mlp = nets.interface(nets.CONFIGS["mlp"])
    return (
        lambda data: check_model(data, INTERFACE, LIMITS, SAMPLES),
        lambda data: check_weights(data, mlp, nets.LIMITS, SAMPLES),
        lambda data: unpack(data).require(SPEC),
        lambda data: check_weights(_headed(data), mlp, nets.LIMITS, SAMPLES),
    )


def _headed(data: bytes) -> bytes:
    """Bytes as the header of a file of weights, its length right, so that more of it is read."""
    return len(data).to_bytes(8, "little") + data


@dataclass(frozen=True)
class Moment:
    """A market just before a call that was made on it."""

    ledger: MemoryLedger
    call: dict[str, Any]


@cache
def _calls() -> tuple[dict[str, Any], ...]:
    return tuple(determinism.record(games=GAMES))


def _function(call: dict[str, Any]) -> str:
    return bytes.fromhex(call["args"][0]).decode() if "args" in call else ""


@cache
def moments() -> tuple[Moment, ...]:
    """Return markets in many states, each with the call that came next: the same in every process."""
    found, ledger = [], MemoryLedger(now=0)
    founding = next(call["again"] for call in _calls() if "again" in call)
    founded = ledger
    for number, call in enumerate(_calls()):
        if "again" in call:
            ledger = _copy(founded)
            continue
        found.append(Moment(_copy(ledger), call))
        ledger._sent = call["number"]
        args = [bytes.fromhex(one) for one in call["args"]]
        with contextlib.suppress(ContractError):
            ledger.submit_args(determinism.caller(call["who"]), args, call["at"])
        if number + 1 == founding:
            founded = _copy(ledger)
    return tuple(found)


def _copy(ledger: MemoryLedger) -> MemoryLedger:
    return replace(ledger, state=dict(ledger.state), transactions=[], _names=list(ledger._names))


def calls(data: bytes) -> None:
    """Change a call that a market has seen, a few fields at a time, and make it: refused by name, or within limits."""
    source = Source(data)
    moment = moments()[source.number(len(moments()))]
    other = moments()[source.number(len(moments()))].call
    kind = source.number(8)
    who = other["who"] if kind == 1 else moment.call["who"]
    at = max(0, moment.call["at"] + (source.number(65_536) - 32_768) * 37 if kind == 2 else moment.call["at"])
    args = [bytes.fromhex(one) for one in (other if kind == 3 else moment.call)["args"]]
    if kind == 4:
        args[1:] = [source.rest()]
    elif len(args) > 1 and source.left:
        args[1] = json.dumps(changed(json.loads(args[1]), source)).encode()
    _make(_copy(moment.ledger), who, args, at, moment.call["number"])


def _make(ledger: MemoryLedger, who: tuple[str, str, str | None], args: list[bytes], at: int, number: int) -> None:
    before = dict(ledger.state)
    ledger._sent = number
    try:
        ledger.submit_args(determinism.caller(who), args, at)
    except ContractError as refusal:
        if ledger.state != before or ledger.held != ledger.minted:
            raise AssertionError(f"{args[0]!r} is refused by {refusal.code}, and the state is another") from refusal
        return
    request = commands.parse(args)
    stored = before.get("policy") or ledger.state.get("policy")
    if stored is not None:
        _require_within(request, Policy.from_json(json.loads(stored)["policy"]))


def _require_within(request: Record, policy: Policy) -> None:
    """Hold what was accepted against the policy's limits, and the protocol's."""
    if isinstance(request, commands.OpenTask):
        assert request.attempts <= policy.attempts_max
        assert policy.reveal_min <= request.reveal <= policy.reveal_max
        assert 1 <= request.slots <= MAX_SLOTS
        assert 1 <= request.enclaves <= 3
    elif isinstance(request, commands.Claim):
        assert policy.lease_min <= request.lease <= policy.lease_max
    elif isinstance(request, commands.SubmitOffer):
        assert request.attempt <= policy.attempts_max
        assert len(request.envelopes) <= commands.MAX_ENVELOPES
    elif isinstance(request, commands.RegisterEnclave):
        assert len(request.quote) <= quotes.MAX_QUOTE
    elif isinstance(request, commands.PutCollateral):
        assert len(request.collateral) <= collateral.MAX_COLLATERAL


TARGETS: dict[str, Callable[[bytes], None]] = {
    "parsers": parsers,
    "calls": calls,
    "files": files,
    "attestation": attestation,
    "documents": documents,
    "stores": stores,
    "neighbours": neighbours,
}
