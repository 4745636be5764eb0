"""From the files that people have to a test set: NumPy, CSV, folders of images, MNIST's IDX files.

A source gives labels at once and inputs in batches, so that a set larger than memory becomes a container all the same::

    with open_source(Path("images"), image_size=(32, 32)) as source:
        write_container(source, sink, name="images")

=================  ==================================================================================================
what               how it is read
=================  ==================================================================================================
FILE.npz           arrays `inputs` and `labels`; nothing is unpickled
FILE.npy           inputs, mapped, not read; labels from `FILE-labels.npy` beside it
FILE.csv           a header line, then numbers; the label is the column named (by default the last); float32 inputs
folder of images   a folder per class, classes numbered in the order of their names; uint8, channels first
FILE.gz            an IDX file of images; labels from the file of the same name with `labels-idx1` for `images-idx3`
=================  ==================================================================================================

Labels that are integers are classes (int64), others are values (float64). Needs NumPy; images need Pillow.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from goldengrain.enclave.dataset import INPUT_TYPES, Head, write_head
from goldengrain.enclave.models.datasets import read_idx
from goldengrain.enclave.models.errors import DataMissing, SourceRefused

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm"}
BATCH = 1024
MAX_PIXELS = 64 * 1024**2
"""Pixels of one image; what claims more is refused before it is unpacked."""
_LABEL_FILE = ("images-idx3", "labels-idx1")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Source:
    """Inputs by index, whatever they lie in, and their labels; `names` of the classes where there are any."""

    labels: Array
    type: str
    shape: tuple[int, ...]
    rows: Any
    """Something that a slice of gives inputs (n, …)."""
    names: tuple[str, ...] = ()

    def batches(self) -> Iterator[Array]:
        """Give the inputs in order, some at a time."""
        for start in range(0, len(self.labels), BATCH):
            yield np.ascontiguousarray(self.rows[start : start + BATCH])


@dataclass(frozen=True)
class _Images:
    """Image files, opened when they are asked for."""

    paths: Sequence[Path]
    size: tuple[int, int]
    gray: bool

    def __getitem__(self, part: slice) -> Array:
        return np.stack([_image(path, self.size, self.gray) for path in self.paths[part]])


def write_container(source: Source, sink: BinaryIO, *, name: str) -> Head:
    """Write a source as a dataset container, batch by batch; raises `DatasetMismatch` for what can't be in one."""
    head = Head.of(name, len(source.labels), str(source.labels.dtype), source.type, source.shape)
    write_head(sink, head, source.labels)
    sink.writelines(batch.tobytes() for batch in source.batches())
    return head


def open_source(
    path: Path, *, label: str | None = None, image_size: tuple[int, int] | None = None, gray: bool = False
) -> Source:
    """Find out what a path is and open it; raises `SourceRefused` for what is none of the module's sources.

    `label` names a CSV's column of labels; `image_size` (height, width) is what images are scaled to, by default the
    size of the first.
    """
    try:
        return _open(path, label, image_size, gray)
    except OSError as error:
        raise SourceRefused(f"{path} cannot be read: {error.strerror or error}") from error


def _open(path: Path, label: str | None, size: tuple[int, int] | None, gray: bool) -> Source:
    if path.is_dir():
        return from_images(path, size, gray)
    if path.suffix == ".csv":
        return from_csv(path, label)
    if path.suffix == ".npz":
        return from_npz(path)
    if path.suffix == ".npy":
        labels = path.with_name(f"{path.stem}-labels.npy")
        return from_arrays(_npy(path), _npy(labels))
    if path.suffix == ".gz":
        return from_idx(path, path.with_name(path.name.replace(*_LABEL_FILE)))
    raise SourceRefused(f"{path} is no .npz, .npy, .csv or .gz (IDX) file and no folder of images")


def from_arrays(inputs: Array, labels: Array) -> Source:
    """Take inputs (n, …) and labels (n,); other number types are brought to those that a container has."""
    labels = np.asarray(labels)
    if inputs.ndim < 2 or labels.ndim != 1 or len(inputs) != len(labels):
        raise SourceRefused("inputs have samples first and one more axis at least, and there is one label for each")
    if labels.dtype == np.bool_ or np.issubdtype(labels.dtype, np.integer):
        labels = labels.astype(np.int64)
    elif np.issubdtype(labels.dtype, np.floating):
        labels = labels.astype(np.float64)
    else:
        raise SourceRefused(f"labels are numbers, not {labels.dtype}")
    if str(inputs.dtype) not in INPUT_TYPES:
        raise SourceRefused(
            f"inputs are of {', '.join(INPUT_TYPES)}, not {inputs.dtype}; convert them, e.g. to float32"
        )
    return Source(labels, str(inputs.dtype), inputs.shape[1:], inputs)


