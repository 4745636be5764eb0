"""Registration's checks on quotes of the simulated quoting enclave, and on a real one where the samples are found."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain.chaincode.protocol import collateral as collaterals
from goldengrain.chaincode.protocol import errors, quotes, signatures
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy, RootKind
from goldengrain.enclave.quoting.development_root import DevelopmentRoot
from goldengrain.enclave.quoting.simulated import SimulatedPlatform

from . import samples

NOW = samples.NOW
DAY = 86_400
MEASUREMENT = samples.word("measurement")
OPERATOR = samples.word("operator1")
OTHER = samples.word("other")


@dataclass(frozen=True)
class Sample:
    """A quote, its collateral and root, and a time at which they are good."""

    quote: bytes
    collateral: str
    root: bytes
    at: int


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentRoot:
    return DevelopmentRoot.create(tmp_path_factory.mktemp("root") / "root", at=NOW)


@pytest.fixture(scope="module")
def platform(root: DevelopmentRoot) -> SimulatedPlatform:
    return SimulatedPlatform(root, name="machine")


@pytest.fixture(scope="module")
def policy(root: DevelopmentRoot) -> Policy:
    return samples.policy(roots=(AttestationRoot(root.root_der),), measurements=(MEASUREMENT,))


@pytest.fixture(scope="module")
def collateral(platform: SimulatedPlatform) -> str:
    return platform.collateral(at=NOW)


@pytest.fixture(scope="module")
def registration(platform: SimulatedPlatform, policy: Policy) -> quotes.Registration:
    unsigned = quotes.Registration(
        channel="market",
        contract="golden-grain",
        operator=OPERATOR,
        challenge=samples.word("challenge"),
        challenged=OPERATOR,
        challenge_made=NOW - 10,
        challenge_used=False,
        quote=b"",
        root=policy.roots[0].id,
        signing_key=signatures.public_key(samples.SIGNING_KEY),
        encryption_key=samples.ENCLAVE_KEY.public,
        bundle=policy.bundle,
    )
    return replace(unsigned, quote=platform.quote(unsigned.report_data(), MEASUREMENT))


def test_a_good_registration_passes_all_nine_checks(
    registration: quotes.Registration, collateral: str, policy: Policy, platform: SimulatedPlatform
) -> None:
    verdict = quotes.verify_registration(registration, collateral, policy, NOW)
    assert verdict.status == "UpToDate"
    assert verdict.simulated
    assert verdict.measurement == MEASUREMENT
    assert verdict.fmspc == platform.fmspc
    assert verdict.expires > NOW


Change = Callable[[quotes.Registration, SimulatedPlatform], quotes.Registration]


def quoted(**options: Any) -> Change:
    def change(registration: quotes.Registration, platform: SimulatedPlatform) -> quotes.Registration:
        measurement = options.get("measurement", MEASUREMENT)
        rest = {name: value for name, value in options.items() if name != "measurement"}
        return replace(registration, quote=platform.quote(registration.report_data(), measurement, **rest))

    return change


def changed(**fields: Any) -> Change:
    return lambda registration, _: replace(registration, **fields)


def flipped(position: int) -> Change:
    def change(registration: quotes.Registration, _: SimulatedPlatform) -> quotes.Registration:
        data = bytearray(registration.quote)
        data[position] ^= 1
        return replace(registration, quote=bytes(data))

    return change


def another_bundle(registration: quotes.Registration, platform: SimulatedPlatform) -> quotes.Registration:
    return quoted()(replace(registration, bundle=OTHER), platform)


REFUSED: dict[str, tuple[type[errors.ContractError], Change]] = {
    "1 too large": (errors.QuoteTooLarge, changed(quote=bytes(quotes.MAX_QUOTE + 1))),
    "1 too small": (errors.QuoteTooLarge, changed(quote=bytes(100))),
    "1 signing key": (errors.SignatureMalformed, changed(signing_key=bytes(33))),
    "1 encryption key": (errors.KeyMalformed, changed(encryption_key=b"\xff" * 1_216)),
    "2 another operator's challenge": (errors.QuoteRegistrationMismatch, changed(challenged=OTHER)),
    "2 used challenge": (errors.ChallengeUsed, changed(challenge_used=True)),
    "2 old challenge": (errors.ChallengeStale, changed(challenge_made=NOW - 3_601)),
    "3 root": (errors.QuoteRootUnknown, changed(root=OTHER)),
    "3 no quote": (errors.QuoteMalformed, changed(quote=b"\xff" * 2_000)),
    "3 report body": (errors.QuoteUnverified, flipped(48 + 64)),
    "3 attestation key": (errors.QuoteUnverified, flipped(48 + 384 + 4 + 64)),
    "4 out of date": (errors.QuoteStatusRefused, quoted(tcb="OutOfDate")),
    "4 hardening": (errors.QuoteStatusRefused, quoted(tcb="SWHardeningNeeded")),
    "3 revoked level": (errors.QuoteRevoked, quoted(tcb="Revoked")),
    "5 debug": (errors.QuoteDebug, quoted(debug=True)),
    "6 measurement": (errors.QuoteMeasurementRefused, quoted(measurement=OTHER)),
    "7 signing key": (errors.QuoteKeysMismatch, changed(signing_key=signatures.public_key(OTHER))),
    "7 encryption key": (errors.QuoteKeysMismatch, changed(encryption_key=samples.PROVIDER_KEY.public)),
    "7 bundle": (errors.QuoteKeysMismatch, changed(bundle=OTHER)),
    "8 channel": (errors.QuoteRegistrationMismatch, changed(channel="other")),
    "8 contract": (errors.QuoteRegistrationMismatch, changed(contract="other")),
    "8 operator": (errors.QuoteRegistrationMismatch, changed(operator=OTHER, challenged=OTHER)),
    "8 challenge": (errors.QuoteRegistrationMismatch, changed(challenge=OTHER)),
    "9 bundle": (errors.QuoteBundleRefused, another_bundle),
}


@pytest.mark.parametrize("case", REFUSED)
def test_each_check_refuses_by_name(
    case: str,
    registration: quotes.Registration,
    platform: SimulatedPlatform,
    collateral: str,
    policy: Policy,
) -> None:
    refusal, change = REFUSED[case]
    with pytest.raises(refusal) as caught:
        quotes.verify_registration(change(registration, platform), collateral, policy, NOW)
    assert caught.type is refusal


# --- the order of the checks: a defect for each of the nine; any of them can be in one registration together ----------


@dataclass(frozen=True)
class Defect:
    """What is wrong with a registration: what is quoted, the quote's bytes, other fields, the policy."""

    refusal: type[errors.ContractError]
    quoted: dict[str, Any] = field(default_factory=dict)
    edited: Callable[[bytes], bytes] = lambda quote: quote
    fields: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)


