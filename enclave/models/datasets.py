"""Real data, split into what developers train on and the test set that the provider hides.

`digits`: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels. `fashion-mnist`: 70,000 images of 28 x 28 pixels from
the files of Debian's package `dataset-fashion-mnist`. Both as float32 from 0 to 1, one row per image, split the same
way every time. Scikit-learn itself isn't imported here, which would take two seconds: its file is read where it lies.
"""

from __future__ import annotations

import gzip
import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from goldengrain.chaincode.protocol.task import ModelInterface, Tensor, TensorType
from goldengrain.enclave.dataset import pack
from goldengrain.enclave.models.errors import DataMissing

NAMES = ("digits", "fashion-mnist")
CLASSES = 10
FASHION_FOLDERS = (Path("/usr/share/datasets/fashion-mnist"), Path("/usr/share/dataset-fashion-mnist"))
_FASHION_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
_DIGITS_TEST = 597
_SPLIT_SEED = 2_011_06458
_IMAGES, _LABELS = 0x803, 0x801

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Split:
    """Inputs (n, features) of float32 and labels (n,) of int64."""

    inputs: Array
    labels: Array


@dataclass(frozen=True)
class Data:
    """A named dataset in its two parts."""

    name: str
    train: Split
    test: Split

    @property
    def interface(self) -> ModelInterface:
        """What models for it look like: rows of features in, a score for each of ten classes out."""
        return interface(self.train.inputs.shape[1])

    def container(self) -> bytes:
        """Return the test set as a dataset container."""
        return pack(self.test.inputs, self.test.labels, name=self.name)


def interface(features: int) -> ModelInterface:
    """Return the interface of a classifier of rows: `input` (samples, features), `probabilities` (samples, 10)."""
    return ModelInterface(
        input=Tensor("input", TensorType.FLOAT32, (0, features)),
        output=Tensor("probabilities", TensorType.FLOAT32, (0, CLASSES)),
    )


def load(name: str) -> Data:
    """Load a dataset by name; raises `DataMissing` when its files are not on this machine."""
    if name == "digits":
        return _digits()
    if name == "fashion-mnist":
        return _fashion_mnist()
    raise DataMissing(f"no dataset {name!r}; there are {', '.join(NAMES)}")


def available() -> list[str]:
    """Return the names of the datasets that can be loaded here."""
    return [name for name in NAMES if name != "fashion-mnist" or _fashion_folder() is not None]


def _digits() -> Data:
    path = _digits_file()
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float64)
    table = table[np.random.RandomState(_SPLIT_SEED).permutation(len(table))]
    inputs = (table[:, :-1] / 16).astype(np.float32)
    labels = table[:, -1].astype(np.int64)
    return Data(
        "digits",
        train=Split(inputs[_DIGITS_TEST:], labels[_DIGITS_TEST:]),
        test=Split(inputs[:_DIGITS_TEST], labels[:_DIGITS_TEST]),
    )


def _digits_file() -> Path:
    """Return where scikit-learn keeps its digits, without importing it."""
    package = importlib.util.find_spec("sklearn")
    folders = [] if package is None else list(package.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    raise DataMissing("the digits come with scikit-learn: pip install 'goldengrain[models]'")


def _fashion_mnist() -> Data:
    folder = _fashion_folder()
    if folder is None:
        raise DataMissing("the files of fashion-mnist are not here: apt-get install dataset-fashion-mnist")
    parts = {name: _read_split(folder, *files) for name, files in _FASHION_FILES.items()}
    return Data("fashion-mnist", parts["train"], parts["test"])


def _fashion_folder() -> Path | None:
    needed = [name for files in _FASHION_FILES.values() for name in files]
    return next((folder for folder in FASHION_FOLDERS if all((folder / name).is_file() for name in needed)), None)


def _read_split(folder: Path, images: str, labels: str) -> Split:
    pixels, classes = read_idx(folder / images), read_idx(folder / labels)
    if pixels.ndim != 3 or classes.ndim != 1 or len(pixels) != len(classes):
        raise DataMissing(f"{folder} holds other files than Fashion-MNIST's")
    rows = pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)
    return Split(rows, classes.astype(np.int64))


def read_idx(path: Path) -> Array:
    """Read a gzipped IDX file of bytes (the format of MNIST); raises `DataMissing` for another file."""
    data = gzip.decompress(path.read_bytes())
    (magic,) = struct.unpack_from(">I", data)
    if magic not in (_IMAGES, _LABELS):
        raise DataMissing(f"{path} is no IDX file of bytes")
    axes = magic & 0xFF
    shape = struct.unpack_from(f">{axes}I", data, 4)
    values = np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * axes)
    if values.size != np.prod(shape):
        raise DataMissing(f"{path} is cut off")
    return values.reshape(shape)
