"""What every command of the market does with what it cannot use: a named error, an exit code, nothing half done."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from .conftest import USERS
from .running import Folder, run

DIGITS = "ab" * 32
UNUSED = "cd" * 32

WITHOUT_A_NETWORK = [
    ("credits", "mint", "5"),
    ("credits", "transfer", "5", "--to", DIGITS),
    ("credits", "balance"),
    ("task", "open", "--dataset", "digits"),
    ("task", "list"),
    ("task", "show", DIGITS),
    ("task", "shut", DIGITS),
    ("model", "open", DIGITS, "--out", "bought.onnx"),
    ("offer", "receipt", DIGITS),
    ("offer", "withdraw", DIGITS),
    ("offer", "list"),
    ("offer", "show", DIGITS),
    ("offer", "wait", DIGITS),
    ("offer", "refund", DIGITS),
    ("enclave", "run", "one"),
    ("enclave", "register", "one"),
    ("agent", "provider"),
    ("agent", "developer", "--once"),
    ("agent", "operator"),
]


@pytest.mark.parametrize("arguments", WITHOUT_A_NETWORK, ids=lambda one: " ".join(one[:2]))
def test_without_a_network_every_command_says_so_and_makes_nothing(arguments: tuple[str, ...], tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = run("--json", "--home", home, *arguments)
    assert result.code == 1
    assert result.error in {"NETWORK_NOT_FOUND", "COMMAND_LINE"}
    assert result.out == ""
    assert not home.exists()


WRONG_LINES = [
    ("credits", "mint", "0"),
    ("credits", "mint", "many"),
    ("credits", "transfer", "5"),
    ("credits", "transfer", "-5", "--to", DIGITS),
    ("task", "open"),
    ("task", "open", "--dataset", "digits", "--slots", "257"),
    ("task", "open", "--dataset", "digits", "--schedule", "800000=5"),
    ("task", "open", "--dataset", "digits", "--offers-for", "soon"),
    ("task", "open", "--dataset", "digits", "--eta", "0"),
    ("task", "open", "--dataset", "digits", "--metric", "beauty"),
    ("dataset", "pack", "rows.csv"),
    ("dataset", "pack", "images", "--out", "x", "--size", "large"),
    ("dataset", "show"),
    ("task", "show"),
    ("task", "shut"),
    ("model", "seal", "model.onnx"),
    ("model", "seal", "model.onnx", "--task", DIGITS, "--chunk-size", "3"),
    ("model", "open", DIGITS),
    ("model", "pack", "train:classifier"),
    ("model", "pack", "w.safetensors", "--out", "x", "--architecture", "gpt"),
    ("model", "pack", "w.safetensors", "--out", "x", "--image", "large"),
    ("model", "inspect"),
    ("offer", "submit"),
    ("offer", "receipt"),
    ("offer", "withdraw"),
    ("offer", "list", "--state", "sleeping"),
    ("offer", "show"),
    ("offer", "wait", DIGITS, "--for", "ever"),
    ("offer", "wait", DIGITS, "--timeout", "0"),
    ("offer", "reveal"),
    ("enclave", "run", "one", "--jobs", "0"),
    ("enclave", "register", "one", "--unknown"),
    ("enclave", "verify-quote"),
    ("agent", "operator", "--lease", "soon"),
]


@pytest.mark.parametrize("arguments", WRONG_LINES, ids=" ".join)
def test_a_wrong_command_line_is_refused_with_exit_code_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = run("--json", "--home", tmp_path / "home", *arguments)
    assert (result.code, result.error, result.out) == (2, "USAGE", "")
    assert not (tmp_path / "home").exists()


COMMANDS = {
    "credits": ("mint", "transfer", "balance"),
    "dataset": ("pack", "show"),
    "task": ("open", "list", "show", "shut"),
    "model": ("pack", "seal", "open", "inspect"),
    "offer": ("submit", "receipt", "withdraw", "list", "show", "wait", "reveal", "refund"),
    "enclave": ("run", "register", "verify-quote"),
    "agent": ("provider", "developer", "operator"),
}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, names in COMMANDS.items() for name in names])
def test_every_command_shows_an_example_of_itself(group: str, name: str) -> None:
    result = run(group, name, "--help")
    assert result.code == 0
    assert f"goldengrain {group} {name}" in result.out.split("Example:")[1]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files that are not what commands want."""
    np.savez(tmp_path / "nolabels.npz", inputs=np.zeros((3, 4), np.float32))
    np.savez(tmp_path / "ragged.npz", inputs=np.zeros((3, 4), np.float32), labels=np.zeros(2, np.int64))
    np.savez(tmp_path / "pickled.npz", inputs=np.array([{}, {}], dtype=object), labels=np.zeros(2, np.int64))
    np.savez(tmp_path / "negative.npz", inputs=np.zeros((2, 4), np.float32), labels=np.array([0, -1]))
    np.savez(tmp_path / "good.npz", inputs=np.zeros((4, 4), np.float32), labels=np.array([0, 1, 2, 9]))
    (tmp_path / "text.txt").write_text("no model, no test set")
    (tmp_path / "noise.onnx").write_bytes(os.urandom(500))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 broken")
    return {path.name: path for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("dataset", "options", "error"),
    [
        ("absent.npz", (), "SOURCE_REFUSED"),
        ("text.txt", (), "FILE_REFUSED"),
        ("broken.npz", (), "SOURCE_REFUSED"),
        ("nolabels.npz", (), "SOURCE_REFUSED"),
        ("pickled.npz", (), "SOURCE_REFUSED"),
        ("ragged.npz", (), "SOURCE_REFUSED"),
        ("negative.npz", (), "DATASET_MISMATCH"),
        ("good.npz", ("--classes", 4), "COMMAND_LINE"),
        ("good.npz", ("--metric", "rmse", "--scale", 5), "DATASET_MISMATCH"),
        ("good.npz", ("--metric", "log-loss"), "SPEC_REFUSED"),
        ("good.npz", ("--scale", 5), "SPEC_REFUSED"),
        ("good.npz", ("--schedule", "5:4,3:2"), "SCHEDULE_REFUSED"),
        ("good.npz", ("--schedule", "5:0"), "SCHEDULE_REFUSED"),
        ("good.npz", ("--schedule", "1000001:5"), "MALFORMED_INPUT"),
        ("good.npz", ("--offers-for", "3h"), "COMMAND_LINE"),
        ("good.npz", ("--open-within", "2h"), "DEADLINES_REFUSED"),
        ("good.npz", ("--reveal-within", "10s"), "DEADLINES_REFUSED"),
        ("good.npz", ("--attempts", 1000), "ATTEMPTS_REFUSED"),
        ("good.npz", ("--slots", 256), "INSUFFICIENT_COINS"),
        ("good.npz", ("--as", "nobody"), "WALLET"),
    ],
)
def test_a_task_that_cannot_be_is_refused_and_leaves_nothing(
    market: Folder, files: dict[str, Path], dataset: str, options: tuple[object, ...], error: str
) -> None:
    before = left_behind(market)
    path = files.get(dataset, Path("absent.npz"))
    result = market.attempt("task", "open", "--dataset", path, *options)
    assert result.error == error
    assert result.code in {1, 4}
    assert left_behind(market) == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("model", "seal", "absent.onnx", "--task", DIGITS), "FILE_REFUSED"),
        (("model", "seal", "good.npz", "--task", UNUSED), "TASK_NOT_FOUND"),
        (("model", "seal", "noise.onnx", "--task", "the task"), "MODEL_UNPARSABLE"),
        (("model", "seal", "model.onnx", "--task", "the task", "--attempt", 1000), "ATTEMPTS_EXHAUSTED"),
        (("model", "seal", "model.onnx", "--task", "the task", "--reserve", 10**9), "RESERVE_TOO_HIGH"),
        (("model", "seal", "model.onnx", "--task", "the task", "--bond", 1), "BOND_TOO_SMALL"),
        (("model", "seal", "model.onnx", "--task", "the task", "--payout", "nobody"), "WALLET"),
        (("model", "seal", "model.onnx", "--task", "zz"), "COMMAND_LINE"),
        (("model", "open", UNUSED, "--out", "good.npz"), "FILE_REFUSED"),
        (("model", "open", UNUSED, "--out", "fresh.onnx"), "OFFER_NOT_FOUND"),
        (("model", "inspect", "noise.onnx"), "MODEL_UNPARSABLE"),
        (("model", "inspect", "absent.onnx"), "FILE_REFUSED"),
        (("offer", "submit", UNUSED), "SECRET_MISSING"),
        (("offer", "submit", UNUSED[:8]), "OFFER_NOT_FOUND"),
        (("offer", "reveal", UNUSED), "SECRET_MISSING"),
        (("offer", "receipt", UNUSED), "OFFER_NOT_FOUND"),
        (("offer", "receipt", UNUSED, "--from", "absent"), "FILE_REFUSED"),
        (("offer", "withdraw", UNUSED), "OFFER_NOT_FOUND"),
        (("offer", "show", UNUSED[:8]), "COMMAND_LINE"),
        (("offer", "show", "../etc"), "COMMAND_LINE"),
        (("offer", "wait", UNUSED, "--timeout", "1s"), "WAIT_TIMEOUT"),
        (("offer", "refund"), "COMMAND_LINE"),
        (("offer", "refund", UNUSED, "--task", UNUSED), "COMMAND_LINE"),
        (("offer", "refund", UNUSED), "OFFER_NOT_FOUND"),
        (("task", "shut", UNUSED), "TASK_NOT_FOUND"),
        (("credits", "transfer", 10**12, "--to", DIGITS), "INSUFFICIENT_COINS"),
        (("credits", "transfer", 5, "--to", "nobody"), "WALLET"),
        (("credits", "balance", "--of", "nobody"), "WALLET"),
        (("credits", "balance", "--of", DIGITS, "--all"), "COMMAND_LINE"),
        (("credits", "mint", 2**63 - 1, "--to", DIGITS, "--to", DIGITS), "AMOUNT_TOO_LARGE"),
        (("credits", "mint", 5, *(word for _ in range(17) for word in ("--to", DIGITS))), "COMMAND_LINE"),
        (("enclave", "run", "../up"), "COMMAND_LINE"),
        (("enclave", "run", "Org1"), "COMMAND_LINE"),
        (("enclave", "register", "absent"), "ENCLAVE_UNREACHABLE"),
        (("enclave", "register", "org2", "--again", "--as", "User1@org1.example.com"), "OPERATOR_NOT_VOTED_IN"),
        (("enclave", "register", "org2", "--again", "--challenger", "nobody"), "WALLET"),
        (("enclave", "register", "org2", "--again", "--challenger", "User1@org2.example.com", "--as",
          "operator@org2.example.com"), "FOREIGN_ORGANIZATION_REQUIRED"),
    ],
    ids=lambda one: " ".join(map(str, one))[:60] if isinstance(one, tuple) else one,
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(
    market: Folder,
    open_task: str,
    models: dict[str, Path],
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    error: str,
) -> None:
    (tmp_path / "model.onnx").write_bytes(models["tree"].read_bytes())
    monkeypatch.chdir(tmp_path)
    before = left_behind(market)
    result = market.attempt(*(open_task if one == "the task" else one for one in arguments))
    assert result.error == error
    assert result.code in {1, 4}
    assert result.out == ""
    assert left_behind(market) == before
    assert not (tmp_path / "fresh.onnx").exists()