def from_npz(path: Path) -> Source:
    """Read `inputs` and `labels` of an .npz file; nothing in it is unpickled."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return from_arrays(arrays["inputs"], arrays["labels"])
    except KeyError as error:
        raise SourceRefused(f"{path} has no array {error}; save it with numpy.savez(inputs=…, labels=…)") from error
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise SourceRefused(f"{path} is no .npz file of plain arrays: {error}") from error


def from_csv(path: Path, label: str | None = None) -> Source:
    """Read a table with a header line; all columns but the label's are inputs, float32."""
    with path.open(newline="", encoding="utf-8") as file:
        try:
            rows = list(csv.reader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceRefused(f"{path} is no CSV file: {error}") from error
    if len(rows) < 2 or len(rows[0]) < 2:
        raise SourceRefused(f"{path} has no header line, no row or a single column")
    header, body = rows[0], rows[1:]
    if label is not None and label not in header:
        raise SourceRefused(f"{path} has no column {label!r}; there are {', '.join(header)[:200]}")
    column = len(header) - 1 if label is None else header.index(label)
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            raise SourceRefused(f"{path}, line {number}: {len(row)} fields where the header has {len(header)}")
    labels, names = _labels([row[column] for row in body])
    try:
        inputs = np.array([row[:column] + row[column + 1 :] for row in body], dtype=np.float32)
    except ValueError as error:
        raise SourceRefused(f"{path}: every column but the label's holds numbers: {error}") from error
    return Source(labels, "float32", inputs.shape[1:], inputs, names)


def _labels(texts: Sequence[str]) -> tuple[Array, tuple[str, ...]]:
    """Read labels: classes where all are integers, values where all are numbers, else names of classes, in order."""
    for kind in (np.int64, np.float64):
        try:
            return np.array(texts).astype(kind), ()
        except (ValueError, OverflowError):
            continue
    names = sorted(set(texts))
    return np.array([names.index(one) for one in texts], np.int64), tuple(names)


def from_images(folder: Path, size: tuple[int, int] | None = None, gray: bool = False) -> Source:
    """Read a folder that holds a folder of images for each class."""
    names = sorted(one.name for one in folder.iterdir() if one.is_dir())
    found = [
        (path, number)
        for number, name in enumerate(names)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in IMAGES
    ]
    if not found:
        raise SourceRefused(f"{folder} holds no folders with images ({', '.join(sorted(IMAGES))})")
    paths = [path for path, _ in found]
    height, width = size or _size(paths[0])
    labels = np.array([number for _, number in found], np.int64)
    return Source(
        labels, "uint8", (1 if gray else 3, height, width), _Images(paths, (height, width), gray), tuple(names)
    )


def from_idx(images: Path, labels: Path) -> Source:
    """Read MNIST's or Fashion-MNIST's files (gzipped IDX): uint8, channels first."""
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or classes.ndim != 1 or len(pixels) != len(classes):
        raise SourceRefused(f"{images} and {labels} are no images and their labels")
    return from_arrays(pixels[:, None], classes)


def _npy(path: Path) -> Array:
    try:
        found: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SourceRefused(f"{path} is no .npy file of a plain array: {error}") from error
    return found


def _size(path: Path) -> tuple[int, int]:
    with _opened(path) as image:
        return image.height, image.width


def _image(path: Path, size: tuple[int, int], gray: bool) -> Array:
    with _opened(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise SourceRefused(f"{path} has more than {MAX_PIXELS:,} pixels")
        try:
            own = image.convert("L" if gray else "RGB")
            scaled = own if (own.height, own.width) == size else own.resize((size[1], size[0]))
        except (OSError, ValueError) as error:
            raise SourceRefused(f"{path} is a damaged image: {error}") from error
        pixels = np.asarray(scaled, np.uint8)
    return pixels[None] if gray else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _opened(path: Path) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataMissing("images need Pillow: pip install 'goldengrain[models]'") from error
    try:
        return Image.open(path)
    except (Image.DecompressionBombError, OSError, ValueError) as error:
        raise SourceRefused(f"{path} is no image: {error}") from error
