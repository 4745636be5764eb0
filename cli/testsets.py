"""The provider's test set, before it is hidden: a dataset by name, a dataset container, or what becomes one.

What becomes one is an ``.npz``, ``.npy``, ``.csv`` or IDX file or a folder of images, as
``goldengrain.enclave.models.converters`` reads them; nothing is unpickled. The container decides what the task asks of
a model's input and output.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

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
    from goldengrain.enclave.dataset import Dataset

LIMITS = ModelLimits(model_bytes=64 * 1024**2, nodes=10_000, operations=100_000_000, memory_bytes=512 * 1024**2)
"""What a task admits of a model unless the provider says otherwise."""

INPUT, OUTPUT = "input", "probabilities"
MAX_CONTAINER = 4 * 1024**3
SOURCES = (".npz", ".npy", ".csv", ".gz")


@dataclass(frozen=True)
class TestSet:
    """A test set as one plain container, and what models for it look like."""

    __test__ = False  # no test case, whatever pytest makes of its name

    name: str
    samples: int
    interface: ModelInterface
    container: bytes = field(repr=False)
    metric: Metric = Metric.ACCURACY
    scale: int = 0
    limits: ModelLimits = LIMITS

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


def load_test_set(
    source: str,
    *,
    metric: Metric | None = None,
    scale: int = 0,
    classes: int | None = None,
    input_name: str = INPUT,
    output_name: str | None = None,
) -> TestSet:
    """Load a dataset by name, a container or what becomes one.

    ``metric`` None is the named dataset's own, with its scale unless one is given, and accuracy for all else.
    ``classes`` is the width of the output; None takes it from the labels (1 for RMSE).

    Raises:
        ExtraMissing: where the extra ``enclave`` or, for a dataset by name, ``models`` is not installed.
        DataMissing: where a named dataset's files are not on this machine.
        FileRefused, SourceRefused: where the file holds no test set.
        DatasetRefused: where the arrays cannot be one.

    """
    try:
        metric, scale = _scored(source, metric, scale)
        container = _container(source)
        dataset = _unpacked(container, source)
    except ImportError as error:
        raise ExtraMissing(
            f"reading test sets needs {error.name}: pip install 'goldengrain[enclave,models]'"
        ) from error
    labels = dataset.labels
    width = classes or (1 if metric is Metric.RMSE else int(labels.max()) + 1)
    if metric is not Metric.RMSE and (width > 1 or metric is not Metric.AUROC) and width <= int(labels.max()):
        raise CommandLineError(f"the labels go up to {int(labels.max())}, so there are more than {width} classes")
    name = output_name or ("prediction" if metric is Metric.RMSE else OUTPUT)
    interface = ModelInterface(
        input=Tensor(input_name, TensorType(str(dataset.inputs.dtype)), (0, *dataset.inputs.shape[1:])),
        output=Tensor(name, TensorType.FLOAT32, (0, width)),
    )
    made = TestSet(dataset.name, dataset.samples, interface, container, metric, scale)
    spec = made.spec(wilson=False)
    dataset.require(spec)
    return made


def _scored(source: str, metric: Metric | None, scale: int) -> tuple[Metric, int]:
    """Metric and scale, where nothing is said those of a dataset by name."""
    from goldengrain.enclave.models.datasets import NAMES, SCORED

    own, its_scale = SCORED[source] if source in NAMES else (Metric.ACCURACY, 0)
    chosen = metric or own
    return chosen, scale or (its_scale if chosen is own else 0)


def _container(source: str) -> bytes:
    from goldengrain.enclave.models.converters import open_source, write_container
    from goldengrain.enclave.models.datasets import NAMES, load

    if source in NAMES:
        return load(source).container()
    path = Path(source)
    try:
        if is_source(path):
            sink = io.BytesIO()
            write_container(open_source(path), sink, name=path.stem[:128])
            return sink.getvalue()
        if path.stat().st_size > MAX_CONTAINER:
            raise FileRefused(f"{path} is larger than {MAX_CONTAINER:,} bytes")
        return path.read_bytes()
    except OSError as error:
        names = ", ".join(NAMES)
        raise FileRefused(f"{source!r} is no dataset's name ({names}) and no file: {error.strerror}") from error


def is_source(path: Path) -> bool:
    """Whether a path is what becomes a container, by its name; other files are taken for containers."""
    return path.is_dir() or path.suffix in SOURCES


def _unpacked(container: bytes, source: str) -> Dataset:
    from goldengrain.enclave.dataset import unpack
    from goldengrain.enclave.errors import DatasetMalformed

    try:
        return unpack(container)
    except DatasetMalformed as error:
        raise FileRefused(f"{source} is no test set: make one with `goldengrain dataset pack`") from error
