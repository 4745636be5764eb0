"""Offline verdicts on quotes: simulated ones, and where it is at hand a real one of Intel's hardware."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain.chaincode.protocol.errors import MalformedInput, QuoteRefused
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.quote_rules import (
    AllOf,
    AnyOf,
    MeasurementIn,
    NoAdvisory,
    NotDebug,
    StatusIn,
    TeeIn,
    UnsafeAnyMeasurement,
    read_rules,
)
from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform
from goldengrain.enclave.quoting.development_root import TCB_LEVELS
from goldengrain.enclave.verify import Verdict, parse_time, verify

RECORDED = Path(__file__).parent / "recorded"
AT = 1_900_000_000
DATA, MEASUREMENT = bytes(range(64)), bytes([7]) * 32


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentRoot:
    return DevelopmentRoot.create(tmp_path_factory.mktemp("root"), at=AT)


@pytest.fixture(scope="module")
def platform(root: DevelopmentRoot) -> SimulatedPlatform:
    return SimulatedPlatform(root)


def judge(platform: SimulatedPlatform, root: DevelopmentRoot, at: int = AT, **fields: Any) -> Verdict:
    policy = fields.pop("policy", None)
    quote = platform.quote(DATA, MEASUREMENT, **fields)
    extra = {} if policy is None else {"policy": policy}
    return verify(quote, platform.collateral(at=AT), at=at, root=root.root_der, **extra)


def test_simulated_quote_is_accepted_under_its_root_and_says_so(
    platform: SimulatedPlatform, root: DevelopmentRoot
) -> None:
    verdict = judge(platform, root)
    assert (verdict.accepted, verdict.verified, verdict.simulated, verdict.refusal) == (True, True, True, None)
    assert (verdict.tee, verdict.status, verdict.measurement) == ("SGX", "UpToDate", MEASUREMENT)
    document = verdict.to_json()
    assert (document["verdict"], document["simulated"]) == ("accepted", True)
    assert document["at"] == "2030-03-17T17:46:40Z"
    assert "UpToDate" in str(document["policy"])
    json.dumps(document)


def test_simulated_quote_is_refused_under_intels_root(platform: SimulatedPlatform) -> None:
    verdict = verify(platform.quote(DATA, MEASUREMENT), platform.collateral(at=AT), at=AT)
    assert not verdict.accepted
    assert verdict.refusal is not None
    assert verdict.refusal.code == "QUOTE_ROOT_UNKNOWN"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tcb": "OutOfDate"}, "QUOTE_STATUS_REFUSED"),
        ({"tcb": "SWHardeningNeeded"}, "QUOTE_STATUS_REFUSED"),
        ({"tcb": "OutOfDate", "policy": AllOf((StatusIn(("OutOfDate",)),))}, None),
        ({"policy": AllOf(())}, "QUOTE_REFUSED"),
        ({"policy": AllOf((StatusIn(()),))}, "QUOTE_STATUS_REFUSED"),
        ({"policy": AllOf((MeasurementIn((MEASUREMENT,)),))}, None),
        ({"policy": AllOf((MeasurementIn((bytes(32),)),))}, "QUOTE_MEASUREMENT_REFUSED"),
        ({"tcb": "OutOfDate", "policy": AllOf((NoAdvisory(("SIM-SA-00001",)),))}, "QUOTE_STATUS_REFUSED"),
        ({"policy": AllOf((NoAdvisory(("SIM-SA-00001",)),))}, None),
        ({"at": AT + 32 * 86_400}, "COLLATERAL_EXPIRED"),
        ({"at": AT - 7_200}, "COLLATERAL_OF_THE_FUTURE"),
    ],
)
def test_verdict_follows_policy_and_time(
    fields: dict[str, Any], code: str | None, platform: SimulatedPlatform, root: DevelopmentRoot
) -> None:
    verdict = judge(platform, root, **fields)
    assert (None if verdict.refusal is None else verdict.refusal.code) == code
    assert verdict.accepted is (code is None)


def test_debug_quote_is_refused(platform: SimulatedPlatform, root: DevelopmentRoot) -> None:
    assert not judge(platform, root, debug=True).accepted


def test_refused_quote_still_shows_what_it_claims(platform: SimulatedPlatform, root: DevelopmentRoot) -> None:
    verdict = judge(platform, root, at=AT + 32 * 86_400)
    assert (verdict.verified, verdict.measurement, verdict.tee) == (False, MEASUREMENT, "SGX")


@pytest.mark.parametrize("quote", [b"", b"noise", bytes(5_000)])
def test_what_is_no_quote_is_refused(quote: bytes, platform: SimulatedPlatform, root: DevelopmentRoot) -> None:
    verdict = verify(quote, platform.collateral(at=AT), at=AT, root=root.root_der)
    assert not verdict.accepted
    assert verdict.measurement is None


@pytest.mark.parametrize("collateral", ["", "{}", "[]", '{"pck_crl_issuer_chain": 5}'])
@pytest.mark.parametrize("which", ["intel", "own"])
def test_broken_collateral_is_refused(
    collateral: str, which: str, platform: SimulatedPlatform, root: DevelopmentRoot
) -> None:
    chosen = "intel" if which == "intel" else root.root_der
    assert not verify(platform.quote(DATA, MEASUREMENT), collateral, at=AT, root=chosen).accepted


def test_changed_quote_is_refused_or_says_the_same(platform: SimulatedPlatform, root: DevelopmentRoot) -> None:
    quote, collateral = platform.quote(DATA, MEASUREMENT), platform.collateral(at=AT)
    original = verify(quote, collateral, at=AT, root=root.root_der)
    chance = random.Random(3)
    refused = 0
    for _ in range(200):
        changed = bytearray(quote)
        changed[chance.randrange(len(quote))] ^= 1 << chance.randrange(8)
        verdict = verify(bytes(changed), collateral, at=AT, root=root.root_der)
        refused += not verdict.accepted
        assert not verdict.accepted or replace(verdict, policy="") == replace(original, policy="")
    assert refused > 100


@pytest.mark.parametrize("form", ["der", "pem"])
def test_root_may_be_der_or_pem(form: str, platform: SimulatedPlatform, root: DevelopmentRoot) -> None:
    from goldengrain.enclave.quoting.development_root import pem

    given = root.root_der if form == "der" else pem(root.certificate).encode()
    assert verify(platform.quote(DATA, MEASUREMENT), platform.collateral(at=AT), at=AT, root=given).accepted


def test_policies_are_read_from_json() -> None:
    full = {
        "statuses": ["UpToDate"],
        "measurements": [MEASUREMENT.hex()],
        "reject_advisories": ["INTEL-SA-00289"],
        "tees": ["TDX"],
    }
    advisories, measurements = NoAdvisory(("INTEL-SA-00289",)), MeasurementIn((MEASUREMENT,))
    assert read_rules(full) == AllOf((TeeIn((Tee.TDX,)), StatusIn(("UpToDate",)), NotDebug(), measurements, advisories))
    assert read_rules({"statuses": ["OutOfDate"]}).rules[1:] == (NotDebug(), UnsafeAnyMeasurement())
    assert "any measurement" in read_rules({"statuses": ["OutOfDate"]}).describe()
    assert read_rules({}) == AllOf(())
    wrong = (
        [],
        {"status": []},
        {"statuses": "UpToDate"},
        {"measurements": ["xyz"]},
        {"statuses": [1]},
        {"tees": ["SEV"]},
    )
    for document in wrong:
        with pytest.raises(MalformedInput):
            read_rules(document)


def test_any_of_refuses_when_all_do(root: DevelopmentRoot) -> None:
    guest = SimulatedPlatform(root, tee=Tee.TDX)
    either = AnyOf((TeeIn((Tee.SGX,)), MeasurementIn((guest.measurement_of(MEASUREMENT),))))
    neither = AnyOf((TeeIn((Tee.SGX,)), MeasurementIn((MEASUREMENT,))))
    assert judge(guest, root, policy=AllOf((either,))).accepted
    refused = judge(guest, root, policy=AllOf((neither,)))
    assert refused.refusal is not None
    assert refused.refusal.code == "QUOTE_MEASUREMENT_REFUSED"
    empty = judge(guest, root, policy=AllOf((AnyOf(()),))).refusal
    assert type(empty) is QuoteRefused


@pytest.mark.parametrize("tee", Tee)
@pytest.mark.parametrize("status", [name for name, *_ in TCB_LEVELS if name not in ("UpToDate", "Revoked")])
def test_each_tcb_status_is_told_and_refused_until_it_is_named(status: str, tee: Tee, root: DevelopmentRoot) -> None:
    machine = SimulatedPlatform(root, tee=tee, name=f"{tee}-{status}", tcb=status)
    refused = judge(machine, root)
    assert (refused.status, refused.accepted, refused.tee) == (status, False, tee)
    assert refused.advisories
    assert judge(machine, root, policy=AllOf((StatusIn((status,)),))).accepted


@pytest.mark.parametrize(
    ("fields", "code"),
    [({}, None), ({"debug": True}, "QUOTE_DEBUG"), ({"tcb": "Revoked"}, "QUOTE_REVOKED")],
)
def test_a_guest_of_tdx_is_judged_as_an_enclave_is(fields: dict[str, Any], code: str, root: DevelopmentRoot) -> None:
    guest = SimulatedPlatform(root, tee=Tee.TDX)
    verdict = judge(guest, root, **fields)
    assert (None if verdict.refusal is None else verdict.refusal.code) == code
    assert (verdict.tee, verdict.measurement) == (
        Tee.TDX,
        guest.measurement_of(MEASUREMENT) if code is None else verdict.measurement,
    )
    assert verdict.report_data == DATA


def test_a_tdx_module_that_is_behind_is_out_of_date(root: DevelopmentRoot) -> None:
    verdict = judge(SimulatedPlatform(root, tee=Tee.TDX, module_svn=4), root)
    assert (verdict.status, verdict.advisories, verdict.accepted) == ("OutOfDate", ("SIM-SA-00004",), False)


@pytest.mark.parametrize("tee", Tee)
def test_collateral_of_the_other_tee_is_refused(tee: Tee, root: DevelopmentRoot) -> None:
    one, other = (SimulatedPlatform(root, tee=each) for each in (tee, *(set(Tee) - {tee})))
    verdict = verify(one.quote(DATA, MEASUREMENT), other.collateral(at=AT), at=AT, root=root.root_der)
    assert verdict.refusal is not None
    assert verdict.refusal.code == "QUOTE_PLATFORM_MISMATCH"
    assert verdict.to_json()["refusal"]["check"] == 3  # type: ignore[index, call-overload]


def test_a_quote_of_another_tee_is_named(root: DevelopmentRoot) -> None:
    guest = SimulatedPlatform(root, tee=Tee.TDX)
    foreign = bytearray(guest.quote(DATA, MEASUREMENT))
    foreign[4] = 0x55
    verdict = verify(bytes(foreign), guest.collateral(at=AT), at=AT, root=root.root_der)
    assert verdict.refusal is not None
    assert verdict.refusal.code == "QUOTE_TECHNOLOGY_REFUSED"


def test_no_measurement_of_a_guest_is_that_of_an_enclave(root: DevelopmentRoot) -> None:
    enclave, guest = (SimulatedPlatform(root, tee=tee) for tee in Tee)
    assert enclave.measurement_of(MEASUREMENT) == MEASUREMENT
    assert guest.measurement_of(MEASUREMENT) != MEASUREMENT
    assert guest.measurement_of(MEASUREMENT) != guest.measurement_of(bytes(32))


def test_times_are_rfc_3339() -> None:
    assert parse_time("2030-03-17T17:46:40Z") == AT == parse_time("2030-03-17T18:46:40+01:00")
    for wrong in ("yesterday", "2030-03-17T17:46:40", "", "2030-W11-7T17:46:40Z", "2030-03-17", "2030-13-17T17:46:40Z"):
        with pytest.raises(MalformedInput):
            parse_time(wrong)


def recorded(name: str) -> tuple[bytes, str, int]:
    """A quote of Intel's hardware with its collateral, and an hour after that was issued."""
    collateral = (RECORDED / f"{name}.collateral.json").read_text()
    issued = [json.loads(json.loads(collateral)[part])["issueDate"] for part in ("tcb_info", "qe_identity")]
    return (RECORDED / f"{name}.quote").read_bytes(), collateral, max(map(parse_time, issued)) + 3_600


