"""Case directories: hostile tickets, quotes, collateral and certificates, each refused by its own name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from goldengrain.chaincode.protocol import errors as protocol_errors
from goldengrain.enclave import errors
from goldengrain.enclave.errors import ProvenanceRefused

from .judging import FAMILIES, Case, cases, judge

ROOT = Path(__file__).parents[2]
ABSTRACT = {
    "ENCLAVE", "TICKET_REFUSED", "QUOTE_REFUSED", "COLLATERAL_REFUSED", "CERTIFICATE_REFUSED", "MODEL_REFUSED",
    "DATASET_REFUSED", "HOST_FAULT",
}  # fmt: skip
"""What stands for several; nothing is refused by it."""
HOSTILE: list[dict[str, object]] = [
    yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parent / "hostile/cases").glob("*/*/case.yaml"))
]
ELSEWHERE = {
    "VERIFIER_MISMATCH": ("tests/chaincode/market/test_enclaves.py", "VerifierMismatch"),  # the contract's, no quote's
    "ENCLAVE_UNREACHABLE": ("tests/enclave/test_service.py", "EnclaveUnreachable"),  # nobody is there to be hostile
}
"""Codes that no case can have, and the test that reaches each."""


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_a_case_is_refused_by_the_name_in_its_directory(case: Case) -> None:
    assert judge(case, case.family, case.control) == case.refused


@pytest.mark.parametrize("control", ["sgx", "tdx"])
@pytest.mark.parametrize("family", FAMILIES)
def test_controls_are_accepted(family: str, control: str) -> None:
    assert judge(None, family, control) == "accepted"


def test_every_code_of_enclave_attestation_and_tickets_has_a_case() -> None:
    """With the files' cases in `hostile`; provenance's codes are a table of their own (`test_provenance`)."""
    roots: tuple[type[protocol_errors.GoldenGrainError], ...] = (
        errors.EnclaveError,
        protocol_errors.QuoteRefused,
        protocol_errors.CollateralRefused,
    )
    kinds = {kind for root in roots for kind in _tree(root) if not issubclass(kind, ProvenanceRefused)}
    kinds -= {kind for kind in kinds if kind.__module__.startswith("goldengrain.enclave.models")}  # one's own files
    wanted = {kind.code for kind in kinds} - ABSTRACT
    reached = {case.refused for case in cases()} | {str(case["code"]) for case in HOSTILE}
    assert wanted - reached == set(ELSEWHERE)
    for path, name in ELSEWHERE.values():
        assert f"{name}" in (ROOT / path).read_text()
    assert {kind.code for kind in kinds if kind.__subclasses__()} <= ABSTRACT | {"HOST_BYTES_REFUSED"}


def test_every_code_of_provenance_is_reached_by_its_tests() -> None:
    text = (ROOT / "tests/cli/market/test_provenance.py").read_text().split("def ", 1)[1]
    missing = [kind.__name__ for kind in _tree(ProvenanceRefused) if kind.__name__ not in text]
    assert missing == []


def test_there_are_many_more_than_eighty_cases_and_each_has_one_defect() -> None:
    assert len(cases()) + len(HOSTILE) >= 240
    assert {len(case.defect) for case in cases()} == {1}


def _tree(kind: type[protocol_errors.GoldenGrainError]) -> set[type[protocol_errors.GoldenGrainError]]:
    return {kind}.union(*(_tree(child) for child in kind.__subclasses__()))


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
