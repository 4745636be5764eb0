"""The provider's test set, before it is hidden: a dataset by name, a dataset container, or what becomes one.

What becomes one is an ``.npz``, ``.npy``, ``.csv`` or IDX file or a folder of images, as
``goldengrain.enclave.models.converters`` reads them; nothing is unpickled. The container decides what the task asks of
a model's input and output.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from goldengrain.chaincode.protocol.errors import SpecRefused
from goldengrain.chaincode.protocol.task import (
    BenchmarkSpec,
    Metric,
    ModelInterface,
    ModelLimits,
    Tensor,
    TensorType,
)
from goldengrain.cli.errors import CommandLineError, ExtraMissing, FileRefused

if TYPE_CHECKING:
    from goldengrain.enclave.dataset_file import DatasetFile

LIMITS = ModelLimits(model_bytes=64 * 1024**2, nodes=10_000, operations=100_000_000, memory_bytes=512 * 1024**2)
"""What a task admits of a model unless the provider says otherwise."""

INPUT, OUTPUT = "input", "probabilities"
SOURCES = (".npz", ".npy", ".csv", ".gz")
Progress = Callable[[int, int], None]
"""Told how many bytes are done, and of how many."""


@dataclass(frozen=True)
class TestSet:
    """A test set as one plain container in an open file, and what models for it look like; to be closed."""

    __test__ = False  # no test case, whatever pytest makes of its name

    name: str
    samples: int
    interface: ModelInterface
    file: BinaryIO = field(repr=False)
    metric: Metric = Metric.ACCURACY
    scale: int = 0
    limits: ModelLimits = LIMITS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def spec(self, *, wilson: bool, seed: int = 0) -> BenchmarkSpec:
        """The benchmark spec of a task over it."""
        return BenchmarkSpec(
            metric=self.metric,
            wilson=wilson and self.metric.is_proportion,
            samples=self.samples,
            interface=self.interface,
            limits=self.limits,
            seed=seed,
            scale=self.scale,
        )


def scoring(spec: BenchmarkSpec) -> str:
    """What a score says, in a few words: the metric, Wilson's interval, what a loss is divided by."""
    if spec.metric.is_loss:
        return f"{spec.metric}, score 1 - loss / {spec.scale / 1_000_000:g}"
    return f"{spec.metric}, lower end of Wilson's interval" if spec.wilson else str(spec.metric)


def loss_text(loss: float | None) -> str:
    """A loss behind a score, in brackets; nothing where there is none."""
    return "" if loss is None else f" (loss {loss:.6g})"


def load_test_set(
    source: str,
    *,
    metric: Metric | None = None,
    scale: int = 0,
    classes: int | None = None,
    input_name: str = INPUT,
    output_name: str | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> TestSet:
    """Open a dataset by name, a container or what becomes one; whatever its size, memory holds a piece. Close it.

    ``metric`` None is the named dataset's own, with its scale unless one is given, and accuracy for all else.
    ``classes`` is the width of the output; None takes it from the labels (1 for RMSE). What becomes a container does so
    in a nameless file in ``folder``; ``progress`` is told the bytes written and to be written.

    Raises:
        ExtraMissing: where the extra ``enclave`` or, for a dataset by name, ``models`` is not installed.
        DataMissing: where a named dataset's files are not on this machine.
        FileRefused, SourceRefused: where the file holds no test set.
        DatasetRefused: where the arrays cannot be one.
        CommandLineError, SpecRefused: where something has to be told, such as a loss's scale.

    """
    try:
        metric, scale = _scored(source, metric, scale)
        file = _container(source, folder, progress)
    except ImportError as error:
        raise ExtraMissing(
            f"reading test sets needs {error.name}: pip install 'goldengrain[enclave,models]'"
        ) from error
    try:
        return _described(source, file, metric, scale, classes, input_name, output_name)
    except BaseException:
        file.close()
        raise


def _scored(source: str, metric: Metric | None, scale: int) -> tuple[Metric, int]:
    """Metric and scale, where nothing is said those of a dataset by name."""
    from goldengrain.enclave.models.datasets import NAMES, SCORED

    own, its_scale = SCORED[source] if source in NAMES else (Metric.ACCURACY, 0)
    chosen = metric or own
    return chosen, scale or (its_scale if chosen is own else 0)


def _container(source: str, folder: Path | None, progress: Progress | None) -> BinaryIO:
    """Open the container that a source is, or becomes."""
    from goldengrain.enclave.models.converters import open_source, write_container
    from goldengrain.enclave.models.datasets import NAMES, load

    if source in NAMES:
        return io.BytesIO(load(source).container())
    path = Path(source)
    try:
        if not is_source(path):
            return path.open("rb")
        opened, name = open_source(path), path.stem[:128]
        total = opened.head(name).total
        with ExitStack() as unless_whole:
            file = unless_whole.enter_context(tempfile.TemporaryFile(dir=folder))
            write_container(opened, file, name=name, progress=progress and (lambda done: progress(done, total)))
            unless_whole.pop_all()
        return file
    except OSError as error:
        names = ", ".join(NAMES)
        raise FileRefused(f"{source!r} is no dataset's name ({names}) and no file: {error.strerror}") from error


def _described(
    source: str,
    file: BinaryIO,
    metric: Metric,
    scale: int,
    classes: int | None,
    input_name: str,
    output_name: str | None,
) -> TestSet:
    """Find out what models for a container look like, and whether they can be scored."""
    from goldengrain.enclave.dataset_file import DatasetFile
    from goldengrain.enclave.errors import DatasetMalformed

    try:
        dataset = DatasetFile(file)
    except DatasetMalformed as error:
        raise FileRefused(f"{source} is no test set: make one with `goldengrain dataset pack`") from error
    greatest = dataset.extremes()[1]
    width = classes or (1 if metric is Metric.RMSE else int(greatest) + 1)
    if metric is not Metric.RMSE and (width > 1 or metric is not Metric.AUROC) and width <= int(greatest):
        raise CommandLineError(f"the labels go up to {int(greatest)}, so there are more than {width} classes")
    if metric.is_loss and not scale:
        raise SpecRefused(_asking_for_a_scale(metric, dataset, width))
    name = output_name or ("prediction" if metric is Metric.RMSE else OUTPUT)
    inputs = dataset.head.inputs
    interface = ModelInterface(
        input=Tensor(input_name, TensorType(inputs.type), (0, *inputs.shape[1:])),
        output=Tensor(name, TensorType.FLOAT32, (0, width)),
    )
    made = TestSet(dataset.head.name, dataset.head.samples, interface, file, metric, scale)
    dataset.require(made.spec(wilson=False))
    return made


def _asking_for_a_scale(metric: Metric, dataset: DatasetFile, width: int) -> str:
    """What to do where a loss has no scale, with one that a provider may take."""
    known = f"predicting the mean scores 0 with --scale {round(1e6 * dataset.deviation())}"
    if metric is Metric.LOG_LOSS:
        known = f"equal probabilities score 0 with --scale {round(1e6 * math.log(max(2, width)))}"
    return f"{metric} is a loss: --scale says, in millionths, which loss scores 0; {known}"


def is_source(path: Path) -> bool:
    """Whether a path is what becomes a container, by its name; other files are taken for containers."""
    return path.is_dir() or path.suffix in SOURCES
