"""What the enclave adds to bare ONNX Runtime: the same model and data, measured in turns, each in processes of its own.

Bare: a process that has ONNX Runtime loaded reads model and inputs from plain files, makes a session with the enclave's
options, runs batches of 256 and counts right answers. Enclave: a running enclave is asked over its socket to run a job,
from the request with the job ticket to the signed report: ticket checks, envelopes, hashing and decrypting of model and
test set, the model's checks, session, run, score, signature. Its waiting worker was started before, as always.

Enforced, on the best round of each: 0.95 of bare's samples a second; peak memory of enclave and worker together no more
than the model, one chunk and 150 MB over bare's; 2 GB/s of `decrypt_into`; under 1 s from claim to report on the ledger
for digits, on the embedded network.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.progress import bar
from benchmarks.report import Report, busy
from goldengrain.chaincode.protocol import stream
from goldengrain.chaincode.protocol.offer import DEFAULT_CHUNK
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.cli.stage.acts import Acts
from goldengrain.enclave.architectures import Config
from goldengrain.enclave.client import EnclaveClient
from goldengrain.enclave.dataset import pack
from goldengrain.enclave.models.export import weights_to_onnx
from goldengrain.enclave.weights import pack_weights
from tests.enclave import nets
from tests.enclave.fabric import NOW, Consortium, Forge
from tests.enclave.test_service import Enclave, deal_for

SAMPLES = 10_000
ROUNDS = 10
WAIT_S = 2.0
"""What a process that is ready waits before it is asked, of either kind: until the next worker waits as well."""
LEAST = 0.95
MOST_MB = 150.0
LEAST_GB_S = 2.0
MOST_CLAIM_S = 1.0
CONFIGS = {
    "LeNet, 28 x 28": Config("lenet", (1, 28, 28), 10),
    "MLP, 784-1024-1024": Config("mlp", (784,), 10, hidden=(1024, 1024)),
    "ResNet-18, 32 x 32": Config("resnet-18", (3, 32, 32), 10),
}
_BARE = """
import json, sys, time
import numpy as np, onnxruntime as ort
from goldengrain.enclave.onnx_engine import session_options
model, inputs, labels, shape = sys.argv[1:4] + [json.loads(sys.argv[4])]
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
session = ort.InferenceSession(open(model, "rb").read(), session_options(), providers=["CPUExecutionProvider"])
rows, right = np.memmap(inputs, np.float32, "r").reshape(-1, *shape), 0
wanted = np.fromfile(labels, np.int64)
for start in range(0, len(rows), 256):
    (outputs,) = session.run(None, {"input": np.array(rows[start : start + 256])})
    right += int((outputs.argmax(axis=1) == wanted[start : start + 256]).sum())
print(json.dumps({"seconds": time.perf_counter() - began, "right": right}), flush=True)
sys.stdin.readline()
"""


async def run(seconds: float, samples: int = SAMPLES, rounds: int = ROUNDS, model: str = "") -> Report:
    """Measure all, or one model alone, by the start of its name; `seconds` does not matter here."""
    report = Report("enclave")
    consortium = Consortium()
    bundle = consortium.bundle()
    with tempfile.TemporaryDirectory() as folder, bar() as shown:
        for name, config in _chosen(model).items():
            place = Path(folder) / str(len(report.rows))
            place.mkdir()
            enclave = Enclave(place, bundle)
            enclave.clock.write_text(str(NOW - int(time.time())))
            await enclave.start()
            try:
                measured = _Pair(place, config, samples, enclave, bundle, Forge(consortium))
                await measured.prepare()
                for number in range(rounds):
                    await measured.round()
                    shown(name, number + 1, rounds)
                _judge(report, name, measured)
            finally:
                await enclave.stop()
    if not model:
        report.notes.append(_decrypting(report))
        report.notes.append(await _digits(report))
    if busy():
        report.notes.append("more wants to run here than there are processors: the clock measured the others as well")
    return report


def _chosen(start: str) -> dict[str, Config]:
    found = {name: config for name, config in CONFIGS.items() if name.lower().startswith(start.lower())}
    if not found:
        raise SystemExit(f"no model begins with {start!r}: one of {', '.join(CONFIGS)}")
    return found


class _Pair:
    """One model and test set, for bare ONNX Runtime and for an enclave."""

    def __init__(
        self, place: Path, config: Config, samples: int, enclave: Enclave, bundle: TrustBundle, forge: Forge
    ) -> None:
        self.place, self.config, self.samples = place, config, samples
        self.enclave, self.bundle, self.forge = enclave, bundle, forge
        self.bare: list[tuple[float, float]] = []
        self.ours: list[tuple[float, float]] = []
        self.deal: Any = None

    async def prepare(self) -> None:
        """Write plain files for the one, sealed ones for the other."""
        interface = nets.interface(self.config)
        model = weights_to_onnx(pack_weights(self.config, nets.weights(self.config)), interface)
        inputs = nets.inputs(self.config, self.samples)
        labels = np.arange(self.samples, dtype=np.int64) % 10
        (self.place / "model.onnx").write_bytes(model)
        (self.place / "inputs").write_bytes(inputs.tobytes())
        (self.place / "labels").write_bytes(labels.tobytes())
        self.model_mb = len(model) / 1e6
        spec = {"interface": interface, "limits": nets.LIMITS, "samples": self.samples}
        async with EnclaveClient(self.enclave.reach()) as client:
            container = pack(inputs, labels, name="bench")
            sealed: dict[str, Any] = {"model": model, "container": container, "chunk_size": DEFAULT_CHUNK}
            self.deal = deal_for(await client.identity(), self.bundle, spec=spec, **sealed)
        self.deal.threshold = 1_000_000  # a score that a random network has not: declined
        (self.enclave.exchange / "model.bin").write_bytes(self.deal.ciphertext)
        (self.enclave.exchange / "dataset.bin").write_bytes(self.deal.dataset.ciphertext)

    async def round(self) -> None:
        """Run both, one after the other."""
        self.bare.append(await asyncio.to_thread(self._run_bare))
        self.ours.append(await self._run_ours())

    def _run_bare(self) -> tuple[float, float]:
        import json
        import subprocess

        files = [str(self.place / name) for name in ("model.onnx", "inputs", "labels")]
        command = [sys.executable, "-c", _BARE, *files, json.dumps(self.config.image)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(WAIT_S)
            process.stdin.write("\n")
            process.stdin.flush()
            found = json.loads(process.stdout.readline())
            peak = _peak_mb(process.pid)
            process.stdin.write("\n")
        return found["seconds"], peak

    async def _run_ours(self) -> tuple[float, float]:
        assert self.enclave.process is not None
        await asyncio.sleep(WAIT_S)
        async with EnclaveClient(self.enclave.reach()) as client:
            nonce = await client.nonce()
            ticket = self.forge.ticket(self.deal.payload(), nonce)
            with _watched(self.enclave.process.pid) as peak:
                began = time.perf_counter()
                files = (self.deal.model_envelope, self.deal.dataset_envelope, "model.bin", "dataset.bin")
                report = await client.run_job(ticket, *files)
                taken = time.perf_counter() - began
        assert report.outcome is Outcome.DECLINED, report.reason
        return taken, peak[0]


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """Look every 20 ms how much memory a process and its busiest child have held at most, in MB."""
    found, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            workers = [_peak_mb(one) for one in _children(pid)]
            found[0] = max(found[0], _peak_mb(pid) + max(workers, default=0.0))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def _children(pid: int) -> list[int]:
    """Return the children that any thread of a process has started."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended meanwhile
            found += map(int, path.read_text().split())
    return found