def _flipped(quote: bytes) -> bytes:
    at = 48 + 384 + 4 + 64
    return quote[:at] + bytes([quote[at] ^ 1]) + quote[at + 1 :]


DEFECTS: dict[int, Defect] = {
    1: Defect(errors.QuoteTooLarge, edited=lambda quote: quote + bytes(quotes.MAX_QUOTE)),
    2: Defect(errors.ChallengeUsed, fields={"challenge_used": True}),
    3: Defect(errors.QuoteUnverified, edited=_flipped),
    4: Defect(errors.QuoteStatusRefused, quoted={"tcb": "OutOfDate"}),
    5: Defect(errors.QuoteDebug, quoted={"debug": True}),
    6: Defect(errors.QuoteMeasurementRefused, quoted={"measurement": OTHER}),
    7: Defect(errors.QuoteKeysMismatch, fields={"signing_key": signatures.public_key(OTHER)}),
    8: Defect(errors.QuoteRegistrationMismatch, fields={"challenge": OTHER}),
    9: Defect(errors.QuoteBundleRefused, policy={"bundle": OTHER}),
}


EARLIER = {(4, 5): 5}
"""dcap-qvl refuses a debug enclave in check 3 already, and says nothing of its TCB status: nobody learns that then."""


@pytest.mark.parametrize("checks", [*combinations(DEFECTS, 1), *combinations(DEFECTS, 2), tuple(DEFECTS)], ids=str)
def test_of_several_defects_the_earliest_check_s_is_named(
    checks: tuple[int, ...],
    registration: quotes.Registration,
    platform: SimulatedPlatform,
    collateral: str,
    policy: Policy,
) -> None:
    defects = [DEFECTS[check] for check in checks]
    made = registration
    options: dict[str, Any] = {}
    for one in defects:
        options |= one.quoted
    if options:
        made = quoted(**options)(made, platform)
    for one in reversed(defects):
        made = replace(made, quote=one.edited(made.quote), **one.fields)
        policy = replace(policy, **one.policy)
    with pytest.raises(errors.ContractError) as caught:
        quotes.verify_registration(made, collateral, policy, NOW)
    assert caught.type is DEFECTS[EARLIER.get(checks, checks[0])].refusal


