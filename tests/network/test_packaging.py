from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from fabric_protos.peer import collection_pb2, policy_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2

from goldengrain.network.definition import MAJORITY, Definition
from goldengrain.network.errors import PackageInvalid, PolicyInvalid
from goldengrain.network.indexes import read_indexes
from goldengrain.network.native_builder import write_builder
from goldengrain.network.packaging import ccaas_package, check_name


def _files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_a_package_says_where_the_server_is() -> None:
    package = ccaas_package("market_1.0", "127.0.0.1:9999")
    files = _files(package.content)
    assert json.loads(files["metadata.json"]) == {"path": "", "type": "ccaas", "label": "market_1.0"}
    assert json.loads(_files(files["code.tar.gz"])["connection.json"]) == {
        "address": "127.0.0.1:9999",
        "dial_timeout": "10s",
        "tls_required": False,
    }
    assert package.package_id == f"market_1.0:{hashlib.sha256(package.content).hexdigest()}"


def test_a_tls_server_comes_with_its_root() -> None:
    package = ccaas_package("a", "h:1", tls_root=b"PEM")
    connection = json.loads(_files(_files(package.content)["code.tar.gz"])["connection.json"])
    assert (connection["tls_required"], connection["root_cert"]) == (True, "PEM")


def test_the_same_server_gives_the_same_id_always() -> None:
    # Pinned: a change of these bytes would make every deployed chaincode look like a new one.
    package = ccaas_package("vec_1.0", "127.0.0.1:9999")
    assert _files(package.content) == _files(ccaas_package("vec_1.0", "127.0.0.1:9999").content)
    assert package.content[:10] == bytes.fromhex("1f8b080000000000") + package.content[8:10]
    assert package == ccaas_package("vec_1.0", "127.0.0.1:9999")
    assert package.package_id != ccaas_package("vec_1.0", "127.0.0.1:9998").package_id


def test_indexes_are_carried_where_a_peer_looks_for_them(tmp_path: Path) -> None:
    index = b'{"index": {"fields": ["owner"]}, "ddoc": "byOwner", "name": "byOwner", "type": "json"}'
    (tmp_path / "owner.json").write_bytes(index)
    (tmp_path / "colA").mkdir()
    (tmp_path / "colA" / "owner.json").write_bytes(index)
    files = _files(_files(ccaas_package("a", "h:1", indexes=read_indexes(tmp_path)).content)["code.tar.gz"])
    assert files.pop("connection.json")
    assert files == {
        "META-INF/statedb/couchdb/indexes/owner.json": index,
        "META-INF/statedb/couchdb/collections/colA/indexes/owner.json": index,
    }


@pytest.mark.parametrize("content", [None, "{", "[]", '{"index": 5}', '{"index": {"fields": []}}'])
def test_what_is_no_index_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(PackageInvalid, match="index"):
        read_indexes(tmp_path)


def test_its_shape_is_that_of_recorded_packages(vectors: Path) -> None:
    recorded = _files((vectors / "lifecycle" / "vec_org1.tgz").read_bytes())
    ours = _files(ccaas_package("vec_1", "127.0.0.1:9901", dial_timeout="5s").content)
    assert json.loads(ours["metadata.json"]) == json.loads(recorded["metadata.json"])
    assert json.loads(_files(ours["code.tar.gz"])["connection.json"]) == json.loads(
        _files(recorded["code.tar.gz"])["connection.json"]
    )


