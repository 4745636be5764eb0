"""`enclave run --parallel` as a service: jobs side by side, drained, restarted, and killed at random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import OfferView
from tests.cli.agents.asking import asked
from tests.cli.agents.conftest import DEVELOPER, OPERATORS, PROVIDER
from tests.cli.market.running import COMMAND, Folder
from tests.cli.market.secrets import require_no_secret

pytestmark = [pytest.mark.check, pytest.mark.timeout(180)]
NAME, OPERATOR, PARALLEL = "service3", OPERATORS[2], 3
FEE = 200
WIDTH, FEATURES, CLASSES, SAMPLES = 1_024, 64, 10, 16_000
KILLS = 6
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def long_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A test set and a model that takes a second or two on it, and is always right."""
    folder = tmp_path_factory.mktemp("long")
    dice = np.random.default_rng(9)
    shapes = {"a": (FEATURES, WIDTH), "b": (WIDTH, WIDTH), "c": (WIDTH, CLASSES)}
    weights = {name: dice.standard_normal(shape, dtype=np.float32) / 32 for name, shape in shapes.items()}
    steps = [("MatMul", ["input", "a"], "x"), ("Relu", ["x"], "y"), ("MatMul", ["y", "b"], "z"), ("Relu", ["z"], "w")]
    steps += [("MatMul", ["w", "c"], "probabilities")]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps],
        "long",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (None, FEATURES))],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, (None, CLASSES))],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, folder / "long.onnx")
    inputs = dice.random((SAMPLES, FEATURES), dtype=np.float32)
    hidden = np.maximum(np.maximum(inputs @ weights["a"], 0) @ weights["b"], 0)
    np.savez(folder / "long.npz", inputs=inputs, labels=(hidden @ weights["c"]).argmax(axis=1).astype(np.int64))
    return folder / "long.npz", folder / "long.onnx"


