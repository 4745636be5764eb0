"""A test set larger than what an enclave may hold: its memory grows by chunks and labels, not by the inputs."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import hashlib, io, os, resource, sys
from dataclasses import replace
import numpy as np
from goldengrain.chaincode.protocol import stream
from goldengrain.enclave.dataset import Head, write_head
from goldengrain.enclave.test_set import TestSet
from tests.chaincode.protocol import samples
from tests.enclave.market import INTERFACE, LIMITS

folder, count = sys.argv[1], 50_000
width, labels = 1500, np.zeros(count, np.int64)
head = Head.of("long", count, "int64", "float32", (width,))
with open(f"{folder}/plain", "wb") as sink:
    write_head(sink, head, labels)
    row = np.ones((1000, width), np.float32).tobytes()
    for _ in range(count // 1000):
        sink.write(row)
with open(f"{folder}/plain", "rb") as source, open(f"{folder}/sealed", "wb") as sink:
    key = bytes(range(32))
    written = stream.encrypt_file(key, source, sink)
with open(f"{folder}/plain", "rb") as source:
    plain = hashlib.file_digest(source, "sha256").digest()
interface = replace(INTERFACE, input=replace(INTERFACE.input, shape=(0, width)))
task = samples.task(
    spec=samples.spec(samples=count, interface=interface, limits=LIMITS, wilson=False),
    dataset=replace(samples.task().dataset, ciphertext=written.digest, plaintext=plain),
)
before, seen = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
def forward(piece):
    global seen
    seen += len(piece)
with open(f"{folder}/sealed", "rb") as source:
    test_set = TestSet(source, task)
    test_set.key = key
    test_set.read(forward)
assert seen == count * width * 4, seen
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.check
def test_memory_does_not_grow_with_the_test_set(tmp_path: str) -> None:
    """300 MB of inputs pass through; what is held more than before is some chunks."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16_000_000
