"""`goldengrain enclave verify-quote`: without a network, exit code 0 only for what is accepted."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform
from tests.conftest import SHARED

from .running import Result, run

SAMPLES = SHARED / "attestation-samples"
NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
AT = ("--at", "2026-11-22T12:00:00Z")
MEASUREMENT = hashlib.sha256(b"an enclave").digest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with simulated evidence: quotes at several states, collateral, the root."""
    folder = tmp_path_factory.mktemp("evidence")
    root = DevelopmentRoot.create(folder / "root", at=NOW)
    platform = SimulatedPlatform(root)
    (folder / "good").write_bytes(platform.quote(bytes(64), MEASUREMENT))
    (folder / "debug").write_bytes(platform.quote(bytes(64), MEASUREMENT, debug=True))
    (folder / "old").write_bytes(platform.quote(bytes(64), MEASUREMENT, tcb="OutOfDate"))
    (folder / "collateral").write_text(platform.collateral(at=NOW))
    (folder / "revoked").write_text(platform.collateral(at=NOW, revoked=True))
    (folder / "noise").write_bytes(bytes(range(256)) * 8)
    (folder / "other-root").write_bytes(DevelopmentRoot.create(folder / "other", at=NOW).root_der)
    policies = {
        "voted": {"statuses": ["UpToDate", "OutOfDate"], "measurements": [MEASUREMENT.hex()]},
        "other": {"statuses": ["UpToDate"], "measurements": ["00" * 32]},
        "empty": {},
        "misspelt": {"status": ["UpToDate"]},
    }
    for name, policy in policies.items():
        (folder / f"{name}.json").write_text(json.dumps(policy))
    return folder


def judge(
    made: Path, quote: str = "good", collateral: str = "collateral", *options: object, at: tuple[str, ...] = AT
) -> Result:
    root = ("--root", made / "root" / "root.der")
    evidence = ("--quote", made / quote, "--collateral", made / collateral)
    return run("enclave", "verify-quote", *evidence, *root, *at, *options, "--json")


def test_a_simulated_quote_is_accepted_under_its_root_and_says_simulated(made: Path) -> None:
    result = judge(made)
    value = result.value
    assert (result.code, value["verdict"], value["simulated"]) == (0, "accepted", True)
    assert (value["tee"], value["tcb_status"], value["advisories"]) == ("SGX", "UpToDate", [])
    assert value["measurement"] == MEASUREMENT.hex()
    assert value["report_data"] == bytes(64).hex()
    root = made / "root" / "root.der"
    shown = run(
        "enclave", "verify-quote", "--quote", made / "good", "--collateral", made / "collateral", "--root", root, *AT
    )
    assert "simulated" in shown.out
    assert "accepted" in shown.out


@pytest.mark.parametrize(
    ("quote", "collateral", "options", "at", "code"),
    [
        ("debug", "collateral", (), AT, "QUOTE_DEBUG"),
        ("old", "collateral", (), AT, "QUOTE_STATUS_REFUSED"),
        ("good", "revoked", (), AT, "QUOTE_REVOKED"),
        ("good", "collateral", (), ("--at", "2026-11-21T12:00:00Z"), "COLLATERAL_OF_THE_FUTURE"),
        ("good", "collateral", (), ("--at", "2027-11-21T12:00:00+01:00"), "COLLATERAL_EXPIRED"),
        ("noise", "collateral", (), AT, "QUOTE_MALFORMED"),
        ("good", "noise", (), AT, "COLLATERAL_MALFORMED"),
        ("good", "collateral", ("--root", "other-root"), AT, "COLLATERAL_UNTRUSTED"),
        ("good", "collateral", ("--root", "noise"), AT, None),
        ("good", "collateral", ("--root", "intel"), AT, "QUOTE_ROOT_UNKNOWN"),
        ("good", "collateral", ("--policy", "other.json"), AT, "QUOTE_MEASUREMENT_REFUSED"),
        ("good", "collateral", ("--policy", "empty.json"), AT, "QUOTE_REFUSED"),
    ],
)
def test_what_is_wrong_with_a_quote_has_its_own_name_and_exit_code_1(
    made: Path, quote: str, collateral: str, options: tuple[str, ...], at: tuple[str, ...], code: str | None
) -> None:
    paths = [made / one if (made / one).exists() else one for one in options]
    result = judge(made, quote, collateral, *paths, at=at)
    assert result.code == 1
    assert result.value["verdict"] == "refused"
    assert code in {None, result.value["refusal"]["code"]}


def test_a_policy_decides(made: Path) -> None:
    assert judge(made, "old", "collateral", "--policy", made / "voted.json").code == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--at", "yesterday"), "COMMAND_LINE"),
        (("--at", "2026-11-22T12:00:00"), "COMMAND_LINE"),
        (("--policy", "absent.json"), "FILE_REFUSED"),
        (("--policy", "noise"), "FILE_REFUSED"),
        (("--policy", "misspelt.json"), "FILE_REFUSED"),
        (("--quote", "absent"), "FILE_REFUSED"),
        (("--collateral", "absent"), "FILE_REFUSED"),
        (("--root", "absent"), "FILE_REFUSED"),
    ],
)
def test_bad_input_is_refused_before_anything_is_judged(made: Path, options: tuple[str, str], error: str) -> None:
    option, value = options
    result = judge(made, "good", "collateral", option, value if option == "--at" else made / value)
    assert (result.code, result.error, result.out) == (1, error, "")


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples lie beside the repository only")
def test_the_sample_of_real_hardware_needs_hardening_and_is_refused_by_the_default_policy(tmp_path: Path) -> None:
    evidence = ("--quote", SAMPLES / "intel_sgx_v3.quote", "--collateral", SAMPLES / "intel_sgx_v3.collateral.json")
    at = ("--at", "2025-06-19T11:56:11Z")
    result = run("enclave", "verify-quote", *evidence, *at, "--json")
    assert result.code == 1
    assert result.value["tcb_status"] == "ConfigurationAndSWHardeningNeeded"
    assert result.value["advisories"] == ["INTEL-SA-00289", "INTEL-SA-00615"]
    assert (result.value["verified"], result.value["simulated"]) == (True, False)
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"statuses": ["ConfigurationAndSWHardeningNeeded"]}))
    assert run("enclave", "verify-quote", *evidence, *at, "--policy", policy).code == 0


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples lie beside the repository only")
def test_the_simulated_sample_is_accepted_under_its_root_only() -> None:
    folder = SAMPLES / "simulated_sgx_v3"
    evidence = (
        "--quote",
        folder / "quote.bin",
        "--collateral",
        folder / "collateral.json",
        "--at",
        "2026-11-23T12:00:00Z",
    )
    assert run("enclave", "verify-quote", *evidence, "--root", folder / "root_ca.der").code == 0
    assert run("enclave", "verify-quote", *evidence).code == 1
