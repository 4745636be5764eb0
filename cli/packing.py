"""From what a developer trained to a file that an enclave takes, with the score that it may expect.

What is packed is named as ``module:name`` (a scikit-learn estimator or a torch module, or a function that makes one:
the developer's own code, imported, so that nothing is unpickled), as a ``.safetensors`` file of weights, or as an
``.onnx`` file. Before the file is written the enclave's own checks have passed; the score is estimated on data of the
developer's own, never on the provider's.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from goldengrain.chaincode.protocol.task import BenchmarkSpec, ModelInterface, Tensor, TensorType
from goldengrain.cli.errors import CommandLineError, ExtraMissing, FileRefused
from goldengrain.cli.files import read_file
from goldengrain.cli.inspection import BATCH_SAMPLES, own_interface
from goldengrain.cli.testsets import LIMITS, OUTPUT, Progress, TestSet


@dataclass(frozen=True)
class Shape:
    """What only the developer can tell of a torch module or of bare weights; the rest is found out."""

    architecture: str | None = None
    image: tuple[int, ...] = ()
    outputs: int | None = None
    hidden: tuple[int, ...] = ()
    probabilities: bool = True


@dataclass(frozen=True)
class Packed:
    """A model as an enclave takes it, what it costs, and its score on the developer's own data (None without any)."""

    data: bytes = field(repr=False)
    kind: str
    interface: ModelInterface
    operations: int
    memory: int
    score: int | None
    samples: int = 0
    loss: float | None = None


def pack(
    source: str,
    shape: Shape,
    own: TestSet | None,
    spec: BenchmarkSpec | None,
    *,
    weights: bool,
    wilson: bool = False,
    progress: Progress | None = None,
) -> Packed:
    """Pack a source; ``weights`` keeps weights for a built-in architecture instead of writing them as ONNX.

    ``own`` is data to estimate the score on, ``spec`` a task to pack for (its interface, limits and metric).

    Raises:
        CommandLineError, FileRefused: where the source is none, or something has to be told.
        ExportFailed: where it can't be exported.
        ModelRefused: where an enclave would refuse it.

    """
    try:
        made = _pack(source, shape, own, spec, weights)
        return made if own is None else _estimated(made, own, spec, wilson, progress)
    except ImportError as error:
        raise ExtraMissing(f"packing this needs {error.name}: pip install 'goldengrain[models,torch]'") from error


def _pack(source: str, shape: Shape, own: TestSet | None, spec: BenchmarkSpec | None, weights: bool) -> Packed:
    asked = spec.interface if spec else own.interface if own else None
    kind, data = _exported(source, shape, asked, weights)
    interface = asked or _found_interface(data)
    limits, samples = (spec.limits, spec.samples) if spec else (LIMITS, BATCH_SAMPLES)
    operations, memory = _checked(data, interface, limits, samples)
    return Packed(data, kind, interface, operations, memory, None)


def _exported(source: str, shape: Shape, asked: ModelInterface | None, weights: bool) -> tuple[str, bytes]:
    path = Path(source)
    if path.suffix == ".onnx":
        return "ONNX", read_file(path)
    if path.suffix == ".safetensors":
        return _from_weights(_named(read_file(path), shape), asked, weights)
    module, colon, name = source.partition(":")
    if not colon:
        raise CommandLineError(f"{source!r} is no .onnx or .safetensors file and no module:name")
    return _from_object(_imported(module, name), shape, asked, weights)


def _from_object(found: Any, shape: Shape, asked: ModelInterface | None, weights: bool) -> tuple[str, bytes]:
    from goldengrain.enclave.models import export

    if hasattr(found, "state_dict"):
        if shape.architecture:
            state = {name: one.detach().cpu().numpy() for name, one in found.state_dict().items()}
            return _from_weights(_weights(state, shape), asked, weights)
        return "ONNX, from torch", export.from_torch(found, asked or _module_interface(found, shape))
    features = getattr(found, "n_features_in_", None)
    if features is None:
        raise CommandLineError(f"a {type(found).__name__} is no fitted scikit-learn estimator and no torch module")
    return "ONNX, from scikit-learn", export.from_sklearn(found, features)


