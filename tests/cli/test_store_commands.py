"""`goldengrain store` on a network's folder: folders, a server with its callers, copies, what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from goldengrain.cli.stores import Stores
from goldengrain.gateway.errors import BlobNotFound, StoreUnreachable
from goldengrain.gateway.store import FolderStore
from goldengrain.gateway.store.base import Digest
from goldengrain.network.home import Home
from tests.cli.market.running import COMMAND, Folder

CONTENT = os.urandom(3 << 20)
DIGEST = sha256(CONTENT).hexdigest()
USERS = [f"User1@org{number}.example.com" for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """The folder of a network without a market."""
    folder = Folder(tmp_path_factory.mktemp("store") / "home")
    folder("network", "up")
    yield folder
    folder("network", "down", "--purge")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.sealed").write_bytes(CONTENT)
    return tmp_path / "model.sealed"


@pytest.fixture(scope="module")
def server(made: Folder) -> Iterator[str]:
    """Org1's store, served by a process of its own; Org2 may put 4 MB."""
    arguments = ["--home", made.home, "--json", "store", "serve", "--listen", "127.0.0.1:0", "--allow", "Org2MSP=4M"]
    with subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_folder_is_an_organisations_store(made: Folder, file: Path, tmp_path: Path) -> None:
    (blob,) = made("store", "put", file, "--as", USERS[2])["blobs"]
    assert (blob["digest"], blob["size"]) == (DIGEST, len(CONTENT))
    assert (made.home / "store" / "Org3" / DIGEST).read_bytes() == CONTENT
    assert [one["digest"] for one in made("store", "ls", "--store", "org3")["blobs"]] == [DIGEST]
    made("store", "get", DIGEST, "--out", tmp_path / "out", "--store", "Org3MSP")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert made.attempt("store", "get", "0" * 64, "--out", tmp_path / "none").error == "BLOB_NOT_FOUND"
    assert not (tmp_path / "none").exists()
    assert made("store", "rm", DIGEST, "--as", USERS[2])["removed"] == [DIGEST]
    assert made("store", "ls", "--as", USERS[2])["blobs"] == []


def test_a_server_knows_its_callers_by_their_wallet_entries(
    made: Folder, server: str, file: Path, tmp_path: Path
) -> None:
    two, three = ("--as", USERS[1]), ("--as", USERS[2])
    assert made("store", "put", file, "--store", server, *two)["blobs"][0]["digest"] == DIGEST
    listed = made("store", "ls", "--store", server, *two)
    assert [one["owner"] for one in listed["blobs"]] == ["Org2MSP"]
    assert (listed["used"], listed["quota"]) == (len(CONTENT), 4_000_000)
    made("store", "get", DIGEST, "--out", tmp_path / "out", "--store", server, *three)
    assert (tmp_path / "out").read_bytes() == CONTENT
    file.write_bytes(CONTENT[1:])
    assert made.attempt("store", "put", file, "--store", server, *two).error == "QUOTA_EXCEEDED"
    assert made.attempt("store", "put", file, "--store", server, *three).error == "STORE_REFUSED"
    assert made.attempt("store", "rm", DIGEST, "--store", server, *three).error == "STORE_REFUSED"
    assert "4,000,000" in made.shown("store", "ls", "--store", server, *two)
    made("store", "rm", DIGEST, "--store", server)  # its keeper may


def test_what_one_lacks_comes_from_others(made: Folder, server: str, file: Path) -> None:
    made("store", "put", file, "--store", server)
    three = ("--as", USERS[2])
    done = made("store", "replicate", "--from", server, *three)
    assert [one["digest"] for one in done["copied"]] == [DIGEST]
    assert made("store", "replicate", "--from", server, *three)["there"] == 1
    missing = made.attempt("store", "replicate", "0" * 64, "--from", server, "--from", "Org2", *three)
    assert missing.error == "CHECK_FAILED"
    assert "BLOB_NOT_FOUND" in missing.value["failed"]["0" * 64]
    made("store", "rm", DIGEST, *three)
    made("store", "rm", DIGEST)


def test_another_place_is_kept_for_all_commands(made: Folder, server: str, file: Path) -> None:
    assert made.attempt("store", "use", "ftp://nowhere").error == "STORE"
    made("store", "use", server)
    try:
        made("store", "put", file)
        assert "used" in made("store", "ls")
        assert "used" in made("store", "ls", "--store", "Org1")
        made("store", "rm", DIGEST)
    finally:
        (made.home / "stores.json").unlink()
    assert "used" not in made("store", "ls")


@pytest.mark.parametrize("text", ["Org2MSP", "Org2MSP=", "Org2MSP=lots", "=5M"])
def test_a_quota_that_is_none_is_a_wrong_command_line(made: Folder, text: str) -> None:
    assert made.attempt("store", "serve", "--allow", text).code == 2


def test_a_blob_is_found_in_one_store_though_another_one_is_silent(made: Folder, tmp_path: Path) -> None:
    class Silent(FolderStore):
        def has(self, digest: Digest) -> bool:
            raise StoreUnreachable("silent")

    stores = Stores(Home(made.home))
    digest = stores.of("Org3MSP").put_bytes(b"grain").digest
    with pytest.raises(BlobNotFound):
        stores.holding(bytes(32))
    stores._opened[stores.url("Org1MSP")] = Silent(tmp_path)
    assert stores.holding(digest, ["Org1MSP"]) is stores.of("Org3MSP")
    with pytest.raises(StoreUnreachable):
        stores.holding(bytes(32), ["Org1MSP"])
