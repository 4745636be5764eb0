"""The network commands on Fabric's own programs, as a user would run them one after the other."""

from __future__ import annotations

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


@pytest.mark.check
@pytest.mark.fabric
def test_the_written_topology_comes_up_with_the_market_and_goes_on_where_it_was(
    tmp_path: Path, fabric_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    shell = Shell(tmp_path / "home")
    shell("network", "init")
    try:
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
    finally:
        shell("network", "destroy")
    assert not shell.home.exists()
