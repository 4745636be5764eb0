"""Evaluate an opened model as the enclave does: the provider's check of what it bought.

    evaluate(model_bytes, container, spec, eta)      # on the same kind of machine the very number of the report

In a process of its own: `python -m goldengrain.enclave.evaluate --model F --dataset CONTAINER --task TASK.json`
prints `{"score_ppm": …}`, with `--classes` also samples, right ones and predictions of each class.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Task
from goldengrain.enclave import metrics
from goldengrain.enclave.dataset import unpack
from goldengrain.enclave.engine import run_model


def evaluate(model: bytes, container: bytes, spec: BenchmarkSpec, eta: int) -> int:
    """Return the score in ppm, floored to eta, of a model's plaintext on a test set's plaintext.

    Raises `ModelRefused` and `DatasetRefused` as the enclave does.
    """
    return tallied(model, container, spec).score(eta)


def tallied(model: bytes, container: bytes, spec: BenchmarkSpec) -> metrics.Tally:
    """Return all that a metric keeps: `score(eta)`, and `classes()`, which never leave an enclave.

    For who has both model and test set: the provider once it has bought, the developer once the test set is open.
    """
    dataset = unpack(container)
    dataset.require(spec)
    tally = metrics.Tally.of(spec)
    tally.add(run_model(model, spec.interface, spec.limits, dataset.inputs), dataset.labels)
    return tally


def main(arguments: list[str] | None = None) -> int:
    """Evaluate from the command line; returns the exit code."""
    parser = argparse.ArgumentParser("python -m goldengrain.enclave.evaluate", description="Evaluate a model.")
    parser.add_argument("--model", type=Path, required=True, help="ONNX file, or weights")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset container, decrypted")
    parser.add_argument("--task", type=Path, required=True, help="task, JSON as `GetTask` has it")
    parser.add_argument("--classes", action="store_true", help="samples, right ones and predictions of each class too")
    options = parser.parse_args(arguments)
    try:
        task = Task.from_json(canonical.loads(options.task.read_bytes()))
        tally = tallied(options.model.read_bytes(), options.dataset.read_bytes(), task.spec)
    except (GoldenGrainError, OSError) as error:
        code = error.code if isinstance(error, GoldenGrainError) else "IO"
        sys.stderr.write(f"{code}: {error}\n")
        return 1
    found: dict[str, object] = {"score_ppm": tally.score(task.eta)}
    if options.classes:
        found["classes"] = tally.classes()
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
