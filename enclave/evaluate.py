"""Evaluate a model as the enclave does: by the same code, in a process of its own, whatever the test set's size.

    evaluate(model, container, spec, eta)             # on the same kind of machine the very number of the report

A test set is a container (bytes, or a file), or a task's ciphertext with its key, decrypted as it is read. A tally also
tells results by class, which never leave an enclave: they are for who has both model and test set, the provider once it
has bought, the developer once the test set is open.

From a shell: `goldengrain task evaluate`; for a container, `python -m goldengrain.enclave.evaluate --model F --dataset
CONTAINER --task TASK.json`, which prints `{"score_ppm": …}`, with `--classes` also results by class.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Task
from goldengrain.enclave.dataset_file import DatasetFile
from goldengrain.enclave.metrics import Array, Tally
from goldengrain.enclave.runner import BytesSource, Feed, Forward, Runner
from goldengrain.enclave.test_set import TestSet

SECONDS = 86_400
"""Time of a model outside an enclave, where no lease ends: a day."""
Progress = Callable[[int], None]
"""Told how many samples are done."""


class PlainTestSet(Feed):
    """A test set that isn't encrypted; raises `DatasetMismatch` unless it is what a spec says."""

    def __init__(self, dataset: DatasetFile, spec: BenchmarkSpec) -> None:
        dataset.require(spec)
        self.samples = dataset.head.samples
        self.tally = Tally.of(spec)
        self._dataset = dataset

    def read(self, forward: Forward) -> None:
        """Hand on the inputs, with a new tally."""
        self.tally = Tally.of(self.tally.spec)
        for piece in self._dataset.pieces():
            forward(piece)

    def take(self, outputs: Array) -> None:
        """Count the outputs of the next samples."""
        done = self.tally.samples
        self.tally.add(outputs, self._dataset.labels(done, done + len(outputs)))


class _Watched(Feed):
    """A test set that tells how far it is."""

    def __init__(self, feed: PlainTestSet | TestSet, progress: Progress) -> None:
        self.samples = feed.samples
        self._feed, self._progress = feed, progress

    def read(self, forward: Forward) -> None:
        self._feed.read(forward)

    def take(self, outputs: Array) -> None:
        self._feed.take(outputs)
        self._progress(self._feed.tally.samples)


def evaluate(model: bytes, container: bytes | BinaryIO, spec: BenchmarkSpec, eta: int) -> int:
    """Return the score in ppm, floored to eta, of a model on a test set, both plain; raises as `tallied`."""
    return tallied(model, container, spec).score(eta)


def tallied(model: bytes, container: bytes | BinaryIO, spec: BenchmarkSpec, progress: Progress | None = None) -> Tally:
    """Return all that a metric keeps of a model's plaintext on a test set's plaintext.

    Raises `ModelRefused` and `DatasetRefused` as the enclave does, `HostFault` where this machine is at fault.
    """
    file = io.BytesIO(container) if isinstance(container, bytes) else container
    return _run(model, spec, PlainTestSet(DatasetFile(file), spec), progress)


def tallied_sealed(
    model: bytes, ciphertext: BinaryIO, key: bytes, task: Task, progress: Progress | None = None
) -> Tally:
    """Return all that a metric keeps of a model's plaintext on a task's test set; the file can be sought in.

    Raises as `tallied` does, and `HostBytesRefused` where the ciphertext is not the task's.
    """
    test_set = TestSet(ciphertext, task)
    test_set.key = key
    return _run(model, task.spec, test_set, progress)


def _run(model: bytes, spec: BenchmarkSpec, feed: PlainTestSet | TestSet, progress: Progress | None) -> Tally:
    watched = feed if progress is None else _Watched(feed, progress)
    Runner(0).feed(BytesSource(model), spec.interface, spec.limits, watched, SECONDS)
    return feed.tally


def main(arguments: list[str] | None = None) -> int:
    """Evaluate from the command line; returns the exit code."""
    parser = argparse.ArgumentParser("python -m goldengrain.enclave.evaluate", description="Evaluate a model.")
    parser.add_argument("--model", type=Path, required=True, help="ONNX file, or weights")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset container, decrypted")
    parser.add_argument("--task", type=Path, required=True, help="task, JSON as `GetTask` has it")
    parser.add_argument("--classes", action="store_true", help="results by class too")
    options = parser.parse_args(arguments)
    try:
        task = Task.from_json(canonical.loads(options.task.read_bytes()))
        with options.dataset.open("rb") as file:
            tally = tallied(options.model.read_bytes(), file, task.spec)
    except (GoldenGrainError, OSError) as error:
        code = error.code if isinstance(error, GoldenGrainError) else "IO"
        sys.stderr.write(f"{code}: {error}\n")
        return 1
    found: dict[str, object] = {"score_ppm": tally.score(task.eta)}
    if options.classes:
        found["classes"] = [one.to_json() for one in tally.classes()]
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
