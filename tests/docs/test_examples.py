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
        _clear(found, tmp_path)


def _clear(found: Reader, folder: Path) -> None:
    """End the shell and take down what the document has left running."""
    found.close()
    for home in {path.parent for path in folder.rglob("network.lock")}:
        contract_process.stop(Home(home))
        runtime.down(home, purge=True)


def runnable(document: Path) -> bool:
    return any(block.language in ("python", "console") for block in blocks(document.read_text()))


def cases() -> list[object]:
    found: list[object] = []
    for document in filter(runnable, DOCUMENTS):
        name = str(document.relative_to(ROOT))
        marks = [pytest.mark.timeout(300)] + ([pytest.mark.check] if name in LONG else [])
        found.append(pytest.param(document, marks=marks, id=name))
    return found


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(900)
def test_operating_is_followed_on_real_peers_and_on_several_machines(
    tmp_path: Path, fabric_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the blocks that need Fabric's programs: what follows is done on that network, by each with its own keys."""
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    reader = Reader(tmp_path, frozenset({"fabric"}))
    try:
        printed = reader.follow(ROOT / "docs" / "operating.md")
    finally:
        _clear(reader, tmp_path)
    assert any("Org4MSP" in one for one in printed[-4:])


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
