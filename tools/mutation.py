"""Mutation testing of what decides about money: one small fault at a time, and a test has to notice.

    python tools/mutation.py [--module NAME] [--list] [--jobs 2]

A mutant is the module with one node of its syntax tree changed: a comparison shifted, operands or words exchanged, a
condition negated, a statement or a table's row left out. Each is imported instead of the module in a process forked for
it, which runs the module's tests and stops at the first that fails. Those that survive have to stand, with the reason,
in `tests/mutation/survivors.yaml`; a survivor that doesn't, one listed that is killed now, and a score under the floor
fail the run. Why this is our own: docs/adr/0035-mutation-by-forking.md.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SURVIVORS = ROOT / "tests/mutation/survivors.yaml"
FLOOR = 0.95
CPU_S_OF_A_TEST = 4.0
MARKET, PROTOCOL = "tests/chaincode/market", "tests/chaincode/protocol"
ALL = [f"{MARKET}/test_{name}.py" for name in ("decisions", "reports", "several", "best", "swap", "tasks")]
ALL += [f"{MARKET}/test_{name}.py" for name in ("offers", "tables")]
TABLES = "goldengrain.chaincode.protocol.tables"
TARGETS = {
    "goldengrain.chaincode.protocol.pricing": [f"{PROTOCOL}/test_pricing.py"],
    "goldengrain.chaincode.protocol.threshold": [f"{PROTOCOL}/test_pricing.py"],
    TABLES: [f"{PROTOCOL}/test_tables.py"],
    "goldengrain.chaincode.protocol.report": [f"{PROTOCOL}/test_report.py"],
    "goldengrain.chaincode.market.reports": [f"{MARKET}/test_reports.py", f"{MARKET}/test_decisions.py"],
    "goldengrain.chaincode.market.decisions": [f"{MARKET}/test_{name}.py" for name in ("several", "best", "decisions")],
}
"""Module, and the tests that are the likeliest to notice; what they miss, `ALL` are asked."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "bisect_right": "bisect_left"}
ALIASES = {"S": "OfferState"}


@dataclass
class Mutant:
    """A change to make to a module; `name` doesn't depend on where in the file it is."""

    module: str
    name: str
    tree: ast.Module
    change: Callable[[], None]

    def make(self) -> ast.Module:
        """Change the tree, which all of a module's mutants share: once, in a process of its own."""
        self.change()
        return ast.fix_missing_locations(self.tree)


