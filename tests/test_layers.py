"""Who may import whom: the table of the design, held against every import statement of the product."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL = "goldengrain.chaincode.protocol"
WIRE = "goldengrain.wire"
ALLOWED = {
    "chaincode": {"goldengrain.chaincode", WIRE},
    "enclave": {"goldengrain.enclave", PROTOCOL},
    "gateway": {"goldengrain.gateway", PROTOCOL, WIRE},
    "network": {"goldengrain.network", "goldengrain.gateway", PROTOCOL, WIRE},
    "wire": {WIRE},
    "cli": {"goldengrain.cli", "goldengrain.network", "goldengrain.gateway", "goldengrain.enclave", PROTOCOL},
}


def imports(file: Path) -> set[str]:
    """Names of this project's modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ("goldengrain", *file.relative_to(ROOT).parent.parts)
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            found.update(".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)
    return {name for name in found if name.split(".")[0] == "goldengrain"}


def within(name: str, prefixes: set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_the_design_lets_it(part: str) -> None:
    files = sorted((ROOT / part).rglob("*.py"))
    assert files
    strays = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in imports(file)
        if not within(name, ALLOWED[part])
    }
    assert strays == set()


def test_the_protocol_package_imports_nothing_else_of_the_project() -> None:
    strays = {
        f"{file.name}: {name}"
        for file in (ROOT / "chaincode/protocol").rglob("*.py")
        for name in imports(file)
        if not within(name, {PROTOCOL})
    }
    assert strays == set()


@pytest.mark.parametrize(
    ("entry", "foreign"),
    [
        ("goldengrain.network.embedded.__main__", ("goldengrain.chaincode.market", "goldengrain.chaincode.shim")),
        ("goldengrain.chaincode.market.__main__", ("goldengrain.network", "goldengrain.gateway", "goldengrain.cli")),
    ],
)
def test_a_process_never_loads_the_other_side(entry: str, foreign: tuple[str, ...]) -> None:
    script = f"import {entry}, sys; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert entry in loaded
    assert [name for name in loaded if within(name, set(foreign))] == []
