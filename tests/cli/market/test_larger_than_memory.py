"""Test sets many times larger than what a command holds of them: made, sealed, stored, benchmarked, evaluated.

What is compared are greatest resident sizes of whole processes: of the same command on a small and on a large test set.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from .conftest import USERS
from .running import COMMAND, Folder

PROVIDER, DEVELOPER = USERS[0], USERS[1]
WIDTH = 1000
SMALL, LARGE = 500, 30_000
"""Samples: 2 MB and 120 MB."""
MORE = 32 * 1024**2
"""What the large one may take more, in bytes: chunks, buffers and an allocator's slack."""
pytestmark = [pytest.mark.check, pytest.mark.timeout(200)]


def most_memory(*arguments: object) -> int:
    """Run `goldengrain ARGUMENTS` as a process of its own; returns its greatest resident size in bytes."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--json"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read().decode()
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    return used.ru_maxrss * 1024


def _npy(folder: Path, samples: int) -> Path:
    path = folder / f"{samples}.npy"
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (samples, WIDTH)}
        np.lib.format.write_array_header_1_0(file, header)
        rows = np.linspace(0, 1, WIDTH * 100, dtype=np.float32).tobytes()
        file.writelines(rows for _ in range(samples // 100))
    np.save(folder / f"{samples}-labels.npy", np.arange(samples) % 2)
    return path


def _npz(folder: Path, samples: int) -> Path:
    inputs = _npy(folder, samples)
    path = folder / f"{samples}.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=0) as archive:
        archive.write(inputs, "inputs.npy")
        archive.write(folder / f"{samples}-labels.npy", "labels.npy")
    return path


def _csv(folder: Path, samples: int) -> Path:
    path = folder / f"{samples}.csv"
    row = ",".join(f"{one / 7:.4f}" for one in range(100)) + ","
    with path.open("w") as file:
        file.write(",".join(f"c{one}" for one in range(101)) + "\n")
        file.writelines(f"{row}class {one % 3}\n" for one in range(samples))
    return path


def _images(folder: Path, samples: int) -> Path:
    for one in range(samples // 75):
        place = folder / f"images-{samples}" / f"class {one % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (256, 256), (one % 256, 0, 0)).save(place / f"{one}.png", compress_level=1)
    return folder / f"images-{samples}"


def _idx(folder: Path, samples: int) -> Path:
    for name, magic, shape, size in (
        ("images-idx3", 0x803, (samples, 28, 28), 784),
        ("labels-idx1", 0x801, (samples,), 1),
    ):
        head = b"".join(number.to_bytes(4, "big") for number in (magic, *shape))
        with gzip.open(folder / f"{samples}-{name}-ubyte.gz", "wb", compresslevel=1) as file:
            file.write(head)
            file.writelines(bytes(size) for _ in range(samples))
    return folder / f"{samples}-images-idx3-ubyte.gz"


KINDS: dict[str, tuple[Callable[[Path, int], Path], int]] = {
    "npy": (_npy, LARGE),
    "npz": (_npz, LARGE),
    "csv": (_csv, 60_000),
    "images": (_images, LARGE),
    "idx": (_idx, 120_000),
}


@pytest.mark.parametrize("kind", KINDS)
def test_packing_takes_no_more_memory_for_more_samples(kind: str, tmp_path: Path) -> None:
    make, samples = KINDS[kind]
    small, large = (
        most_memory("dataset", "pack", make(tmp_path, size), "--out", tmp_path / f"{size}.dataset")
        for size in (SMALL, samples)
    )
    size = (tmp_path / f"{samples}.dataset").stat().st_size
    sys.stdout.write(f"{kind}: {size / 1e6:.0f} MB packed with {(large - small) / 1e6:.0f} MB more memory\n")
    assert size > (24e6 if kind == "csv" else 75e6)
    assert large - small < (MORE if kind != "csv" else 12e6)  # its texts alone would take ten times that


def _model(path: Path) -> Path:
    """A linear model over all inputs, with two probabilities."""
    weights = np.random.default_rng(1).normal(size=(WIDTH, 2)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("samples", WIDTH))],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ("samples", 2))],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(made.SerializeToString())
    return path


def test_a_large_test_set_goes_through_the_market_in_pieces(market: Folder, tmp_path: Path) -> None:
    market("credits", "mint", 10_000, "--to", PROVIDER)
    home, model, used = ("--home", market.home), _model(tmp_path / "m.onnx"), {}
    for seed, samples in enumerate((SMALL, LARGE), 400):
        source = _npy(tmp_path, samples)
        before = {one["task"] for one in market("task", "list")["tasks"]}
        terms = ("--schedule", "1:1000", "--slots", 1, "--seed", seed, "--as", PROVIDER)
        opening = most_memory(*home, "task", "open", "--dataset", source, *terms)
        (task,) = {one["task"] for one in market("task", "list")["tasks"]} - before

        offer = market("model", "seal", model, "--task", task, "--as", DEVELOPER)["offer"]
        market("offer", "submit", offer, "--as", DEVELOPER)
        market("offer", "receipt", offer, "--as", PROVIDER)
        locked = market("offer", "wait", offer, "--for", "locked", "--timeout", "90s")
        market("offer", "reveal", offer, "--as", DEVELOPER)
        assert market("task", "evaluate", task, model, "--as", PROVIDER)["score_ppm"] == locked["score_ppm"]
        evaluating = most_memory(*home, "task", "evaluate", task, model, "--classes", "--as", PROVIDER)
        estimating = most_memory("model", "pack", model, "--data", source, "--out", tmp_path / f"{samples}.onnx")
        used[samples] = {"task open": opening, "task evaluate": evaluating, "model pack": estimating}
    size = LARGE * WIDTH * 4
    for name, most in used[LARGE].items():
        more = most - used[SMALL][name]
        sys.stdout.write(f"{name}: {more / 1e6:.0f} MB more memory for {size / 1e6:.0f} MB of inputs\n")
        assert more < MORE, name
