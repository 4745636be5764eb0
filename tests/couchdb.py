"""CouchDB servers for tests, one per peer: databases are named by channel and chaincode only, so peers can't share one.

`COUCHDB_BIN` names the folder that holds the `couchdb` program of a release (bin/couchdb of an installed CouchDB 3).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from goldengrain.network.ports import free_port
from goldengrain.network.topology import CouchDb, Organization, Topology
from tests.conftest import need

_ARGUMENTS = """\
-kernel error_logger silent
-sasl sasl_error_logger false
+Bd -noinput
-os_mon start_cpu_sup false
-os_mon start_memsup false
-os_mon start_disksup false
"""
"""Of the Erlang machine: no node name, so that it takes part in no cluster and opens no port but CouchDB's own."""

_SETTINGS = """\
[couchdb]
single_node = true
database_dir = {folder}/data
view_index_dir = {folder}/data
uuid = {uuid}
[chttpd]
bind_address = 127.0.0.1
port = {port}
[httpd]
bind_address = 127.0.0.1
[admins]
admin = {password}
[log]
level = warning
"""


@dataclass(frozen=True)
class CouchServer:
    """A running server; `password_file` holds its admin's password."""

    port: int
    password_file: Path

    @property
    def settings(self) -> CouchDb:
        """As a topology names it."""
        return CouchDb(f"127.0.0.1:{self.port}", "admin", str(self.password_file))

    def ask(self, path: str, body: object = None) -> Any:
        """Call its HTTP API; what it answers as JSON."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        word = b64encode(b"admin:" + self.password_file.read_bytes().strip()).decode()
        request.add_header("Authorization", f"Basic {word}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())


@contextmanager
def couchdb(folder: Path) -> Iterator[CouchServer]:
    """Run a server in a folder."""
    where = os.environ.get("COUCHDB_BIN", "")
    program = shutil.which("couchdb", path=where) if where else None
    need(
        "couchdb", program, "set COUCHDB_BIN to the folder that holds CouchDB's program (bin of a release of CouchDB 3)"
    )
    assert program is not None
    folder.mkdir(parents=True)
    password, port = secrets.token_hex(8), free_port()
    (folder / "password").write_text(password)
    (folder / "vm.args").write_text(_ARGUMENTS)
    settings = _SETTINGS.format(folder=folder, uuid=secrets.token_hex(16), port=port, password=password)
    (folder / "own.ini").write_text(settings)
    default = Path(program).resolve().parent.parent / "etc" / "default.ini"
    environment = {"COUCHDB_ARGS_FILE": str(folder / "vm.args"), "COUCHDB_INI_FILES": f"{default} {folder / 'own.ini'}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program], env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        _await(process, port, folder / "log")
        yield CouchServer(port, folder / "password")
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def couchdbs(folder: Path, topology: Topology) -> Iterator[tuple[Topology, list[CouchServer]]]:
    """Give every peer of a topology a server of its own; the topology that says so, and the servers in its order."""
    with ExitStack() as stack:
        servers: list[CouchServer] = []

        def with_servers(organization: Organization) -> Organization:
            peers = []
            for peer in organization.peers:
                servers.append(stack.enter_context(couchdb(folder / f"couchdb{len(servers)}")))
                peers.append(replace(peer, couchdb=servers[-1].settings))
            return replace(organization, peers=tuple(peers))

        yield replace(topology, organizations=tuple(map(with_servers, topology.organizations))), servers


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_up", timeout=2).close()
            return
        except urllib.error.URLError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
