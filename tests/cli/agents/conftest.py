"""A founded market on an embedded network, without anybody at work; one for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from goldengrain.cli.main import main  # noqa: F401 - imported before the clock of any test runs
from tests.cli.market.running import Folder

PROVIDER, DEVELOPER, OTHER = (f"User1@org{number}.example.com" for number in (1, 2, 3))
OPERATORS = tuple(f"operator@org{number}.example.com" for number in (1, 2, 3))


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A running market where everybody has credits."""
    folder = Folder(tmp_path_factory.mktemp("agents") / "home")
    folder("network", "up", "--market")
    try:
        recipients = [word for label in (PROVIDER, DEVELOPER, OTHER, *OPERATORS) for word in ("--to", label)]
        folder("credits", "mint", 200_000, *recipients)
        yield folder
    finally:
        folder("network", "down", "--purge")


@pytest.fixture(scope="package")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model for digits."""
    from goldengrain.enclave.models.datasets import load
    from goldengrain.enclave.models.train import train

    path = tmp_path_factory.mktemp("models") / "tree.onnx"
    path.write_bytes(train("tree", load("digits")).model)
    return path


@pytest.fixture
def real_market(fabric_bin: Path, tmp_path: Path) -> Iterator[Folder]:
    """The same on Fabric's own programs, for one test."""
    folder = Folder(tmp_path / "home")
    folder("network", "up", "--market", "--runtime", "native")
    try:
        people = (PROVIDER, DEVELOPER, *OPERATORS)
        folder("credits", "mint", 100_000, *(word for label in people for word in ("--to", label)))
        yield folder
    finally:
        folder("network", "down", "--purge")