def test_real_quote_of_a_guest_is_up_to_date_and_accepted() -> None:
    quote, collateral, at = recorded("intel_tdx_v4")
    verdict = verify(quote, collateral, at=at)
    assert (verdict.accepted, verdict.simulated, verdict.tee) == (True, False, Tee.TDX)
    assert (verdict.status, verdict.advisories, verdict.debug) == ("UpToDate", (), False)
    assert verdict.fmspc == bytes.fromhex("b0c06f000000")
    today = verify(quote, collateral, at=AT).refusal
    assert today is not None
    assert today.code == "COLLATERAL_EXPIRED"


# where a byte of the recorded SGX quote lies, and what dcap-qvl says when it is another one
BROKEN = {
    "report body": (48 + 64, "ISV enclave report signature is invalid"),
    "attestation key": (48 + 384 + 4 + 64, "QE report hash mismatch"),
    "QE report": (48 + 384 + 4 + 128, "Signature is invalid for qe_report in quote"),
    "PCK certificates": (48 + 384 + 4 + 128 + 384 + 64 + 2 + 32 + 6 + 400, "Failed to verify certificate chain"),
}


@pytest.mark.parametrize("part", BROKEN)
def test_a_byte_of_the_real_quote_flipped_is_refused(part: str) -> None:
    quote, collateral, at = recorded("intel_sgx_v3")
    position, complaint = BROKEN[part]
    changed = bytearray(quote)
    changed[position] ^= 1
    verdict = verify(bytes(changed), collateral, at=at, policy=AllOf((UnsafeAnyMeasurement(),)))
    assert verdict.refusal is not None
    assert (verdict.refusal.code, complaint in str(verdict.refusal)) == ("QUOTE_UNVERIFIED", True), verdict.refusal