@dataclass
class Service:
    """`enclave run` as a process that is started, stopped and killed; its figures are read all the while."""

    home: Path
    process: subprocess.Popen[bytes] | None = None
    texts: set[str] = field(default_factory=set)
    _ended: threading.Event = field(default_factory=threading.Event)
    _url: str = ""

    @property
    def log(self) -> Path:
        return self.home / "logs" / "service.err"

    @property
    def out(self) -> Path:
        return self.home / "logs" / "service.out"

    def start(self, *options: str) -> None:
        """Start it, and wait until it works."""
        words = ("enclave", "run", NAME, "--as", OPERATOR, "--parallel", str(PARALLEL), "--metrics", "0", *options)
        said = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log, self.out.open("wb") as out:
            command = [*COMMAND, "--json", "--home", str(self.home), *words]
            self.process = subprocess.Popen(command, stdout=out, stderr=log)
        wait_for(lambda: self.lines(said) or self.process is None or self.process.poll() is not None)
        ready = self.lines(said)[0]
        assert ready["event"] == "ready"
        self._url = ready["metrics"]

    def lines(self, start: int = 0) -> list[dict[str, Any]]:
        """What it has logged, every line of it one JSON object; a last one may be cut off by a kill."""
        lines = self.log.read_bytes()[start:].splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def watch(self) -> None:
        """Read the figures again and again."""
        while not self._ended.wait(0.05):
            with suppress(OSError, HTTPException):  # it is away now and then
                if self._url:
                    with urllib.request.urlopen(self._url, timeout=2) as reply:
                        self.texts.add(reply.read().decode())

    def stop(self) -> int:
        """End it as SIGTERM does; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def jobs(self) -> list[dict[str, Any]]:
        """What its last object says of its jobs."""
        found: list[dict[str, Any]] = json.loads(self.out.read_text())["jobs"]
        return found


@contextmanager
def service(home: Path) -> Iterator[Service]:
    made = Service(home)
    watching = threading.Thread(target=made.watch)
    watching.start()
    try:
        yield made
    finally:
        made._ended.set()
        watching.join()
        made.kill()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.05)


def stored(market: Folder, long_job: tuple[Path, Path], seeds: range) -> list[str]:
    """Offers of a task each, ready to be claimed."""
    for name, operator in ((NAME, OPERATOR), ("org2", OPERATORS[1])):  # registered before the tasks are opened
        market("enclave", "run", name, "--as", operator, "--idle", "1s")
    dataset, model = long_job
    found = []
    for seed in seeds:
        opening = ("task", "open", "--dataset", dataset, "--schedule", "500000:1000", "--slots", 1, "--seed", seed)
        task = market(*opening, "--as", PROVIDER)["task"]
        found.append(market("model", "seal", model, "--task", task, "--as", DEVELOPER)["offer"])
        market("offer", "submit", found[-1], "--as", DEVELOPER)
    market("agent", "provider", "--once", "--as", PROVIDER)
    return found


def states(market: Folder, offers: list[str]) -> list[OfferState]:
    return [one.state for one in views(market, offers)]


def views(market: Folder, offers: list[str]) -> list[OfferView]:
    async def found(opened: Market) -> list[OfferView]:
        return [await opened.offers.get(bytes.fromhex(one)) for one in offers]

    return asked(market, found)


def balance(market: Folder) -> int:
    return int(market("credits", "balance", "--of", OPERATOR)["balance"])


def require_each_done_once(market: Folder, offers: list[str], before: int) -> None:
    """One claim of each offer, reported within its lease; deposits are back, and each fee was paid once."""
    for one in views(market, offers):
        assert one.state is OfferState.LOCKED
        assert one.lock is not None
        assert one.lock.score == 1_000_000
        (claim,) = one.claims
        assert (claim.state, claim.deposit) == ("reported", 0)
        assert claim.reported is not None
        assert claim.reported <= claim.claim.lease_end
    assert balance(market) == before + FEE * len(offers)
    assert market("credits", "balance", "--all")["conserved"] is True


def require_silence(home: Path, running: Service) -> None:
    """No key is in a log, in the output or in the figures."""
    logs = [path.read_bytes() for path in (home / "logs").rglob("*") if path.is_file()]
    assert sum(b'"run_job"' in log for log in logs) >= 1
    assert running.texts
    require_no_secret(home, [*logs, *(text.encode() for text in running.texts)])


def test_jobs_run_side_by_side_a_drain_ends_them_and_a_restart_takes_the_rest(
    market: Folder, long_job: tuple[Path, Path]
) -> None:
    offers = stored(market, long_job, range(61, 66))
    before = balance(market)
    with service(market.home) as running:
        running.start()
        wait_for(lambda: states(market, offers).count(OfferState.CLAIMED) == PARALLEL)
        assert running.stop() == 0
        found = states(market, offers)
        assert OfferState.CLAIMED not in found  # what had begun was ended
        assert OfferState.STORED in found  # and nothing else was taken
        assert [one["state"] for one in running.jobs()] == ["locked"] * found.count(OfferState.LOCKED)
        assert "draining" in [one["event"] for one in running.lines()]
        drained = [text for text in running.texts if "golden_grain_draining 1" in text]
        assert any("golden_grain_jobs_open 0" not in text for text in drained)
        most = max(int(text.split("\ngolden_grain_jobs_open ")[1].split()[0]) for text in running.texts)
        assert most == PARALLEL
        running.start("--idle", "2s")
        wait_for(lambda: set(states(market, offers)) == {OfferState.LOCKED})
        assert running.process is not None
        assert running.process.wait(60) == 0
        require_each_done_once(market, offers, before)
        require_silence(market.home, running)


def children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, path.read_text().split())
    return found


def victims(running: Service, kind: str) -> list[int]:
    """The service's own processes of a kind: its enclave, the workers of that."""
    assert running.process is not None
    enclaves = children(running.process.pid)
    return enclaves if kind == "enclave" else [worker for enclave in enclaves for worker in children(enclave)]


def test_agent_enclave_and_workers_killed_at_random_moments_lose_no_lease(
    market: Folder, long_job: tuple[Path, Path]
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)  # shown where this fails
    dice = random.Random(seed)
    offers = stored(market, long_job, range(71, 76))
    before = balance(market)
    with service(market.home) as running:
        running.start()
        for number in range(KILLS):
            time.sleep(dice.uniform(0.2, 1.5))
            kind = ("agent", "enclave", "worker")[number % 3]
            if kind == "agent":
                running.kill()
                running.start()
                continue
            for victim in dice.sample(found, 1) if (found := victims(running, kind)) else ():
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        wait_for(lambda: set(states(market, offers)) == {OfferState.LOCKED})
        assert running.stop() == 0
        require_each_done_once(market, offers, before)
        require_silence(market.home, running)
