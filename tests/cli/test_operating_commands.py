"""Operating a network from the command line: channels, organisations, peers, identities; on the embedded network."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.test_network_commands import Shell

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    found = Shell(tmp_path_factory.mktemp("operating") / "home")
    found("network", "up")
    try:
        yield found
    finally:
        found("network", "destroy")


def test_a_channels_settings_are_looked_at_and_changed(shell: Shell) -> None:
    before = shell("channel", "info")
    assert before["members"] == ["Org1MSP", "Org2MSP", "Org3MSP"]
    assert (before["consensus"], before["batch_timeout_ms"], before["batch_messages"]) == ("etcdraft", 50, 100)
    changed = shell("channel", "update", "--batch-timeout-ms", "60", "--anchor-peers", "Org2")
    assert changed["sequence"] == before["sequence"] + 1
    assert changed["changes"] == ["/Channel/Orderer/BatchTimeout"]
    assert shell("channel", "info")["batch_timeout_ms"] == 60
    assert shell.refused("channel", "update", "--batch-timeout-ms", "60") == "UPDATE_INVALID"
    assert shell.refused("channel", "update") == "COMMAND_LINE"
    assert shell.refused("channel", "info", "other") == "COMMAND_LINE"
    assert shell.refused("channel", "update", "--capability", "nothing=V1") == "UPDATE_INVALID"


def test_the_doctor_finds_nothing_wrong_and_then_a_key_that_others_may_read(shell: Shell) -> None:
    assert shell("network", "doctor")["problems"] == 0
    key = next((shell.home / "organizations").rglob("priv_sk"))
    key.chmod(0o644)
    run = shell.run("network", "doctor", "--json")
    assert run.returncode == 1
    assert str(key) in run.stdout
    key.chmod(0o600)


def test_a_change_is_passed_around_as_a_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "batch.update"
    made = shell("channel", "update", "--batch-messages", "77", "--file", str(file))
    assert made == {"channel": "market", "changes": ["/Channel/Orderer/BatchSize"], "signed": []}
    copy = tmp_path / "copy.update"
    copy.write_bytes(file.read_bytes())
    signed = shell("channel", "sign", str(file))
    assert [one["msp_id"] for one in signed["signed"]] == ["Org1MSP", "Org2MSP", "Org3MSP", "OrdererMSP"]
    assert shell("channel", "show", str(file)) == signed
    sequence = shell("channel", "info")["sequence"]
    assert shell("channel", "submit", str(file), str(copy))["sequence"] == sequence + 1
    assert shell("channel", "info")["batch_messages"] == 77
    (tmp_path / "junk").write_bytes(b"\xff")
    assert shell.refused("channel", "show", str(tmp_path / "junk")) == "UPDATE_INVALID"
    assert shell.refused("channel", "sign", str(tmp_path / "none")) == "FILE_REFUSED"
    assert shell.refused("channel", "update", "--batch-messages", "78", "--file", str(file / "x")) == "FILE_REFUSED"


def test_identities_are_issued_renewed_and_revoked(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    label = shell("identity", "issue", "Org1", "alice", "--attribute", "department=audit")["label"]
    account = shell("wallet", "show", label)["account"]
    for refusal in (("Org1", "alice"), ("Org1", "../x")):
        assert shell.refused("identity", "issue", *refusal).startswith("IDENTITY_")
    assert shell.refused("identity", "issue", "Org1", "bob", "--attribute", "x") == "COMMAND_LINE"
    assert shell.refused("identity", "renew") == "COMMAND_LINE"
    before = shell("wallet", "show", label)["serial"]
    assert shell("identity", "renew", "Org1", "alice")["renewed"] == {"Org1MSP": ["alice"]}
    after = shell("wallet", "show", label)
    assert after["serial"] != before
    assert after["account"] == account
    shell("context", "use", "org1", "--contract", "qscc")
    ask = ("tx", "evaluate", "GetChainInfo", "market", "--as", label)
    shell(*ask)
    assert shell("identity", "revoke", "Org1", "alice")["in_channel"] is True
    assert shell.refused(*ask) == "EVALUATE_FAILED"
    shell(*ask[:-1], "User1@org1.example.com")
    shell("identity", "renew", "--all")
    assert {node["answering"] for node in shell("network", "status")["nodes"]} == {True}
    monkeypatch.setenv("GOLDENGRAIN_KEY_PASSWORD", "secret")
    assert shell("identity", "encrypt", "Org3")["encrypted"] == "Org3MSP"
    monkeypatch.delenv("GOLDENGRAIN_KEY_PASSWORD")
    assert shell.refused("identity", "issue", "Org3", "carol") == "PASSPHRASE_MISSING"


def test_authorities_are_renewed_and_the_channel_knows(shell: Shell) -> None:
    before = shell("channel", "info")["sequence"]
    folder = shell.home / "organizations" / "peerOrganizations" / "org2.example.com"
    old = (folder / "ca" / "ca.org2.example.com-cert.pem").read_bytes()
    renewed = shell("identity", "renew", "Org2", "--authorities")["renewed"]
    assert renewed == {"Org2MSP": ["ca.org2.example.com", "tlsca.org2.example.com"]}
    assert (folder / "ca" / "ca.org2.example.com-cert.pem").read_bytes() != old
    assert shell("channel", "info")["sequence"] == before + 1
    assert {node["answering"] for node in shell("network", "status")["nodes"]} == {True}
    shell("tx", "evaluate", "GetChainInfo", "market", "--as", "User1@org2.example.com")


def test_commands_work_with_keys_that_are_encrypted(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("open sesame\n")
    monkeypatch.setenv("GOLDENGRAIN_KEY_PASSWORD_FILE", str(secret))
    for name in ("Admin", "User1"):
        assert shell("identity", "encrypt", "Org1", name)["name"] == name
    assert shell.refused("identity", "encrypt", "Org1", "peer0.org1.example.com") == "IDENTITY_INVALID"
    shell("identity", "issue", "Org1", "dora", "--encrypt")
    monkeypatch.delenv("GOLDENGRAIN_KEY_PASSWORD_FILE")
    listed = {one["label"]: one["encrypted"] for one in shell("wallet", "list")["identities"]}
    assert [label.partition("@")[0] for label, secret in listed.items() if secret] == ["Admin", "User1", "dora"]
    assert shell("wallet", "show", "User1@org1.example.com")["role"] == "client"
    commands = (
        ("tx", "evaluate", "GetChainInfo", "market", "--as", "dora@org1.example.com"),
        ("network", "status"),
        ("channel", "update", "--batch-messages", "81"),
        ("chaincode", "deploy", "--name", "locked", "--version", "1", "--address", "127.0.0.1:9999"),
        ("chaincode", "status", "locked"),
        ("identity", "renew", "Org1", "User1"),
    )
    shell("context", "use", "org1", "--identity", "User1@org1.example.com", "--contract", "qscc")
    for command in commands:
        assert shell.refused(*command) == "PASSPHRASE_MISSING"
    shell("context", "use", "org1", "--password-file", str(secret))
    for command in commands:
        shell(*command)
    assert "ENCRYPTED" in (shell.home / "wallet" / "User1@org1.example.com.id").read_text()
    monkeypatch.setenv("GOLDENGRAIN_KEY_PASSWORD", "wrong")
    for command in commands[:2]:
        assert shell.refused(*command) == "PASSPHRASE_WRONG"


def test_a_passphrase_is_asked_for_once_at_a_terminal(shell: Shell) -> None:
    """What somebody types is read from the terminal, and shown nowhere."""
    script = "from goldengrain.cli.main import main; main()"
    words = ["--home", str(shell.home), "chaincode", "status", "locked", "--json"]
    shell("context", "use", "org2")
    master, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script, *words], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        said = b""
        while b"passphrase of" not in said:
            said += os.read(master, 4096)
        os.write(master, b"open sesame\n")
        with suppress(OSError):  # the terminal's other end is closed
            while piece := os.read(master, 4096):
                said += piece
    os.close(master)
    assert process.returncode == 0, said
    assert (said.count(b"passphrase of"), said.count(b"sesame")) == (1, 0)
    assert b'"committed": true' in said
    shell("context", "use", "org1")  # whose file the others' commands find


def test_members_peers_and_channels_are_added(shell: Shell) -> None:
    added = shell("org", "add", "Org4")
    assert added["msp_id"] == "Org4MSP"
    assert shell("channel", "info")["members"][-1] == "Org4MSP"
    assert shell("peer", "add", "Org4", "peer1")["name"] == "peer1.org4.example.com"
    assert shell("channel", "create", "second", "--member", "Org1", "--member", "Org4")["members"] == ["Org1", "Org4"]
    assert shell("channel", "info", "second")["members"] == ["Org1MSP", "Org4MSP"]
    assert shell.refused("channel", "create", "second") == "TOPOLOGY_INVALID"
    shell("network", "restart")
    assert shell("channel", "info", "second")["members"] == ["Org1MSP", "Org4MSP"]
    assert shell("channel", "join")["channels"] == ["market", "second"]
    assert shell.refused("org", "add", "Org4") == "TOPOLOGY_INVALID"
    assert shell.refused("orderer", "add", "orderer2") == "TOPOLOGY_CONFLICT"
    assert shell.refused("orderer", "remove", "orderer2") == "TOPOLOGY_INVALID"
    assert shell.refused("network", "restart", "peer0.org1.example.com") == "NETWORK_NOT_RUNNING"


@pytest.mark.check
def test_each_command_lists_what_it_does_and_ends_with_the_next_one(shell: Shell) -> None:
    """As a person sees it; `network up` and those of real nodes do the same."""
    for command in (
        "channel update --batch-messages 82",
        "channel create third",
        "channel join",
        "org add Org5",
        "peer add Org5 peer1",
        "chaincode deploy --name more --version 1 --address 127.0.0.1:9997",
        "chaincode upgrade --name more --version 2 --address 127.0.0.1:9997",
        "identity renew Org2 User1",
        "identity revoke Org2 User1",
        "org remove Org5",
        "network restart",
        "network down",
        "network up",
    ):
        run = shell.run(*command.split())
        assert run.returncode == 0, run.stderr
        assert "✓" in run.stdout, command
        assert re.search(r"^next: ", run.stdout, re.MULTILINE), command
    assert shell("channel", "info", "third")["members"] == shell("channel", "info")["members"]


def test_a_topologys_chaincodes_and_channels_are_there_when_it_is_up(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        """
organizations: [{name: Org1}, {name: Org2}]
further_channels: [{name: pair}]
chaincodes:
  - name: secrets
    version: "1.0"
    address: 127.0.0.1:9999
    policy: OR('Org1MSP.peer', 'Org2MSP.peer')
    channels: [market, pair]
    collections:
      - {name: ours, policy: "OR('Org1MSP.member')", block_to_live: 5, endorsement_policy: "OR('Org1MSP.peer')"}
      - {name: both, policy: "OR('Org1MSP.member', 'Org2MSP.member')", member_only_read: true}
