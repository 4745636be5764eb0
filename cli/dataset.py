"""`goldengrain dataset`: make test sets from the files that people have, look into them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from goldengrain.cli import evaluating
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import ExtraMissing, FileRefused
from goldengrain.cli.files import require_free
from goldengrain.cli.market_session import market_session
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.progress import byte_progress, share_progress

if TYPE_CHECKING:
    from goldengrain.enclave.dataset import Head

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
_HEADER = 128 * 1024


@click.group(cls=Group)
def dataset() -> None:
    """Make test sets, look into them."""


@command(dataset, example="goldengrain dataset pack images --size 32x32 --out images.dataset")
@click.argument("source", type=PATH)
@click.option("--out", required=True, type=FILE, help="The container to write.")
@click.option("--name", help="The set's name, for its provider.  [default: the source's]")
@click.option("--label", metavar="COLUMN", help="CSV: the column with the labels.  [default: the last]")
@click.option("--size", metavar="HEIGHTxWIDTH", help="Images: scale to this size.  [default: the first image's]")
@click.option("--gray", is_flag=True, help="Images: one channel instead of three.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def pack(
    context: click.Context,
    source: Path,
    out: Path,
    name: str | None,
    label: str | None,
    size: str | None,
    gray: bool,
    force: bool,
) -> None:
    """Turn a .npz, .npy, .csv or IDX file or a folder of images (one folder a class) into a dataset container.

    Written a batch at a time, so that a set larger than memory is no trouble. Nothing is unpickled.
    """
    require_free(out, force)
    try:
        from goldengrain.enclave.models.converters import open_source, write_container
    except ImportError as error:
        raise ExtraMissing(f"making test sets needs {error.name}: pip install 'goldengrain[enclave,models]'") from error
    with console(context).status(f"reading {source}"):
        opened = open_source(source, label=label, image_size=_size(size), gray=gray)
        name = name or source.stem[:128]
        total = opened.head(name).total
    with byte_progress(context, f"packing {source}", total) as progress, _written(out) as sink:
        head = write_container(opened, sink, name=name, progress=progress)
    value = _value(out, head) | {"classes": list(opened.names)}
    rows = [*_rows(value), *([("classes", ", ".join(opened.names))] if opened.names else [])]
    emit(context, value, [table("Test set", ("", ""), rows), f"next: goldengrain task open --dataset {out} …"])


@command(dataset, example="goldengrain dataset show images.dataset")
@click.argument("file", type=FILE)
def show(context: click.Context, file: Path) -> None:
    """Show what a dataset container says of itself: samples, types and shapes. Exit code 1 if it is none."""
    value = _value(file, _head(file))
    emit(context, value, [table("Test set", ("", ""), _rows(value))])


@command(dataset, name="open", example="goldengrain dataset open 3f0c2a --out opened.dataset")
@click.argument("task", metavar="TASK")
@click.option("--out", required=True, type=FILE, help="The container to write.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
async def open_dataset(context: click.Context, task: str, out: Path, force: bool) -> None:
    """Decrypt a task's test set, to check its labels: its provider at any time, everybody once it is open."""
    require_free(out, force)
    async with market_session(context) as opened:
        identifier = await opened.task_id(task)
        with share_progress(context, "fetching and decrypting") as progress:
            await evaluating.open_test_set(opened.market, opened.home, opened.stores, identifier, out, progress)
    value = {"task": identifier.hex(), **_value(out, _head(out))}
    emit(context, value, [table("Test set", ("", ""), _rows(value))])


def _head(file: Path) -> Head:
    """Read a container's header, and hold the file's size against it."""
    try:
        from goldengrain.enclave.dataset import Head
    except ImportError as error:
        raise ExtraMissing(f"looking into test sets needs {error.name}: pip install 'goldengrain[enclave]'") from error
    try:
        with file.open("rb") as opened:
            head = Head.parse(opened.read(_HEADER))
            size = file.stat().st_size
    except OSError as error:
        raise FileRefused(f"{file} cannot be read: {error.strerror}") from error
    if size != head.total:
        raise FileRefused(f"{file} has {size:,} bytes, its header announces {head.total:,}: it is damaged")
    return head


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and 0 < int(height) <= 65_535 and 0 < int(width) <= 65_535):
        raise click.BadParameter("a size is HEIGHTxWIDTH, for instance 32x32", param_hint="--size")
    return int(height), int(width)


@contextlib.contextmanager
def _written(out: Path) -> Iterator[BinaryIO]:
    """A file that takes its place only when it is whole."""
    fresh = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as sink:
            yield sink
        fresh.replace(out)
    except OSError as error:
        raise FileRefused(f"{out} cannot be written: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)


def _value(file: Path, head: Head) -> dict[str, Any]:
    return {
        "file": str(file),
        "bytes": head.total,
        "name": head.name,
        "samples": head.samples,
        "inputs": {"type": head.inputs.type, "shape": list(head.inputs.shape[1:])},
        "labels": head.labels.type,
    }


def _rows(value: dict[str, Any]) -> list[tuple[str, object]]:
    shape = ", ".join(str(one) for one in value["inputs"]["shape"])
    return [
        ("file", value["file"]),
        ("bytes", f"{value['bytes']:,}"),
        ("name", value["name"]),
        ("samples", f"{value['samples']:,}"),
        ("inputs", f"{value['inputs']['type']} [{shape}]"),
        ("labels", value["labels"]),
    ]
