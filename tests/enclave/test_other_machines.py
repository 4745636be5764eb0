"""How far outputs move between instruction sets: an emulated older processor (no AVX) answers beside this one."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.task import BenchmarkSpec, ModelInterface
from goldengrain.cli.testsets import LIMITS
from goldengrain.enclave import metrics
from goldengrain.enclave.models.datasets import BUNDLED, load
from goldengrain.enclave.models.export import weights_to_onnx
from goldengrain.enclave.models.train import kinds, train
from tests.conftest import need

from .nets import CONFIGS, inputs, interface, net

FAR = 2e-5
"""Greatest difference of an output, as a share of the greatest; docs/enclave-engines.md says what was measured."""
ETA = 1_000
"""What `task open` asks of scores unless the provider says otherwise, in ppm."""
PROCESSOR = "Nehalem"
SAMPLES = {"lenet": 64, "resnet-8": 16}


@pytest.mark.check
@pytest.mark.timeout(400)
def test_older_processor_predicts_the_same_and_scores_within_eta(tmp_path: Path) -> None:
    need("qemu-user", shutil.which("qemu-x86_64"), "apt-get install qemu-user")
    if platform.machine() != "x86_64":
        pytest.skip("the emulated processor runs this machine's own programs: only on x86-64")
    given: dict[str, np.ndarray] = {}

    def keep(name: str, model: bytes, asked: ModelInterface, rows: np.ndarray) -> None:
        (tmp_path / f"{name}.model").write_bytes(model)
        (tmp_path / f"{name}.json").write_bytes(canonical.dumps(asked.to_json()))
        given[name] = rows

    data = {name: load(name) for name in BUNDLED}
    for name, one in data.items():
        for kind in kinds(name):
            keep(f"{name} {kind}", train(kind, one).model, one.interface, one.test.inputs)
    for name, samples in SAMPLES.items():
        config = CONFIGS[name]
        keep(name, weights_to_onnx(net(name), interface(config)), interface(config), inputs(config, samples=samples))
    np.savez(tmp_path / "inputs.npz", **given)  # type: ignore[arg-type]  # for `allow_pickle`, which no name is
    command = [sys.executable, "-m", "tests.enclave.outputs_here", str(tmp_path)]
    subprocess.run([*command, "here"], check=True, timeout=100)
    subprocess.run(["qemu-x86_64", "-cpu", PROCESSOR, *command, "there"], check=True, timeout=300)
    with np.load(tmp_path / "here.npz") as here, np.load(tmp_path / "there.npz") as there:
        for name in given:
            _compare(name, here[name], there[name])
            if name.partition(" ")[0] in data:
                one = data[name.partition(" ")[0]]
                spec = BenchmarkSpec(one.metric, False, len(one.test.labels), one.interface, LIMITS, scale=one.scale)
                scores = [metrics.score(spec, 1, outputs[name], one.test.labels) for outputs in (here, there)]
                sys.stdout.write(f"  {one.metric} {scores[0]:,} and {scores[1]:,} ppm\n")
                assert abs(scores[0] - scores[1]) <= 1 < ETA, name


def _compare(name: str, here: np.ndarray, there: np.ndarray) -> None:
    far = float(np.abs(here - there).max() / np.abs(here).max())
    sys.stdout.write(f"{name}: {far:.2e}\n")
    assert far < FAR, name
    if here.shape[1] > 1:
        assert (here.argmax(axis=1) == there.argmax(axis=1)).all(), name
