"""Every document can be followed from its first block to its last, in an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from goldengrain.network import runtime
from tests.docs.markdown import DOCUMENTS, ROOT, blocks
from tests.docs.reader import Reader


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    found = Reader(tmp_path)
    try:
        yield found
    finally:
        found.close()
        for folder in {path.parent for path in tmp_path.rglob("network.lock")}:
            runtime.down(folder, purge=True)


def runnable(document: Path) -> bool:
    return any(block.language in ("python", "console") for block in blocks(document.read_text()))


@pytest.mark.parametrize("document", list(filter(runnable, DOCUMENTS)), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_can_be_followed(document: Path, reader: Reader) -> None:
    reader.follow(document)


def test_a_block_that_fails_is_noticed(tmp_path: Path, reader: Reader) -> None:
    document = ROOT / "docs" / "never-written.md"
    with pytest.raises(AssertionError, match="second"):
        reader._console(next(blocks("```console\necho first\nfalse\necho second\n```\n")), str(document))