def test_real_quote_gives_the_recorded_verdict() -> None:
    quote, collateral, at = recorded("intel_sgx_v3")
    verdict = verify(quote, collateral, at=at)
    assert (verdict.verified, verdict.simulated, verdict.accepted) == (True, False, False)
    assert verdict.status == "ConfigurationAndSWHardeningNeeded"
    assert verdict.advisories == ("INTEL-SA-00289", "INTEL-SA-00615")
    lenient = AllOf((StatusIn((str(verdict.status),)), NotDebug()))
    assert verify(quote, collateral, at=at, policy=lenient).accepted
    today = verify(quote, collateral, at=AT)
    assert today.refusal is not None
    assert today.refusal.code == "COLLATERAL_EXPIRED"


LENIENT = AllOf((UnsafeAnyMeasurement(),))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ["intel_sgx_v3", "intel_tdx_v4"])
def test_a_real_quote_changed_at_random_is_refused_or_says_the_same(name: str, data: st.DataObject) -> None:
    quote, collateral, at = recorded(name)
    changed = bytearray(quote)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        changed = changed[: data.draw(st.integers(0, len(changed)))]
    verdict = verify(bytes(changed), collateral, at=at, policy=LENIENT)
    assert not verdict.accepted or verdict == verify(quote, collateral, at=at, policy=LENIENT)


@pytest.mark.parametrize("tee", Tee)
@pytest.mark.parametrize("rules", [LENIENT, AllOf((NotDebug(),)), AllOf((AnyOf((StatusIn(("UpToDate",)), LENIENT)),))])
def test_no_policy_accepts_a_simulated_quote_under_intels_root(rules: AllOf, tee: Tee, root: DevelopmentRoot) -> None:
    machine = SimulatedPlatform(root, tee=tee)
    theirs, _, at = recorded("intel_sgx_v3")[1], None, AT
    for collateral in (machine.collateral(at=AT), theirs):
        verdict = verify(machine.quote(DATA, MEASUREMENT), collateral, at=at, policy=rules)
        assert (verdict.accepted, verdict.verified) == (False, False)
