"""Offline verdicts on quotes: simulated ones, and where it is at hand a real one of Intel's hardware."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform
from goldengrain.enclave.verify import (
    AllOf,
    MeasurementIn,
    NoAdvisory,
    NotDebug,
    StatusIn,
    Verdict,
    parse_time,
    read_policy,
    verify,
)

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
        "unsafe_allow_debug": True,
    }
    assert read_policy(full) == AllOf(
        (StatusIn(("UpToDate",)), MeasurementIn((MEASUREMENT,)), NoAdvisory(("INTEL-SA-00289",)))
    )
    assert NotDebug() in read_policy({"statuses": ["UpToDate"]}).rules
    assert read_policy({}) == AllOf(())
    for wrong in ([], {"status": []}, {"statuses": "UpToDate"}, {"measurements": ["xyz"]}, {"statuses": [1]}):
        with pytest.raises(MalformedInput):
            read_policy(wrong)


def test_times_are_rfc_3339() -> None:
    assert parse_time("2030-03-17T17:46:40Z") == AT == parse_time("2030-03-17T18:46:40+01:00")
    for wrong in ("yesterday", "2030-03-17T17:46:40", ""):
        with pytest.raises(MalformedInput):
            parse_time(wrong)


def test_real_quote_gives_the_recorded_verdict() -> None:
    """A quote of Intel's hardware with its collateral, from the samples of dcap-qvl (MIT licence)."""
    quote = (RECORDED / "intel_sgx_v3.quote").read_bytes()
    collateral = (RECORDED / "intel_sgx_v3.collateral.json").read_text()
    at = parse_time(json.loads(json.loads(collateral)["tcb_info"])["issueDate"]) + 3_600
    verdict = verify(quote, collateral, at=at)
    assert (verdict.verified, verdict.simulated, verdict.accepted) == (True, False, False)
    assert verdict.status == "ConfigurationAndSWHardeningNeeded"
    assert verdict.advisories == ("INTEL-SA-00289", "INTEL-SA-00615")
    lenient = AllOf((StatusIn((str(verdict.status),)), NotDebug()))
    assert verify(quote, collateral, at=at, policy=lenient).accepted
    today = verify(quote, collateral, at=AT)
    assert today.refusal is not None
    assert today.refusal.code == "COLLATERAL_EXPIRED"