@pytest.fixture(scope="module")
def open_task(market: Folder) -> str:
    """A task that takes offers."""
    return str(market("task", "open", "--dataset", "digits", "--seed", 100, "--as", USERS[0])["task"])


@pytest.fixture(scope="module", autouse=True)
def held(market: Folder) -> dict[str, int]:
    """What everybody has before the first refusal."""
    return dict(market("credits", "balance", "--all")["balances"])


def left_behind(market: Folder) -> set[Path]:
    """What a refused command must not touch: secrets and stores."""
    return {path for name in ("secrets", "store") for path in (market.home / name).rglob("*") if path.is_file()}


def test_after_all_these_refusals_not_a_credit_has_moved(market: Folder, held: dict[str, int], open_task: str) -> None:
    shown = market("credits", "balance", "--all")
    assert shown["conserved"] is True
    assert market("task", "show", open_task)["state"] == "takes offers"
    assert market("offer", "list", "--task", open_task)["offers"] == []
    assert {label: shown["balances"][label] for label in USERS[1:]} == {label: held[label] for label in USERS[1:]}


def test_errors_for_people_name_the_code_and_show_no_traceback(tmp_path: Path) -> None:
    result = run("--home", tmp_path, "task", "list")
    assert "NETWORK_NOT_FOUND" in result.err
    assert "goldengrain network up" in result.err
    assert "Traceback" not in result.err + result.out


def test_the_error_of_a_json_command_is_one_object_on_standard_error(tmp_path: Path) -> None:
    error = json.loads(run("--json", "--home", tmp_path, "task", "list").err)["error"]
    assert set(error) == {"code", "message"}
