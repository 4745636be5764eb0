"""Weights for built-in architectures: what is taken, what is refused before torch is even imported, the ONNX twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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