def test_a_status_that_was_voted_in_is_accepted(
    registration: quotes.Registration, platform: SimulatedPlatform, collateral: str, policy: Policy
) -> None:
    lenient = replace(policy, statuses=("UpToDate", "OutOfDate"))
    behind = quoted(tcb="OutOfDate")(registration, platform)
    assert quotes.verify_registration(behind, collateral, lenient, NOW).status == "OutOfDate"


def test_a_revoked_platform_is_refused(
    registration: quotes.Registration, platform: SimulatedPlatform, policy: Policy
) -> None:
    with pytest.raises(errors.QuoteRevoked):
        quotes.verify_registration(registration, platform.collateral(at=NOW, revoked=True), policy, NOW)


def test_collateral_of_another_platform_is_refused(
    registration: quotes.Registration, root: DevelopmentRoot, policy: Policy
) -> None:
    other = SimulatedPlatform(root, name="other", fmspc=b"\x01" * 6).collateral(at=NOW)
    with pytest.raises(errors.QuotePlatformMismatch):
        quotes.verify_registration(registration, other, policy, NOW)


def test_a_root_that_the_policy_lost_is_refused(
    registration: quotes.Registration, root: DevelopmentRoot, collateral: str
) -> None:
    with pytest.raises(errors.QuoteRootUnknown):
        quotes.verify_quote(registration.quote, collateral, root.root_der, NOW, samples.policy())


def test_trailing_bytes_change_nothing(registration: quotes.Registration, collateral: str, policy: Policy) -> None:
    longer = replace(registration, quote=registration.quote + b"x" * 50)
    assert quotes.verify_registration(longer, collateral, policy, NOW) == quotes.verify_registration(
        registration, collateral, policy, NOW
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_quote_is_refused_by_name_or_says_the_same(
    data: st.DataObject,
    registration: quotes.Registration,
    root: DevelopmentRoot,
    collateral: str,
) -> None:
    damaged = bytearray(registration.quote)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))]) if data.draw(st.booleans()) else bytes(damaged)
    good = quotes.inspect_quote(registration.quote, collateral, root.root_der, NOW)
    with contextlib.suppress(errors.QuoteRefused):
        assert quotes.inspect_quote(cut, collateral, root.root_der, NOW) == good


# --- collateral ------------------------------------------------------------------------------------------------------


def test_collateral_says_what_it_is_for_and_how_new(platform: SimulatedPlatform, root: DevelopmentRoot) -> None:
    good = collaterals.read_collateral(platform.collateral(at=NOW, evaluation=9, crl_number=7), root.root_der, NOW)
    assert good.fmspc == platform.fmspc
    assert good.numbers == (9, 9, 7, 7)
    assert good.issued <= NOW < good.expires


def test_its_numbers_only_rise(platform: SimulatedPlatform, root: DevelopmentRoot) -> None:
    good = collaterals.read_collateral(platform.collateral(at=NOW, evaluation=9, crl_number=7), root.root_der, NOW)
    good.require_newer((9, 9, 7, 7))
    good.require_newer((8, 9, 0, 7))
    for stored in ((10, 9, 7, 7), (9, 9, 7, 8)):
        with pytest.raises(errors.CollateralRollback):
            good.require_newer(stored)


def test_it_is_good_to_its_last_second_and_not_before_its_first(
    platform: SimulatedPlatform, root: DevelopmentRoot
) -> None:
    text = platform.collateral(at=NOW)
    good = collaterals.read_collateral(text, root.root_der, NOW)
    collaterals.read_collateral(text, root.root_der, good.expires)
    collaterals.read_collateral(text, root.root_der, good.issued)
    with pytest.raises(errors.CollateralExpired):
        collaterals.read_collateral(text, root.root_der, good.expires + 1)
    with pytest.raises(errors.CollateralOfTheFuture):
        collaterals.read_collateral(text, root.root_der, good.issued - 1)


