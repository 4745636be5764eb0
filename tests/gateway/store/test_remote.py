"""Our own server: who may do what, how much, and what a cut connection, a kill or a wrong byte leads to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from goldengrain.gateway.errors import (
    BlobCorrupt,
    BlobNotFound,
    BlobTooLarge,
    QuotaExceeded,
    StoreError,
    StoreRefused,
    StoreUnreachable,
    UploadBusy,
)
from goldengrain.gateway.store import CHUNK, FolderStore, remote
from goldengrain.gateway.store.base import Blob
from goldengrain.gateway.store.members import Members
from goldengrain.gateway.store.server import Rights, StoreServer
from goldengrain.gateway.store.wire import SERVICE
from tests.gateway.store.conftest import CONTENT, DIGEST
from tests.gateway.store.consortium import Consortium, CuttingProxy


def files(folder: Path) -> list[str]:
    """Blobs and what is on its way; the catalogue is left out."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith(".catalogue"))


def test_members_put_and_read(consortium: Consortium, server: StoreServer, folder: FolderStore, tmp_path: Path) -> None:
    seen: list[int] = []
    (tmp_path / "in").write_bytes(CONTENT)
    with consortium.client(server.address, "Org2MSP") as two, consortium.client(server.address, "Org3MSP") as three:
        assert two.put_file(tmp_path / "in", progress=seen.append) == Blob(DIGEST, len(CONTENT))
        assert seen[-1] == len(CONTENT)
        assert files(folder.folder) == [DIGEST.hex()]
        assert three.read(DIGEST) == CONTENT
        assert three.fetch(DIGEST.hex(), tmp_path / "out" / "copy") == three.size(DIGEST) == len(CONTENT)
        assert (tmp_path / "out" / "copy").read_bytes() == CONTENT
        assert [(one.digest, one.size, one.owner) for one in three.entries()] == [(DIGEST, len(CONTENT), "Org2MSP")]
        assert three.has(DIGEST)
        assert two.put_bytes(CONTENT).digest == DIGEST  # once more is fine
        assert two.read(two.put_bytes(b"").digest) == b""
        with pytest.raises(BlobNotFound, match="00" * 32):
            three.read(bytes(32))
        with pytest.raises(BlobTooLarge):
            three.open(DIGEST, 10)
        with pytest.raises(BlobCorrupt):
            two.put((b"other",), expected=DIGEST)
        with pytest.raises(StoreError, match="not a SHA-256"):
            two.has("../secret")


def test_who_puts_is_decided_by_organisation(consortium: Consortium, server: StoreServer, folder: FolderStore) -> None:
    with (
        consortium.client(server.address, "Org3MSP") as three,
        consortium.client(server.address, "Org2MSP") as two,
        consortium.client(server.address) as one,
    ):
        with pytest.raises(StoreRefused, match="Org3MSP may read"):
            three.put_bytes(b"mine")
        mine, theirs = one.put_bytes(b"one's").digest, two.put_bytes(b"two's").digest
        for client, digest in ((three, mine), (three, theirs), (two, mine)):
            with pytest.raises(StoreRefused, match="may remove only"):
                client.remove(digest)
        two.remove(theirs)
        one.remove(mine)
        with pytest.raises(BlobNotFound):
            one.remove(mine)
    assert files(folder.folder) == []


def test_a_foreign_organisation_gets_no_answer(consortium: Consortium, server: StoreServer) -> None:
    stranger = consortium.stranger.issue("user", "client")
    belongs = pytest.raises(StoreUnreachable, match="does your organisation belong to its channel")
    with consortium.client(server.address, user=stranger) as client, belongs:
        client.has(DIGEST)


def test_a_certificate_without_a_role_or_revoked_is_refused_by_name(
    consortium: Consortium, server: StoreServer
) -> None:
    for user, why in (
        (consortium.user("Org2MSP", unit="orderer"), "none of the roles"),
        (consortium.user("Org2MSP", unit=""), "none of the roles"),
        (consortium.revoked, "certificate is revoked"),
    ):
        with consortium.client(server.address, user=user) as client, pytest.raises(StoreRefused, match=why):
            client.has(DIGEST)


def test_a_caller_without_a_certificate_is_not_heard(consortium: Consortium, server: StoreServer) -> None:
    anonymous = grpc.ssl_channel_credentials(consortium.tls.pem)
    with grpc.secure_channel(server.address, anonymous) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/Stat")(b"", timeout=5)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]  # an error is its call


