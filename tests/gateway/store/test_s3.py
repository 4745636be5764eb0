"""A store in a bucket, against a double of the service on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from goldengrain.gateway.errors import BlobCorrupt, BlobNotFound, BlobTooLarge, StoreError, StoreUnreachable
from goldengrain.gateway.store import CHUNK
from goldengrain.gateway.store.locations import open_store
from goldengrain.gateway.store.s3 import S3Store
from tests.gateway.store.conftest import CONTENT, DIGEST
from tests.gateway.store.consortium import CuttingProxy

SERVICE = """
import sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Address of the double, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", SERVICE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)


def client(address: str) -> Any:
    return boto3.client("s3", endpoint_url=f"http://{address}", region_name="us-east-1")


@pytest.fixture
def store(service: str, keys: None, request: pytest.FixtureRequest) -> S3Store:
    bucket = f"bucket-{abs(hash(request.node.name)) % 10**9}-{os.getpid()}"
    client(service).create_bucket(Bucket=bucket)
    made = open_store(f"s3://{bucket}/org1/?endpoint=http://{service}&region=us-east-1")
    assert isinstance(made, S3Store)
    return made


def test_a_blob_comes_back_as_it_was(store: S3Store, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(CONTENT)
    assert store.put_file(tmp_path / "in", DIGEST).digest == DIGEST
    assert store.read(DIGEST.hex()) == CONTENT
    assert store.fetch(DIGEST, tmp_path / "copy") == store.size(DIGEST) == len(CONTENT)
    assert [len(chunk) for chunk in store.open(DIGEST)][:2] == [CHUNK, CHUNK]
    empty = store.put_bytes(b"").digest
    assert store.read(empty) == b""
    client(store._client.meta.endpoint_url.removeprefix("http://")).put_object(
        Bucket=store.bucket, Key="org1/README", Body=b"hello"
    )
    assert list(store) == sorted([DIGEST, empty])
    store.remove(DIGEST)
    assert not store.has(DIGEST)


def test_what_is_not_there_or_too_large_is_refused_by_name(store: S3Store) -> None:
    for call in (store.open, store.read, store.size, store.remove):
        with pytest.raises(BlobNotFound, match=DIGEST.hex()):
            call(DIGEST)
    store.put_bytes(CONTENT)
    with pytest.raises(BlobTooLarge):
        store.open(DIGEST, 10)
    with pytest.raises(BlobTooLarge):
        store.put((CONTENT,), max_size=10)
    with pytest.raises(BlobCorrupt):
        store.put((b"other",), expected=DIGEST)
    assert list(store) == [DIGEST]


def test_a_wrong_byte_is_refused_before_the_last_chunk(store: S3Store) -> None:
    key = f"org1/{DIGEST.hex()}"
    store._client.put_object(Bucket=store.bucket, Key=key, Body=CONTENT[:-1] + b"x")
    got: list[bytes] = []
    with pytest.raises(BlobCorrupt, match=DIGEST.hex()):
        got.extend(store.open(DIGEST))
    assert sum(map(len, got)) < len(CONTENT)


def test_a_cut_download_goes_on_where_it_stopped(store: S3Store, service: str) -> None:
    store.put_bytes(CONTENT)
    proxy = CuttingProxy(service, after=CHUNK + 70_000, cuts=1)
    with proxy as address:
        cut = S3Store(store.bucket, "org1/", client=client(address))
        assert cut.read(DIGEST) == CONTENT
    assert proxy.connections >= 2


def test_a_service_that_refuses_or_is_gone_is_named(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="refuses"):
        S3Store("no-such-bucket", client=store._client).put_bytes(b"x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreUnreachable):
        S3Store("bucket", client=client("127.0.0.1:9")).has(DIGEST)
