"""Every document can be followed from its first block to its last, in an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from goldengrain.cli import contract_process
from goldengrain.network import runtime
from goldengrain.network.home import Home
from tests.docs.markdown import DOCUMENTS, ROOT, blocks
from tests.docs.reader import Reader

LONG = {"docs/market.md", "docs/operating.md", "docs/store.md"}
"""Documents of some thirty commands, which `make check` follows."""


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    found = Reader(tmp_path)
    try:
        yield found
    finally:
        found.close()
        for folder in {path.parent for path in tmp_path.rglob("network.lock")}:
            contract_process.stop(Home(folder))
            runtime.down(folder, purge=True)


def runnable(document: Path) -> bool:
    return any(block.language in ("python", "console") for block in blocks(document.read_text()))


def cases() -> list[object]:
    found: list[object] = []
    for document in filter(runnable, DOCUMENTS):
        name = str(document.relative_to(ROOT))
        marks = [pytest.mark.timeout(300)] + ([pytest.mark.check] if name in LONG else [])
        found.append(pytest.param(document, marks=marks, id=name))
    return found


@pytest.mark.parametrize("document", cases())
def test_a_document_can_be_followed(document: Path, reader: Reader) -> None:
    reader.follow(document)


def test_a_command_that_fails_ends_the_reading(tmp_path: Path, reader: Reader) -> None:
    block = next(blocks("```console\necho first\nfalse\necho second\n```\n"))
    with pytest.raises(AssertionError) as failed:
        reader._console(block, "somewhere.md:2")
    assert str(failed.value).endswith("echo second\n\nfirst\n")


def test_a_python_block_that_fails_says_where(reader: Reader) -> None:
    block = next(blocks("\n\n```python\nassert 1 == 2\n```\n"))
    with pytest.raises(AssertionError) as failed:
        reader._python(block, "somewhere.md:4")
    assert failed.traceback[-1].lineno == 3