class _Sites(ast.NodeVisitor):
    """Collects (path to the place, old text, new node) of every change, in the order of the source."""

    def __init__(self, words: dict[str, list[str]]) -> None:
        self.words = words
        self.found: list[tuple[str, ast.AST, str, int | None, ast.AST | None]] = []
        self.scope: list[str] = []

    def generic_visit(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
                continue
            if isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        self._one(node, name, index, item)
            elif isinstance(value, ast.AST):
                self._one(node, name, None, value)

    def _one(self, parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr) or _internal_check(node) or _docstring(node):
            return
        for new in self._changes(parent, name, node):
            self.found.append((".".join(self.scope) or "module", parent, name, index, new))
        inner = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if inner:
            self.scope.append(node.name)
        self.generic_visit(node)
        if inner:
            self.scope.pop()

    def _changes(self, parent: ast.AST, name: str, node: ast.AST) -> Iterator[ast.AST | None]:
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
            yield ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
        elif isinstance(node, ast.Compare):
            for position, one in enumerate(node.ops):
                ops = [COMPARISONS[type(one)]() if at == position else op for at, op in enumerate(node.ops)]
                yield ast.Compare(node.left, ops, node.comparators)
        elif isinstance(node, ast.BoolOp):
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        elif isinstance(node, ast.UnaryOp):
            yield node.operand
        elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        elif isinstance(node, ast.IfExp):
            yield ast.IfExp(node.test, node.orelse, node.body)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            yield ast.Constant(node.value + 1)
        elif isinstance(node, ast.Name) and isinstance(parent, ast.Call) and name == "func" and node.id in FUNCTIONS:
            yield ast.Name(FUNCTIONS[node.id], ast.Load())
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from self._sibling(node, node.value.id)
        yield from self._left_out(parent, name, node)

    def _sibling(self, node: ast.Attribute, owner: str) -> Iterator[ast.AST]:
        words = self.words.get(ALIASES.get(owner, owner), [])
        if node.attr in words:
            yield ast.Attribute(node.value, words[(words.index(node.attr) + 1) % len(words)], ast.Load())

    def _left_out(self, parent: ast.AST, name: str, node: ast.AST) -> Iterator[ast.AST | None]:
        if isinstance(node, ast.Expr | ast.Raise | ast.AugAssign):
            yield ast.Pass()
        elif isinstance(node, ast.If):
            yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        elif not self._in_function() and _part_of_data(parent, name, node):
            yield None

    def _in_function(self) -> bool:
        return bool(self.scope) and self.scope[-1][0].islower() | self.scope[-1].startswith("_")


def _part_of_data(parent: ast.AST, name: str, node: ast.AST) -> bool:
    """Tell whether a node is a row of a table, or a named value in it."""
    return (name == "elts" and isinstance(parent, ast.Tuple)) or (name == "keywords" and isinstance(node, ast.keyword))


def _internal_check(node: ast.AST) -> bool:
    """Tell whether a statement only guards what can't be: `if …: raise AssertionError`."""
    if not isinstance(node, ast.If) or len(node.body) != 1 or not isinstance(node.body[0], ast.Raise):
        return False
    raised = node.body[0].exc
    return isinstance(raised, ast.Call) and ast.unparse(raised.func) == "AssertionError"


def _docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def enumerations() -> dict[str, list[str]]:
    """Return the words of every enumeration of the protocol, by its class's name."""
    words: dict[str, list[str]] = {}
    for path in sorted((ROOT / "chaincode/protocol").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "StrEnum" for base in node.bases):
                values = [one for one in node.body if isinstance(one, ast.Assign)]
                words[node.name] = [ast.unparse(one.targets[0]) for one in values]
    return words


def source_of(module: str) -> Path:
    """Return a module's file."""
    return ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")


def mutants(module: str) -> Iterator[Mutant]:
    """Make every mutant of a module."""
    tree = ast.parse(source_of(module).read_text())
    sites = _Sites(enumerations())
    sites.visit(tree)
    seen: dict[str, int] = {}
    for scope, parent, field, index, new in sites.found:
        holder = getattr(parent, field)
        old = holder if index is None else holder[index]
        changed = f"`{_text(old)}` -> `{_text(new) if new is not None else ''}`"
        name = f"{module.removeprefix('goldengrain.chaincode.')}.{scope}: {changed}"
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name += f" #{seen[name]}"
        yield Mutant(module, name, tree, partial(_exchange, parent, field, index, new))


def _exchange(parent: ast.AST, field: str, index: int | None, new: ast.AST | None) -> None:
    """Put a node in the place of another or, for None, leave that one out."""
    holder = getattr(parent, field)
    if index is None:
        setattr(parent, field, new)
    elif new is None:
        del holder[index]
    else:
        holder[index] = new


def _text(node: ast.AST) -> str:
    line = " ".join(ast.unparse(node).split())
    return line if len(line) <= 100 else line[:97] + "..."


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports a mutant instead of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._tree = mutant.make()

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(source_of(fullname)))

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._tree, str(source_of(fullname)), "exec")

    def get_source(self, fullname: str) -> str:
        return ast.unparse(self._tree)


def _prepare(mutant: Mutant | None) -> None:
    """Make a forked process one in which the mutant is imported instead of its module."""
    null = os.open(os.devnull, os.O_RDWR)
    if "GOLDENGRAIN_MUTATION_VERBOSE" not in os.environ:
        for stream in (1, 2):
            os.dup2(null, stream)
    if mutant is not None:
        sys.meta_path.insert(0, _Instead(mutant))
    sys.dont_write_bytecode = False


class _Watch:
    """Ends the process when a test goes on for too long: an endless loop has been noticed too."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_PROF, CPU_S_OF_A_TEST)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _run_tests(tests: list[str]) -> int:
    """Return pytest's exit status; 0 means that nothing was noticed."""
    from hypothesis import Phase, settings  # after the fork: it draws randomness

    settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], database=None)
    settings.load_profile("mutation")
    options = [
        "-x",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "--timeout",
        "0",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        "-m",
        "not check and not fabric",
    ]
    return int(pytest.main([*options, *(str(ROOT / one) for one in tests)], [_Watch()]))


def _page_differs() -> bool:
    """Tell whether docs/protocol.md shows other tables than the module has: a first test's promise, asked at once."""
    page = (ROOT / "docs/protocol.md").read_text("utf-8")
    shown = page.partition("<!-- tables -->\n")[2].partition("<!-- end of tables -->")[0]
    return bool(importlib.import_module(TABLES).markdown().strip() != shown.strip())


