"""The base install, without NumPy, ONNX Runtime and the like, can use what the command line needs."""

from __future__ import annotations

import subprocess
import sys

EXTRAS = ("numpy", "onnx", "onnxruntime", "safetensors", "sklearn", "skl2onnx")


def test_host_side_needs_none_of_the_extras() -> None:
    program = f"""
import sys
for name in {EXTRAS!r}:
    sys.modules[name] = None
import goldengrain.enclave.client, goldengrain.enclave.errors, goldengrain.enclave.measurement
import goldengrain.enclave.quoting, goldengrain.enclave.verify
assert len(goldengrain.enclave.measurement.simulated_measurement()) == 32
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_enclave_needs_no_engine_where_the_keys_are() -> None:
    program = """
import sys
for name in ("onnx", "onnxruntime"):
    sys.modules[name] = None
import goldengrain.enclave.__main__
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
