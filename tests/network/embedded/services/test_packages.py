"""Chaincode packages: what is accepted, what is refused and in which words, and what stays on disk."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from goldengrain.network.embedded.errors import LedgerCorruptError
from goldengrain.network.embedded.failures import LifecycleError
from goldengrain.network.embedded.packages import PackageStore, parse_package
from goldengrain.network.packaging import ccaas_package

PARSE = "could not parse as a chaincode install package: "


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def package(label: str = "kv_1", kind: str = "ccaas", connection: dict[str, object] | None = None) -> bytes:
    code = archive({"connection.json": json.dumps(connection or {"address": "127.0.0.1:1"}).encode()})
    return archive({"metadata.json": json.dumps({"type": kind, "label": label}).encode(), "code.tar.gz": code})


def test_a_package_names_its_server() -> None:
    made = ccaas_package("kv_1.0", "127.0.0.1:9999", dial_timeout="1m30s", tls_root=b"PEM")
    parsed = parse_package(made.content)
    assert (parsed.package_id, parsed.label) == (made.package_id, "kv_1.0")
    connection = parsed.connection()
    assert connection.address == "127.0.0.1:9999"
    assert connection.dial_timeout_s == 90.0
    assert connection.root_certificate == b"PEM"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", PARSE + "error reading as gzip stream: EOF"),
        (b"not a tgz", PARSE + "error reading as gzip stream: unexpected EOF"),
        (b"not a tgz, but longer than a header", PARSE + "error reading as gzip stream: gzip: invalid header"),
        (archive({"code.tar.gz": b""}), PARSE + "did not find any package metadata (missing metadata.json)"),
        (
            package("bad label!"),
            PARSE
            + "invalid label 'bad label!'. Label must be non-empty, can only consist of alphanumerics, symbols from "
            "'.+-_', and can only begin with alphanumerics",
        ),
    ],
    ids=["empty", "short", "long", "no-metadata", "bad-label"],
)
def test_what_is_no_package_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(LifecycleError) as caught:
        parse_package(raw)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (package(kind="golang"), "could not build chaincode: docker build failed: docker build is disabled"),
        (package(connection={"port": 1}), "could not build chaincode: connection.json has no 'address'"),
        (package(connection={"address": "a:1", "dial_timeout": "soon"}), "is not a duration such as 10s"),
        (
            archive({"metadata.json": b'{"type":"ccaas","label":"x"}', "code.tar.gz": gzip.compress(b"junk")}),
            "tar header",
        ),
    ],
    ids=["golang", "no-address", "no-duration", "no-tar"],
)
def test_what_cannot_be_run_is_not_installed(tmp_path: Path, raw: bytes, message: str) -> None:
    store = PackageStore(tmp_path)
    with pytest.raises(LifecycleError, match=message):
        store.install(raw)
    assert store.all() == []
    assert list(tmp_path.iterdir()) == []


def test_installed_packages_are_there_again_after_a_restart(tmp_path: Path) -> None:
    installed = PackageStore(tmp_path).install(package())
    again = PackageStore(tmp_path)
    assert again.all() == [installed]
    with pytest.raises(LifecycleError, match="chaincode already successfully installed"):
        again.install(package())


@pytest.mark.parametrize("other", [b"", b"no package", None], ids=["empty", "garbage", "another package"])
def test_a_damaged_package_is_refused_by_its_name(tmp_path: Path, other: bytes | None) -> None:
    PackageStore(tmp_path).install(package())
    (file,) = tmp_path.iterdir()
    file.write_bytes(package(label="other") if other is None else other)
    with pytest.raises(LedgerCorruptError, match=file.name):
        PackageStore(tmp_path)
