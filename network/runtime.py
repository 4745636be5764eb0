"""Bring a network up on this machine and take it down again: the embedded runtime.

    >>> state = up(Path(".goldengrain"))                                # doctest: +SKIP
    >>> state.organizations[0].peers[0].address                        # doctest: +SKIP
    '127.0.0.1:17051'
    >>> down(Path(".goldengrain"), purge=True)                          # doctest: +SKIP

`up` makes what is missing (certificates, genesis block, connection profiles, wallet), starts the network's process and
waits until every port of it answers. The process lives on when the caller ends. A network that comes up again has its
old ports, certificates and ledger.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from .creation import create, existing, is_network, remove, remove_created
from .errors import NetworkAlreadyRunning, NetworkNotFound, StartFailed
from .home import READY_PREFIX, Home, NetworkState, as_home, network_state
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
from .status import NetworkStatus, NodeStatus, is_running, query_status, status
from .topology import Topology, default_topology

__all__ = ["NetworkStatus", "NodeStatus", "down", "is_running", "logs", "query_status", "status", "up"]

_EMBEDDED = (sys.executable, "-m", "goldengrain.network.embedded")
EMBEDDED_LOG = "network.log"
_LOG_LINES = 15


def up(home: Home | Path, topology: Topology | None = None, *, timeout_s: float = 30.0) -> NetworkState:
    """Bring up an embedded network; create it first where the folder holds none.

    Args:
        home: the network's folder.
        topology: what to create (default: three organisations). For a network that exists it may be left out; if it is
            given, it has to be the same but for ports of 0.
        timeout_s: how long the process may take until it is ready, in seconds.

    Raises:
        NetworkAlreadyRunning: if it runs, or another command is starting it.
        TopologyConflict: if the folder holds a network of another topology.
        PortTaken: if a port of it is in use.
        StartFailed: if its process ends or is not ready in time; the log's last lines are in the message.

    """
    home = as_home(home)
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
        network = create(home, topology or default_topology())
        try:
            return _start(home, network, lock, timeout_s)
        except BaseException:
            remove_created(home)
            raise


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


def _start(home: Home, topology: Topology, lock: NetworkLock, timeout_s: float) -> NetworkState:
    check_ports_free(topology)
    log = home.logs / EMBEDDED_LOG
    offset = log.stat().st_size if log.exists() else 0
    process = spawn_detached([*_EMBEDDED, "--home", str(home.path.absolute())], log, lock.descriptor)
    try:
        _await_ready(process, log, offset, timeout_s)
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
    if not is_locked(home.lock_file):
        return False
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
