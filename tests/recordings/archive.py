"""The recorded files by name."""

from __future__ import annotations

import json
import lzma
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "data" / "fabric"


@cache
def files(part: str) -> dict[str, bytes]:
    """All files of a part (`bft`, `blocks`, `chaincode`, `crypto`, `gateway`, `genesis`, `lifecycle`) by path."""
    with lzma.open(DATA / f"{part}.tar.xz") as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
        found = {}
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
        return found


def parsed(part: str, name: str) -> Any:
    """A JSON file, read."""
    return json.loads(files(part)[name])


def unpack(part: str, folder: Path) -> None:
    """Write a part's files into a folder."""
    for name, content in files(part).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
