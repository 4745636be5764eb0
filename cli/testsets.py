"""The provider's test set, before it is hidden: a dataset by name, an ``.npz`` file, or a dataset container.

An ``.npz`` file holds ``inputs`` (samples first) and ``labels``; nothing in it is unpickled. A container is what
``goldengrain.enclave.dataset`` packs. The arrays decide what the task asks of a model's input and output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def load_test_set(
    source: str,
    *,
    metric: Metric = Metric.ACCURACY,
    scale: int = 0,
    classes: int | None = None,
    input_name: str = INPUT,
    output_name: str | None = None,
) -> TestSet:
    """Load ``digits``, ``fashion-mnist``, an ``.npz`` file or a container.

    ``classes`` is the width of the output; None takes it from the labels (1 for RMSE).

    Raises:
        ExtraMissing: where the extra ``enclave`` or, for a dataset by name, ``models`` is not installed.
        DataMissing: where a named dataset's files are not on this machine.
        FileRefused: where the file holds no test set.
        DatasetRefused: where the arrays cannot be one.

    """
    try:
        container = _container(source)
        dataset = _unpacked(container, source)
    except ImportError as error:
        raise ExtraMissing(
            f"reading test sets needs {error.name}: pip install 'goldengrain[enclave,models]'"
        ) from error
    labels = dataset.labels
    width = classes or (1 if metric is Metric.RMSE else int(labels.max()) + 1)
    if metric.is_proportion and width <= int(labels.max()):
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


def _container(source: str) -> bytes:
    from goldengrain.enclave.dataset import pack
    from goldengrain.enclave.models.datasets import NAMES, load

    if source in NAMES:
        return load(source).container()
    path = Path(source)
    try:
        if path.stat().st_size > MAX_CONTAINER:
            raise FileRefused(f"{path} is larger than {MAX_CONTAINER:,} bytes")
        if path.suffix != ".npz":
            return path.read_bytes()
        inputs, labels = _arrays(path)
    except OSError as error:
        names = ", ".join(NAMES)
        raise FileRefused(f"{source!r} is no dataset's name ({names}) and no file: {error.strerror}") from error
    return pack(inputs, labels, name=path.stem[:128])


def _arrays(path: Path) -> tuple[Any, Any]:
    """Read ``inputs`` and ``labels``; integers become int64, floats of other widths float32."""
    import zipfile

    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            inputs, labels = arrays["inputs"], arrays["labels"]
    except KeyError as error:
        raise FileRefused(f"{path} has no array {error}; save it with numpy.savez(inputs=…, labels=…)") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileRefused(f"{path} is no .npz file of plain arrays: {error}") from error
    if np.issubdtype(labels.dtype, np.integer):
        labels = labels.astype(np.int64)
    elif np.issubdtype(labels.dtype, np.floating):
        labels = labels.astype(np.float64)
    return inputs, labels


def _unpacked(container: bytes, source: str) -> Dataset:
    from goldengrain.enclave.dataset import unpack
    from goldengrain.enclave.errors import DatasetMalformed

    try:
        return unpack(container)
    except DatasetMalformed as error:
        raise FileRefused(
            f"{source} is no test set: give an .npz file with inputs and labels, or a dataset container"
        ) from error
