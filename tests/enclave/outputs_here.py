"""Print what the bundled models answer on this machine, for another one (or an emulated one) to be held against.

    python -m tests.enclave.outputs_here FOLDER NAME

reads FOLDER/*.model, their interfaces in FOLDER/*.json and FOLDER/inputs.npz, writes FOLDER/NAME.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.task import ModelInterface
from goldengrain.cli.testsets import LIMITS
from goldengrain.enclave.engine import run_model


def main(folder: Path, name: str) -> None:
    """Run every model of the folder over its inputs."""
    with np.load(folder / "inputs.npz") as given:
        inputs = {key: given[key] for key in given}
    found = {}
    for path in sorted(folder.glob("*.model")):
        interface = ModelInterface.from_json(canonical.loads(path.with_suffix(".json").read_bytes()))
        found[path.stem] = run_model(path.read_bytes(), interface, LIMITS, inputs[path.stem])
    np.savez(folder / f"{name}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
