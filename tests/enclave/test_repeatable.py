"""The same job gives the same report: over restarts, threads, sizes of chunks, and whatever else a machine may vary."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from goldengrain.chaincode.protocol import stream
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.task import Metric
from goldengrain.enclave.dataset import pack
from goldengrain.enclave.job import Bench
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.runner import Runner

from . import nets
from .fabric import Forge
from .hostile.jobs import with_dataset
from .market import Deal, examples

CHUNKS = (1024, 4096, 1024 * 1024)


@pytest.mark.parametrize("metric", [Metric.ACCURACY, Metric.MACRO_F1, Metric.AUROC, Metric.LOG_LOSS])
async def test_chunks_and_repetitions_change_no_report(
    metric: Metric, forge: Forge, bundle: TrustBundle, keys: EnclaveKeys
) -> None:
    spec = {"metric": metric, "scale": 5_000_000 if metric.is_loss else 0}
    container = pack(*examples(), name="tiny")
    first = replace(Deal.make(bundle, keys, container=container, spec=spec), threshold=0)
    found = set()
    async with Runner() as workers:
        bench = Bench(keys, bundle, workers)
        for size in CHUNKS[: 3 if metric is Metric.ACCURACY else 1]:
            deal = with_dataset(first, stream.encrypt(first.dataset.key, container, chunk_size=size))
            signed = await bench.run(forge.ticket(deal.payload(), bench.tickets.nonces.make()), deal.files())
            assert signed.result.outcome is Outcome.PASS
            found.add((signed.result.score, signed.result.model))
    assert len(found) == 1


PROGRAM = """
import hashlib
from goldengrain.enclave.engine import run_model
from goldengrain.enclave.models.export import weights_to_onnx
from tests.enclave import nets
config = nets.CONFIGS["resnet-8"]
asked = nets.interface(config)
outputs = run_model(weights_to_onnx(nets.net("resnet-8"), asked), asked, nets.LIMITS, nets.inputs(config, samples=70))
print(hashlib.sha256(outputs.tobytes()).hexdigest())
"""
SETTINGS: tuple[dict[str, str], ...] = (
    {},
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "3", "PYTHONHASHSEED": "5"},
    {"LC_ALL": "C", "TZ": "Pacific/Auckland", "MALLOC_PERTURB_": "85"},
)


@pytest.mark.check
def test_threads_and_surroundings_change_no_bit() -> None:
    found = set()
    for setting in SETTINGS:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=os.environ | setting, capture_output=True, text=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_batches_of_any_cut_give_the_same_bits() -> None:
    from goldengrain.enclave.engine import run_model
    from goldengrain.enclave.models.export import weights_to_onnx

    config = nets.CONFIGS["lenet"]
    asked, given = nets.interface(config), nets.inputs(config, samples=40)
    model = weights_to_onnx(nets.net("lenet"), asked)
    whole = run_model(model, asked, nets.LIMITS, given)
    parts = [run_model(model, asked, nets.LIMITS, given[start : start + 7]) for start in range(0, 40, 7)]
    assert b"".join(one.tobytes() for one in parts) == whole.tobytes()
