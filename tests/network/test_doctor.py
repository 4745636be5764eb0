"""What a network's doctor finds, each with what to do."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from goldengrain.network import doctor
from goldengrain.network.certificates import VALIDITY
from goldengrain.network.doctor import Finding, examine
from goldengrain.network.genesis import write_genesis
from goldengrain.network.home import Home
from goldengrain.network.status import NetworkStatus, NodeStatus
from goldengrain.network.topology import Topology


@pytest.fixture(autouse=True)
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABRIC_BIN", str(tmp_path / "nothing"))


@pytest.fixture
def whole(home: Home, topology: Topology) -> Home:
    write_genesis(home, topology)
    return home


def bad(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    assert all(one.advice for one in findings if one.level != "good")
    return [(one.level, one.what) for one in findings if one.level != "good"]


async def test_a_network_that_is_down_and_well_has_one_warning(whole: Home) -> None:
    assert bad(await examine(whole)) == [("warning", "the network does not run")]


async def test_an_empty_folder_is_well(tmp_path: Path) -> None:
    assert bad(await examine(Home(tmp_path / "new"))) == []


async def test_missing_programs_matter_where_the_network_runs_on_them(whole: Home) -> None:
    whole.nodes.mkdir()
    ((level, what), *_) = bad(await examine(whole))
    assert level == "problem"
    assert "peer and orderer was not found" in what


async def test_programs_that_are_too_old_are_named(whole: Home, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    for name in ("peer", "orderer"):
        (folder / name).write_text("#!/bin/sh\necho ' Version: v2.2.1'\n")
        (folder / name).chmod(0o755)
    whole.nodes.mkdir()
    assert "Fabric 2.2; 2.5 or newer" in bad(await examine(whole))[0][1]


async def test_certificates_are_named_before_and_after_they_expire(whole: Home) -> None:
    before = bad(await examine(whole, now=datetime.now(UTC) + VALIDITY - timedelta(days=10)))
    assert ("warning", "peer0.org1.example.com of Org1") in [
        (level, what.removeprefix("the certificate of ").partition(" expires")[0]) for level, what in before
    ]
    # Admin, User1 and peer of three organisations, Admin and orderer, two authorities of each, and "down"
    assert len(before) == 1 + 3 * (3 + 2) + 2 + 2
    after = bad(await examine(whole, now=datetime.now(UTC) + VALIDITY + timedelta(days=1)))
    assert {level for level, what in after if "certificate" in what} == {"problem"}
    authorities = [what for level, what in before if "authority" in what]
    assert authorities
    early = bad(await examine(whole, now=datetime.now(UTC) + VALIDITY - timedelta(days=179)))
    assert [what for _, what in early if "certificate" in what] == authorities


async def test_a_key_that_others_may_read_is_named(whole: Home) -> None:
    key = next(whole.organizations.rglob("priv_sk"))
    key.chmod(0o644)
    assert ("problem", f"1 private keys can be read by others, the first: {key}") in bad(await examine(whole))


async def test_a_port_that_another_program_has_is_named(whole: Home, topology: Topology) -> None:
    with socket.create_server(("127.0.0.1", topology.organizations[0].peers[0].port)) as server:
        port = server.getsockname()[1]
        found = bad(await examine(whole))
    assert ("problem", f"port {port} of peer0.org1.example.com is in use by another program") in found


async def test_a_half_made_folder_and_a_damaged_one_are_named(whole: Home, tmp_path: Path) -> None:
    half = Home(tmp_path / "half")
    half.path.mkdir()
    (half.path / ".unfinished").touch()
    assert "never finished" in bad(await examine(half))[0][1]
    whole.topology_file.write_text("organizations: 5")
    assert "organizations: a list is expected" in bad(await examine(whole))[0][1]


async def test_a_full_disk_is_named(whole: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(whole.path)._replace(free=1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert any("0.0 GiB free" in what for _, what in bad(await examine(whole)))


def test_nodes_that_ended_or_are_behind_are_named(whole: Home) -> None:
    good = NodeStatus("peer0.org1.example.com", "Org1MSP", "127.0.0.1:1", True, 100)
    behind = replace(good, name="peer0.org2.example.com", height=50)
    gone = replace(good, name="peer0.org3.example.com", answering=False, height=None)
    found = list(doctor._nodes(whole, NetworkStatus(True, None, (good, behind, gone))))
    assert bad(found) == [
        ("warning", "peer0.org2.example.com has 50 of 100 blocks"),
        ("problem", "peer0.org3.example.com does not answer"),
    ]
    (well,) = doctor._nodes(whole, NetworkStatus(True, None, (good,)))
    assert well.level == "good"
