import re
import subprocess
import sys
from pathlib import Path

import pytest

from goldengrain.enclave.frames import read_frame_from
from goldengrain.enclave.ready_memory import SIZE
from goldengrain.enclave.runner import Worker

_FAULTS = """
import resource, sys
from goldengrain.enclave.ready_memory import have_memory_ready
if sys.argv[1] == "ready":
    have_memory_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    block = bytearray(48 << 20)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    command = [sys.executable, "-c", _FAULTS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def test_large_blocks_come_from_memory_that_was_touched_before() -> None:
    assert _faults("ready") < 100
    if _faults("bare") < 100:
        pytest.skip("every large block is in huge pages on this machine: there is nothing to tell apart")


def test_a_waiting_worker_has_it() -> None:
    worker = Worker()
    try:
        assert read_frame_from(worker._output) == b""
        assert _own_memory(worker.pid) > SIZE
    finally:
        worker.end()


def _own_memory(pid: int) -> int:
    """Return the bytes of a process that no file holds."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
