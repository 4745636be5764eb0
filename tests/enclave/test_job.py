"""Whole jobs in one process: each outcome of section 5, and what makes the enclave sign nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goldengrain.chaincode.protocol import digests, sealing, stream
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.report import Outcome, Report
from goldengrain.enclave import errors, runner, warm_up
from goldengrain.enclave.dataset import pack
from goldengrain.enclave.evaluate import evaluate
from goldengrain.enclave.job import Bench, SignedReport
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.runner import Runner

from .fabric import Forge
from .hostile.jobs import with_ciphertext
from .market import INTERFACE, LIMITS, Deal, examples, model_bytes


@pytest.fixture
async def workers() -> AsyncIterator[Runner]:
    async with Runner() as made:
        yield made


@pytest.fixture
def bench(workers: Runner, keys: EnclaveKeys, bundle: TrustBundle) -> Bench:
    return Bench(keys, bundle, workers)


async def run(bench: Bench, forge: Forge, deal: Deal, **files: bytes) -> SignedReport:
    ticket = forge.ticket(deal.payload(), bench.tickets.nonces.make())
    return await bench.run(ticket, deal.files(**files))


def report_of(deal: Deal, signed: SignedReport) -> Report:
    return Report.of(deal.task, deal.order, deal.payload().ticket, signed.result)


async def test_pass_carries_score_locked_key_and_model(bench: Bench, forge: Forge, deal: Deal) -> None:
    signed = await run(bench, forge, deal)
    assert signed.result.outcome is Outcome.PASS
    assert signed.result.score == 900_000
    assert signed.result.model == digests.sha256(model_bytes())
    report_of(deal, signed).verify(signed.signature)
    order = deal.order.digest()
    key = sealing.unlock_key(deal.provider, signed.result.locked, deal.secret, order, deal.keys.enclave)
    model = bytes(stream.decrypt(key, deal.ciphertext))
    container = pack(*examples(), name="tiny")
    assert evaluate(model, container, deal.task.spec, deal.task.eta) == signed.result.score


async def test_same_job_again_gives_the_same_score_and_a_changed_report_doesn_t_verify(
    bench: Bench, forge: Forge, deal: Deal
) -> None:
    first, second = await run(bench, forge, deal), await run(bench, forge, deal)
    assert (first.result.score, first.result.model) == (second.result.score, second.result.model)
    changed = replace(first, result=replace(first.result, score=901_000))
    with pytest.raises(Exception, match="not signed"):
        report_of(deal, changed).verify(changed.signature)


async def test_score_at_the_threshold_passes_and_below_is_declined_without_a_trace(
    bench: Bench, forge: Forge, deal: Deal, capfd: pytest.CaptureFixture[str]
) -> None:
    at = await run(bench, forge, replace(deal, threshold=900_000))
    below = await run(bench, forge, replace(deal, threshold=901_000))
    assert at.result.outcome is Outcome.PASS
    assert below.result.outcome is Outcome.DECLINED
    assert (below.result.score, below.result.locked, below.result.model, below.reason) == (0, b"", None, "")
    report_of(replace(deal, threshold=901_000), below).verify(below.signature)
    assert "900" not in str(below.to_json()).replace(below.signature.hex(), "").replace(below.offer.hex(), "")
    assert capfd.readouterr() == ("", "")


async def test_refused_ticket_signs_nothing(bench: Bench, forge: Forge, deal: Deal) -> None:
    with pytest.raises(errors.TicketNonceUnknown):
        await bench.run(forge.ticket(deal.payload(), bytes(32)), deal.files())


# --- the process that runs models ------------------------------------------------------------------------------------


def _with_model(model: bytes) -> Callable[[Deal], Deal]:
    return lambda deal: with_ciphertext(deal, stream.encrypt(deal.key, model, chunk_size=1024))


async def test_hostile_model_fails_and_the_next_one_runs(bench: Bench, forge: Forge, deal: Deal) -> None:
    hostile = await run(bench, forge, _with_model(b"\x08\x09" + os.urandom(200))(deal))
    assert hostile.result.outcome is Outcome.FAILED
    assert (await run(bench, forge, deal)).result.outcome is Outcome.PASS


async def _killed(workers: Runner, number: int) -> None:
    """Kill the waiting worker."""
    (spare,) = workers._spares
    os.kill(spare.pid, number)
    await asyncio.to_thread(spare._process.wait)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_waiting_worker_that_died_is_replaced(number: int, bench: Bench, forge: Forge, deal: Deal) -> None:
    await _killed(bench.runner, number)
    assert (await run(bench, forge, deal)).result.outcome is Outcome.PASS


class _Closing(runner.ArrayFeed):
    """Inputs whose reading closes the runner."""

    workers: Runner
    loop: asyncio.AbstractEventLoop

    def read(self, forward: runner.Forward) -> None:
        asyncio.run_coroutine_threadsafe(self.workers.close(), self.loop).result()
        super().read(forward)


async def test_a_runner_closed_during_a_job_waits_for_the_worker() -> None:
    feed = _Closing(np.ones((3, 1), np.float32))
    async with Runner() as workers:
        (spare,) = workers._spares
        feed.workers, feed.loop = workers, asyncio.get_running_loop()
        model = runner.BytesSource(warm_up.tiny_model())
        await asyncio.to_thread(workers.feed, model, warm_up.INTERFACE, warm_up.LIMITS, feed)
    assert feed.outputs.tolist() == [[1.0]] * 3
    assert spare._process.returncode is not None


def _stand_in(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Have the runner start another program in place of the worker."""
    program = f"import os, signal, struct, sys, time\nos.write(1, bytes(4))\n{body}\n"
    monkeypatch.setattr(runner, "_COMMAND", (runner.sys.executable, "-c", program))


