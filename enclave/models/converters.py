"""From the files that people have to a test set: NumPy, CSV, folders of images, MNIST's IDX files.

A source gives labels at once and inputs in batches, read when they are asked for: whatever its size, memory holds a
batch and the labels (8 bytes a sample)::

    source = open_source(Path("images"), image_size=(32, 32))
    write_container(source, sink, name="images")

=================  ==================================================================================================
what               how it is read
=================  ==================================================================================================
FILE.npz           arrays `inputs` and `labels`; nothing is unpickled
FILE.npy           inputs; labels from `FILE-labels.npy` beside it
FILE.csv           a header line, then numbers; the label is the column named (by default the last); float32 inputs
folder of images   a folder per class, classes numbered in the order of their names; uint8, channels first
FILE.gz            an IDX file of images; labels from the file of the same name with `labels-idx1` for `images-idx3`
=================  ==================================================================================================

Labels that are integers are classes (int64), others are values (float64); in a CSV file labels that are no numbers are
names of classes. Arrays that NumPy has written in Fortran's order are read whole. Needs NumPy; images need Pillow.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from goldengrain.enclave.dataset import INPUT_TYPES, Head, write_head
from goldengrain.enclave.metrics import MAX_CLASSES
from goldengrain.enclave.models.datasets import read_idx
from goldengrain.enclave.models.errors import DataMissing, SourceRefused

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm"}
BATCH = 4 * 1024**2
"""Bytes of inputs that are read at a time, one sample at least."""
MAX_PIXELS = 64 * 1024**2
"""Pixels of one image; what claims more is refused before it is unpacked."""
_LABEL_FILE = ("images-idx3", "labels-idx1")
_IDX_IMAGES = 0x803
_TEXT = 16
"""How many times the memory of a number its text takes, about."""

Array = npt.NDArray[Any]
Opener = Callable[[], AbstractContextManager[IO[bytes]]]
Progress = Callable[[int], None]
"""Told how many bytes of the container are written."""


@dataclass(frozen=True)
class Source:
    """Labels (n,), and a way to read the inputs (n, …), so many samples at a time; `names` of classes if any."""

    labels: Array
    type: str
    shape: tuple[int, ...]
    read: Callable[[int], Iterator[Array]]
    names: tuple[str, ...] = ()

    def batches(self) -> Iterator[Array]:
        """Give the inputs in order, some at a time."""
        row = prod(self.shape) * np.dtype(self.type).itemsize
        return self.read(max(1, BATCH // max(1, row)))

    def head(self, name: str) -> Head:
        """Describe the container that it becomes; raises `DatasetMismatch` for what can't be in one."""
        return Head.of(name, len(self.labels), str(self.labels.dtype), self.type, self.shape)


def write_container(source: Source, sink: BinaryIO, *, name: str, progress: Progress | None = None) -> Head:
    """Write a source as a dataset container, batch by batch.

    Raises `DatasetMismatch` for what can't be in one, `SourceRefused` where it isn't what it was when it was opened.
    """
    head = source.head(name)
    write_head(sink, head, source.labels)
    written = head.size + head.labels.size
    for batch in source.batches():
        data = np.ascontiguousarray(batch)
        sink.write(data.reshape(-1).view(np.uint8).data)
        written += data.nbytes
        if progress is not None:
            progress(written)
    if written != head.total:
        raise SourceRefused("the source's inputs are not as many as its labels: has it changed meanwhile?")
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
        return _from_npy(path, lambda: path.open("rb"), lambda: labels.open("rb"))
    if path.suffix == ".gz":
        return from_idx(path, path.with_name(path.name.replace(*_LABEL_FILE)))
    raise SourceRefused(f"{path} is no .npz, .npy, .csv or .gz (IDX) file and no folder of images")


def from_npz(path: Path) -> Source:
    """Read `inputs` and `labels` of an .npz file; nothing in it is unpickled."""
    return _from_npy(path, lambda: _Member(path, "inputs"), lambda: _Member(path, "labels"))


class _Member(AbstractContextManager[IO[bytes]]):
    """An array's file in an .npz archive."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __enter__(self) -> IO[bytes]:
        self._archive = zipfile.ZipFile(self._path)
        try:
            self._file = self._archive.open(f"{self._name}.npy")
        except BaseException:
            self._archive.close()
            raise
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._archive.close()


def _from_npy(path: Path, inputs: Opener, labels: Opener) -> Source:
    """Read inputs and labels of two files in NumPy's format, the inputs when they are asked for."""
    with _refusing(path):
        with labels() as file:
            classes = _label_array(np.lib.format.read_array(file, allow_pickle=False))
        with inputs() as file:
            shape, fortran, kind = _npy_header(file)
    if len(shape) < 2 or len(classes) != shape[0]:
        raise SourceRefused("inputs have samples first and one more axis at least, and there is one label for each")
    if str(kind) not in INPUT_TYPES:
        raise SourceRefused(f"inputs are of {', '.join(INPUT_TYPES)}, not {kind}; convert them, e.g. to float32")

    def read(samples: int) -> Iterator[Array]:
        with _refusing(path), inputs() as file:
            if fortran:
                whole = np.lib.format.read_array(file, allow_pickle=False)
                yield from (whole[start : start + samples] for start in range(0, shape[0], samples))
                return
            _npy_header(file)
            yield from _rows(file, shape, kind, samples)

    return Source(classes, str(kind), tuple(shape[1:]), read)


