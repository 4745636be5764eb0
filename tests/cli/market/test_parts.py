"""The parts beneath the market's commands: durations, deadlines, stores, secrets, test sets, models looked into."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest

from goldengrain.chaincode.protocol.errors import OfferNotLocked, SpecRefused
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.chaincode.protocol.task import Metric
from goldengrain.cli import secret_files, selling
from goldengrain.cli.errors import DeadlineNear, SecretMissing, StoreUnknown
from goldengrain.cli.inspection import inspect_model
from goldengrain.cli.stores import Stores
from goldengrain.cli.testsets import load_test_set
from goldengrain.cli.timing import DURATION, require_time
from goldengrain.gateway.errors import BlobNotFound
from goldengrain.network.home import Home
from goldengrain.network.topology import default_topology

from .running import run


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("30s", 30), ("15m", 900), ("2h", 7_200), ("1h30m", 5_400), ("7d", 604_800)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "1.5h", "h", "5 m", "1w", "99999999d", "9" * 50, "\u0661s"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


def test_a_client_stops_w_before_a_deadline() -> None:
    require_time(100, 120, 20, "S")
    for now in (101, 120, 121, 10**6):
        with pytest.raises(DeadlineNear, match="S end"):
            require_time(now, 120, 20, "S")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.path.mkdir()
    made.save_topology(default_topology())
    return made


def test_a_blob_is_found_wherever_it_lies(home: Home) -> None:
    stores = Stores(home)
    blob = stores.of("Org3MSP").put_bytes(b"ciphertext")
    assert stores.holding(blob.digest, ["Org1MSP", "Elsewhere"]).folder == home.path / "store" / "Org3"
    with pytest.raises(BlobNotFound):
        stores.holding(bytes(32))
    with pytest.raises(StoreUnknown):
        stores.of("Elsewhere")


def test_a_secret_is_private_and_what_is_missing_or_damaged_says_so(home: Home) -> None:
    name = b"n" * 32
    path = secret_files.write(home, "offers", name, {"key": "00"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret_files.read(home, "offers", name, "it")["key"] == "00"
    assert secret_files.names(home, "offers") == [name]
    with pytest.raises(SecretMissing, match="use the --home where it was made"):
        secret_files.read(home, "tasks", name, "it")
    for damage in ("{", "[]", '{"v": 2}'):
        path.write_text(damage)
        with pytest.raises(SecretMissing):
            secret_files.read(home, "offers", name, "it")


def test_a_test_set_of_ones_own_decides_what_models_look_like(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", inputs=np.ones((5, 3, 2), np.float32), labels=np.array([0, 2, 1, 0, 1], np.uint8))
    with load_test_set(str(tmp_path / "own.npz")) as made:
        assert (made.name, made.samples) == ("own", 5)
        assert made.interface.input.shape == (0, 3, 2)
        assert (made.interface.output.name, made.interface.output.shape) == ("probabilities", (0, 3))
        made.file.seek(0)
        (tmp_path / "packed").write_bytes(made.file.read())
    with load_test_set(str(tmp_path / "packed"), classes=10) as wide:
        assert wide.interface.output.shape == (0, 10)
    np.savez(tmp_path / "values.npz", inputs=np.ones((5, 3), np.float32), labels=np.linspace(0, 1, 5))
    with load_test_set(str(tmp_path / "values.npz"), metric=Metric.RMSE, scale=10**6) as values:
        assert (values.interface.output.name, values.interface.output.shape) == ("prediction", (0, 1))


def test_a_loss_without_a_scale_is_asked_for_one_that_would_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "values.npz", inputs=np.ones((4, 3), np.float32), labels=np.array([1.0, 3.0, 1.0, 3.0]))
    with pytest.raises(SpecRefused, match=r"--scale 1000000$"):
        load_test_set(str(tmp_path / "values.npz"), metric=Metric.RMSE)
    with pytest.raises(SpecRefused, match=r"--scale 693147$"):
        load_test_set("breast-cancer", metric=Metric.LOG_LOSS)


def test_a_model_is_judged_by_the_enclaves_own_checks(models: dict[str, Path]) -> None:
    data = models["mlp"].read_bytes()
    found = inspect_model(data)
    assert found.accepted
    assert found.operators["MatMul"] == 2
    assert found.operations is not None
    assert found.operations > 64 * 96
    assert "input: float [samples, 64]" in found.inputs


def test_a_model_that_an_enclave_refuses_says_why(models: dict[str, Path]) -> None:
    from onnx import ModelProto

    model = ModelProto.FromString(models["mlp"].read_bytes())
    model.graph.node[0].op_type = "Loop"
    refused = inspect_model(model.SerializeToString())
    assert refused.refusal is not None
    assert refused.refusal.code.startswith("MODEL_")
    assert (refused.operations, refused.memory) == (None, None)


async def test_r_leaves_the_developer_only_once_a_price_is_locked(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Offers:
        async def get(self, offer: bytes) -> SimpleNamespace:
            return SimpleNamespace(state=OfferState.STORED, lock=None)

        async def reveal(self, offer: bytes, secret: bytes) -> None:
            raise AssertionError("r was sent to peers, and the provider could read the key unpaid")

    monkeypatch.setattr(selling, "load", lambda home, offer: SimpleNamespace(secret=bytes(32)))
    market: Any = SimpleNamespace(offers=Offers())
    with pytest.raises(OfferNotLocked):
        await selling.reveal(market, home, bytes(32))


def test_a_file_is_inspected_offline_and_the_exit_code_tells_whether_an_enclave_would_take_it(
    models: dict[str, Path], tmp_path: Path
) -> None:
    from onnx import ModelProto

    nowhere = ("--home", tmp_path / "none")
    taken = run("model", "inspect", models["tree"], "--json", *nowhere)
    assert (taken.code, taken.value["accepted"], taken.value["refusal"]) == (0, True, None)
    assert taken.value["bytes"] == models["tree"].stat().st_size
    model = ModelProto.FromString(models["tree"].read_bytes())
    model.graph.node[0].op_type = "Loop"
    (tmp_path / "loop.onnx").write_bytes(model.SerializeToString())
    refused = run("model", "inspect", tmp_path / "loop.onnx", "--json", *nowhere)
    assert (refused.code, refused.value["accepted"]) == (1, False)
    assert refused.value["refusal"]["code"].startswith("MODEL_")
    shown = run("model", "inspect", tmp_path / "loop.onnx", *nowhere)
    assert (shown.code, "no: MODEL_" in shown.out) == (1, True)
