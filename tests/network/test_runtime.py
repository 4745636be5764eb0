"""Bring-up, tear-down, and all that can go wrong with processes and folders."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from goldengrain.network import runtime
from goldengrain.network.errors import (
    NetworkAlreadyRunning,
    NetworkIncomplete,
    NetworkNotFound,
    PortTaken,
    StartFailed,
    TopologyConflict,
)
from goldengrain.network.home import Home, network_state
from goldengrain.network.ports import assign_ports, same_but_ports
from goldengrain.network.processes import NetworkLock, is_same_process, spawn_detached, start_time
from goldengrain.network.runtime import down, logs, query_status, status, up
from goldengrain.network.topology import BatchSettings, Topology, default_topology


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Home]:
    """A folder whose network, if one was started, is gone after the test."""
    home = Home(tmp_path / "home")
    yield home
    down(home, purge=True, grace_s=2.0)
    assert not home.path.exists()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in place of the network, where only the handling of its process is looked at."""
    _run_instead(monkeypatch, "echo READY now; exec sleep 60")


def _run_instead(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(runtime, "_EMBEDDED", ("/bin/sh", "-c", script))


def _alive(pid: int) -> bool:
    return start_time(pid) != 0 and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_a_network_comes_up_answers_and_goes_down(folder: Home) -> None:
    start = time.monotonic()
    state = up(folder)
    took = time.monotonic() - start

    found = status(folder)
    assert found.running
    assert found.state == state == folder.load_state()
    assert [(node.organization, node.answering, node.height) for node in found.nodes] == [
        ("Org1MSP", True, 1),
        ("Org2MSP", True, 1),
        ("Org3MSP", True, 1),
        ("OrdererMSP", True, 1),
    ]
    assert json.loads(folder.network_file.read_text())["test"] is True
    assert any(line.startswith("READY") for line in logs(folder))
    assert took < 4.0, "the target is 2 s on an idle machine"

    assert down(folder)
    assert not _alive(state.pid)
    found = status(folder)
    assert (found.running, found.state, [node.answering for node in found.nodes]) == (False, None, [False] * 4)
    assert not down(folder)


def test_a_network_keeps_ports_keys_and_genesis_over_a_restart(folder: Home) -> None:
    first = up(folder)
    genesis = folder.genesis_file("market").read_bytes()
    files = {path: path.read_bytes() for path in folder.organizations.rglob("*") if path.is_file()}
    down(folder)
    second = up(folder, default_topology())
    assert [peer.address for org in second.organizations for peer in org.peers] == [
        peer.address for org in first.organizations for peer in org.peers
    ]
    assert folder.genesis_file("market").read_bytes() == genesis
    assert {path: path.read_bytes() for path in folder.organizations.rglob("*") if path.is_file()} == files


async def test_two_networks_run_side_by_side(tmp_path: Path) -> None:
    homes = [Home(tmp_path / "a"), Home(tmp_path / "b")]
    try:
        states = [up(home, default_topology(2)) for home in homes]
        addresses = [peer.address for state in states for org in state.organizations for peer in org.peers]
        assert len(set(addresses)) == 4
        for home in homes:
            assert all(node.answering for node in (await query_status(home)).nodes)
        down(homes[0])
        assert (await query_status(homes[1])).running
    finally:
        for home in homes:
            down(home, purge=True)


def test_a_network_that_was_killed_comes_up_again(folder: Home) -> None:
    state = up(folder)
    os.kill(state.pid, signal.SIGKILL)
    while is_same_process(state.pid, state.started):
        time.sleep(0.01)
    found = status(folder)
    assert not found.running
    assert found.state == state
    assert up(folder).pid != state.pid
    assert status(folder).running


@pytest.mark.usefixtures("stand_in")
def test_a_running_network_is_not_started_twice(folder: Home) -> None:
    state = up(folder)
    with pytest.raises(NetworkAlreadyRunning, match="network down"):
        up(folder)
    assert folder.load_state() == state
    assert _alive(state.pid)


@pytest.mark.usefixtures("stand_in")
def test_another_topology_is_refused(folder: Home) -> None:
    up(folder, default_topology(2))
    down(folder)
    for other in (default_topology(3), default_topology(2, batch=BatchSettings(timeout_ms=1))):
        with pytest.raises(TopologyConflict, match="network down --purge"):
            up(folder, other)
    up(folder, default_topology(2))


@pytest.mark.usefixtures("stand_in")
def test_a_port_in_use_is_named_and_nothing_is_left(folder: Home) -> None:
    topology = assign_ports(default_topology(1))
    port = topology.organizations[0].peers[0].port
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTaken, match=f"port {port}"):
        up(folder, topology)
    assert _left(folder) == {"network.lock"}
    up(folder, topology)