def _preload() -> None:
    """Import once, for all forks, what tests and modules import of other projects."""
    for name in ("coincurve", "cryptography.x509", "cryptography.hazmat.primitives.hpke", "dcap_qvl", "hypothesis"):
        importlib.import_module(name)


def _fork(mutant: Mutant | None, stages: list[list[str]]) -> int:
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        _prepare(mutant)
        if mutant is not None and mutant.module == TABLES and _page_differs():
            os._exit(1)
        for tests in stages:
            status = _run_tests(tests)
            if status:
                break
    finally:
        os._exit(status)


def run(chosen: list[Mutant], jobs: int) -> list[Mutant]:
    """Run every mutant's tests, `jobs` at once; return those that survive."""
    survivors: list[Mutant] = []
    running: dict[int, Mutant] = {}
    waiting, began = list(reversed(chosen)), time.monotonic()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[_fork(mutant, [TARGETS[mutant.module], ALL])] = mutant
        child, status = os.wait()
        mutant = running.pop(child)
        if status == 0:
            survivors.append(mutant)
            print(f"survives: {mutant.name}", file=sys.stderr, flush=True)
        done = len(chosen) - len(waiting) - len(running)
        if sys.stderr.isatty() or done % 50 == 0 or done == len(chosen):
            end = "\r" if sys.stderr.isatty() and done < len(chosen) else "\n"
            text = f"{done}/{len(chosen)} mutants, {len(survivors)} survive, {time.monotonic() - began:.0f} s"
            print(text, end=end, file=sys.stderr, flush=True)
    return survivors


def _baseline(modules: list[str]) -> None:
    tests = list(dict.fromkeys(one for module in modules for one in TARGETS[module]))
    _, status = os.waitpid(_fork(None, [tests, ALL]), 0)
    if status:
        sys.exit("the tests fail without any mutant: run them and mend that first")


def judge(modules: list[str], total: int, survivors: list[Mutant]) -> list[str]:
    """Return what is wrong with the result."""
    reasons: dict[str, str] = yaml.safe_load(SURVIVORS.read_text()) or {}
    of_these = tuple(module.removeprefix("goldengrain.chaincode.") + "." for module in modules)
    listed = {name for name in reasons if name.startswith(of_these)}
    names = {one.name for one in survivors}
    wrong = [f"survives, and no reason is listed: {name}" for name in sorted(names - listed)]
    wrong += [f"listed as a survivor, but killed or gone: {name}" for name in sorted(listed - names)]
    wrong += [f"listed without a reason: {name}" for name in sorted(listed) if not str(reasons[name] or "").strip()]
    score = (total - len(survivors)) / total
    if score < FLOOR:
        wrong.append(f"score {score:.1%} is under {FLOOR:.0%}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--module", action="append", choices=[one.rpartition(".")[2] for one in TARGETS])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="name the mutants and stop")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    options = parser.parse_args()
    modules = [one for one in TARGETS if not options.module or one.rpartition(".")[2] in options.module]
    chosen = [mutant for module in modules for mutant in mutants(module)]
    if options.list:
        print("\n".join(one.name for one in chosen))
        return 0
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    _preload()
    _baseline(modules)
    survivors = run(chosen, options.jobs)
    wrong = judge(modules, len(chosen), survivors)
    rows = [_row(module, chosen, survivors) for module in modules]
    if options.json:
        print(
            json.dumps({"modules": rows, "survivors": sorted(one.name for one in survivors), "wrong": wrong}, indent=2)
        )
        return 1 if wrong else 0
    for row in rows:
        print(f"{row['module']:<20} {row['mutants']:>4} mutants  {row['survive']:>3} survive  {row['score']:.1%}")
    total = len(chosen)
    print(f"{'all':<20} {total:>4} mutants  {len(survivors):>3} survive  {(total - len(survivors)) / total:.1%}")
    print("\n".join(wrong))
    return 1 if wrong else 0


def _row(module: str, chosen: list[Mutant], survivors: list[Mutant]) -> dict[str, object]:
    count = sum(one.module == module for one in chosen)
    survive = sum(one.module == module for one in survivors)
    name = module.removeprefix("goldengrain.chaincode.")
    return {"module": name, "mutants": count, "survive": survive, "score": round((count - survive) / count, 4)}


if __name__ == "__main__":
    sys.exit(main())
