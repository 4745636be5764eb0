"""RA-TLS: certificates of our own, of Gramine's shape, and changed ones; each refusal by its number."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import errors as refusals
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import AttestationRoot
from goldengrain.chaincode.protocol.quote_rules import AllOf, MeasurementIn, NotDebug, StatusIn
from goldengrain.enclave import errors, ratls
from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform
from goldengrain.enclave.ratls import Certified, Trust
from tests.chaincode.protocol import samples
from tests.conftest import need

AT = 1_900_000_000
CODE = bytes([7]) * 32


@dataclass(frozen=True)
class World:
    """A machine, what is believed of it, and its collateral."""

    root: DevelopmentRoot
    platform: SimulatedPlatform
    trust: Trust
    collateral: str

    def quote(self, data: bytes) -> bytes:
        return self.platform.quote(data, CODE)

    def check(self, certificate: bytes, **changed: Any) -> Any:
        trust = changed.get("trust", self.trust)
        return ratls.check(certificate, trust, changed.get("collateral", self.collateral), changed.get("at", AT))


def trust_in(platform: SimulatedPlatform, root: DevelopmentRoot) -> Trust:
    rules = AllOf((StatusIn(("UpToDate",)), NotDebug(), MeasurementIn((platform.measurement_of(CODE),))))
    return Trust((root.root_der,), rules)


@pytest.fixture(scope="module", params=Tee)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    root = DevelopmentRoot.create(tmp_path_factory.mktemp("root"), at=AT)
    platform = SimulatedPlatform(root, tee=request.param)
    return World(root, platform, trust_in(platform, root), platform.collateral(at=AT))


@pytest.fixture(scope="module")
def certified(world: World) -> Certified:
    return ratls.certify(world.quote)


def test_a_certificate_proves_the_enclave_whose_key_it_is(world: World, certified: Certified) -> None:
    verdict = world.check(certified.certificate)
    assert (verdict.tee, verdict.measurement) == (world.platform.tee, world.platform.measurement_of(CODE))


def test_it_has_gramines_shape(world: World, certified: Certified) -> None:
    certificate = x509.load_der_x509_certificate(certified.certificate)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert (key.curve.name, certificate.serial_number, certificate.issuer) == ("secp384r1", 1, certificate.subject)
    assert "CN=RATLS" in certificate.subject.rfc4514_string()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(der).digest()
    found = {one.oid.dotted_string: one for one in certificate.extensions}
    evidence = found["2.23.133.5.4.9"]
    raw = evidence.value.public_bytes()
    assert not evidence.critical
    assert raw.startswith(bytes.fromhex("d9ea6082"))  # tag 60000, an array of two
    quote, claims = cbor2.loads(raw).value
    assert claims == cbor2.dumps({"pubkey-hash": cbor2.dumps([1, digest])})
    assert hashlib.sha256(claims).digest() + bytes(32) in quote
    older = found["0.6.9.42.840.113741.1337.6"].value.public_bytes()
    assert digest + bytes(32) in older
    assert bytes.fromhex("060b06092a864886f84d8a3906") in certified.certificate  # the OID as Gramine writes it
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


# --- one defect each --------------------------------------------------------------------------------------------


def _rebuilt(world: World, evidence: Callable[[bytes], bytes] | None, **fields: Any) -> bytes:
    """A certificate like ours, with other evidence (made from its key's hash), key, issuer or times."""
    key = fields.get("key") or ec.generate_private_key(ec.SECP384R1())
    signer = fields.get("signer", key)
    start = fields.get("start", datetime(2001, 1, 1, tzinfo=UTC))
    name = x509.Name.from_rfc4514_string("CN=RATLS")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(fields.get("end", datetime(9999, 12, 31, tzinfo=UTC)))
    )
    if evidence is not None:
        der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        raw = evidence(hashlib.sha256(der).digest())
        builder = builder.add_extension(x509.UnrecognizedExtension(ratls.EVIDENCE, raw), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _evidence(world: World, **changed: Any) -> Callable[[bytes], bytes]:
    def make(digest: bytes) -> bytes:
        claims = changed.get("claims", lambda d: {"pubkey-hash": cbor2.dumps([1, d])})(digest)
        encoded = claims if isinstance(claims, bytes) else cbor2.dumps(claims)
        bound = changed.get("bound", lambda c: hashlib.sha256(c).digest() + bytes(32))(encoded)
        quote = changed.get("quote", world.quote)(bound)
        items = changed.get("items", lambda q, c: [q, c])(quote, encoded)
        return bytes(cbor2.dumps(cbor2.CBORTag(changed.get("tag", 60_000), items)))

    return make


DEFECTS: dict[str, tuple[type[GoldenGrainError], dict[str, Any]]] = {
    "1 signed by another key": (errors.CertificateMalformed, {"signer": ec.generate_private_key(ec.SECP384R1())}),
    "1 RSA": (errors.CertificateMalformed, {"key": rsa.generate_private_key(65_537, 2048)}),
    "1 another curve": (errors.CertificateMalformed, {"key": ec.generate_private_key(ec.SECP521R1())}),
    "1 not yet": (errors.CertificateMalformed, {"start": datetime.fromtimestamp(AT, UTC) + timedelta(days=1)}),
    "1 no longer": (errors.CertificateMalformed, {"end": datetime.fromtimestamp(AT, UTC) - timedelta(days=1)}),
    "2 another tag": (errors.CertificateMalformed, {"tag": 60_001}),
    "2 three items": (errors.CertificateMalformed, {"items": lambda q, c: [q, c, c]}),
    "2 text for a quote": (errors.CertificateMalformed, {"items": lambda q, c: ["quote", c]}),
    "2 claims are no map": (errors.CertificateMalformed, {"claims": lambda d: [d]}),
    "2 a second claim": (
        errors.CertificateMalformed,
        {"claims": lambda d: {"pubkey-hash": cbor2.dumps([1, d]), "nonce": b"x"}},
    ),
    "2 another hash": (errors.CertificateMalformed, {"claims": lambda d: {"pubkey-hash": cbor2.dumps([7, d])}}),
    "2 claims are no CBOR": (errors.CertificateMalformed, {"claims": lambda d: b"\xff"}),
    "3 another key's claims": (
        errors.CertificateKeyMismatch,
        {"claims": lambda d: {"pubkey-hash": cbor2.dumps([1, bytes(32)])}},
    ),
    "5 a quote that binds other claims": (errors.CertificateKeyMismatch, {"bound": lambda c: bytes(64)}),
    "5 a quote that binds more": (
        errors.CertificateKeyMismatch,
        {"bound": lambda c: hashlib.sha256(c).digest() + bytes(31) + b"x"},
    ),
}
_CERTIFICATE = {"signer", "key", "start", "end"}


def test_a_rebuilt_certificate_is_accepted_without_a_defect(world: World) -> None:
    world.check(_rebuilt(world, _evidence(world)))
    world.check(_rebuilt(world, _evidence(world), key=ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize("case", DEFECTS)
def test_a_defect_is_refused_by_name(case: str, world: World) -> None:
    refusal, changed = DEFECTS[case]
    fields = {name: value for name, value in changed.items() if name in _CERTIFICATE}
    evidence = _evidence(world, **{name: value for name, value in changed.items() if name not in _CERTIFICATE})
    with pytest.raises(refusal) as caught:
        world.check(_rebuilt(world, evidence, **fields))
    assert type(caught.value) is refusal


@pytest.mark.parametrize("made", [b"", b"noise", bytes(70_000)])
def test_what_is_no_certificate_is_refused(made: bytes, world: World) -> None:
    with pytest.raises(errors.CertificateMalformed):
        world.check(made)
    with pytest.raises(errors.CertificateMalformed, match="no evidence"):
        world.check(_rebuilt(world, None))


def test_what_quotes_are_refused_for_certificates_are_refused_for(world: World, tmp_path: Path) -> None:
    def certificate(**options: Any) -> bytes:
        return ratls.certify(lambda data: world.platform.quote(data, options.pop("code", CODE), **options)).certificate

    other = DevelopmentRoot.create(tmp_path, at=AT)
    for refusal, made, changed in (
        (refusals.QuoteDebug, certificate(debug=True), {}),
        (refusals.QuoteStatusRefused, certificate(tcb="OutOfDate"), {}),
        (refusals.QuoteMeasurementRefused, ratls.certify(lambda d: world.platform.quote(d, bytes(32))).certificate, {}),
        (refusals.CollateralExpired, certificate(), {"at": AT + 40 * 86_400}),
        (refusals.CollateralUntrusted, certificate(), {"trust": replace(world.trust, roots=(other.root_der,))}),
        (refusals.QuoteRootUnknown, certificate(), {"trust": replace(world.trust, roots=())}),
        (refusals.QuoteRevoked, certificate(), {"collateral": world.platform.collateral(at=AT, revoked=True)}),
    ):
        with pytest.raises(refusal):
            world.check(made, **changed)


def test_a_markets_policy_can_be_what_is_believed(world: World, certified: Certified) -> None:
    root, measurement = AttestationRoot(world.root.root_der), world.platform.measurement_of(CODE)
    world.check(certified.certificate, trust=Trust.of(samples.policy(roots=(root,), measurements=(measurement,))))
    with pytest.raises(refusals.QuoteMeasurementRefused):
        world.check(certified.certificate, trust=Trust.of(samples.policy(roots=(root,))))


def test_one_of_several_roots_is_enough(world: World, certified: Certified, tmp_path: Path) -> None:
    other = DevelopmentRoot.create(tmp_path, at=AT)
    world.check(certified.certificate, trust=replace(world.trust, roots=(other.root_der, world.root.root_der)))


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_changed_certificate_is_refused_by_name_or_says_the_same(
    changes: list[tuple[int, int]], world: World, certified: Certified
) -> None:
    changed = bytearray(certified.certificate)
    for place, value in changes:
        changed[place % len(changed)] = value
    good = world.check(certified.certificate)
    try:
        assert world.check(bytes(changed)) == good
    except GoldenGrainError:
        return


# --- Gramine's own library, compiled as a stand-in ------------------------------------------------------------------

SCRIPT = """
import json, sys
from pathlib import Path
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.enclave.quoting.gramine import Gramine
try:
    made = Gramine(Path(sys.argv[1])).certified()
    print(json.dumps({"certificate": made.certificate.hex(), "key": made.key.private_numbers().private_value}))
except GoldenGrainError as error:
    print(json.dumps({"code": error.code, "message": str(error)}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    need("cc", compiler, "install a C compiler (Debian: gcc)")
    folder = tmp_path_factory.mktemp("library")
    source = Path(__file__).parent / "gramine" / "stand_in.c"
    command = [str(compiler), "-shared", "-fPIC", "-Wall", "-Werror", "-o", folder / "libra_tls_attest.so", source]
    subprocess.run(command, check=True, timeout=60)
    return folder


def _in_gramine(library: Path, folder: Path, **environment: str) -> dict[str, Any]:
    (folder / "attestation_type").write_text("dcap")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder],
        env={**os.environ, "LD_LIBRARY_PATH": str(library), "STAND_IN": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.check
def test_inside_gramine_its_own_library_makes_the_certificate(
    library: Path, world: World, certified: Certified, tmp_path: Path
) -> None:
    (tmp_path / "certificate.der").write_bytes(certified.certificate)
    der = certified.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )  # SEC1, as mbedTLS writes keys
    (tmp_path / "key.der").write_bytes(der)
    made = _in_gramine(library, tmp_path)
    assert made["key"] == certified.key.private_numbers().private_value
    world.check(bytes.fromhex(made["certificate"]))


@pytest.mark.check
def test_gramines_failures_are_named(library: Path, tmp_path: Path) -> None:
    failed = _in_gramine(library, tmp_path, STAND_IN_ERROR="-9984")
    assert failed["code"] == "QUOTING_UNAVAILABLE"
    assert "-9984" in failed["message"]
    absent = _in_gramine(tmp_path / "no library", tmp_path)
    assert absent["code"] == "QUOTING_UNAVAILABLE"
    assert "libra_tls_attest.so" in absent["message"]
    (tmp_path / "key.der").write_bytes(b"no key")
    (tmp_path / "certificate.der").write_bytes(b"no certificate")
    assert _in_gramine(library, tmp_path)["code"] == "QUOTING_UNAVAILABLE"
