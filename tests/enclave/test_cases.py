"""Case directories: hostile tickets, quotes, collateral and certificates, each refused by its own name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol import errors as protocol_errors
from goldengrain.enclave import errors

from .judging import FAMILIES, Case, cases, judge

ROOT = Path(__file__).parents[2]
ABSTRACT = {"TICKET_REFUSED", "QUOTE_REFUSED", "COLLATERAL_REFUSED", "CERTIFICATE_REFUSED"}
ELSEWHERE = {
    "HOST_BYTES_REFUSED": "files, not tickets: tests/enclave/test_job.py",
    "VERIFIER_MISMATCH": "the contract's version, not the quote: tests/chaincode/market/test_enclaves.py",
}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_a_case_is_refused_by_the_name_in_its_directory(case: Case) -> None:
    assert judge(case, case.family, case.control) == case.refused


@pytest.mark.parametrize("control", ["sgx", "tdx"])
@pytest.mark.parametrize("family", FAMILIES)
def test_controls_are_accepted(family: str, control: str) -> None:
    assert judge(None, family, control) == "accepted"


def test_every_code_of_attestation_and_tickets_has_a_case() -> None:
    def codes(kind: type[protocol_errors.GoldenGrainError]) -> set[str]:
        return {kind.code}.union(*(codes(child) for child in kind.__subclasses__()))

    kinds = (
        errors.TicketRefused,
        errors.CertificateRefused,
        protocol_errors.QuoteRefused,
        protocol_errors.CollateralRefused,
    )
    wanted = set().union(*(codes(kind) for kind in kinds)) - ABSTRACT - set(ELSEWHERE)
    assert wanted - {case.refused for case in cases()} == set()


@pytest.mark.check
def test_processes_with_other_seeds_zones_and_locales_judge_alike() -> None:
    verdicts = []
    for seed, zone, locale in (
        ("0", "UTC", "C"),
        ("1", "Pacific/Auckland", "C.UTF-8"),
        ("77", "America/St_Johns", "POSIX"),
    ):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale}
        done = subprocess.run(
            [sys.executable, "-m", "tests.enclave.judging"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        verdicts.append(json.loads(done.stdout))
    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert {verdict for name, verdict in verdicts[0].items() if name.startswith("control")} == {"accepted"}
    assert len(verdicts[0]) > 90
