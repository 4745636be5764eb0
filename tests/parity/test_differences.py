"""`differences` is complete: what it doesn't list is on both ledgers, and what it lists is on one alone."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from goldengrain.chaincode.protocol.commands import COMMANDS, Action
from goldengrain.chaincode.protocol.errors import ERRORS
from goldengrain.chaincode.protocol.policy import Policy
from tests.parity import differences as d
from tests.parity.ledger import ARGUMENTS, POLICY

ROOT = Path(__file__).parents[2]
SOURCES = {path.name: path.read_text() for path in sorted((Path(__file__).parent / "contracts").glob("*.vy"))}


def snake(name: str) -> str:
    """The EVM's name of a command."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def external(source: str) -> set[str]:
    """Names of the functions of a Vyper source that change state for whoever calls them."""
    found = re.findall(r"@external\n((?:@\w+\n)*)def (\w+)\(", source)
    return {name for decorators, name in found if "@view" not in decorators}


def test_every_command_of_the_chaincode_is_a_step_or_listed() -> None:
    listed = [*d.COMMANDS, *d.SETTING]
    assert sorted([*ARGUMENTS, *listed]) == sorted(COMMANDS)
    assert set(d.TRANSLATED) <= set(ARGUMENTS)


def test_every_step_is_a_function_of_the_evm_contract_and_every_other_function_is_listed() -> None:
    functions = set().union(*(external(source) for source in SOURCES.values()))
    steps = {snake(one) for one in ARGUMENTS if one not in d.TRANSLATED}
    assert functions == steps | {snake(one) for one in d.SETTING} | set(d.EVM_FUNCTIONS)


def test_what_is_voted_on_one_ledger_alone_is_listed() -> None:
    kinds = set(re.findall(r"^([A-Z]+): constant\(uint256\) = \d+$", SOURCES["registry.vy"], re.MULTILINE))
    both = {str(one) for one in Action} - set(d.ACTIONS)
    assert kinds == {one.upper() for one in both} | set(d.EVM_ACTIONS)


def test_every_refusal_is_on_both_ledgers_or_listed() -> None:
    reverts = set(re.findall(r"\brefusals\.([A-Z_]+)", "".join(SOURCES.values())))
    assert reverts == set(re.findall(r"^([A-Z_]+): constant\(bytes4\)", SOURCES["refusals.vy"], re.MULTILINE))
    assert reverts - d.codes() == set(), "refusals that only the EVM has"
    assert d.codes() - reverts == set(d.CODES), "refusals that the EVM lacks"


def test_what_is_listed_as_never_raised_is_raised_by_no_rule() -> None:
    rules = [path.read_text() for path in sorted((ROOT / "chaincode").rglob("*.py")) if "errors" not in path.parts]
    for code, reason in d.CODES.items():
        raised = any(re.search(rf"\b{ERRORS[code].__name__}\b\(", text) for text in rules if code in ERRORS)
        if reason is d.Reason.NEVER:
            assert not raised, code


def test_every_part_of_the_policy_is_on_both_ledgers_or_listed() -> None:
    struct = re.search(r"struct Policy:\n((?:    \w+: \w+\n)+)", SOURCES["policies.vy"])
    assert struct is not None
    there = {line.split(":")[0].strip() for line in struct[1].splitlines()}
    here = {one.name for one in fields(Policy)} - set(d.POLICY)
    renamed = {"previous_bundle_sunset": "previous_sunset"}
    assert there == {renamed.get(one, one) for one in here}
    assert set(POLICY) <= here


def test_every_reason_is_one_for_something() -> None:
    assert {reason for table in d.TABLES.values() for reason in table.values()} == set(d.Reason)


def test_the_docs_show_what_is_listed() -> None:
    text = (ROOT / "docs" / "parity.md").read_text()
    shown = text.partition("<!-- differences -->\n")[2].partition("<!-- end of differences -->")[0]
    assert shown.strip() == d.markdown().strip()
