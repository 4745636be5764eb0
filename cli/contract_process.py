"""The contract's process beside an embedded network: started with it, stopped with it.

``python -m goldengrain.chaincode.market`` serves the contract to the peers. It holds ``HOME/contract.lock`` as long as
it lives, and keeps its port for life (``HOME/contract.json``), since the port is part of the installed package.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace

from goldengrain.cli.errors import ProcessFailed
from goldengrain.network.docker_runtime import HOST_ALIAS, DockerRunner
from goldengrain.network.home import Home, write_atomically
from goldengrain.network.ports import free_port
from goldengrain.network.processes import (
    NetworkLock,
    is_locked,
    is_same_process,
    last_lines,
    spawn_detached,
    start_time,
    stop_process,
    wait_until,
)
from goldengrain.network.topology import LOOPBACK

LOG = "contract.log"
_START_S = 20.0


@dataclass(frozen=True)
class ContractProcess:
    """What is known of the process: where it listens, as which package; ``pid`` 0 when it was never started.

    ``announced`` is where peers reach it, if that isn't where it listens.
    """

    address: str
    package_id: str = ""
    pid: int = 0
    started: int = 0
    announced: str = ""

    @property
    def package_address(self) -> str:
        """HOST:PORT that the package names to peers."""
        return self.announced or self.address


def load(home: Home) -> ContractProcess | None:
    """The contract of this network, or None where none was deployed. Raises ProcessFailed if the note is damaged."""
    path = home.path / "contract.json"
    try:
        found = ContractProcess(**json.loads(path.read_bytes()))
        texts, numbers = (found.address, found.package_id, found.announced), (found.pid, found.started)
        if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, int) for one in numbers):
            raise TypeError("its values are of other kinds")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ProcessFailed(
            f"{path} cannot be read ({error}); `goldengrain network down --purge` starts over"
        ) from error
    return found


def assign(home: Home) -> ContractProcess:
    """Give this network's contract an address, once: on this machine, or where containers on a bridge reach it.

    Raises:
        DockerMissing: if peers are on a bridge, and Docker does not say where this machine is on it.

    """
    found = load(home)
    if found is None:
        found = ContractProcess(f"{LOOPBACK}:{free_port()}")
        if home.load_topology().has_bridge:
            listening = DockerRunner(home, home.load_topology()).host_gateway()
            port = found.address.rpartition(":")[2]
            found = ContractProcess(f"{listening}:{port}", announced=f"{HOST_ALIAS}:{port}")
        _save(home, found)
    return found


def start(home: Home, package_id: str) -> ContractProcess:
    """Start the process unless it lives, and wait until it serves.

    Raises:
        ProcessFailed: with the last lines of its log.

    """
    known = assign(home)
    lock_file = home.path / "contract.lock"
    with NetworkLock(lock_file) as lock:
        if not lock.acquire():
            return known
        log = home.logs / LOG
        offset = log.stat().st_size if log.exists() else 0
        process = spawn_detached(_command(home, known.address, package_id), log, lock.descriptor)
        made = replace(known, package_id=package_id, pid=process.pid, started=start_time(process.pid))
        _save(home, made)

        def settled() -> bool:
            return process.poll() is not None or bool(last_lines(log, 1, offset=offset))

        if not wait_until(settled, _START_S) or process.poll() is not None:
            lines = "\n".join(f"  | {line}" for line in last_lines(log, 15, offset=offset))
            stop_process(process.pid, lambda: process.poll() is not None, grace_s=2.0)
            raise ProcessFailed(f"the contract's process did not start; its log is {log}\n{lines}")
    return made


def stop(home: Home) -> bool:
    """Stop the process; whether it lived."""
    known = load(home)
    lock_file = home.path / "contract.lock"
    if known is None or not is_locked(lock_file):
        return False
    if is_same_process(known.pid, known.started):
        stop_process(known.pid, lambda: not is_locked(lock_file))
    return True


def is_running(home: Home) -> bool:
    """Whether the process lives."""
    return is_locked(home.path / "contract.lock")


def _command(home: Home, address: str, package_id: str) -> list[str]:
    module = [sys.executable, "-m", "goldengrain.chaincode.market"]
    return [*module, "--address", address, "--package-id", package_id, "--clock", str(home.clock_file.absolute())]


def _save(home: Home, process: ContractProcess) -> None:
    write_atomically(home.path / "contract.json", json.dumps(asdict(process)).encode())