def test_a_process_that_ends_is_reported_with_its_last_words(folder: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _run_instead(monkeypatch, "echo starting; echo 'the disk is full' >&2; exit 3")
    with pytest.raises(StartFailed, match="exit code 3") as caught:
        up(folder)
    assert caught.value.log_lines == ("starting", "the disk is full")
    assert "the disk is full" in str(caught.value)
    assert _left(folder) == {"network.lock", "logs"}
    assert not folder.network_file.exists()


def test_a_process_that_is_never_ready_is_stopped(folder: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _run_instead(monkeypatch, "trap '' TERM; echo $$; while :; do sleep 0.1; done")
    with pytest.raises(StartFailed, match=r"not ready after 0\.3 s"):
        up(folder, timeout_s=0.3)
    (line,) = logs(folder)
    assert not _alive(int(line))


def test_an_existing_network_survives_a_failed_start(folder: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _run_instead(monkeypatch, "echo READY now; exec sleep 60")
    up(folder)
    down(folder)
    before = folder.load_topology()
    _run_instead(monkeypatch, "exit 1")
    with pytest.raises(StartFailed):
        up(folder)
    assert folder.load_topology() == before
    assert folder.organizations.exists()


def test_a_stale_file_never_stops_somebody_elses_process(folder: Home, topology: Topology) -> None:
    """The process id in network.json has been used again: by a process without the lock, then with the lock held."""
    with subprocess.Popen(["sleep", "60"]) as innocent:
        folder.save_topology(topology)
        started = start_time(innocent.pid)
        folder.save_state(network_state(topology, runtime="embedded", pid=innocent.pid, started=started))
        assert not down(folder)
        assert innocent.poll() is None

        folder.save_state(network_state(topology, runtime="embedded", pid=innocent.pid, started=started - 1))
        with NetworkLock(folder.lock_file) as lock:
            assert lock.acquire()
            with pytest.raises(NetworkAlreadyRunning):
                down(folder)
        assert innocent.poll() is None
        innocent.kill()


def _until_zombie(pid: int) -> None:
    deadline = time.monotonic() + 5
    while "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_has_ended_does_not_run_though_its_parent_has_not_looked() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        started = start_time(process.pid)
        assert is_same_process(process.pid, started)
        assert not is_same_process(process.pid, started + 1)
        os.kill(process.pid, signal.SIGKILL)
        _until_zombie(process.pid)
        assert not is_same_process(process.pid, started)
        assert not is_same_process(process.pid, 0)


def test_a_process_runs_as_long_as_any_thread_of_it_does() -> None:
    """Its first thread has ended, which makes it a zombie; the other one still holds files, ports and locks."""
    code = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(5,)).start(); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        _until_zombie(process.pid)
        assert is_same_process(process.pid, start_time(process.pid))
        os.kill(process.pid, signal.SIGKILL)


def test_a_process_that_was_killed_is_no_zombie_once_another_is_started(tmp_path: Path) -> None:
    killed = spawn_detached(["sleep", "60"], tmp_path / "log")
    os.kill(killed.pid, signal.SIGKILL)
    _until_zombie(killed.pid)
    other = spawn_detached(["true"], tmp_path / "log")
    assert killed.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{killed.pid}").exists()
    assert other.wait(5) == 0


@pytest.mark.usefixtures("stand_in")
def test_a_half_created_folder_is_made_anew(folder: Home) -> None:
    folder.organizations.mkdir(parents=True)
    (folder.path / ".unfinished").touch()
    up(folder)
    assert folder.topology_file.exists()
    assert not (folder.path / ".unfinished").exists()


@pytest.mark.usefixtures("stand_in")
def test_keys_without_a_topology_are_never_overwritten(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.organizations.mkdir()
    (home.organizations / "key").write_text("precious")
    with pytest.raises(NetworkIncomplete, match="restore"):
        up(home)
    assert (home.organizations / "key").read_text() == "precious"


@pytest.mark.usefixtures("stand_in")
def test_purging_leaves_other_peoples_files(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "thesis.txt").write_text("…")
    up(home)
    assert down(home, purge=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_purging_a_folder_without_a_network_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "wallet").mkdir()
    assert not down(tmp_path, purge=True)
    assert _left(Home(tmp_path)) == {"logs", "wallet"}


def test_no_network_is_said_so(tmp_path: Path) -> None:
    for ask in (down, status, logs):
        with pytest.raises(NetworkNotFound):
            ask(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_missing_files_of_a_network_are_named(home: Home) -> None:
    with pytest.raises(NetworkIncomplete, match=r"market\.block"):
        up(home)
    down(home, purge=True)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"runtime": 1}', "\x00"])
def test_a_damaged_state_file_is_named(home: Home, content: str) -> None:
    home.network_file.write_text(content)
    with pytest.raises(NetworkIncomplete, match=r"network\.json"):
        home.load_state()


def test_a_network_outlives_the_command_that_started_it(folder: Home) -> None:
    script = "import sys; from pathlib import Path; from goldengrain.network.runtime import up; up(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", script, str(folder.path)], check=True, timeout=60)
    assert status(folder).running
    assert down(folder)


def _left(home: Home) -> set[str]:
    return {path.name for path in home.path.iterdir()}


def test_ports_of_zero_stand_for_the_assigned_ones(topology: Topology) -> None:
    assert same_but_ports(topology, default_topology())
    assert same_but_ports(topology, topology)
    peer = replace(topology.organizations[0].peers[0], port=1)
    moved = replace(topology.organizations[0], peers=(peer,))
    assert not same_but_ports(topology, replace(topology, organizations=(moved, *topology.organizations[1:])))
