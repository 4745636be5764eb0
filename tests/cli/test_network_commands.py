"""The commands around a network, run one after the other as a user would, output as JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from goldengrain.cli.main import main
from tests.conformance.chaincode import free_port

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Run:
    """What a command ended with."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """`goldengrain … --home HOME --json`, in this process but through the entry point."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *words: str) -> Run:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(["--home", str(self.home), *words])
        return Run(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def __call__(self, *words: str) -> Any:
        run = self.run(*words, "--json")
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    def refused(self, *words: str) -> str:
        """The code of the named error that a command ends with."""
        run = self.run(*words, "--json")
        assert run.returncode not in (0, 2), run.stdout
        assert run.stdout == ""
        assert "Traceback" not in run.stderr
        code: str = json.loads(run.stderr)["error"]["code"]
        return code


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    found = Shell(tmp_path_factory.mktemp("cli") / "home")
    found("network", "up")
    try:
        yield found
    finally:
        found("network", "down", "--purge")
        assert not found.home.exists()


@pytest.fixture(scope="module")
def key_value(shell: Shell) -> Iterator[dict[str, Any]]:
    """The example chaincode, deployed and served."""
    address = f"127.0.0.1:{free_port()}"
    deployed = shell("chaincode", "deploy", "--name", "kv", "--version", "1.0", "--address", address)
    environment = os.environ | {"CHAINCODE_ID": deployed["package_id"], "CHAINCODE_SERVER_ADDRESS": address}
    command = [sys.executable, "-m", "goldengrain.chaincode.shim.example"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield deployed
        finally:
            process.terminate()


def test_up_tells_endpoints_and_connection_profiles(shell: Shell) -> None:
    assert shell.refused("network", "up") == "NETWORK_ALREADY_RUNNING"
    state = json.loads((shell.home / "network.json").read_text())
    assert [one["msp_id"] for one in state["organizations"]] == ["Org1MSP", "Org2MSP", "Org3MSP"]
    for organization in state["organizations"]:
        folder = shell.home / "organizations/peerOrganizations" / organization["domain"]
        profile = json.loads((folder / "connection.json").read_text())
        assert profile["client"]["organization"] == organization["name"]
        assert organization["peers"][0]["address"] in json.dumps(profile)
        for user in ("Admin", "User1"):
            msp = folder / "users" / f"{user}@{organization['domain']}" / "msp"
            assert len(list((msp / "signcerts").iterdir())) == len(list((msp / "keystore").iterdir())) == 1


def test_status_shows_every_node(shell: Shell) -> None:
    status = shell("network", "status")
    assert status["running"]
    assert len(status["nodes"]) == 4
    assert all(node["answering"] for node in status["nodes"])
    assert all(node["height"] >= 1 for node in status["nodes"] if node["msp_id"] != "OrdererMSP")


def test_contexts_and_identities(shell: Shell) -> None:
    assert shell("context", "list")["current"] == "org1"
    chosen = shell("context", "use", "org2", "--identity", "Admin@org2.example.com")
    assert chosen["identity"] == "Admin@org2.example.com"
    assert shell("context", "list")["current"] == "org2"
    shell("context", "use", "org1")
    assert shell.refused("context", "use", "org9") == "CONTEXT_UNKNOWN"
    assert shell.refused("context", "use", "org2", "--identity", "nobody") == "WALLET"
    labels = {one["label"] for one in shell("wallet", "list")["identities"]}
    assert labels >= {f"{user}@org{n}.example.com" for user in ("Admin", "User1") for n in (1, 2, 3)}
    shown = shell("wallet", "show", "Admin@org3.example.com")
    assert (shown["msp_id"], shown["role"], len(shown["account"])) == ("Org3MSP", "admin", 64)
    assert "PRIVATE" not in json.dumps(shown)
    assert shell.refused("wallet", "show", "nobody") == "WALLET"


def test_any_chaincode_is_deployed_called_and_followed(shell: Shell, key_value: dict[str, Any]) -> None:
    assert key_value["package_id"].startswith("kv_1.0:")
    status = shell("chaincode", "status", "kv")
    assert status["committed"]
    assert all(status["approvals"].values())
    assert shell("chaincode", "status", "nothing") == {"name": "nothing", "committed": False}
    again = shell("chaincode", "deploy", "--name", "kv", "--version", "1.0", "--address", "127.0.0.1:9")
    assert again["changed"]
    shell("chaincode", "deploy", "--name", "kv", "--version", "1.0", "--address", key_value["address"])

    deadline = time.monotonic() + 20
    while shell.run("tx", "submit", "--contract", "kv", "put", "a", "1").returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    submitted = shell("tx", "submit", "--contract", "kv", "event", "greeting", "hello")
    assert submitted["code"] == "VALID"
    assert shell("tx", "evaluate", "--contract", "kv", "get", "a", "--as", "User1@org3.example.com")["result"] == "1"
    shown = shell("tx", "show", submitted["transaction"])
    assert (shown["block"], shown["contract"], shown["function"]) == (submitted["block"], "kv", "event")
    assert shown["creator"] == "Org1MSP"
    followed = shell("events", "follow", "--contract", "kv", "--from-block", "0", "--limit", "1")
    assert (followed["event"], followed["payload"]) == ("greeting", "hello")
    assert shell.refused("tx", "submit", "--contract", "kv", "fail", "no such model") == "ENDORSE_FAILED"
    assert shell.refused("tx", "evaluate", "--contract", "kv", "get", "missing") == "EVALUATE_FAILED"
    assert shell.refused("tx", "show", "0" * 64) == "PEER_REFUSED"
    assert shell.refused("tx", "submit", "--contract", "kv", "put", "--transient", "k=/nowhere") == "FILE_REFUSED"


def test_time_moves_forward_for_everybody(shell: Shell) -> None:
    before = shell("network", "status")["clock_offset_s"]
    moved = shell("network", "advance", "600")
    assert moved["offset_s"] == shell("network", "status")["clock_offset_s"] == before + 600


def test_logs_are_read_by_name(shell: Shell) -> None:
    assert shell("network", "logs", "--lines", "3")["lines"]
    assert shell.refused("network", "logs", "nothing") == "NETWORK_NOT_FOUND"


def test_a_second_network_lives_beside_the_first(shell: Shell, tmp_path: Path) -> None:
    other = Shell(tmp_path / "other")
    other("network", "up", "--organizations", "2")
    try:
        assert len(other("network", "status")["nodes"]) == 3
        assert shell("network", "status")["running"]
    finally:
        other("network", "down")
    stopped = other("network", "status")
    assert not stopped["running"]
    assert other.refused("network", "advance", "5") in {"NETWORK_NOT_FOUND", "NETWORK_NOT_RUNNING"}
    up_again = other("network", "up")
    assert len(up_again["organizations"]) == 2
    other("network", "down", "--purge")


def test_without_a_network_commands_say_so(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "nothing")
    for words in (
        ("network", "status"),
        ("network", "down"),
        ("context", "list"),
        ("tx", "evaluate", "get"),
        ("chaincode", "status", "kv"),
        ("events", "follow"),
    ):
        assert shell.refused(*words) == "NETWORK_NOT_FOUND", words
    assert not (tmp_path / "nothing" / "contexts.json").exists()


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell_name: str, tmp_path: Path) -> None:
    assert "goldengrain" in Shell(tmp_path).run("completion", shell_name).stdout
