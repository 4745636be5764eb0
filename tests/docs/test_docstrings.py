"""Examples in docstrings (`>>>`) are so."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT

PARTS = ("chaincode", "cli", "enclave", "gateway", "network", "wire")
MODULES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py") if ">>> " in path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_of_a_module_are_so(path: Path) -> None:
    name = ".".join(["goldengrain", *path.relative_to(ROOT).with_suffix("").parts])
    result = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert result.attempted or "doctest: +SKIP" in path.read_text()
    assert not result.failed


def test_there_are_examples() -> None:
    assert len(MODULES) >= 4
