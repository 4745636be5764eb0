"""Real data, split into what developers train on and the test set that the provider hides.

=============  ===========================================================================  ==========================
digits         1,797 handwritten digits of 8 x 8 pixels, from 0 to 1                        ten classes; accuracy
fashion-mnist  70,000 images of 28 x 28 pixels, from 0 to 1                                 ten classes; accuracy
breast-cancer  30 measures of cell nuclei of 569 tumours: malignant (0) or benign (1)       two classes; AUROC
wine           13 measures of 178 wines of three growers                                    three classes; macro F1
diabetes       10 measures of 442 patients, and how far their illness went within a year    a value; RMSE
=============  ===========================================================================  ==========================

One row of float32 per sample, split the same way every time. All but `fashion-mnist`, which comes from the files of
Debian's package `dataset-fashion-mnist`, are scikit-learn's; it isn't imported here, which would take two seconds: its
files are read where they lie.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from goldengrain.chaincode.protocol.task import Metric, ModelInterface, Tensor, TensorType
from goldengrain.enclave.dataset import pack
from goldengrain.enclave.models.errors import DataMissing

BUNDLED = ("digits", "breast-cancer", "wine", "diabetes")
NAMES = (*BUNDLED, "fashion-mnist")
CLASSES = 10
SCORED = {
    "digits": (Metric.ACCURACY, 0),
    "breast-cancer": (Metric.AUROC, 0),
    "wine": (Metric.MACRO_F1, 0),
    "diabetes": (Metric.RMSE, 77_000_000),
    "fashion-mnist": (Metric.ACCURACY, 0),
}
"""How a task over each is scored: metric, and scale in millionths (of diabetes: predicting the mean scores about 0)."""
FASHION_FOLDERS = (Path("/usr/share/datasets/fashion-mnist"), Path("/usr/share/dataset-fashion-mnist"))
_FASHION_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
_DIGITS_TEST = 597
_SPLIT_SEED = 2_011_06458
_IMAGES, _LABELS = 0x803, 0x801
MAX_IDX = 1024**3
"""Bytes of an IDX file, unpacked."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Split:
    """Inputs (n, features) of float32 and labels (n,) of int64, or float64 where they are values."""

    inputs: Array
    labels: Array


@dataclass(frozen=True)
class Data:
    """A named dataset in its two parts, and how a task over it is scored."""

    name: str
    train: Split
    test: Split
    classes: int = CLASSES
    """How many; 0 where labels are values."""

    @property
    def metric(self) -> Metric:
        """What a task over it measures."""
        return SCORED[self.name][0]

    @property
    def scale(self) -> int:
        """The loss that scores 0, in millionths; 0 where the metric is no loss."""
        return SCORED[self.name][1]

    @property
    def interface(self) -> ModelInterface:
        """What models for it look like: rows in, out a probability of each class, or a value."""
        return interface(self.train.inputs.shape[1], self.classes)

    def container(self) -> bytes:
        """Return the test set as a dataset container."""
        return pack(self.test.inputs, self.test.labels, name=self.name)


def interface(features: int, classes: int = CLASSES) -> ModelInterface:
    """Return the interface of a classifier of rows: `input` (samples, features), `probabilities` (samples, classes).

    With no classes that of a regressor: `prediction` (samples, 1).
    """
    return ModelInterface(
        input=Tensor("input", TensorType.FLOAT32, (0, features)),
        output=Tensor("probabilities" if classes else "prediction", TensorType.FLOAT32, (0, classes or 1)),
    )


def load(name: str) -> Data:
    """Load a dataset by name; raises `DataMissing` when its files are not on this machine."""
    if name in _LOADERS:
        return _LOADERS[name]()
    raise DataMissing(f"no dataset {name!r}; there are {', '.join(NAMES)}")


def available() -> list[str]:
    """Return the names of the datasets that can be loaded here."""
    return [name for name in NAMES if name != "fashion-mnist" or _fashion_folder() is not None]


def _digits() -> Data:
    table = _shuffled(_table("digits.csv.gz"))
    train, test = _split(table, _DIGITS_TEST, np.int64)
    sixteenths = np.float32(16)
    return Data("digits", Split(train.inputs / sixteenths, train.labels), Split(test.inputs / sixteenths, test.labels))


def _breast_cancer() -> Data:
    table = _shuffled(_table("breast_cancer.csv", header=1))
    return Data("breast-cancer", *_split(table, len(table) // 3, np.int64), classes=2)


def _wine() -> Data:
    table = _shuffled(_table("wine_data.csv", header=1))
    return Data("wine", *_split(table, len(table) // 3, np.int64), classes=3)


def _diabetes() -> Data:
    inputs, values = _table("diabetes_data_raw.csv.gz", delimiter=None), _table("diabetes_target.csv.gz")
    table = _shuffled(np.column_stack([inputs, values]))
    return Data("diabetes", *_split(table, len(table) // 3, np.float64), classes=0)


def _shuffled(table: Array) -> Array:
    """Return the rows in an order that is the same every time."""
    found: Array = table[np.random.RandomState(_SPLIT_SEED).permutation(len(table))]
    return found


def _split(table: Array, hidden: int, labels: type) -> tuple[Split, Split]:
    """Cut a table whose last column holds the labels into what is trained on and the first rows, which are hidden."""
    train, test = (
        Split(part[:, :-1].astype(np.float32), part[:, -1].astype(labels)) for part in (table[hidden:], table[:hidden])
    )
    return train, test


def _table(name: str, *, header: int = 0, delimiter: str | None = ",") -> Array:
    """Read one of scikit-learn's tables where it lies, without importing scikit-learn."""
    package = importlib.util.find_spec("sklearn")
    folders = [] if package is None else list(package.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / "datasets" / "data" / name
        if path.is_file():
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
                return np.loadtxt(file, delimiter=delimiter, skiprows=header, dtype=np.float64)
    raise DataMissing(f"{name} comes with scikit-learn: pip install 'goldengrain[models]'")


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
    try:
        with gzip.open(path) as file:
            data = file.read(MAX_IDX + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataMissing(f"{path} is no gzipped file: {error}") from error
    if len(data) > MAX_IDX:
        raise DataMissing(f"{path} unpacks to more than {MAX_IDX:,} bytes")
    axes = {_IMAGES: 3, _LABELS: 1}.get(int.from_bytes(data[:4], "big"))
    if axes is None:
        raise DataMissing(f"{path} is no IDX file of bytes")
    head = 4 + 4 * axes
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, head, 4)]
    if len(data) != head + math.prod(shape):
        raise DataMissing(f"{path} is cut off, or goes on after its end")
    return np.frombuffer(data, dtype=np.uint8, offset=head).reshape(shape)


_LOADERS: dict[str, Callable[[], Data]] = {
    "digits": _digits,
    "breast-cancer": _breast_cancer,
    "wine": _wine,
    "diabetes": _diabetes,
    "fashion-mnist": _fashion_mnist,
}
