"""Bring a network up on this machine and take it down again.

    >>> state = up(Path(".goldengrain"))                                # doctest: +SKIP
    >>> state.organizations[0].peers[0].address                        # doctest: +SKIP
    '127.0.0.1:17051'
    >>> down(Path(".goldengrain"), purge=True)                          # doctest: +SKIP

`up` makes what is missing (certificates, genesis block, connection profiles, wallet), starts the network's process and
waits until every port of it answers; with the runtime `native` it starts Fabric's own programs (`native`). What it
started lives on when the caller ends. A network that comes up again has its old ports, certificates and ledger.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from .creation import create, existing, is_network, remove, remove_created
from .errors import NetworkAlreadyRunning, NetworkNotFound, NetworkNotRunning, StartFailed, TopologyInvalid
from .home import READY_PREFIX, Home, NetworkState, as_home, network_state
from .joining import join_all
from .nodes import run_nodes
from .ports import check_ports_free
from .processes import (
    NetworkLock,
    is_locked,
    is_same_process,
    last_lines,
    reap,
    spawn_detached,
    start_time,
    stop_process,
    wait_until,
)
from .progress import Steps, silent
from .runners import real_network, runner_of, runtime_of
from .status import NetworkStatus, NodeStatus, is_imported, is_running, query_status, status
from .topology import Topology, default_topology

__all__ = [
    "RUNTIMES",
    "NetworkStatus",
    "NodeStatus",
    "down",
    "is_running",
    "logs",
    "query_status",
    "restart_node",
    "runtime_of",
    "status",
    "up",
]

_EMBEDDED = (sys.executable, "-m", "goldengrain.network.embedded")
EMBEDDED_LOG = "network.log"
_LOG_LINES = 15


RUNTIMES = ("embedded", "native", "docker")


def up(
    home: Home | Path,
    topology: Topology | None = None,
    *,
    runtime: str | None = None,
    timeout_s: float | None = None,
    steps: Steps = silent,
) -> NetworkState:
    """Bring up a network; create it first where the folder holds none.

    Args:
        home: the network's folder.
        topology: what to create (default: three organisations). For a network that exists it may be left out; if it is
            given, it has to be the same but for ports of 0.
        runtime: `embedded`, `native` or `docker`; default: the one that has run it before, else `embedded`.
        timeout_s: how long it may take until it is ready, in seconds; default 30, with real peers 60.
        steps: told what is being done.

    Raises:
        NetworkAlreadyRunning: if it runs, or another command is starting it.
        TopologyConflict: if the folder holds a network of another topology.
        PortTaken: if a port of it is in use.
        StartFailed: if a process ends or is not ready in time; the log's last lines are in the message.
        NetworkError: one of its kinds, see `native.NativeNetwork.start`.

    """
    home = as_home(home)
    if is_imported(home):
        raise NetworkAlreadyRunning(f"others run the network of {home.path}; it was imported, and is theirs to start")
    runtime = runtime or runtime_of(home)
    if runtime != "embedded":
        network = real_network(home, topology, kind=runtime, timeout_s=timeout_s or 60.0, steps=steps)
        return asyncio.run(network.start())
    with steps("one process for all peers and the orderer"):
        return _up_embedded(home, topology, timeout_s or 30.0)


def _up_embedded(home: Home, topology: Topology | None, timeout_s: float) -> NetworkState:
    with NetworkLock(home.lock_file) as lock:
        if not lock.acquire():
            raise NetworkAlreadyRunning(
                f"the network in {home.path} runs already; `goldengrain network status` shows it, "
                "`goldengrain network down` stops it"
            )
        home.network_file.unlink(missing_ok=True)
        network = existing(home, topology, runtime="embedded")
        if network is not None:
            return _start(home, network, lock, timeout_s)
        topology = topology or default_topology()
        _check_embeddable(topology)
        network = create(home, topology)
        try:
            return _start(home, network, lock, timeout_s)
        except BaseException:
            remove_created(home)
            raise


async def restart_node(home: Home | Path, name: str, *, steps: Steps = silent) -> None:
    """Stop a node of a running network, if it runs, and start it again.

    Args:
        home: the network's folder.
        name: host name, such as `peer0.org1.example.com`.
        steps: told what is being done.

    Raises:
        NetworkNotFound: if the folder holds no network, or no node of that name is run here.
        NetworkNotRunning: if it does not run, or the embedded runtime, which is one process, runs it.
        StartFailed: if the node ends instead of answering.

    """
    home = as_home(home)
    if runtime_of(home) == "embedded":
        raise NetworkNotRunning(f"the network in {home.path} is one process; restart it without naming a node")
    network = real_network(home)
    await network.attach()
    network.node(name)
    if not is_running(home):
        raise NetworkNotRunning(f"the network in {home.path} does not run; `goldengrain network up` starts it")
    with steps(f"{name} stopped"):
        await network.stop_node(name)
    with steps(f"{name} started"):
        await network.start_node(name)


def down(home: Home | Path, *, purge: bool = False, grace_s: float = 10.0) -> bool:
    """Stop a network; with `purge` also delete all that it made: keys, ledgers, wallet, logs.

    Returns:
        Whether it was running.

    Raises:
        NetworkNotFound: if the folder holds no network (not with `purge`).
        StopFailed: if its process does not end.

    """
    home = as_home(home)
    if not is_network(home):
        if purge:
            return False
        raise NetworkNotFound(f"there is no network in {home.path}; choose another folder with --home")
    running = _stop(home, grace_s)
    with NetworkLock(home.lock_file) as lock:
        if not lock.acquire():
            raise NetworkAlreadyRunning(f"another command is starting the network in {home.path}; try again")
        home.network_file.unlink(missing_ok=True)
        if purge:
            remove(home)
    return running


def logs(home: Home | Path, *, lines: int = 100, name: str = EMBEDDED_LOG) -> list[str]:
    """Read the last lines of one of the network's logs.

    Raises:
        NetworkNotFound: if there is no such log.

    """
    path = as_home(home).logs / Path(name).name
    if not path.exists():
        raise NetworkNotFound(f"there is no log {path}; `goldengrain network up` starts a network that writes one")
    return last_lines(path, lines)


def _check_embeddable(topology: Topology) -> None:
    if any(channel.consensus != "raft" for channel in topology.channels):
        raise TopologyInvalid(
            "channel.consensus: the embedded runtime has one ordering node, which cannot be a SmartBFT cluster; use "
            "raft, or `--runtime native`"
        )


def _start(home: Home, topology: Topology, lock: NetworkLock, timeout_s: float) -> NetworkState:
    check_ports_free(topology)
    log = home.logs / EMBEDDED_LOG
    offset = log.stat().st_size if log.exists() else 0
    process = spawn_detached([*_EMBEDDED, "--home", str(home.path.absolute())], log, lock.descriptor)
    try:
        _await_ready(process, log, offset, timeout_s)
        if topology.further_channels:
            asyncio.run(join_all(home, topology))
        state = network_state(topology, runtime="embedded", pid=process.pid, started=start_time(process.pid))
        home.save_state(state)
    except BaseException:
        stop_process(process.pid, lambda: process.poll() is not None, grace_s=2.0)
        raise
    return state


def _await_ready(process: subprocess.Popen[bytes], log: Path, offset: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not any(line.startswith(READY_PREFIX) for line in last_lines(log, 1000, offset=offset)):
        if process.poll() is not None:
            what = f"the network's process ended with exit code {process.returncode} before it was ready"
        elif time.monotonic() > deadline:
            what = f"the network's process was not ready after {timeout_s:g} s"
        else:
            time.sleep(0.01)
            continue
        raise StartFailed(f"{what}; its log is {log}", last_lines(log, _LOG_LINES, offset=offset))


def _stop(home: Home, grace_s: float) -> bool:
    """Stop the network's process if it lives; False if it does not."""
    if not is_running(home) or is_imported(home):
        return False
    if runtime_of(home) != "embedded":
        runner_of(home).stop(run_nodes(home))
        if not is_running(home):
            return True
    # A network that is just coming up has its lock, but no network.json yet.
    wait_until(lambda: home.network_file.exists() or not is_locked(home.lock_file), grace_s)
    if not is_locked(home.lock_file):
        return False
    state = home.load_state()
    if state.pid == os.getpid():
        raise NetworkAlreadyRunning(f"this very process runs the network in {home.path}; leave its `async with` block")
    if is_same_process(state.pid, state.started):
        stop_process(state.pid, lambda: not is_locked(home.lock_file), grace_s=grace_s)
        reap(state.pid)
    return True
