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


# What rules import of the protocol package runs on peers as well.

PROTOCOL = "goldengrain.chaincode.protocol"
PROTOCOL_IMPORTS = ALLOWED_IMPORTS | {"abc", "bisect", "hashlib", "re"}
LIBRARIES = ("cryptography", "coincurve", "dcap_qvl")
"""Signatures, certificates and quotes: the same answer for the same bytes."""
EXCUSED = {
    ("signatures", "import os"): "`generate` draws a key; enclaves do that, no rule",
    ("collateral", "from datetime import"): "times that certificates state are read; no clock is",
}
CLOCKS = {"now", "utcnow", "today", "fromtimestamp", "urandom", "time", "getenv", "environ", "getlocale"}
MAKERS = {"set", "frozenset"}


def imported_by_rules() -> list[Path]:
    """Modules of the protocol package that rules import, directly or not."""
    waiting, found = list(RULE_MODULES), set()
    while waiting:
        for name in _names(waiting.pop()):
            path = _file(name)
            if path is not None and path not in found:
                found.add(path)
                waiting.append(path)
    return sorted(found)


def _names(path: Path) -> list[str]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    return [
        name for node in nodes for name in (node.module, *(f"{node.module}.{one.name}" for one in node.names)) if name
    ]


def _file(name: str) -> Path | None:
    if not name.startswith(f"{PROTOCOL}."):
        return None
    path = FOLDER.parent.joinpath(*name.split(".")[2:])
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)


def protocol_complaints(module: str, tree: ast.AST) -> list[str]:
    """What a module that rules import must not hold. A set may be asked, but nothing may depend on its order."""
    found = []
    sets = _named_sets(tree)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            found += [
                f"import {one.name}" for one in node.names if one.name not in PROTOCOL_IMPORTS | {*LIBRARIES, "json"}
            ]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if not source.startswith((PROTOCOL, *LIBRARIES)) and source not in PROTOCOL_IMPORTS:
                found.append(f"from {source} import")
        elif isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"{line}: the float {node.value}")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found.append(f"{line}: division into a float")
        elif isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter, sets):
            found.append("iteration over a set, which has no order")
        elif isinstance(node, ast.Call):
            found += _bad_call(node, sets)
    return [one for one in found if (module, one) not in EXCUSED]


def _bad_call(node: ast.Call, sets: frozenset[str]) -> list[str]:
    if isinstance(node.func, ast.Attribute):
        if node.func.attr == "join" and any(_is_set(one, sets) for one in node.args):
            return ["a set joined, which has no order"]
        return [f"{node.func.attr}()"] if node.func.attr in CLOCKS - {"urandom"} else []
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name in FORBIDDEN_CALLS - MAKERS:
        return [f"{name}()"]
    if name in {"list", "tuple", "iter", "next", "enumerate", "zip", "map", "filter"}:
        return [f"{name}() of a set, which has no order"] if any(_is_set(one, sets) for one in node.args) else []
    return []


def _is_set(node: ast.AST, named: frozenset[str]) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.BinOp):
        return _is_set(node.left, named) or _is_set(node.right, named)
    if isinstance(node, ast.Name):
        return node.id in named
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS


def _named_sets(tree: ast.AST) -> frozenset[str]:
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and _is_set(node.value, frozenset())]
    return frozenset(one.id for node in assigned for one in node.targets if isinstance(one, ast.Name))


@pytest.mark.parametrize("module", imported_by_rules(), ids=lambda path: path.stem)
def test_what_rules_import_of_the_protocol_is_the_same_on_every_peer(module: Path) -> None:
    assert protocol_complaints(module.stem, ast.parse(module.read_text("utf-8"))) == []


def test_rules_import_much_of_the_protocol_but_never_its_clock() -> None:
    names = {path.stem for path in imported_by_rules()}
    assert {"tables", "report", "quotes", "records", "canonical"} <= names
    assert "clock" not in names


@pytest.mark.parametrize(
    "bad",
    [
        "import time",
        "import random",
        "import locale",
        "import os",
        "import socket",
        "from pathlib import Path",
        "from datetime import datetime",
        "x = datetime.now()",
        "x = 0.5",
        "x = a / b",
        "for x in {1, 2}: pass",
        "x = {1, 2}\nfor y in x: pass",
        "x = [y for y in set(z) - set(w)]",
        "x = list({1, 2})",
        "x = ', '.join({'a', 'b'})",
        "x = hash(y)",
        "x = open(y)",
    ],
)
def test_the_check_of_the_protocol_sees_what_it_is_for(bad: str) -> None:
    assert protocol_complaints("some", ast.parse(bad))


@pytest.mark.parametrize(
    "good", ["x = y in {1, 2}", "x = sorted(set(y) - set(z))", "x = len(set(y))", "for x in sorted({1}): pass"]
)
def test_a_set_may_be_asked(good: str) -> None:
    assert protocol_complaints("some", ast.parse(good)) == []
