"""A market on an embedded network, brought up by the commands themselves; one for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Folder, agents

USERS = tuple(f"User1@org{number}.example.com" for number in (1, 2, 3))
OPERATORS = tuple(f"operator@org{number}.example.com" for number in (1, 2, 3))


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A running market; everybody has credits; agents of org2 and org3 work."""
    folder = Folder(tmp_path_factory.mktemp("market") / "home")
    folder("network", "up", "--market")
    try:
        recipients = [word for label in (*USERS, *OPERATORS) for word in ("--to", label)]
        folder("credits", "mint", 100_000, *recipients)
        with agents(folder.home, ("org2", "--as", OPERATORS[1]), ("org3", "--as", OPERATORS[2])):
            yield folder
    finally:
        folder("network", "down", "--purge")


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real models for digits, by kind."""
    from goldengrain.enclave.models.datasets import load
    from goldengrain.enclave.models.train import train

    folder = tmp_path_factory.mktemp("models")
    data = load("digits")
    made = {}
    for kind in ("tree", "mlp"):
        made[kind] = folder / f"{kind}.onnx"
        made[kind].write_bytes(train(kind, data).model)
    return made
