"""Images, tables and values through the whole market: packed, sold, benchmarked, bought, used, measured again.

A case brings a test set and a model as their owners have them, and says what scikit-learn makes of the bought model's
outputs. That, the developer's estimate, the enclave's report and the provider's own measurement are one number.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from goldengrain.chaincode.protocol.task import Metric
from goldengrain.cli import buying, selling
from goldengrain.cli.session import connect, endpoint_for
from goldengrain.cli.stores import Stores
from goldengrain.cli.testsets import load_test_set
from goldengrain.enclave.dataset import Dataset, unpack
from goldengrain.enclave.models.datasets import load
from goldengrain.enclave.models.train import train
from goldengrain.gateway.market import Market
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home
from tests.conftest import need

from .conftest import USERS
from .running import Folder, run

PROVIDER, DEVELOPER = USERS[0], USERS[1]
SCHEDULE = "100000:100,1000000:1000"
"""A thousandth of the score, from 100,000 ppm on."""
HIDDEN = 24
Make = Callable[[Path], tuple[object, ...]]
Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Case:
    """What is asked, where test set and model come from (`model pack`'s words), and what the outputs are worth."""

    opening: tuple[object, ...]
    test_set: Callable[[Path], object]
    model: Make
    measure: Measure


def _named(name: str) -> Callable[[Path], object]:
    return lambda _: name


def _trained(kind: str, dataset: str) -> Make:
    def make(folder: Path) -> tuple[object, ...]:
        path = folder / "trained.onnx"
        path.write_bytes(train(kind, load(dataset)).model)
        return (path,)

    return make


def _weights(dataset: str, image: str, *more: object) -> Make:
    """Weights for the enclave's own MLP, as a file of plain tensors, learnt by scikit-learn."""

    def make(folder: Path) -> tuple[object, ...]:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        data = load(dataset).train
        values = dataset == "diabetes"
        low, size = (data.inputs.mean(axis=0), data.inputs.std(axis=0)) if values else (np.zeros(64), np.ones(64))
        base, unit = (data.labels.mean(), data.labels.std()) if values else (0, 1)
        kind = MLPRegressor if values else MLPClassifier
        learnt = kind(hidden_layer_sizes=(HIDDEN,), max_iter=60, alpha=1.0, random_state=3)
        learnt.fit((data.inputs - low) / size, (data.labels - base) / unit if values else data.labels)
        first, second = learnt.coefs_
        state = {  # what was scaled before becomes part of the layers
            "fc1.weight": (first / size[:, None]).T,
            "fc1.bias": learnt.intercepts_[0] - low / size @ first,
            "fc2.weight": second.T * unit,
            "fc2.bias": learnt.intercepts_[1] * unit + base,
        }
        tensors = {name: np.ascontiguousarray(one, dtype=np.float32) for name, one in state.items()}
        safetensors.numpy.save_file(tensors, folder / "state.safetensors")
        outputs = 1 if values else 10
        told = ("--architecture", "mlp", "--image", image, "--outputs", outputs, "--hidden", HIDDEN)
        return (folder / "state.safetensors", *told, *more)

    return make


def _idx(folder: Path) -> object:
    """Digits in the form of Fashion-MNIST's files: bytes, 8 x 8, gzipped."""
    test = load("digits").test
    pixels = np.rint(test.inputs * 255).astype(np.uint8)
    for name, magic, shape, values in (
        ("t10k-images-idx3-ubyte.gz", 0x803, (len(pixels), 8, 8), pixels.tobytes()),
        ("t10k-labels-idx1-ubyte.gz", 0x801, (len(pixels),), test.labels.astype(np.uint8).tobytes()),
    ):
        head = b"".join(number.to_bytes(4, "big") for number in (magic, *shape))
        (folder / name).write_bytes(gzip.compress(head + values))
    return folder / "t10k-images-idx3-ubyte.gz"


def _images(folder: Path) -> object:
    """Digits as a folder of PNG images for each class."""
    test = load("digits").test
    for number, (row, label) in enumerate(zip(test.inputs, test.labels, strict=True)):
        place = folder / "images" / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(row.reshape(8, 8) * 255).astype(np.uint8)).save(place / f"{number:03}.png")
    packed = run("dataset", "pack", folder / "images", "--gray", "--out", folder / "images.dataset", "--json")
    assert packed.value["classes"] == [f"class {one}" for one in range(10)]
    return folder / "images.dataset"


def _table(folder: Path) -> object:
    """Wine as a CSV file with names for classes."""
    test = load("wine").test
    samples = zip(test.inputs, test.labels, strict=True)
    rows = [",".join([*map(repr, map(float, row)), f"grower {label}"]) for row, label in samples]
    header = ",".join([*(f"measure {one}" for one in range(13)), "grower"])
    (folder / "wine.csv").write_text("\n".join([header, *rows]))
    return folder / "wine.csv"


def _rmse(outputs: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import root_mean_squared_error

    return 1 - float(root_mean_squared_error(labels, outputs[:, 0])) / 77


def _auroc(outputs: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, outputs[:, 1]))


def _log_loss(outputs: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    own = outputs.astype(np.float64)
    return 1 - float(log_loss(labels, own / own.sum(axis=1, keepdims=True))) / math.log(2)


def _macro_f1(outputs: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, outputs.argmax(axis=1), average="macro"))


def _accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    return float((outputs.argmax(axis=1) == labels).mean())


