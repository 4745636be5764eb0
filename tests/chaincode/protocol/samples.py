"""Objects of the protocol for tests: whole, valid and small."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from goldengrain.chaincode.protocol import digests, quotes, sealing, signatures
from goldengrain.chaincode.protocol.accounts import ATTRIBUTES_OID
from goldengrain.chaincode.protocol.commands import OpenTask, SubmitOffer
from goldengrain.chaincode.protocol.offer import EnvelopeDigest, Order
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.chaincode.protocol.report import LOCKED_SIZE, Outcome, Report, Result
from goldengrain.chaincode.protocol.task import (
    Award,
    BenchmarkSpec,
    DatasetDigests,
    Metric,
    ModelInterface,
    ModelLimits,
    PriceSchedule,
    Task,
    Tensor,
    TensorType,
)
from goldengrain.chaincode.protocol.ticket import Claim, Ticket

NOW = 1_800_000_000
PROVIDER_KEY = sealing.PrivateKey(bytes(range(96)))
ENCLAVE_KEY = sealing.PrivateKey(bytes(range(1, 97)))
SIGNING_KEY = bytes(31) + b"\x07"
ENCLAVE = digests.enclave_id(signatures.public_key(SIGNING_KEY))
MODEL_KEY, SECRET = b"K" * 32, b"r" * 32
COIN = "ab" * 32 + ":0"


def word(text: str) -> bytes:
    return digests.sha256(text.encode())


def policy(**changes: Any) -> Policy:
    base = Policy(
        number=1,
        organizations=("Org1MSP", "Org2MSP", "Org3MSP"),
        required=2,
        colluding=1,
        window=120,
        guard=300,
        reveal_min=601,
        reveal_max=86_400,
        challenge_age=3_600,
        enclave_age=86_400,
        proposal_age=86_400,
        roots=(AttestationRoot(bytes(100)),),
        measurements=(word("measurement"),),
        statuses=("UpToDate",),
        operators=(word("operator1"), word("operator2")),
        bundle=word("bundle"),
        previous_bundle=None,
        previous_bundle_sunset=None,
        benchmark_fee=5,
        market_fee=250,
        bond=1_000,
        audit_bond=500,
        deposit=50,
        lease_min=60,
        lease_max=3_600,
        attempts_max=5,
        verifier=quotes.VERIFIER,
    )
    return replace(base, **changes)


def spec(**changes: Any) -> BenchmarkSpec:
    base = BenchmarkSpec(
        metric=Metric.ACCURACY,
        wilson=True,
        samples=1_000,
        interface=ModelInterface(
            Tensor("x", TensorType.FLOAT32, (0, 64)), Tensor("probabilities", TensorType.FLOAT32, (0, 10))
        ),
        limits=ModelLimits(model_bytes=1 << 20, nodes=100, operations=10**6, memory_bytes=1 << 26),
        seed=7,
    )
    return replace(base, **changes)


def open_task(**changes: Any) -> OpenTask:
    base = OpenTask(
        provider_key=PROVIDER_KEY.public,
        spec=spec(),
        dataset=DatasetDigests(word("ciphertext"), word("plaintext"), word("key")),
        dataset_envelopes=(EnvelopeDigest(ENCLAVE, word("dataset envelope")),),
        schedule=PriceSchedule.of((800_000, 100), (900_000, 200), (950_000, 1_000)),
        award=Award.EACH,
        slots=3,
        last_offer=NOW + 1_000,
        last_report=NOW + 5_000,
        last_opening=NOW + 10_000,
        reveal=900,
        eta=1_000,
        attempts=3,
        enclaves=1,
        coins=(COIN,),
    )
    return replace(base, **changes)


def task(**changes: Any) -> Task:
    return open_task(**changes).task("market", "golden-grain", word("provider"), policy())


def submit_offer(**changes: Any) -> SubmitOffer:
    base = SubmitOffer(
        task=task().id,
        payout=word("payout"),
        attempt=1,
        ciphertext=word("model ciphertext"),
        size=1_234,
        chunk_size=1_024,
        key_check=digests.key_check(MODEL_KEY),
        secret_hash=digests.secret_hash(SECRET),
        reserve=150,
        bond=100,
        envelopes=(EnvelopeDigest(ENCLAVE, word("model envelope")),),
        coins=(COIN,),
    )
    return replace(base, **changes)


def order(**changes: Any) -> Order:
    return submit_offer(**changes).order(task(), word("developer"))


def claim() -> Claim:
    return Claim(
        1, ENCLAVE, word("operator1"), "Org2MSP", NOW + 600, 2, word("model envelope"), word("dataset envelope")
    )


def ticket() -> Ticket:
    return Ticket.of(order(), claim(), word("bundle"), 850_000)


def passed(score: int = 934_000) -> Result:
    return Result(Outcome.PASS, score, b"l" * LOCKED_SIZE, word("model"))


def report(result: Result | None = None) -> Report:
    return Report.of(task(), order(), ticket(), result or passed())


def certificate(
    units: tuple[str, ...] = ("client",), name: str = "User1", serial: int = 1, attributes: bytes | None = None
) -> x509.Certificate:
    """Make a self-issued certificate with NodeOUs, a new key each time; `attributes` as Fabric CA writes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca.org1.example.com")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(start)
    if attributes is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(ATTRIBUTES_OID, attributes), critical=False)
    return builder.not_valid_after(start + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
