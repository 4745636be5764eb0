"""Check offline what a bought model rests on: one file, the organisations that one trusts, and nothing else.

The file holds the transactions of the swap as they were endorsed. In this order:

 1. the file parses, its version is known                                               `ProvenanceMalformed`
 2. the trust bundle is the one that the caller trusts; without one, the file's own
    is taken, and that is said                                                          `ProvenanceUntrusted`
 3. each transaction: the bundle's channel and contract, id from nonce and creator,
    proposal hash, status 200, endorsed by peers of at least k of its organisations      `ProvenanceNotEndorsed`
    (those of other organisations, which may have joined since, count for nothing)
 4. task: its id is its digest                                                          `ProvenanceTaskMismatch`
 5. order and offer: for this task, digests recomputed, id as asked                      `ProvenanceOrderMismatch`
 6. policy: the numbers that task and registrations name; its bundle is the trusted one  `ProvenancePolicyMismatch`
 7. each enclave: its quote verifies with that collateral to the policy's root at the
    time of registration, bound to its keys, operator and challenge (section 4, 1-9)     `ProvenanceEnclaveMismatch`
 8. each report: claim, ticket digest recomputed, signed by that enclave's key           `ProvenanceReportMismatch`
 9. as many reports as the task wants, they agree; score and price as locked             `ProvenancePriceMismatch`
10. r opens the offer's hash; price and market fee as paid                               `ProvenanceRevealMismatch`
11. with a model: SHA-256 of its bytes is what the enclave attested                      `ProvenanceModelMismatch`

What it does not prove: that the transactions were ordered. Endorsers state what follows from the ledger that they see;
whoever doubts that looks the ids up on the channel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from fabric_protos.common import common_pb2 as common

from goldengrain.chaincode.protocol import canonical, digests, pricing, quotes
from goldengrain.chaincode.protocol.commands import RegisterEnclave, Reveal, SubmitReport, parse
from goldengrain.chaincode.protocol.errors import ContractError, GoldenGrainError
from goldengrain.chaincode.protocol.offer import Order
from goldengrain.chaincode.protocol.policy import Policy, TrustBundle
from goldengrain.chaincode.protocol.report import Outcome, Report, Result, agreed, check_score
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.ticket import Claim, Ticket
from goldengrain.enclave.errors import (
    EnclaveError,
    ProvenanceEnclaveMismatch,
    ProvenanceMalformed,
    ProvenanceModelMismatch,
    ProvenanceNotEndorsed,
    ProvenanceOrderMismatch,
    ProvenancePolicyMismatch,
    ProvenancePriceMismatch,
    ProvenanceReportMismatch,
    ProvenanceRevealMismatch,
    ProvenanceTaskMismatch,
    ProvenanceUntrusted,
)
from goldengrain.enclave.msp import Endorsers
from goldengrain.enclave.transaction import PreparedTransaction, parse_transaction

KIND, VERSION = "golden-grain provenance", 1
MAX_FILE = 64 * 1024 * 1024
"""Bytes of a file that is read."""
MAX_TRANSACTIONS = 64
_OK = 200

C = TypeVar("C")


@dataclass(frozen=True)
class Evidence:
    """One endorsed transaction: who called what when, and what it wrote (documents by key)."""

    id: str
    at: int
    arguments: tuple[bytes, ...]
    endorsed_by: tuple[str, ...]
    written: dict[str, dict[str, Any]]

    def command(self, kind: type[C]) -> C:
        """Return the call, read as a command. Raises ContractError where it is another one."""
        found = parse(list(self.arguments))
        if not isinstance(found, kind):
            raise ProvenanceMalformed(f"transaction {self.id} is not a {kind.__name__}")
        return found


@dataclass(frozen=True)
class EnclaveVerdict:
    """What the quote of one reporting enclave says."""

    enclave: bytes
    operator_msp: str
    measurement: bytes
    status: str
    advisories: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True)
class Provenance:
    """A file that held. Scores in ppm, amounts in smallest units; `trusted` is False where its own bundle was taken."""

    offer: bytes
    task: Task
    order: Order
    policy: Policy
    enclaves: tuple[EnclaveVerdict, ...]
    score: int
    price: int
    market_fee: int
    model: bytes
    bundle: bytes
    trusted: bool
    model_checked: bool
    transactions: tuple[Evidence, ...]

    @property
    def simulated(self) -> bool:
        """Whether an enclave's quote rests on a root other than Intel's."""
        return any(one.simulated for one in self.enclaves)


def verify(data: bytes, trusted: TrustBundle | None = None, model: bytes | None = None) -> Provenance:
    """Run the checks; returns what was found. Raises the `ProvenanceRefused` of the first that fails."""
    document = _document(data)  # 1
    bundle = _bundle(document, trusted)  # 2
    evidence = _Evidence(list(_endorsed(document, bundle)))  # 3
    offer_id = bytes.fromhex(document["offer"])
    _, offer_record = evidence.writing(f"offer/{document['offer']}", "SubmitOffer", ProvenanceOrderMismatch)
    order = _read(Order, offer_record["order"], ProvenanceOrderMismatch)
    _, task_record = evidence.writing(f"task/{order.task.hex()}", "OpenTask", ProvenanceTaskMismatch)
    task = _read(Task, task_record["task"], ProvenanceTaskMismatch)
    if task.id != order.task:  # 4
        raise ProvenanceTaskMismatch("the task's digest is another than its id")
    _check_order(task, order, offer_id, bundle)  # 5
    policies = _policies(evidence, bundle)  # 6
    policy = _policy(policies, task_record["policy_number"])
    claims = list(_reported(evidence, offer_id))
    verdicts, results = [], []
    for claim, report in claims:
        registration = _registration(evidence, claim["registration"])
        verdicts.append(_check_enclave(evidence, registration, policies, bundle))  # 7
        results.append(_check_report(task, order, claim, report, registration))  # 8
    lock = _check_price(evidence, task, results, offer_id)  # 9
    fee = _check_reveal(evidence, task, order, lock, offer_id)  # 10
    if model is not None and digests.sha256(model) != bytes.fromhex(lock["model"]):  # 11
        raise ProvenanceModelMismatch(f"the enclave attested SHA-256 {lock['model']}, this file has another")
    return Provenance(
        offer=offer_id,
        task=task,
        order=order,
        policy=policy,
        enclaves=tuple(verdicts),
        score=lock["score"],
        price=lock["price"],
        market_fee=fee,
        model=bytes.fromhex(lock["model"]),
        bundle=bundle.digest(),
        trusted=trusted is not None,
        model_checked=model is not None,
        transactions=tuple(evidence.all),
    )


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = canonical.loads(data, MAX_FILE)
        if not isinstance(document, dict) or (document["kind"], document["v"]) != (KIND, VERSION):
            raise ProvenanceMalformed(f"not a file of provenance of version {VERSION}")
        if len(bytes.fromhex(document["offer"])) != digests.WORD or not isinstance(document["transactions"], list):
            raise ProvenanceMalformed("the file names no offer or holds no transactions")
    except (ContractError, KeyError, TypeError, ValueError) as error:
        raise ProvenanceMalformed(f"not a file of provenance: {error}") from error
    if len(document["transactions"]) > MAX_TRANSACTIONS:
        raise ProvenanceMalformed(f"more than {MAX_TRANSACTIONS} transactions; a swap has fewer")
    return document


def _bundle(document: dict[str, Any], trusted: TrustBundle | None) -> TrustBundle:
    own = _read(TrustBundle, document.get("bundle"), ProvenanceMalformed)
    if trusted is not None and trusted.digest() != own.digest():
        raise ProvenanceUntrusted(
            f"the file rests on the trust bundle {own.digest().hex()}, you trust {trusted.digest().hex()}"
        )
    return trusted or own


def _read(kind: Any, document: Any, refusal: type[EnclaveError]) -> Any:
    try:
        return kind.from_json(document)
    except ContractError as error:
        raise refusal(f"a {kind.__name__} that can't be read: {error}") from error


def _endorsed(document: dict[str, Any], bundle: TrustBundle) -> Iterator[Evidence]:
    endorsers = Endorsers(bundle)
    for number, text in enumerate(document["transactions"], start=1):
        try:
            yield _check_endorsed(parse_transaction(bytes.fromhex(text)), bundle, endorsers)
        except ProvenanceNotEndorsed:
            raise
        except (GoldenGrainError, TypeError, ValueError) as error:
            raise ProvenanceNotEndorsed(f"transaction {number} of the file: {error}") from error


def _check_endorsed(parts: PreparedTransaction, bundle: TrustBundle, endorsers: Endorsers) -> Evidence:
    header, spec = parts.channel_header, parts.invocation.chaincode_spec
    names = {parts.header_extension.chaincode_id.name, spec.chaincode_id.name, parts.action.chaincode_id.name}
    if header.channel_id != bundle.channel or names != {bundle.contract}:
        raise ProvenanceNotEndorsed(f"a transaction of {header.channel_id!r} {sorted(names)}, not of this market")
    proposal = parts.channel_header_bytes + parts.signature_header_bytes + parts.proposal_payload_bytes
    if hashlib.sha256(proposal).digest() != parts.response_payload.proposal_hash or parts.actions != 1:
        raise ProvenanceNotEndorsed("the endorsements are of another proposal than the one shown")
    sender = common.SignatureHeader.FromString(parts.signature_header_bytes)
    if hashlib.sha256(sender.nonce + sender.creator).hexdigest() != header.tx_id:
        raise ProvenanceNotEndorsed("a transaction's id is not that of its nonce and creator")
    if parts.action.response.status != _OK:
        raise ProvenanceNotEndorsed(f"the contract answered with status {parts.action.response.status}")
    trusted = [one for one in parts.endorsements if bundle.organization(one.msp_id)]
    for one in trusted:
        message = parts.response_payload_bytes + one.endorser
        endorsers.check(one.msp_id, one.certificate, parts.seconds, message, one.signature)
    organizations = tuple(sorted({one.msp_id for one in trusted}))
    if len(organizations) < bundle.required:
        raise ProvenanceNotEndorsed(
            f"endorsed by {len(organizations)} of the bundle's organisations; {bundle.required} are needed"
        )
    return Evidence(header.tx_id, parts.seconds, tuple(spec.input.args), organizations, _written(parts, bundle))


def _written(parts: PreparedTransaction, bundle: TrustBundle) -> dict[str, dict[str, Any]]:
    return {
        write.key: json.loads(write.value)
        for space, keys in parts.namespaces
        if space.namespace == bundle.contract
        for write in keys.writes
        if not write.is_delete
    }


@dataclass(frozen=True)
class _Evidence:
    all: list[Evidence]

    def writing(self, key: str, function: str, missing: type[EnclaveError]) -> tuple[Evidence, dict[str, Any]]:
        """Return the call of a function that wrote a key, and what it wrote."""
        for one in self.all:
            if key in one.written and one.arguments[0] == function.encode():
                return one, one.written[key]
        raise missing(f"the file lacks the {function} that wrote {key}")

    def by_id(self, transaction: str | None, missing: type[EnclaveError]) -> Evidence:
        """Return a transaction by its id."""
        for one in self.all:
            if one.id == transaction:
                return one
        raise missing(f"the file lacks transaction {transaction}, on which it rests")


def _check_order(task: Task, order: Order, offer: bytes, bundle: TrustBundle) -> None:
    if order.offer_id != offer:
        raise ProvenanceOrderMismatch("the order's digest gives another offer than the one that the file is about")
    own = (bundle.channel, bundle.contract)
    if (order.channel, order.contract) != own or (task.channel, task.contract) != own:
        raise ProvenanceOrderMismatch("task or order are of another channel or contract")
    if order.spec != task.spec.digest() or order.provider_key != digests.sha256(task.provider_key):
        raise ProvenanceOrderMismatch("the order is for another spec or provider's key than the task's")


def _policies(evidence: _Evidence, bundle: TrustBundle) -> dict[int, Policy]:
    records = (one.written["policy"] for one in evidence.all if "policy" in one.written)
    found = [_read(Policy, record["policy"], ProvenancePolicyMismatch) for record in records]
    digest = bundle.digest()
    for one in found:
        if digest not in (one.bundle, one.previous_bundle):
            raise ProvenancePolicyMismatch(f"policy {one.number} was voted with another trust bundle")
    return {one.number: one for one in found}


def _policy(policies: dict[int, Policy], number: int) -> Policy:
    if number not in policies:
        raise ProvenancePolicyMismatch(f"the file lacks the vote on policy {number}")
    return policies[number]


def _reported(evidence: _Evidence, offer: bytes) -> Iterator[tuple[dict[str, Any], Evidence]]:
    """Yield each report with the claim as its transaction wrote it, in the order of the file."""
    for one in evidence.all:
        if one.arguments[0] == b"SubmitReport":
            command = one.command(SubmitReport)
            key = f"claim/{offer.hex()}/{command.claim:010}"
            if command.offer != offer or key not in one.written:
                raise ProvenanceReportMismatch("the file holds a report on another offer")
            yield one.written[key], one


def _registration(evidence: _Evidence, transaction: str | None) -> Evidence:
    return evidence.by_id(transaction, ProvenanceEnclaveMismatch)


def _check_enclave(
    evidence: _Evidence, registered: Evidence, policies: dict[int, Policy], bundle: TrustBundle
) -> EnclaveVerdict:
    command = registered.command(RegisterEnclave)
    record = registered.written.get(f"enclave/{command.enclave.hex()}")
    if record is None:
        raise ProvenanceEnclaveMismatch("the registration wrote another enclave")
    policy = _policy(policies, record["policy_number"])
    challenged = evidence.by_id(command.challenge, ProvenanceEnclaveMismatch)
    challenge = challenged.written.get(f"challenge/{command.challenge}")
    stored = evidence.by_id(record["collateral"], ProvenanceEnclaveMismatch)
    collateral = next((value for key, value in stored.written.items() if key.startswith("collateral/")), None)
    if challenge is None or collateral is None:
        raise ProvenanceEnclaveMismatch("the registration's challenge or collateral is of another transaction")
    registration = quotes.Registration(
        channel=bundle.channel,
        contract=bundle.contract,
        operator=bytes.fromhex(record["operator"]),
        challenge=bytes.fromhex(command.challenge),
        challenged=bytes.fromhex(challenge["operator"]),
        challenge_made=challenge["made"],
        challenge_used=False,
        quote=command.quote,
        root=command.root,
        signing_key=command.signing_key,
        encryption_key=command.encryption_key,
        bundle=command.bundle,
    )
    try:
        verdict = quotes.verify_registration(registration, collateral["text"], policy, registered.at)
    except ContractError as error:
        raise ProvenanceEnclaveMismatch(f"{error.code}: {error}") from error
    return EnclaveVerdict(
        enclave=command.enclave,
        operator_msp=record["operator_msp"],
        measurement=verdict.measurement,
        status=verdict.status,
        advisories=verdict.advisories,
        simulated=verdict.simulated,
    )


def _check_report(task: Task, order: Order, claim: dict[str, Any], reported: Evidence, registered: Evidence) -> Result:
    command, registration = reported.command(SubmitReport), registered.command(RegisterEnclave)
    made: Claim = _read(Claim, claim["claim"], ProvenanceReportMismatch)
    if made.enclave != registration.enclave or made.number != command.claim:
        raise ProvenanceReportMismatch("the claim is another enclave's than the one whose registration is shown")
    result = command.result()
    ticket = Ticket.of(order, made, registration.bundle, claim["threshold"])
    lowest = task.schedule.pairs[0][0]
    if ticket.threshold < lowest or pricing.price(task.schedule.pairs, ticket.threshold) < order.reserve:
        raise ProvenanceReportMismatch(f"the ticket's threshold {ticket.threshold} is under schedule or reserve")
    try:
        Report.of(task, order, ticket, result).verify(command.signature)
        check_score(result, task.eta, ticket.threshold)
    except ContractError as error:
        raise ProvenanceReportMismatch(f"{error.code}: {error}") from error
    return result


def _check_price(evidence: _Evidence, task: Task, results: list[Result], offer: bytes) -> dict[str, Any]:
    if len(results) != task.enclaves:
        raise ProvenancePriceMismatch(f"{len(results)} reports, the task wants {task.enclaves}")
    result = agreed(results, task.eta)
    if result is None or result.outcome is not Outcome.PASS or result.model is None:
        raise ProvenancePriceMismatch("the reports don't agree on a pass")
    _, record = evidence.writing(f"offer/{offer.hex()}", "Reveal", ProvenanceRevealMismatch)
    lock: dict[str, Any] = record["lock"]
    price = task.schedule.price(result.score)
    if (lock["score"], lock["price"], lock["model"]) != (result.score, price, result.model.hex()):
        raise ProvenancePriceMismatch(
            f"score {result.score} is worth {price}; locked were {lock['score']} and {lock['price']}"
        )
    return lock


def _check_reveal(evidence: _Evidence, task: Task, order: Order, lock: dict[str, Any], offer: bytes) -> int:
    revealed, _ = evidence.writing(f"offer/{offer.hex()}", "Reveal", ProvenanceRevealMismatch)
    if digests.secret_hash(revealed.command(Reveal).secret) != order.secret_hash:
        raise ProvenanceRevealMismatch("the secret revealed is not the one that the offer committed to")
    fee = task.market_fee(lock["price"])
    paid = sum(
        record["amount"]
        for key, record in revealed.written.items()
        if key.startswith(f"coin/{order.payout.hex()}/{revealed.id}:")
    )
    if paid < lock["price"] - fee:
        raise ProvenanceRevealMismatch(f"{paid} were paid, {lock['price']} less the market fee {fee} are due")
    return fee