def _top_5(outputs: np.ndarray, labels: np.ndarray) -> float:
    """The lower end of Wilson's interval, as textbooks have it."""
    n, z = len(labels), 1.96
    p = float((np.argsort(-outputs, axis=1)[:, :5] == labels[:, None]).any(axis=1).mean())
    return (p + z * z / (2 * n) - z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


CASES = {
    "values, RMSE": Case((), _named("diabetes"), _trained("boosted", "diabetes"), _rmse),
    "a table of two classes, AUROC": Case((), _named("breast-cancer"), _trained("mlp", "breast-cancer"), _auroc),
    "a table of two classes, log loss": Case(
        ("--metric", "log-loss", "--scale", 693_147),
        _named("breast-cancer"),
        _trained("logistic", "breast-cancer"),
        _log_loss,
    ),
    "a CSV file with named classes, macro F1": Case(
        ("--metric", "macro-f1"), _table, _trained("logistic", "wine"), _macro_f1
    ),
    "images in Fashion-MNIST's files, accuracy": Case((), _idx, _weights("digits", "64"), _accuracy),
    "a folder of images, top-5 by Wilson": Case(
        ("--metric", "top-5", "--wilson"), _images, _weights("digits", "64"), _top_5
    ),
    "values, weights of a network": Case((), _named("diabetes"), _weights("diabetes", "10", "--no-softmax"), _rmse),
    "images, weights on torch": Case((), _idx, _weights("digits", "64", "--weights"), _accuracy),
}


def outputs_of(model: Path, dataset: Dataset) -> np.ndarray:
    """What a provider gets from a bought ONNX file, without any of our code."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    found: np.ndarray = session.run(None, {session.get_inputs()[0].name: dataset.inputs})[-1]
    return found


def packed_from(source: object) -> bytes:
    """The container of a test set's files."""
    path = Path(str(source))
    out = path.with_suffix(".dataset")
    if out != path:
        run("dataset", "pack", path, "--out", out)
    return out.read_bytes()


@pytest.fixture(scope="module", autouse=True)
def budget(market: Folder) -> None:
    """Credits for the tasks of this module."""
    market("credits", "mint", 20_000, "--to", PROVIDER)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.check] if "torch" in name else []) for name in CASES]
)
def test_a_model_is_worth_the_same_to_everybody(name: str, market: Folder, tmp_path: Path) -> None:
    case, on_torch = CASES[name], "torch" in name
    if on_torch:
        need("torch", importlib.util.find_spec("torch"), "run `make torch`")
    source = case.test_set(tmp_path)
    terms = ("--schedule", SCHEDULE, "--slots", 1, "--seed", 100 + list(CASES).index(name), *case.opening)
    task = market("task", "open", "--dataset", source, *terms, "--as", PROVIDER)["task"]

    model, *told = case.model(tmp_path)
    packed = tmp_path / ("packed.safetensors" if on_torch else "packed.onnx")
    made = market("model", "pack", model, *told, "--task", task, "--data", source, "--out", packed)
    offer = market("model", "seal", packed, "--task", task, "--as", DEVELOPER)["offer"]
    market("offer", "submit", offer, "--as", DEVELOPER)
    market("offer", "receipt", offer, "--as", PROVIDER)
    locked = market("offer", "wait", offer, "--for", "locked", "--timeout", "60s")
    assert locked["price"] == locked["score_ppm"] // 1_000
    assert market("offer", "reveal", offer, "--as", DEVELOPER)["price"] == locked["price"]

    bought = tmp_path / f"bought{packed.suffix}"
    opened = market("model", "open", offer, "--out", bought, "--evaluate", "--as", PROVIDER)
    assert bought.read_bytes() == packed.read_bytes()
    assert opened["bought_model_score_ppm"] == locked["score_ppm"] == made["estimate_ppm"] // 1_000 * 1_000
    if not on_torch:
        dataset = unpack(load(source).container() if isinstance(source, str) else packed_from(source))
        worth = case.measure(outputs_of(bought, dataset), dataset.labels) * 1_000_000
        assert made["estimate_ppm"] == pytest.approx(worth, abs=1.5)
    assert locked["score_ppm"] > 150_000
    assert market("credits", "balance", "--all")["conserved"] is True


async def test_values_are_traded_through_the_typed_client(market: Folder, tmp_path: Path) -> None:
    """A task of RMSE by the market client alone, up to the terms that it is on the ledger with."""
    home = Home(market.home)
    credentials = Wallet(home.wallet).get(PROVIDER)
    (tmp_path / "linear.onnx").write_bytes(train("linear", load("diabetes")).model)
    async with connect(home, credentials, endpoint_for(home, "Org1MSP", "Org1")) as gateway:
        client = Market(gateway.network("market"))
        with load_test_set("diabetes") as test_set:
            opened = await buying.open_task(client, home, Stores(home), test_set, buying.TaskTerms(slots=1, seed=200))
        spec = (await client.tasks.get(opened.id)).task.spec
        assert (spec.metric, spec.scale, spec.wilson) == (Metric.RMSE, 77_000_000, False)
        assert (spec.interface.output.name, spec.interface.output.shape) == ("prediction", (0, 1))
        sealed = await selling.seal_model(client, home, Stores(home), opened.id, tmp_path / "linear.onnx")
        await client.offers.submit(sealed.command)
        assert (await client.offers.get(sealed.id)).order.task == opened.id
        await client.offers.withdraw(sealed.id)
