"""Test sets from the files that people have."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goldengrain.enclave.dataset import Dataset, unpack
from goldengrain.enclave.models import converters, datasets
from goldengrain.enclave.models.converters import open_source, write_container
from goldengrain.enclave.models.errors import DataMissing, SourceRefused

from .test_models import _idx


def packed(path: Path, **options: object) -> Dataset:
    sink = io.BytesIO()
    write_container(open_source(path, **options), sink, name="x")  # type: ignore[arg-type]
    return unpack(sink.getvalue())


def test_npz_becomes_a_container(tmp_path: Path) -> None:
    inputs, labels = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([0, 1, 2, 1], np.int16)
    np.savez(tmp_path / "a.npz", inputs=inputs, labels=labels)
    read = packed(tmp_path / "a.npz")
    assert (read.inputs == inputs).all()
    assert (str(read.labels.dtype), read.labels.tolist()) == ("int64", [0, 1, 2, 1])


def test_npy_is_written_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters, "BATCH", 7 * 32)
    inputs, labels = np.random.default_rng(3).random((50, 2, 2)), np.linspace(-1, 1, 50)
    np.save(tmp_path / "a.npy", inputs)
    np.save(tmp_path / "a-labels.npy", labels)
    assert [len(one) for one in open_source(tmp_path / "a.npy").batches()] == [7] * 7 + [1]
    read = packed(tmp_path / "a.npy")
    assert (read.inputs == inputs).all()
    assert (read.labels == labels).all()


def test_csv_takes_the_label_by_name_and_names_as_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("kind,width,price\nb,1.5,10\na,2,20.5\nb,-3e2,0\n")
    with pytest.raises(SourceRefused, match="numbers"):
        packed(path)  # the names of kinds are no numbers
    path.write_text("width,depth,price\n1.5,1,10\n2,1,20.5\n")
    values = packed(path)
    assert (values.inputs == np.array([[1.5, 1], [2, 1]], np.float32)).all()
    assert values.labels.tolist() == [10.0, 20.5]
    path.write_text("kind,width\nb,1.5\na,2\nb,3\n")
    source = open_source(path, label="kind")
    assert (source.names, source.labels.tolist()) == (("a", "b"), [1, 0, 1])
    path.write_text("width,kind\n1.5,3\n2,0\n")
    assert str(packed(path).labels.dtype) == "int64"


def test_images_become_pixels_by_class(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for image in range(2):
            Image.new("RGB", (6, 4), (10 * number, 20, image)).save(tmp_path / name / f"{image}.png")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    read = packed(tmp_path)
    assert read.inputs.shape == (4, 3, 4, 6)
    assert read.labels.tolist() == [0, 0, 1, 1]
    assert read.inputs[3, :, 0, 0].tolist() == [10, 20, 1]
    assert packed(tmp_path, image_size=(2, 3), gray=True).inputs.shape == (4, 1, 2, 3)
    assert open_source(tmp_path).names == ("cat", "dog")


def test_idx_files_become_one_channel(tmp_path: Path) -> None:
    _idx(tmp_path / "t10k-images-idx3-ubyte.gz", 0x803, (3, 28, 28), bytes(range(3)) * 784)
    _idx(tmp_path / "t10k-labels-idx1-ubyte.gz", 0x801, (3,), b"\x00\x09\x04")
    read = packed(tmp_path / "t10k-images-idx3-ubyte.gz")
    assert (read.inputs.shape, read.labels.tolist()) == ((3, 1, 28, 28), [0, 9, 4])


@pytest.mark.check
def test_fashion_mnist_as_debian_has_it() -> None:
    from tests.conftest import need

    folder = datasets._fashion_folder()
    need("fashion-mnist", folder, "apt-get install dataset-fashion-mnist")
    assert folder is not None
    read = packed(folder / "t10k-images-idx3-ubyte.gz")
    assert read.inputs.shape == (10_000, 1, 28, 28)
    assert np.bincount(read.labels).tolist() == [1_000] * 10


def _image_folder(folder: Path, write: Callable[[Path], object]) -> Path:
    (folder / "set" / "cat").mkdir(parents=True)
    write(folder / "set" / "cat" / "a.png")
    return folder / "set"


def _npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "a.npz", **arrays)  # type: ignore[arg-type]
    return folder / "a.npz"


def _text(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


TWO = np.zeros((2, 2), np.float32)
REFUSED: dict[str, Callable[[Path], Path]] = {
    "nothing": lambda f: f / "absent.npz",
    "another kind of file": lambda f: _text(f, "a.txt", "x"),
    "an archive of nothing": lambda f: _text(f, "a.npz", "PK"),
    "an archive without labels": lambda f: _npz(f, inputs=TWO),
    "objects, which would have to be unpickled": lambda f: _npz(f, inputs=TWO, labels=np.array([{}, {}])),
    "labels that are words": lambda f: _npz(f, inputs=TWO, labels=np.array(["a", "b"])),
    "inputs that are words": lambda f: _npz(f, inputs=np.array([["a"], ["b"]]), labels=np.zeros(2)),
    "another number of labels": lambda f: _npz(f, inputs=TWO, labels=np.zeros(3)),
    "a pickle named .npy": lambda f: _text(f, "a.npy", "\x80\x04."),
    "a table of one line": lambda f: _text(f, "a.csv", "a,b\n"),
    "a table with a short line": lambda f: _text(f, "a.csv", "a,b\n1\n"),
    "a folder without classes": lambda f: f,
    "an image that is none": lambda f: _image_folder(f, lambda p: p.write_bytes(b"\x89PNG\r\n")),
    "an image cut off": lambda f: _image_folder(f, _cut_image),
    "an image of a billion pixels": lambda f: _image_folder(f, _bomb),
}


def _cut_image(path: Path) -> None:
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:-900])


def _bomb(path: Path) -> None:
    """A valid image whose header claims 30,000 by 30,000 pixels."""
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_test_set_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceRefused):
        packed(REFUSED[name](tmp_path))


def test_missing_column_and_missing_labels_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="'size'"):
        open_source(_text(tmp_path, "a.csv", "a,b\n1,2\n"), label="size")
    _idx(tmp_path / "x-labels-idx1-ubyte.gz", 0x0D03, (1,), b"x")
    with pytest.raises(DataMissing):
        open_source(tmp_path / "x-labels-idx1-ubyte.gz")
