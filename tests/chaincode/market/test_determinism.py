"""Rules have nothing from which two endorsers could differ: no clock, no randomness, no floats, no order of a set."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import goldengrain.chaincode.market as package

FOLDER = Path(package.__file__).parent
OUTSIDE = {"__main__", "adapter", "memory"}
"""Modules that drive rules: they read the peer's clock, or stand in for a peer."""
RULE_MODULES = sorted(path for path in FOLDER.glob("*.py") if path.stem not in OUTSIDE)

ALLOWED_IMPORTS = {"__future__", "json", "collections.abc", "dataclasses", "enum", "functools", "types", "typing"}
FORBIDDEN_PARTS = (
    "goldengrain.chaincode.protocol.clock",
    "goldengrain.chaincode.shim",
    "goldengrain.chaincode.market.adapter",
)
FORBIDDEN_CALLS = {
    "float", "open", "hash", "id", "input", "print", "eval", "exec", "set", "frozenset", "round", "globals", "vars",
}  # fmt: skip


def complaints(tree: ast.AST) -> list[str]:
    """What a rule module must not hold."""
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            found += [f"{line}: import {one.name}" for one in node.names if one.name not in ALLOWED_IMPORTS]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [module, *(f"{module}.{one.name}" for one in node.names)]
            ours = module.startswith(("goldengrain.chaincode.protocol", "goldengrain.chaincode.market"))
            if (not ours and module not in ALLOWED_IMPORTS) or any(name.startswith(FORBIDDEN_PARTS) for name in names):
                found.append(f"{line}: from {module} import …")
        elif isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"{line}: the float {node.value}")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found.append(f"{line}: division into a float")
        elif isinstance(node, ast.Set | ast.SetComp):
            found.append(f"{line}: a set, which has no order")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(f"{line}: {node.func.id}()")
        elif isinstance(node, ast.Global | ast.Nonlocal | ast.AsyncFunctionDef | ast.Await):
            found.append(f"{line}: {type(node).__name__}")
    return found


@pytest.mark.parametrize("module", RULE_MODULES, ids=lambda path: path.stem)
def test_a_rule_module_has_nothing_that_two_endorsers_could_see_differently(module: Path) -> None:
    assert complaints(ast.parse(module.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "bad",
    [
        "import time",
        "import random",
        "from datetime import datetime",
        "from pathlib import Path",
        "from goldengrain.chaincode.protocol.clock import LedgerClock",
        "from goldengrain.chaincode.protocol import clock",
        "x = 0.5",
        "x = a / b",
        "for x in {1, 2}: pass",
        "x = [y for y in set(z)]",
        "x = {y for y in z}",
        "x = hash(y)",
        "x = open(y)",
        "async def f(): pass",
    ],
)
def test_the_check_sees_what_it_is_for(bad: str) -> None:
    assert complaints(ast.parse(bad))


def test_every_rule_module_is_checked() -> None:
    assert {
        "governance",
        "credits",
        "enclaves",
        "tasks",
        "offers",
        "claims",
        "reports",
        "settlement",
        "queries",
        "driver",
    } <= {path.stem for path in RULE_MODULES}