async def test_two_crashes_in_a_row_are_the_models_fault(
    monkeypatch: pytest.MonkeyPatch, forge: Forge, deal: Deal, keys: EnclaveKeys, bundle: TrustBundle
) -> None:
    _stand_in(monkeypatch, "sys.stdin.buffer.read(9); os.kill(os.getpid(), signal.SIGSEGV)")
    async with Runner() as workers:
        signed = await run(Bench(keys, bundle, workers), forge, deal)
    assert (signed.result.outcome, signed.reason) == (Outcome.FAILED, errors.ModelCrashes.code)


async def test_worker_killed_from_outside_signs_nothing(
    monkeypatch: pytest.MonkeyPatch, forge: Forge, deal: Deal, keys: EnclaveKeys, bundle: TrustBundle
) -> None:
    _stand_in(monkeypatch, "sys.stdin.buffer.read(9); os.kill(os.getpid(), signal.SIGKILL)")
    async with Runner() as workers:
        with pytest.raises(errors.WorkerLost):
            await run(Bench(keys, bundle, workers), forge, deal)


async def test_one_crash_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forge: Forge, deal: Deal, keys: EnclaveKeys, bundle: TrustBundle
) -> None:
    mark = tmp_path / "crashed"
    crash = f"import os, sys, signal\ntry:\n    open({str(mark)!r}, 'x').close()\n"  # workers may start side by side
    crash += "except FileExistsError:\n    pass\nelse:\n"
    crash += "    os.write(1, bytes(4)); sys.stdin.buffer.read(9); os.kill(os.getpid(), signal.SIGSEGV)\n"
    work = "import goldengrain.enclave.worker as w\nsys.exit(w.main())\n"
    monkeypatch.setattr(runner, "_COMMAND", (runner.sys.executable, "-c", crash + work))
    async with Runner() as workers:
        assert (await run(Bench(keys, bundle, workers), forge, deal)).result.outcome is Outcome.PASS


async def test_job_out_of_time_signs_nothing(
    monkeypatch: pytest.MonkeyPatch, forge: Forge, deal: Deal, keys: EnclaveKeys, bundle: TrustBundle
) -> None:
    _stand_in(monkeypatch, "time.sleep(60)")
    async with Runner() as workers:
        with pytest.raises(errors.OutOfTime):
            await run(Bench(keys, bundle, workers, seconds=1), forge, deal)


async def test_worker_that_never_starts_signs_nothing(
    monkeypatch: pytest.MonkeyPatch, forge: Forge, deal: Deal, keys: EnclaveKeys, bundle: TrustBundle
) -> None:
    monkeypatch.setattr(runner, "_COMMAND", (runner.sys.executable, "-c", ""))
    async with Runner() as workers:
        with pytest.raises(errors.WorkerLost, match="extra"):
            await run(Bench(keys, bundle, workers), forge, deal)


async def test_memory_beyond_the_limit_signs_nothing() -> None:
    """The limit is the worker's own; counted memory keeps honest models far from it."""
    program = "import goldengrain.enclave.worker as w, sys\nw.open_model = lambda *a: bytearray(8 << 30)\n"
    program += "sys.exit(w.main())\n"
    previous, runner._COMMAND = runner._COMMAND, (runner.sys.executable, "-c", program)
    try:
        async with Runner() as workers:
            with pytest.raises(errors.OutOfMemory):
                await workers.run(b"x", INTERFACE, LIMITS, np.zeros((1, 4), np.float32))
    finally:
        runner._COMMAND = previous


async def test_worker_can_write_no_file(tmp_path: Any) -> None:
    target = tmp_path / "stolen"
    program = (
        "import goldengrain.enclave.worker as w, sys\n"
        "from goldengrain.enclave.errors import ModelNotRunnable\n"
        f"def steal(*a):\n    try:\n        open({str(target)!r}, 'w').write('x' * 9999)\n"
        "    except OSError as error:\n        raise ModelNotRunnable(str(error))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "w.open_model = steal\nsys.exit(w.main())\n"
    )
    previous, runner._COMMAND = runner._COMMAND, (runner.sys.executable, "-c", program)
    try:
        async with Runner() as workers:
            with pytest.raises(errors.ModelNotRunnable, match="too large"):
                await workers.run(b"x", INTERFACE, LIMITS, np.zeros((1, 4), np.float32))
    finally:
        runner._COMMAND = previous
    assert not target.exists() or target.read_bytes() == b""


async def test_worker_has_no_network_and_starts_no_program() -> None:
    program = (
        "import goldengrain.enclave.worker as w, os, socket, subprocess, sys\n"
        "from goldengrain.enclave.errors import ModelNotRunnable\n"
        "def call(*a):\n    found = []\n"
        "    tries = (socket.socket, lambda: subprocess.run(['true']), lambda: os.execv('/bin/true', ['true']))\n"
        "    for attempt in tries:\n"
        "        try:\n            attempt()\n        except OSError as error:\n            found.append(error.errno)\n"
        "    raise ModelNotRunnable(str(found))\n"
        "w.open_model = call\nsys.exit(w.main())\n"
    )
    previous, runner._COMMAND = runner._COMMAND, (runner.sys.executable, "-c", program)
    try:
        async with Runner() as workers:
            with pytest.raises(errors.ModelNotRunnable, match=r"\[1, 1, 1\]"):
                await workers.run(b"x", INTERFACE, LIMITS, np.zeros((1, 4), np.float32))
    finally:
        runner._COMMAND = previous


async def test_several_models_run_one_after_another(workers: Runner) -> None:
    inputs, _ = examples()
    runs = [workers.run(model_bytes(), INTERFACE, LIMITS, inputs) for _ in range(3)]
    first, *rest = await asyncio.gather(*runs)
    assert all((first == other).all() for other in rest)
