"""Weights for built-in architectures: what is taken, what is refused before torch is even imported, the ONNX twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from goldengrain.chaincode.protocol.task import ModelInterface, Tensor, TensorType
from goldengrain.enclave import errors
from goldengrain.enclave.architectures import ARCHITECTURES, Config
from goldengrain.enclave.engine import run_model
from goldengrain.enclave.models.export import weights_to_onnx
from goldengrain.enclave.onnx_rules.check import check_model
from goldengrain.enclave.weights import BATCH, check_weights, looks_like_weights, pack_weights

from .nets import CONFIGS, LIMITS, inputs, interface, net, weights

MLP = CONFIGS["mlp"]
ASKED = interface(MLP)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_taken_and_counted_as_its_onnx_twin_is(name: str) -> None:
    config, data = CONFIGS[name], net(name)
    assert looks_like_weights(data)
    checked = check_weights(data, interface(config), LIMITS, 1_000)
    twin = check_model(weights_to_onnx(data, interface(config)), interface(config), LIMITS, 1_000)
    assert checked.batch == twin.batch == BATCH
    assert checked.operations == pytest.approx(twin.operations, rel=0.01)
    assert checked.memory == pytest.approx(twin.memory, rel=0.01)
    assert sum(one.size for one in checked.weights.values()) * 4 < len(data)


def test_resnet_18_has_as_many_parameters_as_everybody_s() -> None:
    config = Config("resnet-18", (3, 224, 224), 1000)
    own = weights(config)
    learned = sum(one.size for name, one in own.items() if "running" not in name)
    assert learned == 11_689_512
    checked = check_weights(pack_weights(config, own), interface(config), replace(LIMITS, operations=10**10), 1)
    assert checked.operations == pytest.approx(2 * 1.81e9, rel=0.05)  # 1.8 billion multiplications and additions


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_twin_runs_in_onnx_runtime(name: str) -> None:
    config = CONFIGS[name]
    outputs = run_model(
        weights_to_onnx(net(name), interface(config)), interface(config), LIMITS, inputs(config, samples=3)
    )
    assert outputs.shape == (3, 10)
    assert np.allclose(outputs.sum(axis=1), 1, atol=1e-5)


def test_bytes_in_rows_are_brought_to_what_the_network_sees() -> None:
    config = CONFIGS["lenet"]
    raw = interface(config, TensorType.UINT8, (784,))
    data = (inputs(config, samples=4) * 255).astype(np.uint8)
    twin = run_model(weights_to_onnx(net("lenet"), raw), raw, LIMITS, data.reshape(4, 784))
    scaled = data.astype(np.float32) * np.float32(1 / 255)
    plain = run_model(weights_to_onnx(net("lenet"), interface(config)), interface(config), LIMITS, scaled)
    assert (twin == plain).all()
    assert check_weights(net("lenet"), raw, LIMITS, 4).plan.steps[0].operator == "Cast"


def test_training_s_counters_are_left_out_and_other_names_refused() -> None:
    config, own = CONFIGS["resnet-8"], weights(CONFIGS["resnet-8"])
    counted = own | {"bn1.num_batches_tracked": np.array(7)}
    assert pack_weights(config, counted) == pack_weights(config, own)
    with pytest.raises(errors.ModelStructureWrong, match="no weight 'more'"):
        pack_weights(config, own | {"more": np.zeros(1)})


def _edited(edit: Callable[[dict[str, Any]], object], name: str = "mlp") -> bytes:
    """A good file with a change in its header; the body stays."""
    good = net(name)
    length = int.from_bytes(good[:8], "little")
    fields = json.loads(good[8 : 8 + length])
    edit(fields)
    text = json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + good[8 + length :]


def _with_model(**changed: Any) -> bytes:
    def edit(fields: dict[str, Any]) -> None:
        model = json.loads(fields["__metadata__"]["model"])
        fields["__metadata__"]["model"] = json.dumps(model | changed)

    return _edited(edit)


def _saved(**tensors: np.ndarray) -> bytes:
    model = json.loads(safetensors_metadata())
    return safetensors.numpy.save(weights(MLP) | tensors, metadata={"model": json.dumps(model)})


def safetensors_metadata() -> str:
    good = net("mlp")
    return str(json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])["__metadata__"]["model"])


REFUSED: dict[str, tuple[Callable[[], bytes], type[errors.ModelRefused]]] = {
    "too many bytes": (lambda: net("resnet-18") + bytes(1 << 26), errors.ModelTooLarge),
    "cut in the middle": (lambda: net("mlp")[:-1], errors.ModelUnparsable),
    "trailing bytes": (lambda: net("mlp") + b"x", errors.ModelUnparsable),
    "no metadata": (lambda: safetensors.numpy.save(weights(MLP)), errors.ModelUnparsable),
    "metadata that are no texts": (
        lambda: _edited(lambda f: f["__metadata__"].__setitem__("x", 5)),
        errors.ModelUnparsable,
    ),
    "another format": (lambda: _with_model(format="x"), errors.ModelVersionRefused),
    "an architecture of one's own": (lambda: _with_model(architecture="os.system"), errors.ModelStructureWrong),
    "a parameter more": (lambda: _with_model(code="import os"), errors.ModelStructureWrong),
    "no hidden layer": (lambda: _with_model(hidden=[]), errors.ModelStructureWrong),
    "a thousand hidden layers": (lambda: _with_model(hidden=[1] * 1000), errors.ModelStructureWrong),
    "a layer of 2^60": (lambda: _with_model(hidden=[2**60, 16]), errors.ModelStructureWrong),
    "a layer of -1": (lambda: _with_model(hidden=[-1, 16]), errors.ModelStructureWrong),
    "a layer that is true": (lambda: _with_model(hidden=[True, 16]), errors.ModelStructureWrong),
    "another image": (lambda: _with_model(image=[65]), errors.ModelStructureWrong),
    "an image that is text": (lambda: _with_model(image="64"), errors.ModelStructureWrong),
    "other outputs than the task's": (lambda: _with_model(outputs=11), errors.ModelInterfaceWrong),
    "half precision": (lambda: _edited(lambda f: f["fc1.bias"].__setitem__("dtype", "F16")), errors.ModelUnparsable),
    "double precision": (lambda: _saved(**{"fc1.bias": np.zeros(32)}), errors.ModelTypeRefused),
    "a weight missing": (lambda: _without("fc1.bias"), errors.ModelStructureWrong),
    "a weight too many": (lambda: _saved(backdoor=np.zeros(1, np.float32)), errors.ModelStructureWrong),
    "a weight of another shape": (lambda: _saved(**{"fc1.bias": np.zeros(31, np.float32)}), errors.ModelStructureWrong),
    "weights that overlap": (
        lambda: _edited(lambda f: f["fc2.bias"].__setitem__("data_offsets", f["fc1.bias"]["data_offsets"])),
        errors.ModelUnparsable,
    ),
}


def _without(name: str) -> bytes:
    own = weights(MLP)
    del own[name]
    return safetensors.numpy.save(own, metadata={"model": safetensors_metadata()})


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_weights_are_refused_by_name_before_torch_is_imported(name: str) -> None:
    make, refusal = REFUSED[name]
    with pytest.raises(refusal) as caught:
        check_weights(make(), ASKED, LIMITS, 100)
    assert type(caught.value) is refusal


LIMITED: dict[str, tuple[dict[str, int], type[errors.ModelRefused]]] = {
    "nodes": ({"nodes": 3}, errors.ModelTooLarge),
    "memory": ({"memory_bytes": 10_000}, errors.ModelTooLarge),
    "operations": ({"operations": 1_000}, errors.ModelTooCostly),
}


@pytest.mark.parametrize("name", LIMITED)
def test_limits_of_the_task_hold(name: str) -> None:
    fields, refusal = LIMITED[name]
    with pytest.raises(refusal):
        check_weights(net("mlp"), ASKED, replace(LIMITS, **fields), 100)


def test_inputs_and_outputs_that_no_architecture_has_are_refused() -> None:
    doubles = interface(MLP, TensorType.FLOAT64)
    with pytest.raises(errors.ModelInterfaceWrong, match="float64"):
        check_weights(net("mlp"), doubles, LIMITS, 100)
    whole = ModelInterface(ASKED.input, Tensor("class", TensorType.INT64, (0,)))
    with pytest.raises(errors.ModelInterfaceWrong):
        check_weights(net("mlp"), whole, LIMITS, 100)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 11, 30)])
def test_an_image_too_small_for_lenet_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(errors.ModelStructureWrong):
        pack_weights(Config("lenet", shape, 10), {})


def test_onnx_models_don_t_look_like_weights() -> None:
    assert not looks_like_weights(weights_to_onnx(net("mlp"), ASKED))
    assert not looks_like_weights(b"")
    assert not looks_like_weights(b"\x80\x04\x95" + b"{" * 20)