def _peak_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    line = next((one for one in text.splitlines() if one.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024 / 1e6


def _judge(report: Report, name: str, measured: _Pair) -> None:
    bare, ours = (min(one for one, _ in times) for times in (measured.bare, measured.ours))
    bare_mb, ours_mb = (median(one for _, one in times) for times in (measured.bare, measured.ours))
    row = {
        "model": name,
        "bare_samples_per_s": round(measured.samples / bare),
        "enclave_samples_per_s": round(measured.samples / ours),
        "ratio": round(bare / ours, 3),
        "bare_peak_MB": round(bare_mb),
        "enclave_peak_MB": round(ours_mb),
        "more_MB": round(ours_mb - bare_mb),
        "rounds": len(measured.bare),
    }
    report.rows.append(row)
    if bare / ours < LEAST:
        report.failures.append(f"{name}: {bare / ours:.3f} of bare ONNX Runtime's samples a second, {LEAST} are wanted")
    most = measured.model_mb + DEFAULT_CHUNK / 1e6 + MOST_MB
    if ours_mb - bare_mb > most:
        report.failures.append(f"{name}: {ours_mb - bare_mb:.0f} MB over bare, {most:.0f} are allowed")


def _decrypting(report: Report, size: int = 1 << 28) -> str:
    key, room = stream.generate_key(), bytearray(size)
    ciphertext = stream.encrypt(key, os.urandom(1 << 20) * (size >> 20))
    times = []
    for _ in range(8):
        began = time.perf_counter()
        stream.decrypt_into(key, ciphertext, room)
        times.append(time.perf_counter() - began)
    rate = size / 1e9 / min(times)
    if rate < LEAST_GB_S:
        report.failures.append(f"decrypt_into: {rate:.2f} GB/s, {LEAST_GB_S} are wanted")
    return f"decrypt_into: {rate:.2f} GB/s ({size >> 20} MiB, best of {len(times)})"


async def _digits(report: Report, rounds: int = 3) -> str:
    """Claim, ticket, job and report on the embedded network, for a model of the digits."""
    from goldengrain.cli.stage import swap
    from goldengrain.cli.stage.setting import set_stage
    from goldengrain.enclave.models.datasets import load
    from goldengrain.enclave.models.train import train
    from goldengrain.network.home import Home

    times = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tree.onnx"
        model.write_bytes(train("tree", load("digits")).model)
        async with set_stage(Home(Path(folder) / "home"), _silent()) as stage:
            task = await swap.open_task(stage, "digits", slots=rounds)
            for _ in range(rounds):
                sale = await swap.offer(stage, task, stage.cast.developers[len(times) % 2], model)
                await swap.receipt(stage, sale)
                await asyncio.sleep(1.0)
                began = time.perf_counter()
                operation = await swap.claim(stage, sale)
                signed = await swap.benchmark(stage, sale, operation)
                times.append(time.perf_counter() - began)
                await swap.report(stage, sale, operation, signed)
    if min(times) > MOST_CLAIM_S:
        report.failures.append(f"digits: {min(times):.2f} s from claim to report, {MOST_CLAIM_S} are allowed")
    return f"digits, from claim to signed report on the embedded network: {min(times):.2f} s (best of {rounds})"


def _silent() -> Acts:
    from rich.console import Console

    return Acts(Console(quiet=True))