def test_quotas_count_what_an_organisation_put(consortium: Consortium, server: StoreServer) -> None:
    with consortium.client(server.address, "Org2MSP") as two, consortium.client(server.address) as one:
        two.put_bytes(CONTENT)
        assert two.usage() == (len(CONTENT), 8 << 20)
        with pytest.raises(QuotaExceeded, match="Org2MSP has 8388608 bytes"):
            two.put_bytes(CONTENT[1:])
        one.put_bytes(CONTENT[1:])  # the keeper's own has no limit
        assert one.usage() == (len(CONTENT) - 1, None)
        two.put_bytes(CONTENT[1:])  # it is there already
        two.remove(DIGEST)
        assert two.usage()[0] == 0
        two.put_bytes(CONTENT[2:])


@pytest.mark.parametrize("cuts", [1, 3])
def test_a_cut_download_goes_on_where_it_stopped(
    consortium: Consortium, server: StoreServer, folder: FolderStore, cuts: int
) -> None:
    folder.put_bytes(CONTENT)
    proxy = CuttingProxy(server.address, after=CHUNK + 70_000, cuts=cuts)
    with proxy as address, consortium.client(address) as client:
        assert client.read(DIGEST) == CONTENT
    assert proxy.connections == cuts + 1


def test_a_cut_upload_goes_on_where_it_stopped(
    consortium: Consortium, server: StoreServer, folder: FolderStore, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(CONTENT)
    seen: list[int] = []
    proxy = CuttingProxy(server.address, after=3 * CHUNK, cuts=1, upstream=True)
    with proxy as address, consortium.client(address) as client:
        client.put_file(tmp_path / "in", progress=seen.append)
    assert proxy.connections == 2
    assert folder.read(DIGEST) == CONTENT
    assert files(folder.folder) == [DIGEST.hex()]
    assert len(seen) < 2 * (len(CONTENT) // CHUNK + 1)  # the second time less than all of it


class Stalling:
    """Downloads that fall silent after so many bytes each; `None`: they don't."""

    def __init__(self, folder: FolderStore, *brings: int | None) -> None:
        self.offsets: list[int] = []
        self.go_on = threading.Event()
        self._opened, self._brings = folder.open_unverified, brings

    def open_unverified(self, digest: bytes, offset: int) -> Any:
        file, brings = self._opened(digest, offset), self._brings[min(len(self.offsets), len(self._brings) - 1)]
        self.offsets.append(offset)

        def read(size: int) -> bytes:
            if brings is not None and file.tell() - offset >= brings:
                self.go_on.wait(30)
            return file.read(size)

        return closing(SimpleNamespace(read=read, close=file.close))


@pytest.mark.parametrize("brings", [(CHUNK, None), (0,)], ids=["for a while", "for good"])
def test_a_server_that_falls_silent_is_asked_for_the_rest_and_given_up_when_it_stays_so(
    consortium: Consortium,
    server: StoreServer,
    folder: FolderStore,
    monkeypatch: pytest.MonkeyPatch,
    brings: tuple[int | None, ...],
) -> None:
    folder.put_bytes(CONTENT)
    stalling = Stalling(folder, *brings)
    monkeypatch.setattr(folder, "open_unverified", stalling.open_unverified)
    monkeypatch.setattr(remote, "_BLOB_S", 0.3)
    with consortium.client(server.address) as client:
        if brings == (0,):
            with pytest.raises(StoreUnreachable, match="Deadline Exceeded"):
                client.read(DIGEST)
            assert set(stalling.offsets) == {0}
        else:
            assert client.read(DIGEST) == CONTENT
            assert stalling.offsets == [0, CHUNK]
    stalling.go_on.set()


def test_a_server_that_is_gone_is_named(consortium: Consortium, server: StoreServer) -> None:
    server.stop()
    with consortium.client(server.address) as client, pytest.raises(StoreUnreachable, match=server.address):
        client.has(DIGEST)


def test_a_wrong_byte_is_refused_before_the_last_chunk(
    consortium: Consortium, server: StoreServer, folder: FolderStore
) -> None:
    folder.put_bytes(CONTENT)
    (folder.folder / DIGEST.hex()).write_bytes(b"x" + CONTENT[1:])
    with consortium.client(server.address) as client, client.open(DIGEST) as reader:
        got: list[bytes] = []
        with pytest.raises(BlobCorrupt, match=DIGEST.hex()):
            got.extend(reader)
        assert sum(map(len, got)) == len(CONTENT) // CHUNK * CHUNK < len(CONTENT)
        with pytest.raises(BlobCorrupt):
            reader.read()


def test_bytes_of_another_digest_are_not_kept_by_the_server(
    consortium: Consortium, server: StoreServer, folder: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that lies about the digest; ours can't."""
    with consortium.client(server.address) as client:
        lie = Blob(sha256(b"what it said").digest(), len(CONTENT))
        monkeypatch.setattr("goldengrain.gateway.store.remote.write_hashed", lambda *_: lie)
        with pytest.raises(BlobCorrupt, match=lie.digest.hex()):
            client._upload(BytesIO(CONTENT), lie)
        with pytest.raises(BlobTooLarge, match="was announced with 10 bytes"):
            client._upload(BytesIO(CONTENT), Blob(lie.digest, 10))
        assert not client.has(lie.digest)
    assert files(folder.folder) == []


def test_the_same_upload_twice_at_once_is_refused(folder: FolderStore) -> None:
    with folder.upload(DIGEST, 10, "Org1MSP") as first:
        first.write(b"12345")
        with pytest.raises(UploadBusy), folder.upload(DIGEST, 10, "Org1MSP"):
            raise AssertionError("unreachable")
        with folder.upload(DIGEST, 10, "Org2MSP") as other:  # another organisation's is its own
            assert other.received == 0
    assert folder.received(DIGEST, "Org1MSP") == 5


def test_a_server_killed_during_a_put_keeps_nothing_half_and_goes_on(
    consortium: Consortium, tmp_path: Path, folder: FolderStore
) -> None:
    """SIGKILL half way: no blob; the next server takes the upload up where it was."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\n"
        "from goldengrain.gateway.store import FolderStore\n"
        "with FolderStore(sys.argv[1]).upload(bytes.fromhex(sys.argv[2]), int(sys.argv[3]), 'Org2MSP') as upload:\n"
        "    upload.write(sys.stdin.buffer.read())\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, str(script), str(folder.folder), DIGEST.hex(), str(len(CONTENT))]
    assert subprocess.run(command, input=CONTENT[: 2 * CHUNK], check=False).returncode == -signal.SIGKILL
    assert list(FolderStore(folder.folder)) == []
    seen: list[int] = []
    (tmp_path / "in").write_bytes(CONTENT)
    running = consortium.server(folder, Rights("Org1MSP", {"Org2MSP": None}))
    with running as server, consortium.client(server.address, "Org2MSP") as client:
        client.put_file(tmp_path / "in", progress=seen.append)
    assert seen[0] == 3 * CHUNK
    assert folder.read(DIGEST) == CONTENT


def test_the_catalogue_follows_the_folder(consortium: Consortium, folder: FolderStore) -> None:
    """What came or went while no server ran, or before it was noted, is put right at the next start."""
    kept, gone = folder.put_bytes(b"kept").digest, folder.put_bytes(b"gone").digest
    rights = Rights("Org1MSP", {"Org2MSP": 100})
    with consortium.server(folder, rights) as server, consortium.client(server.address, "Org2MSP") as client:
        theirs = client.put_bytes(b"theirs").digest
    folder.remove(gone)
    late = folder.put_bytes(b"late").digest
    with consortium.server(folder, rights) as server, consortium.client(server.address, "Org2MSP") as client:
        owners = {one.digest: one.owner for one in client.entries()}
        assert owners == {kept: "Org1MSP", theirs: "Org2MSP", late: "Org1MSP"}
        assert client.usage()[0] == len(b"theirs")


def test_lists_come_in_pages(consortium: Consortium, server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldengrain.gateway.store.remote.MAX_PAGE", 3)
    with consortium.client(server.address) as client:
        digests = sorted(client.put_bytes(b"%d" % number).digest for number in range(8))
        assert list(client) == digests


def test_many_at_once(consortium: Consortium, server: StoreServer, folder: FolderStore) -> None:
    """Uploads of the same blob and of others at once: all of them end well."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with consortium.client(server.address) as client:
                client.put_bytes(CONTENT)
                assert client.read(client.put_bytes(CONTENT[number:]).digest) == CONTENT[number:]
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(folder)) == 7


def test_unfinished_uploads_are_swept_a_day_later(folder: FolderStore) -> None:
    with folder.upload(DIGEST, 10, "Org1MSP") as upload:
        upload.write(b"12345")
    (left,) = folder.folder.rglob("*-*")
    past = time.time() - 48 * 3600
    os.utime(left, (past, past))
    folder.sweep()
    assert files(folder.folder) == []


def test_members_are_read_from_a_block(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a block"):
        Members.from_config_block(tmp_path / "none")
