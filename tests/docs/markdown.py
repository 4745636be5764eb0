"""What the documents hold that can be checked: their blocks of code, their commands, their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
_NOTE = re.compile(r"<!-- (?P<notes>(?:file|on|at|brings): [^>]+) -->\s*\Z")
_SPAN = re.compile(r"`(goldengrain [^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, with what a comment before it says, such as `<!-- on: fabric, at: one, brings: two/a.json -->`.

    `file`: the reader saves it under that name. `on`: what has to be there for it to run. `at`: the machine that it is
    typed at; a folder stands for each. `brings`: files of other machines that somebody has brought there.
    """

    language: str
    code: str
    line: int
    file: str | None = None
    on: str | None = None
    at: str | None = None
    brings: tuple[str, ...] = ()


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a document, in order, without the indent that they have in a list."""
    for found in _FENCE.finditer(text):
        indent = len(found["indent"])
        code = "".join(line[indent:] for line in found["code"].splitlines(keepends=True))
        line = text.count("\n", 0, found.start()) + 2
        yield Block(found["language"], code, line, **_notes(_NOTE.search(text, 0, found.start())))


def _notes(found: re.Match[str] | None) -> dict[str, Any]:
    """What the comment before a block says, by key."""
    notes: dict[str, Any] = dict(one.split(": ", 1) for one in found["notes"].split(", ")) if found else {}
    return notes | ({"brings": tuple(notes["brings"].split())} if "brings" in notes else {})


def commands(text: str) -> Iterator[str]:
    """Every `goldengrain …` of a document: lines of its console blocks and spans in its sentences."""
    for block in blocks(text):
        if block.language == "console":
            for line in block.code.replace("\\\n", " ").splitlines():
                found = re.search(r"(?:^|\$\(|\|\s*)(goldengrain .*)", line)
                if found:
                    yield found[1]
    for span in _SPAN.finditer(_FENCE.sub("", text)):
        yield " ".join(span[1].split())


def links(text: str) -> Iterator[str]:
    """Targets of links that stay within the project, without their anchors."""
    for found in _LINK.finditer(_FENCE.sub("", text)):
        target = found["target"].partition("#")[0]
        if target and "://" not in target:
            yield target
