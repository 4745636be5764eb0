"""How far outputs move between instruction sets: an emulated older processor (no AVX) answers beside this one."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from goldengrain.enclave.models.datasets import load
from goldengrain.enclave.models.export import weights_to_onnx
from goldengrain.enclave.models.train import KINDS, train
from tests.conftest import need

from .nets import CONFIGS, inputs, interface, net

FAR = 2e-5
"""Greatest difference of a probability between the two; docs/enclave-engines.md says what was measured."""
PROCESSOR = "Nehalem"
SAMPLES = {"lenet": 64, "resnet-8": 16}


@pytest.mark.check
@pytest.mark.timeout(400)
def test_older_processor_predicts_the_same(tmp_path: Path) -> None:
    need("qemu-user", shutil.which("qemu-x86_64"), "apt-get install qemu-user")
    if platform.machine() != "x86_64":
        pytest.skip("the emulated processor runs this machine's own programs: only on x86-64")
    digits, given = load("digits"), {}
    for kind in KINDS:
        (tmp_path / f"{kind}.model").write_bytes(train(kind, digits).model)
        given[kind] = digits.test.inputs
    for name, samples in SAMPLES.items():
        config = CONFIGS[name]
        (tmp_path / f"{name}.model").write_bytes(weights_to_onnx(net(name), interface(config)))
        given[name] = inputs(config, samples=samples)
    np.savez(tmp_path / "inputs.npz", **given)
    command = [sys.executable, "-m", "tests.enclave.outputs_here", str(tmp_path)]
    subprocess.run([*command, "here"], check=True, timeout=100)
    subprocess.run(["qemu-x86_64", "-cpu", PROCESSOR, *command, "there"], check=True, timeout=300)
    with np.load(tmp_path / "here.npz") as here, np.load(tmp_path / "there.npz") as there:
        for name in given:
            assert (here[name].argmax(axis=1) == there[name].argmax(axis=1)).all(), name
            far = float(np.abs(here[name] - there[name]).max())
            sys.stdout.write(f"{name}: {far:.2e}\n")
            assert far < FAR, name