_UNREADABLE = (
    ValueError, EOFError, TypeError, SyntaxError, RuntimeError, MemoryError, OverflowError, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What they raise for files that are none, that are damaged, encrypted, packed in another way, or say they are huge."""


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what NumPy, zipfile and gzip raise on a broken file into `SourceRefused`."""
    try:
        yield
    except KeyError as error:
        raise SourceRefused(f"{path} has not both arrays; save it with numpy.savez(inputs=…, labels=…)") from error
    except OSError as error:
        raise SourceRefused(f"{path} cannot be read: {error.strerror or error}") from error
    except _UNREADABLE as error:
        raise SourceRefused(f"{path} is no file of plain arrays: {error}") from error


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of NumPy's format: shape, whether in Fortran's order, element type."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _rows(file: IO[bytes], shape: Sequence[int], kind: np.dtype[Any], samples: int) -> Iterator[Array]:
    """Give an array (n, …) that lies in a file row by row, some rows at a time; `ValueError` where it is cut off."""
    row = prod(shape[1:]) * kind.itemsize
    for start in range(0, shape[0], samples):
        number = min(samples, shape[0] - start)
        data = file.read(number * row)
        if len(data) != number * row:
            raise ValueError("it is cut off")
        yield np.frombuffer(data, kind).reshape(number, *shape[1:])


def _label_array(labels: Array) -> Array:
    """Bring labels (n,) to one of a container's two types."""
    if labels.ndim != 1:
        raise SourceRefused("there is one label for each input")
    if labels.dtype == np.bool_ or np.issubdtype(labels.dtype, np.integer):
        return labels.astype(np.int64)
    if np.issubdtype(labels.dtype, np.floating):
        return labels.astype(np.float64)
    raise SourceRefused(f"labels are numbers, not {labels.dtype}")


def from_csv(path: Path, label: str | None = None) -> Source:
    """Read a table with a header line; all columns but the label's are inputs, float32. It is read three times."""
    lines = _lines(path)
    header = next(lines, [])
    if label is not None and label not in header:
        raise SourceRefused(f"{path} has no column {label!r}; there are {', '.join(header)[:200]}")
    column = len(header) - 1 if label is None else header.index(label)
    labels, names = _csv_labels(path, column)
    if len(header) < 2 or not len(labels):
        raise SourceRefused(f"{path} has no header line, no row or a single column")

    def read(samples: int) -> Iterator[Array]:
        rows = _lines(path)
        next(rows)
        while batch := list(itertools.islice(rows, max(1, samples // _TEXT))):
            try:
                yield np.array([row[:column] + row[column + 1 :] for row in batch], dtype=np.float32)
            except ValueError as error:
                raise SourceRefused(f"{path}: every column but the label's holds numbers: {error}") from error

    return Source(labels, "float32", (len(header) - 1,), read, names)


def _lines(path: Path) -> Iterator[list[str]]:
    """Give the header and then every row of a CSV file; raises `SourceRefused` for a row of another length."""
    with path.open(newline="", encoding="utf-8") as file:
        try:
            width = None
            for number, row in enumerate(csv.reader(file), 1):
                width = len(row) if width is None else width
                if len(row) != width:
                    raise SourceRefused(f"{path}, line {number}: {len(row)} fields where the header has {width}")
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceRefused(f"{path} is no CSV file: {error}") from error


def _csv_labels(path: Path, column: int) -> tuple[Array, tuple[str, ...]]:
    """Read labels: classes where all are integers, values where all are numbers, else names of classes, in order."""

    def texts() -> Iterator[str]:
        return (row[column] for row in itertools.islice(_lines(path), 1, None))

    for kind, parse in ((np.int64, int), (np.float64, float)):
        try:
            return np.fromiter((parse(one) for one in texts()), kind), ()
        except (ValueError, OverflowError):
            continue
    numbers: dict[str, int] = {}
    for one in texts():
        numbers.setdefault(one, 0)
        if len(numbers) > MAX_CLASSES:
            raise SourceRefused(f"{path}: the label's column names more than {MAX_CLASSES:,} classes")
    numbers = {name: number for number, name in enumerate(sorted(numbers))}
    return np.fromiter((numbers[one] for one in texts()), np.int64), tuple(numbers)


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

    def read(samples: int) -> Iterator[Array]:
        for start in range(0, len(paths), samples):
            yield np.stack([_image(path, (height, width), gray) for path in paths[start : start + samples]])

    return Source(labels, "uint8", (1 if gray else 3, height, width), read, tuple(names))


def from_idx(images: Path, labels: Path) -> Source:
    """Read MNIST's or Fashion-MNIST's files (gzipped IDX): uint8, channels first."""
    classes = read_idx(labels)
    with _refusing(images), _unzipped(images) as file:
        number, height, width = _idx_images(file)
    if classes.ndim != 1 or len(classes) != number:
        raise SourceRefused(f"{images} and {labels} are no images and their labels")

    def read(samples: int) -> Iterator[Array]:
        with _refusing(images), _unzipped(images) as file:
            yield from _rows(file, (_idx_images(file)[0], 1, height, width), np.dtype(np.uint8), samples)
            if file.read(1):
                raise ValueError("it goes on after its images")

    return Source(classes.astype(np.int64), "uint8", (1, height, width), read)


def _unzipped(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path))


def _idx_images(file: IO[bytes]) -> tuple[int, int, int]:
    """Read an IDX file's header: images, height, width."""
    head = file.read(16)
    if len(head) != 16 or struct.unpack_from(">I", head)[0] != _IDX_IMAGES:
        raise ValueError("it is no IDX file of images")
    number, height, width = struct.unpack_from(">3I", head, 4)
    return number, height, width


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
