"""What the documents say of the command line, of each other and of the code is so."""

from __future__ import annotations

import pkgutil
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from goldengrain.chaincode.protocol import tables
from goldengrain.cli.main import goldengrain
from tests.docs.markdown import DOCUMENTS, ROOT, commands, links

ADRS = ROOT / "docs" / "adr"
SECTIONS = ("## Context", "## Decision", "## Reason", "## Consequence")
FOREIGN = re.compile(
    "|".join(["/" + "work/", "pypi" + r"\.org", "proxy" + r"\.golang", "registry" + r"\.npm", r"/home/\w"])
)

document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def resolve(words: list[str]) -> None:
    """Walk the words of a command through groups and options; raises what is unknown."""
    found: click.Command = goldengrain
    context = click.Context(found, info_name="goldengrain")
    rest = words[1:]
    while rest and isinstance(found, click.Group) and not rest[0].startswith("-"):
        name = rest.pop(0)
        below = found.get_command(context, name)
        assert below is not None, f"there is no command {name} in `{shlex.join(words)}`"
        found = below
    known = {option for parameter in found.params for option in [*parameter.opts, *parameter.secondary_opts]} | {
        "-h",
        "--help",
    }
    for word in rest:
        option = word.partition("=")[0]
        assert not option.startswith("--") or option in known, f"there is no {option} in `{shlex.join(words)}`"


def words_of(command: str) -> list[str]:
    plain = command.partition(" #")[0].rstrip("&) ").partition(" | ")[0].partition(" >")[0]
    return shlex.split(plain.replace("…", ""))


@document
def test_every_command_in_it_exists_with_these_options(document: Path) -> None:
    for command in commands(document.read_text()):
        resolve(words_of(command))


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        assert below is not None
        found |= (
            every_command(below, (*path, name)) if isinstance(below, click.Group) else {" ".join((*path, name)): below}
        )
    return found


def test_every_help_text_ends_with_an_example_of_its_own_command() -> None:
    for name, command in every_command(goldengrain).items():
        example = (command.epilog or "").partition("Example:")[2].strip()
        assert example.startswith(f"goldengrain {name}"), name
        resolve(words_of(example))


@document
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    missing = [target for target in links(document.read_text()) if not (document.parent / target).exists()]
    assert missing == []


@document
def test_every_python_name_in_it_exists(document: Path) -> None:
    for name in sorted(set(re.findall(r"\bgoldengrain(?:\.[A-Za-z_]\w*)+", document.read_text()))):
        assert pkgutil.resolve_name(name) is not None


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for path in DOCUMENTS for name in re.findall(r"(?:`|^ *)make ([a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert named
    assert named - targets == set()


def test_the_protocol_page_shows_the_tables_that_the_contract_consults() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    shown = text.partition("<!-- tables -->\n")[2].partition("<!-- end of tables -->")[0]
    assert shown.strip() == tables.markdown().strip()


def test_decisions_have_a_number_of_their_own_and_are_listed_in_that_order() -> None:
    files = sorted(path.name for path in ADRS.glob("[0-9]*.md"))
    assert len({name[:4] for name in files}) == len(files)
    assert list(links((ADRS / "README.md").read_text())) == files


@pytest.mark.parametrize("path", sorted(ADRS.glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_a_decision_is_short_and_has_its_four_parts(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 40
    assert [line for line in lines if line.startswith("## ")] == list(SECTIONS)
    assert lines[0].startswith(f"# {int(path.name[:4])}. ")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    skipped = {".venv", "node_modules", "build", "dist"}
    return [path for path in ROOT.rglob("*") if not skipped & set(path.relative_to(ROOT).parts)]


def test_no_file_names_a_folder_of_somebodys_machine_or_a_registry() -> None:
    strays = {}
    for path in tracked():
        if path.is_file() and not path.is_symlink():
            found = FOREIGN.search(path.read_bytes().decode(errors="ignore"))
            if found:
                strays[str(path.relative_to(ROOT))] = found[0]
    assert strays == {}