"""
    )
    shell = Shell(tmp_path / "home")
    shell("network", "up", "--topology", str(file))
    try:
        found = shell("chaincode", "status", "secrets")
        assert (found["committed"], found["sequence"], found["version"]) == (True, 1, "1.0")
        assert shell("chaincode", "status", "secrets", "--channel", "pair")["committed"]
        assert shell("channel", "info", "pair")["members"] == ["Org1MSP", "Org2MSP"]
        single = ("--name", "single", "--version", "1.0", "--address", "127.0.0.1:9998", "--channel", "pair")
        assert shell("chaincode", "deploy", *single)["channel"] == "pair"
        assert not shell("chaincode", "status", "single")["committed"]
        assert shell.refused("chaincode", "deploy", *single[:-1], "nowhere") == "TOPOLOGY_INVALID"
        command = ("--name", "secrets", "--version", "2.0", "--address", "127.0.0.1:9999")
        assert shell("chaincode", "upgrade", *command)["sequence"] == 2
        assert shell.refused("chaincode", "upgrade", "--name", "other", *command[2:]) == "COMMAND_LINE"
        waiting = shell("chaincode", "approve", "--name", "more", *command[2:])
        assert waiting["waiting_for"] == []
        assert not shell("chaincode", "status", "more")["committed"]
    finally:
        shell("network", "destroy")