@pytest.mark.parametrize(
    "address", ["", "9999", "host", ":9999", "host:", "host:0", "host:70000", "h:-1", "h:9²", "a/b:1"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(PackageInvalid, match="HOST:PORT"):
        ccaas_package("a", address)


@pytest.mark.parametrize("label", ["", "a b", "-a", "a:b", "ä"])
def test_a_label_that_is_none_is_refused(label: str) -> None:
    with pytest.raises(PackageInvalid, match="label"):
        ccaas_package(label, "h:1")


@pytest.mark.parametrize(
    ("name", "version"),
    [("", "1"), ("a b", "1"), ("-a", "1"), ("a--b", "1"), ("a.b", "1"), ("_lifecycle", "1"), ("a", ""), ("a", "1 0")],
)
def test_a_name_or_version_that_a_peer_would_refuse_is_refused(name: str, version: str) -> None:
    with pytest.raises(PackageInvalid):
        check_name(name, version)
    check_name("golden-grain", "1.0+rc_2")


def test_a_definition_agrees_with_what_it_says_itself() -> None:
    for policy in (MAJORITY, "OR('Org1MSP.peer')"):
        definition = Definition("a", "1", policy, init_required=True)
        found = lifecycle_pb2.QueryChaincodeDefinitionResult(
            sequence=7,
            version="1",
            validation_parameter=definition.validation_parameter(),
            init_required=True,
            collections=collection_pb2.CollectionConfigPackage(),
        )
        assert definition.agrees_with(found)
        assert not Definition("a", "2", policy, init_required=True).agrees_with(found)
        assert not Definition("a", "1", policy).agrees_with(found)
        assert not Definition("a", "1", "OR('Org2MSP.peer')", init_required=True).agrees_with(found)
    assert definition.fields(3)["sequence"] == 3


def test_a_path_is_a_reference_and_text_is_a_signature_policy() -> None:
    reference = policy_pb2.ApplicationPolicy.FromString(Definition("a", "1", "/Channel/X").validation_parameter())
    assert reference.channel_config_policy_reference == "/Channel/X"
    signatures = policy_pb2.ApplicationPolicy.FromString(Definition("a", "1", "AND('A.peer')").validation_parameter())
    assert signatures.HasField("signature_policy")
    with pytest.raises(PolicyInvalid):
        Definition("a", "1", "AND(").validation_parameter()


def test_the_builder_hands_a_peer_the_connection(tmp_path: Path) -> None:
    files = _files(ccaas_package("a", "h:1").content)
    source, metadata, build, release = (tmp_path / name for name in ("source", "metadata", "build", "release"))
    for folder in (source, metadata, build, release):
        folder.mkdir()
    (metadata / "metadata.json").write_bytes(files["metadata.json"])
    (source / "connection.json").write_bytes(_files(files["code.tar.gz"])["connection.json"])
    programs = write_builder(tmp_path / "builder") / "bin"

    assert _run(programs / "detect", source, metadata) == 0
    assert _run(programs / "build", source, metadata, build) == 0
    assert _run(programs / "release", build, release) == 0
    handed = release / "chaincode" / "server" / "connection.json"
    assert handed.read_bytes() == (source / "connection.json").read_bytes()


def test_the_builder_refuses_what_is_not_its_own(tmp_path: Path) -> None:
    programs = write_builder(tmp_path / "builder") / "bin"
    (tmp_path / "metadata.json").write_text('{"type":"golang","label":"ccaas"}')
    assert _run(programs / "detect", tmp_path, tmp_path) != 0
    assert _run(programs / "build", tmp_path, tmp_path, tmp_path) != 0


def _run(*command: Path) -> int:
    return subprocess.run([str(part) for part in command], capture_output=True, check=False).returncode


def test_a_package_for_mutual_tls_holds_what_peers_show_the_server() -> None:
    package = ccaas_package("kv_1", "127.0.0.1:9999", tls_root=b"root", tls_client=(b"certificate", b"key"))
    assert json.loads(_files(_files(package.content)["code.tar.gz"])["connection.json"]) == {
        "address": "127.0.0.1:9999",
        "dial_timeout": "10s",
        "tls_required": True,
        "client_auth_required": True,
        "root_cert": "root",
        "client_cert": "certificate",
        "client_key": "key",
    }
    with pytest.raises(PackageInvalid):
        ccaas_package("kv_1", "127.0.0.1:9999", tls_client=(b"certificate", b"key"))