def _from_weights(data: bytes, asked: ModelInterface | None, weights: bool) -> tuple[str, bytes]:
    from goldengrain.enclave.models.export import weights_to_onnx
    from goldengrain.enclave.weights import read_weights

    config, _ = read_weights(data)
    if weights:
        return f"weights for {config.architecture}", data
    return f"ONNX, from weights for {config.architecture}", weights_to_onnx(data, asked or _found_interface(data))


def _named(data: bytes, shape: Shape) -> bytes:
    """Weights with their architecture's name: the file's own, or the one that was told."""
    if shape.architecture is None:
        return data
    import safetensors
    import safetensors.numpy

    try:
        return _weights(safetensors.numpy.load(data), shape)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise FileRefused(f"the file holds no plain tensors of the safetensors format: {error}") from error


def _weights(state: dict[str, Any], shape: Shape) -> bytes:
    from goldengrain.enclave.architectures import Config
    from goldengrain.enclave.weights import pack_weights

    if not shape.image or not shape.outputs:
        raise CommandLineError("an architecture has to be told what it sees and gives: --image 1x28x28 --outputs 10")
    config = Config(str(shape.architecture), shape.image, shape.outputs, shape.probabilities, shape.hidden)
    return pack_weights(config, state)


def _module_interface(module: Any, shape: Shape) -> ModelInterface:
    """The interface of a torch module, for which its outputs are counted on a zero."""
    import torch

    if not shape.image:
        raise CommandLineError("a torch module has to be told what it sees: --image 3x32x32, or --data")
    with torch.inference_mode():
        outputs = module.eval()(torch.zeros((1, *shape.image)))
    return ModelInterface(
        Tensor("input", TensorType.FLOAT32, (0, *shape.image)),
        Tensor(OUTPUT, TensorType.FLOAT32, (0, *outputs.shape[1:])),
    )


def _found_interface(data: bytes) -> ModelInterface:
    from goldengrain.enclave.weights import looks_like_weights, read_weights

    if not looks_like_weights(data):
        return own_interface(data)
    config, _ = read_weights(data)
    return ModelInterface(
        Tensor("input", TensorType.FLOAT32, (0, *config.image)), Tensor(OUTPUT, TensorType.FLOAT32, (0, config.outputs))
    )


def _checked(data: bytes, interface: ModelInterface, limits: Any, samples: int) -> tuple[int, int]:
    """Pass the enclave's checks; returns counted operations for a sample and bytes."""
    from goldengrain.enclave.onnx_rules.check import check_model
    from goldengrain.enclave.weights import check_weights, looks_like_weights

    check = check_weights if looks_like_weights(data) else check_model
    checked = check(data, interface, limits, samples)
    return checked.operations, checked.memory


def _estimated(
    made: Packed, own: TestSet, spec: BenchmarkSpec | None, wilson: bool, progress: Progress | None
) -> Packed:
    """Run the model on the developer's own data, as the enclave would."""
    from goldengrain.enclave.evaluate import tallied

    benchmark = replace(spec, samples=own.samples) if spec else own.spec(wilson=wilson)
    tally = tallied(made.data, own.file, benchmark, progress and (lambda done: progress(done, own.samples)))
    return replace(made, score=tally.score(1), loss=tally.loss(), samples=own.samples)


def _imported(module: str, name: str) -> Any:
    """Import an object of the developer's own; a function without arguments is called for it."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise CommandLineError(f"{module}:{name} can't be imported from this folder: {error}") from error
    finally:
        sys.path.pop(0)
    is_model = hasattr(found, "state_dict") or hasattr(found, "predict")
    return found() if callable(found) and (isinstance(found, type) or not is_model) else found
