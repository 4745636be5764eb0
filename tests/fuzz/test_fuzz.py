"""The corpus and inputs made of a counter, on any Python; and a bounded run of the fuzzer where there is one."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from goldengrain.chaincode.market.contract import RULES
from goldengrain.chaincode.protocol import commands
from tests.fuzz import documents
from tests.fuzz.targets import TARGETS, moments

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
MADE = {
    "parsers": 1_500,
    "calls": 1_500,
    "attestation": 1_500,
    "files": 1_500,
    "documents": 800,
    "stores": 800,
    "neighbours": 800,
}
RUNS = {
    "parsers": 60_000,
    "calls": 6_000,
    "attestation": 25_000,
    "files": 4_000,
    "documents": 6_000,
    "stores": 15_000,
    "neighbours": 12_000,
}


def made(number: int) -> bytes:
    """Bytes that are the same on every machine."""
    seed = hashlib.sha256(f"input {number}".encode()).digest()
    return seed * (1 + number % 3)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_before_stays_mended(name: str) -> None:
    found = sorted((CORPUS / name).iterdir())
    assert found
    for path in found:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_made_up_bytes_are_refused_by_name_or_accepted_within_limits(name: str) -> None:
    for number in range(MADE[name]):
        TARGETS[name](made(number))


@pytest.mark.parametrize("number", documents.ORDERLY)
def test_documents_changed_in_a_few_places_and_nested_ones_are_refused_by_name(number: int) -> None:
    prefix = (number + len(documents.PARSERS)).to_bytes(2, "big")
    slow = documents.ORDERLY[number] in documents.YAML
    for choice in range(10 if slow else 60):
        documents.documents(prefix + made(choice))
    for text in (b"[" * 400, b'{"a":' * 400) if slow else (b"[" * 9_999, b'{"a":' * 9_999):
        documents.documents(number.to_bytes(2, "big") + text)


def test_the_markets_have_seen_every_command() -> None:
    seen = {bytes.fromhex(moment.call["args"][0]).decode() for moment in moments()}
    assert set(commands.COMMANDS) - seen == set()
    assert set(commands.COMMANDS) <= set(RULES)


@pytest.mark.check
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", TARGETS)
def test_a_bounded_run_of_the_fuzzer_finds_nothing(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no release for this Python: the fuzzer itself is not run, the corpus is")
    command = [sys.executable, "-m", "tests.fuzz", name, f"-runs={RUNS[name]}", "-seed=1", "-max_len=32768"]
    command += [f"-artifact_prefix={tmp_path}/", str(tmp_path), str(CORPUS / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=290, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
