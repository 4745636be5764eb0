"""`goldengrain enclave build`: the rendered manifest, the hashes, the same bytes anywhere; and a build that runs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from goldengrain.cli.errors import FileRefused
from goldengrain.cli.gramine import inputs
from goldengrain.cli.gramine.build import GIB, MANIFEST, MEASURED, Built, Terms, build
from goldengrain.enclave.__main__ import _parser
from goldengrain.enclave.measurement import measured_files

from .market.running import run

CONTENT = {"app/python/bin/python3": b"interpreter", "app/packages/a.py": b"a = 1\n", "app/lib/libx.so.1": b"\x7fELF"}


def made(folder: Path, terms: Terms | None = None, **changed: bytes) -> Built:
    """A build of a few files that lie under `folder`."""
    sources = {}
    for number, (name, content) in enumerate((CONTENT | changed).items()):
        sources[name] = folder / "sources" / f"{number}"
        sources[name].parent.mkdir(parents=True, exist_ok=True)
        sources[name].write_bytes(content)
    return build(folder / "output", sources, terms or Terms())


def manifest(built: Built) -> dict[str, Any]:
    return tomllib.loads((built.folder / MANIFEST).read_text())


def test_every_measured_file_is_named_with_its_hash_and_is_there(tmp_path: Path) -> None:
    built = made(tmp_path)
    trusted = [one for one in manifest(built)["sgx"]["trusted_files"] if isinstance(one, dict)]
    assert {one["uri"]: one["sha256"] for one in trusted} == {
        f"file:{name}": hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()
    }
    for name, content in CONTENT.items():
        assert (built.folder / name).read_bytes() == content
    measured = json.loads((built.folder / MEASURED).read_text())
    assert measured["files"] == built.files
    assert measured["manifest"] == hashlib.sha256((built.folder / MANIFEST).read_bytes()).hexdigest()


def test_the_same_inputs_give_the_same_bytes_in_two_folders(tmp_path: Path) -> None:
    first, second = made(tmp_path / "one"), made(tmp_path / "a" / "longer name")
    assert (first.digest, first.files) == (second.digest, second.files)
    for name in (MANIFEST, MEASURED):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
        assert str(tmp_path).encode() not in (first.folder / name).read_bytes()
    other = made(tmp_path / "three", **{"app/packages/a.py": b"a = 2\n"})
    assert other.digest != first.digest


ELSEWHERE = """
import os, pathlib, sys
from goldengrain.cli.gramine.build import Terms, build
os.umask(int(sys.argv[3], 8))
folder = pathlib.Path(sys.argv[1])
names = ["app/bin/run", "app/packages/a.py", "app/packages/B.py", "app/data/1"]
sources = {}
for name in names if sys.argv[2] == "in order" else names[::-1]:
    sources[name] = folder / "sources" / name
    sources[name].parent.mkdir(parents=True, exist_ok=True)
    sources[name].write_bytes(name.encode())
    os.utime(sources[name], (1, 1) if sys.argv[2] == "in order" else None)
