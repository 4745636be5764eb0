"""Processes of a network: which one is meant, is it alive, stop it, what did it say.

A network's process inherits an open, locked file (`HOME/network.lock`) from whoever started it and never touches it;
where a network is many processes they share the lock. The kernel drops the lock when the process ends, however it ends;
so a held lock is a running network, and a process id that was used again by somebody else's process is never taken for
it. Before a signal is sent, the process's start time is compared as well.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from .errors import StopFailed

_POLL_S = 0.01
_PROC = Path("/proc")
_children: dict[int, subprocess.Popen[bytes]] = {}


class NetworkLock:
    """The lock of a network's folder. Closing it leaves it to the processes that inherited it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def acquire(self) -> bool:
        """Try to get the lock; False if somebody holds it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> bool:
        """Hold the lock together with others that share it: with all nodes of a network. False if somebody has it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close this process's end."""
        os.close(self.descriptor)

    def __enter__(self) -> NetworkLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of a network's folder."""
    if not path.exists():
        return False
    with NetworkLock(path) as lock:
        return not lock.acquire()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if there is none (or no /proc)."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def _stat(pid: int) -> list[str]:
    """What /proc says of a process behind its name, its state first (proc(5)); nothing if there is none."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _has_ended(fields: list[str]) -> bool:
    """Whether a process is a zombie without other threads: these may still hold its files, ports and locks."""
    return fields[0] in "ZX" and int(fields[17]) <= 1


def is_same_process(pid: int, started: int) -> bool:
    """Whether process `pid` runs and is the one that started then; a start time of 0 is not compared.

    One that has ended, all its threads, doesn't run, though its parent (perhaps not this process) has yet to look.
    """
    if pid <= 0:
        return False
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        return False
    if (_PROC / "self").exists():
        fields = _stat(pid)
        return bool(fields) and not _has_ended(fields) and started in (0, int(fields[19]))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def spawn_detached(
    command: list[str],
    log: Path,
    *inherited: int,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one: own session, output appended to `log`, descriptors inherited."""
    for child in _children.values():
        child.poll()  # one that was killed meanwhile leaves no zombie
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=inherited,
            cwd=folder,
            env=environment,
        )
    _children[process.pid] = process
    return process


def stop_process(pid: int, is_gone: Callable[[], bool], *, grace_s: float = 10.0) -> None:
    """Stop a process with SIGTERM, after `grace_s` seconds with SIGKILL, and wait until `is_gone`.

    Raises:
        StopFailed: if it is still there 5 seconds after SIGKILL.

    """
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise StopFailed(f"process {pid} belongs to another user; stop it as that user") from error
        if wait_until(is_gone, patience_s):
            reap(pid)
            return
    raise StopFailed(f"process {pid} does not end, not even by SIGKILL; see `ps -o stat,wchan,cmd -p {pid}`")


def exit_code(pid: int) -> int | None:
    """What a process that this one started ended with; None while it runs, and for any other process."""
    child = _children.get(pid)
    return child.poll() if child is not None else None


def reap(pid: int) -> None:
    """Collect the exit status of a process that this one started and that has ended, so that no zombie stays."""
    child = _children.pop(pid, None)
    if child is not None:
        child.wait()


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until a condition holds, looking every 10 ms; False if it does not within `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def last_lines(log: Path, count: int, *, offset: int = 0) -> list[str]:
    """Read the last `count` lines of a log file behind a byte offset; none if there is no such file."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-count:] if count > 0 else []