@pytest.mark.parametrize("field", collaterals.FIELDS)
def test_a_missing_or_wrong_part_is_refused(field: str, collateral: str, root: DevelopmentRoot) -> None:
    document = json.loads(collateral)
    for value, refusal in (
        ("", errors.CollateralIncomplete),
        (None, errors.CollateralMalformed),
        ("zz", errors.CollateralRefused),
        (document[field].replace("a", "b").replace("1", "2"), errors.CollateralRefused),
    ):
        with pytest.raises(refusal):
            collaterals.read_collateral(json.dumps({**document, field: value}), root.root_der, NOW)
    del document[field]
    with pytest.raises(errors.CollateralIncomplete):
        collaterals.read_collateral(json.dumps(document), root.root_der, NOW)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10_000, " " * (collaterals.MAX_COLLATERAL + 1)])
def test_what_is_no_collateral_is_refused(text: str, root: DevelopmentRoot) -> None:
    with pytest.raises((errors.CollateralMalformed, errors.CollateralIncomplete)):
        collaterals.read_collateral(text, root.root_der, NOW)


def test_another_roots_collateral_is_refused(collateral: str, tmp_path: Path) -> None:
    other = DevelopmentRoot.create(tmp_path / "root", at=NOW)
    with pytest.raises(errors.CollateralUntrusted):
        collaterals.read_collateral(collateral, other.root_der, NOW)
    with pytest.raises(errors.CollateralUntrusted):
        collaterals.read_collateral(collateral, b"no root", NOW)


# --- samples --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(shared: Path | None) -> list[Sample]:
    """Samples beside the checkout: a real quote, and one of another maker's simulated quoting enclave."""
    folder = shared / "attestation-samples" if shared else None
    if folder is None or not folder.is_dir():
        return []
    text = (folder / "intel_sgx_v3.collateral.json").read_text()
    chain = json.loads(text)["tcb_info_issuer_chain"].encode()
    intel = x509.load_pem_x509_certificates(chain)[-1].public_bytes(Encoding.DER)
    real = Sample((folder / "intel_sgx_v3.quote").read_bytes(), text, intel, 1_750_330_571 + 3_600)
    other = folder / "simulated_sgx_v3"
    text = (other / "collateral.json").read_text()
    at = int(datetime.fromisoformat(json.loads(json.loads(text)["tcb_info"])["issueDate"]).timestamp()) + 3_600
    return [real, Sample((other / "quote.bin").read_bytes(), text, (other / "root_ca.der").read_bytes(), at)]


def test_quotes_that_were_not_made_here_verify_under_their_own_root_alone(
    found: list[Sample], registration: quotes.Registration, collateral: str, root: DevelopmentRoot
) -> None:
    own = Sample(registration.quote, collateral, root.root_der, NOW)
    everyone = [*found, own]
    for sample in everyone:
        verdict = quotes.inspect_quote(sample.quote, sample.collateral, sample.root, sample.at)
        lenient = samples.policy(
            roots=(AttestationRoot(sample.root),), measurements=(verdict.measurement,), statuses=(verdict.status,)
        )
        assert quotes.verify_quote(sample.quote, sample.collateral, sample.root, sample.at, lenient) == verdict
        with pytest.raises(errors.QuoteStatusRefused):
            quotes.verify_quote(
                sample.quote, sample.collateral, sample.root, sample.at, replace(lenient, statuses=("None",))
            )
        for other in everyone:
            if other is not sample:
                with pytest.raises(errors.CollateralUntrusted):
                    quotes.inspect_quote(sample.quote, sample.collateral, other.root, sample.at)


def test_a_real_quote_is_intels_and_no_other_is(found: list[Sample], root: DevelopmentRoot) -> None:
    assert AttestationRoot(root.root_der).kind is RootKind.SIMULATED
    for sample in found:
        verdict = quotes.inspect_quote(sample.quote, sample.collateral, sample.root, sample.at)
        if verdict.kind is RootKind.INTEL:
            assert verdict.status == "ConfigurationAndSWHardeningNeeded"
            assert verdict.advisories == ("INTEL-SA-00289", "INTEL-SA-00615")
            assert verdict.report_data.rstrip(b"\0") == b"Hello, world!"
        with pytest.raises(errors.CollateralExpired):
            quotes.inspect_quote(sample.quote, sample.collateral, sample.root, NOW)
    assert sum(AttestationRoot(sample.root).kind is RootKind.INTEL for sample in found) == len(found) // 2
