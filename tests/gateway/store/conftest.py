from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from goldengrain.gateway.store import CHUNK, FolderStore
from goldengrain.gateway.store.server import Rights, StoreServer
from tests.gateway.store.consortium import Consortium

CONTENT = bytes(range(256)) * 20_000  # almost five chunks
DIGEST = sha256(CONTENT).digest()
assert len(CONTENT) > 4 * CHUNK


@pytest.fixture(scope="session")
def consortium() -> Consortium:
    return Consortium()


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "org1")


@pytest.fixture
def server(consortium: Consortium, folder: FolderStore) -> Iterator[StoreServer]:
    """Org1's server: Org2 may put 8 MiB, Org3 nothing."""
    with consortium.server(folder, Rights("Org1MSP", {"Org2MSP": 8 << 20})) as running:
        yield running
