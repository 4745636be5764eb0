"""The network commands on Fabric's own programs, as a user would run them one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_network_commands import Shell


def test_a_topology_is_written_once_and_not_over_another_file(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    written = Path(shell("network", "init", "--organizations", "2")["file"])
    assert written == tmp_path / "home" / "network.yaml"
    assert shell.refused("network", "init") == "FILE_REFUSED"
    elsewhere = tmp_path / "four.yaml"
    shell("network", "init", str(elsewhere), "--orderers", "4", "--consensus", "smartbft")
    assert "consensus: smartbft" in elsewhere.read_text()
    assert shell.refused("network", "up", "--topology", str(elsewhere), "--runtime", "embedded") == "TOPOLOGY_INVALID"
    assert not (tmp_path / "home" / "topology.yaml").exists()


def test_missing_programs_end_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABRIC_BIN", str(tmp_path))
    shell = Shell(tmp_path / "home")
    assert shell.refused("network", "up", "--runtime", "native") == "FABRIC_PROGRAMS_MISSING"
    assert not (tmp_path / "home" / "topology.yaml").exists()


def test_a_missing_engine_ends_in_one_line_whatever_is_asked_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    shell = Shell(tmp_path / "home")
    assert shell.refused("network", "up", "--runtime", "docker") == "DOCKER_MISSING"
    assert shell.refused("demo", "--runtime", "docker") == "DOCKER_MISSING"
    assert not (tmp_path / "home" / "topology.yaml").exists()


@pytest.fixture
def shell(tmp_path: Path, fabric_bin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """Commands on Fabric's own programs; the network that they make is destroyed afterwards."""
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    shell = Shell(tmp_path / "home")
    yield shell
    shell("network", "destroy")
    assert not shell.home.exists()


@pytest.mark.check
@pytest.mark.fabric
def test_the_written_topology_comes_up_with_the_market_and_goes_on_where_it_was(shell: Shell) -> None:
    shell("network", "init")
    up = shell("network", "up", "--runtime", "native", "--market")
    assert (up["runtime"], up["contract"], len(up["orderer"]["orderers"])) == ("native", "golden-grain", 3)
    assert shell.refused("network", "up") == "NETWORK_ALREADY_RUNNING"
    status = shell("network", "status")
    assert status["running"]
    assert {node["answering"] for node in status["nodes"]} == {True}
    assert [node["leader"] for node in status["nodes"]].count(True) == 1
    assert {tuple(node["chaincodes"]) for node in status["nodes"]} == {(), ("golden-grain 1.0 (1)",)}
    shell("credits", "mint", "1000")
    minted = shell("credits", "balance", "--all")
    shell("network", "restart", "peer0.org2.example.com")
    assert any("peer" in line for line in shell("network", "logs", "peer0.org2.example.com")["lines"])
    shell("network", "down")
    assert not shell("network", "status")["running"]
    assert shell("network", "up")["runtime"] == "native"
    assert shell("credits", "balance", "--all") == minted


@pytest.mark.check
@pytest.mark.fabric
def test_every_certificate_is_renewed_authorities_too_and_old_ones_serve_on(shell: Shell) -> None:
    """Certificates of before, and nodes and users of after, are good under the renewed authorities."""
    shell("network", "init", "--organizations", "2")
    shell("network", "up", "--runtime", "native")
    server = ("--address", "127.0.0.1:9999")
    shell("chaincode", "deploy", "--name", "cc", "--version", "1", *server)
    old = {path: path.read_bytes() for path in (shell.home / "organizations").rglob("*ca.*-cert.pem")}
    sequence = shell("channel", "info")["sequence"]
    for owner in ("Org1", "OrdererMSP"):  # leaves of before under authorities of after
        shell("identity", "renew", owner, "--authorities")
    assert shell("channel", "info")["sequence"] == sequence + 2
    assert shell("chaincode", "deploy", "--name", "cc", "--version", "2", *server)["sequence"] == 2
    renewed = shell("identity", "renew", "--all")["renewed"]
    assert {"ca.org2.example.com", "tlsca.org2.example.com", "peer0.org2.example.com"} <= set(renewed["Org2MSP"])
    assert all(path.read_bytes() != content for path, content in old.items())
    shell("peer", "add", "Org1", "peer1")
    assert shell("chaincode", "deploy", "--name", "cc", "--version", "3", *server)["sequence"] == 3
    shell("network", "restart")
    status = shell("network", "status")
    assert {node["answering"] for node in status["nodes"]} == {True}
    assert {tuple(node["chaincodes"]) for node in status["nodes"]} == {(), ("cc 3 (3)",)}
    shell("channel", "update", "--batch-timeout-ms", "70")
