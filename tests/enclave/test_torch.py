"""The torch engine: the same predictions as ONNX Runtime's, the same bits every time. Needs the extra `torch`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.enclave.architectures import ARCHITECTURES, Config
from goldengrain.enclave.dataset import pack
from goldengrain.enclave.engine import run_model
from goldengrain.enclave.errors import EngineMissing, ModelTooCostly
from goldengrain.enclave.job import Bench
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.models.datasets import load
from goldengrain.enclave.models.export import from_torch, weights_to_onnx
from goldengrain.enclave.runner import Runner
from goldengrain.enclave.weights import check_weights, pack_weights
from tests.conftest import need

from .fabric import Forge
from .market import Deal
from .nets import CONFIGS, LIMITS, inputs, interface, net, weights

FAR = 5e-5
"""How far probabilities of the two engines lie apart at most; README and docs say what was measured."""


@pytest.fixture(autouse=True)
def engine(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("check"):
        need("torch", importlib.util.find_spec("torch"), "run `make torch`")


@pytest.mark.check
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_engines_predict_the_same(name: str) -> None:
    config, data = CONFIGS[name], net(name)
    asked, given = interface(config), inputs(config, samples=300)
    ours = run_model(data, asked, LIMITS, given)
    theirs = run_model(weights_to_onnx(data, asked), asked, LIMITS, given)
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).all()
    far = float(np.abs(ours - theirs).max())
    sys.stdout.write(f"{name}: {far:.2e}\n")
    assert far < FAR
    assert (run_model(data, asked, LIMITS, given) == ours).all()


@pytest.mark.check
def test_torch_s_own_modules_give_the_same_as_the_plan() -> None:
    import torch

    lenet = torch.nn.Sequential()
    for module_name, module in {
        "conv1": torch.nn.Conv2d(1, 6, 5, padding=2),
        "relu1": torch.nn.ReLU(),
        "pool1": torch.nn.MaxPool2d(2),
        "conv2": torch.nn.Conv2d(6, 16, 5),
        "relu2": torch.nn.ReLU(),
        "pool2": torch.nn.MaxPool2d(2),
        "flat": torch.nn.Flatten(),
        "fc1": torch.nn.Linear(400, 120),
        "relu3": torch.nn.ReLU(),
        "fc2": torch.nn.Linear(120, 84),
        "relu4": torch.nn.ReLU(),
        "fc3": torch.nn.Linear(84, 10),
        "softmax": torch.nn.Softmax(-1),
    }.items():
        lenet.add_module(module_name, module)
    config = CONFIGS["lenet"]
    packed = pack_weights(config, {name: one.numpy() for name, one in lenet.state_dict().items()})
    given = inputs(config, samples=50)
    with torch.inference_mode():
        wanted = lenet.eval()(torch.from_numpy(given)).numpy()
    assert np.abs(run_model(packed, interface(config), LIMITS, given) - wanted).max() < FAR
    exported = from_torch(lenet, interface(config))
    assert np.abs(run_model(exported, interface(config), LIMITS, given) - wanted).max() < FAR


@pytest.mark.check
def test_a_network_trained_on_digits_scores_the_same_in_both_engines() -> None:
    import torch

    data = load("digits")
    torch.manual_seed(3)
    config = Config("mlp", (64,), 10, hidden=(48,))
    module = torch.nn.Sequential()
    for name, part in (("fc1", torch.nn.Linear(64, 48)), ("relu", torch.nn.ReLU()), ("fc2", torch.nn.Linear(48, 10))):
        module.add_module(name, part)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    given, wanted = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(given), wanted).backward()
        optimizer.step()
    packed = pack_weights(config, {name: one.detach().numpy() for name, one in module.state_dict().items()})
    ours = run_model(packed, data.interface, LIMITS, data.test.inputs).argmax(axis=1)
    twin = weights_to_onnx(packed, data.interface)
    assert (ours == run_model(twin, data.interface, LIMITS, data.test.inputs).argmax(axis=1)).all()
    assert (ours == data.test.labels).mean() > 0.85


@pytest.mark.check
async def test_confined_worker_runs_weights_like_any_model() -> None:
    config, data = CONFIGS["lenet"], net("lenet")
    given = inputs(config, samples=300)
    async with Runner() as workers:
        outputs = await workers.run(data, interface(config), LIMITS, given)
    assert (outputs == run_model(data, interface(config), LIMITS, given)).all()


@pytest.mark.check
async def test_weights_that_are_no_numbers_are_declined_and_the_next_model_passes(
    forge: Forge, bundle: TrustBundle, keys: EnclaveKeys
) -> None:
    config = CONFIGS["mlp"]
    broken = {name: np.full_like(one, np.nan) for name, one in weights(config).items()}
    given = inputs(config, samples=60)
    labels = run_model(net("mlp"), interface(config), LIMITS, given).argmax(axis=1)
    container = pack(given, labels, name="x")
    fields = {"interface": interface(config), "limits": LIMITS, "samples": 60}
    async with Runner() as workers:
        bench = Bench(keys, bundle, workers)
        for model, wanted in ((pack_weights(config, broken), Outcome.DECLINED), (net("mlp"), Outcome.PASS)):
            deal = Deal.make(bundle, keys, model=model, container=container, spec=fields)
            signed = await bench.run(forge.ticket(deal.payload(), bench.tickets.nonces.make()), deal.files())
            assert (signed.result.outcome, signed.reason) == (wanted, "")


@pytest.mark.check
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_engines_are_refused_the_same_costs(name: str) -> None:
    """What one engine's task admits, the other's does, and both refuse before anything runs."""
    config, data = CONFIGS[name], net(name)
    asked, given = interface(config), inputs(config, samples=2)
    cheap = replace(LIMITS, operations=check_weights(data, asked, LIMITS, 2).operations // 2)
    for model in (data, weights_to_onnx(data, asked)):
        with pytest.raises(ModelTooCostly):
            run_model(model, asked, cheap, given)


@pytest.mark.check
def test_threads_of_the_caller_change_nothing() -> None:
    import torch

    config, data = CONFIGS["resnet-8"], net("resnet-8")
    given = inputs(config, samples=40)
    first = run_model(data, interface(config), LIMITS, given)
    torch.set_num_threads(4)
    assert (run_model(data, interface(config), LIMITS, given) == first).all()
    assert torch.get_num_threads() == 1


def test_an_enclave_without_torch_signs_nothing_for_weights() -> None:
    program = (
        "import sys\nsys.modules['torch'] = None\n"
        "from tests.enclave.nets import *\nfrom goldengrain.enclave.engine import run_model\n"
        "from goldengrain.enclave.errors import EngineMissing\nc = CONFIGS['mlp']\n"
        "try:\n    run_model(net('mlp'), interface(c), LIMITS, inputs(c, samples=2))\n"
        "except EngineMissing as error:\n    print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == EngineMissing.code == "ENGINE_MISSING"