sources["app/bin/run"].chmod(0o700 if sys.argv[2] == "in order" else 0o755)
print(build(folder / "output", sources, Terms(2)).digest)
"""
"""A build of the same files in another place, order, time zone, locale, under another umask and hash seed."""


@pytest.mark.parametrize(
    ("order", "umask", "environment"),
    [
        ("in order", "022", {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}),
        ("reversed", "077", {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"}),
        ("reversed", "002", {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
)
def test_folder_order_locale_time_zone_and_umask_change_no_byte(
    order: str, umask: str, environment: dict[str, str], tmp_path: Path
) -> None:
    names = ["app/bin/run", "app/packages/a.py", "app/packages/B.py", "app/data/1"]
    for name in names:
        path = tmp_path / "here" / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "here" / "sources" / names[0]).chmod(0o755)
    here = build(tmp_path / "here" / "output", {one: tmp_path / "here" / "sources" / one for one in names}, Terms(2))
    there = tmp_path / "somewhere" / "else"
    command = [sys.executable, "-c", ELSEWHERE, str(there), order, umask]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == here.digest
    for name in (MANIFEST, MEASURED, *names):
        one, other = here.folder / name, there / "output" / name
        assert one.read_bytes() == other.read_bytes()
        assert one.stat().st_mode == other.stat().st_mode or name not in names


def test_nothing_of_the_hosts_gets_in_but_what_is_named(tmp_path: Path) -> None:
    document = manifest(made(tmp_path))
    assert document["sgx"]["debug"] is False
    assert document["sgx"]["remote_attestation"] == "dcap"
    assert document["sgx"]["file_check_policy"] == "strict"
    assert document["sgx"]["allowed_files"] == ["file:host/"]
    assert not any("insecure" in name for name in document["loader"])
    assert all(isinstance(value, str) for value in document["loader"]["env"].values())
    mounts = {one["path"]: one for one in document["fs"]["mounts"]}
    assert mounts["/state"]["type"] == "encrypted"
    assert mounts["/state"]["key_name"] == "_sgx_mrenclave"
    assert {path for path, one in mounts.items() if one.get("uri", "").startswith("file:host")} == {"/host"}
    assert mounts["/tmp"]["type"] == "tmpfs"


def test_its_arguments_are_ones_that_the_enclave_takes(tmp_path: Path) -> None:
    arguments = manifest(made(tmp_path, Terms(3, port=7_444)))["loader"]["argv"]
    assert arguments[:5] == ["python3", "-s", "-P", "-m", "goldengrain.enclave"]
    options = _parser().parse_args(arguments[5:])
    assert (options.quotes, options.socket, str(options.state)) == ("gramine", "tcp://127.0.0.1:7444", "/state")
    assert options.jobs == 3  # as many as threads and memory are there for


@pytest.mark.parametrize(
    ("jobs", "memory", "size", "threads"),
    [(1, 512 << 20, 4 * GIB, 20), (4, 512 << 20, 4 * GIB, 32), (4, GIB, 8 * GIB, 32), (64, 4 * GIB, 512 * GIB, 272)],
)
def test_memory_and_threads_follow_from_the_jobs(
    jobs: int, memory: int, size: int, threads: int, tmp_path: Path
) -> None:
    terms = Terms(jobs, memory)
    assert (terms.enclave_size, terms.threads) == (size, threads)
    sgx = manifest(made(tmp_path, terms))["sgx"]
    assert (sgx["enclave_size"], sgx["max_threads"]) == (f"{size // GIB}G", threads)


@pytest.mark.parametrize("name", ['app/a"b', "app/a\nb", "app/{{x}}"])
def test_names_that_a_manifest_can_not_hold_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="manifest"):
        made(tmp_path, **{name: b""})


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(FileRefused, match="not empty"):
        made(tmp_path)


def test_what_is_gathered_is_the_enclave_and_not_the_tools_around_it() -> None:
    found = inputs.distributions(("enclave", "gramine"))
    assert {"onnxruntime", "numpy", "cryptography", "dcap-qvl", "gramine-ratls"} <= found
    assert not found & {"click", "rich", "grpcio", "scikit-learn", "torch", "pytest"}
    ours = {f"app/packages/{inputs._module_path(name)}" for name in measured_files()}
    assert "app/packages/goldengrain/enclave/ticket.py" in ours
    assert "app/packages/goldengrain/chaincode/protocol/quotes.py" in ours
    assert not any("models/train" in name or "/cli/" in name for name in ours)


@pytest.mark.check
def test_the_gathered_files_alone_start_the_enclave(tmp_path: Path) -> None:
    output = tmp_path / "build"
    result = run("enclave", "build", output, "--json")
    assert (result.code, result.value["files"] > 1_000) == (0, True)
    app = output / "app"
    script = (
        "import sys, goldengrain.enclave.__main__ as main, goldengrain.enclave.worker, goldengrain.enclave.engine\n"
        "import gramine_ratls.attest\n"
        "files = [getattr(one, '__file__', None) for one in sys.modules.values()]\n"
        f"print([one for one in files if one and not one.startswith({str(app)!r})])\n"
        "sys.exit(main.main(['--quotes', 'gramine', '--socket', 's', '--name', 'e', '--bundle', sys.argv[1],"
        " '--exchange', 'x', '--state', 'state']))"
    )
    environment = {
        "PYTHONHOME": str(app / "python"),
        "PYTHONPATH": str(app / "packages"),
        "LD_LIBRARY_PATH": str(app / "lib"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    bundle = tmp_path / "bundle.json"
    bundle.write_text("{}")
    done = subprocess.run(
        [app / "python" / "bin" / "python3", "-s", "-P", "-c", script, bundle],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    assert done.stderr.startswith("BUNDLE_REFUSED"), done.stderr
    assert done.returncode == 1
    assert list((output / "state").iterdir()) == []
