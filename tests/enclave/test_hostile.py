"""Directories of cases: hostile models, test sets, hosts and workers. See `hostile/README.md`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.report import Outcome, Report
from goldengrain.chaincode.protocol.task import BenchmarkSpec
from goldengrain.enclave import errors, runner
from goldengrain.enclave.dataset import pack, unpack
from goldengrain.enclave.engine import run_model
from goldengrain.enclave.job import Bench, SignedReport
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.onnx_rules.check import check_model
from goldengrain.enclave.runner import Runner
from goldengrain.enclave.weights import check_weights

from . import nets
from .fabric import Forge
from .hostile.build import CASES, outcome_of
from .hostile.containers import MALFORMED, SPEC
from .hostile.jobs import CHANGES, HOST, WORKERS
from .hostile.onnx_models import MODELS
from .hostile.weights_files import WEIGHTS
from .market import INTERFACE, LIMITS, SAMPLES, Deal, examples, model_bytes

NET = nets.interface(nets.CONFIGS["mlp"])


@dataclass(frozen=True)
class Case:
    group: str
    defect: str
    code: str
    outcome: str
    file: Path
    spec: dict[str, Any]

    @property
    def data(self) -> bytes:
        if self.file.exists():
            return self.file.read_bytes()
        made: dict[str, Any] = {"models": MODELS, "weights": WEIGHTS}
        if self.group == "datasets":
            return MALFORMED[self.defect]()
        make: Callable[[], bytes] = made[self.group][self.defect][0]
        return make()


def _read(path: Path) -> Case:
    document = yaml.safe_load(path.read_text())
    group = path.parent.parent.name
    return Case(
        group, document["defect"], document["code"], document["outcome"], path.parent / "file", document.get("spec", {})
    )


ALL = [_read(path) for path in sorted(CASES.glob("*/*/case.yaml"))]


def cases(*groups: str) -> Any:
    return pytest.mark.parametrize("case", [one for one in ALL if one.group in groups], ids=lambda one: one.defect)


def _spec(case: Case) -> BenchmarkSpec:
    return BenchmarkSpec.from_json(SPEC.to_json() | case.spec)


CHECKS: dict[str, Callable[[Case], object]] = {
    "models": lambda case: run_model(case.data, INTERFACE, LIMITS, examples()[0]),
    "weights": lambda case: check_weights(case.data, NET, nets.LIMITS, SAMPLES),
    "datasets": lambda case: unpack(case.data).require(_spec(case)),
}


def test_the_controls_are_accepted() -> None:
    check_model(model_bytes(), INTERFACE, LIMITS, SAMPLES)
    check_weights(nets.net("mlp"), NET, nets.LIMITS, SAMPLES)
    unpack(pack(*examples(), name="x")).require(SPEC)


@cases("models", "weights", "datasets")
def test_hostile_file_is_refused_by_name(case: Case) -> None:
    with pytest.raises(errors.ERRORS[case.code]) as caught:
        CHECKS[case.group](case)
    assert caught.value.code == case.code
    assert case.outcome == outcome_of(case.code)


def test_only_what_the_engine_itself_must_find_is_found_late() -> None:
    for case in (one for one in ALL if one.group == "models" and one.code != "MODEL_NOT_RUNNABLE"):
        with pytest.raises(errors.ModelRefused) as caught:
            check_model(case.data, INTERFACE, LIMITS, SAMPLES)
        assert caught.value.code == case.code


def test_every_code_is_reached_and_cases_are_what_they_were_built_from() -> None:
    roots = (errors.ModelRefused, errors.DatasetRefused, errors.HostFault)
    wanted = {code for code, kind in errors.ERRORS.items() if issubclass(kind, roots) and kind not in roots}
    assert wanted | {"HOST_BYTES_REFUSED"} <= {one.code for one in ALL}
    assert len(ALL) >= 150
    built = {"jobs": CHANGES, "hosts": HOST, "workers": WORKERS, "models": MODELS, "weights": WEIGHTS}
    for group, table in built.items():
        assert {one.defect for one in ALL if one.group == group} == set(table)


def _deal(bundle: TrustBundle, keys: EnclaveKeys, case: Case) -> Deal:
    if case.group == "models":
        return Deal.make(bundle, keys, model=case.data)
    if case.group == "weights":
        given = nets.inputs(nets.CONFIGS["mlp"], SAMPLES)
        fields = {"interface": NET, "limits": nets.LIMITS}
        container = pack(given, np.arange(SAMPLES) % 10, name="x")
        return Deal.make(bundle, keys, model=case.data, container=container, spec=fields)
    spec = _spec(case)
    changed = {name: getattr(spec, name) for name in case.spec}
    return Deal.make(bundle, keys, container=case.data, spec=changed)


async def run(bench: Bench, forge: Forge, deal: Deal, **files: bytes) -> SignedReport:
    ticket = forge.ticket(deal.payload(), bench.tickets.nonces.make())
    return await bench.run(ticket, deal.files(**files))


async def _require(bench: Bench, forge: Forge, deal: Deal, case: Case, **files: bytes) -> None:
    """Hold what becomes of a job against the case; a signed report verifies."""
    if case.outcome == "nothing":
        with pytest.raises(errors.ERRORS[case.code]):
            await run(bench, forge, deal, **files)
        return
    signed = await run(bench, forge, deal, **files)
    assert (signed.reason, signed.result.outcome) == (case.code, case.outcome)
    report = Report.of(deal.task, deal.order, deal.payload().ticket, signed.result)
    report.verify(signed.signature)


@cases("jobs")
async def test_what_is_wrong_around_a_job_is_signed_as_its_author_s(case: Case, forge: Forge, deal: Deal) -> None:
    """No worker is needed for most of it; the control passes in `test_job`."""
    async with Runner(spares=0) as workers:
        bench = Bench(deal.keys, deal.bundle, workers)
        await _require(bench, forge, CHANGES[case.defect][0](deal), case)


@cases("hosts")
async def test_host_s_bytes_are_never_signed_for(case: Case, forge: Forge, deal: Deal) -> None:
    async with Runner(spares=0) as workers:
        bench = Bench(deal.keys, deal.bundle, workers)
        await _require(bench, forge, deal, case, **HOST[case.defect](deal))


@pytest.mark.check
@cases("workers")
async def test_what_happens_to_the_worker(
    case: Case, forge: Forge, deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_COMMAND", (runner.sys.executable, "-c", WORKERS[case.defect][0]))
    async with Runner(spares=0) as workers:
        await _require(Bench(deal.keys, deal.bundle, workers, seconds=4), forge, deal, case)


@pytest.mark.check
@pytest.mark.timeout(400)
async def test_hostile_files_end_in_a_signed_report_and_the_next_job_passes(
    forge: Forge, bundle: TrustBundle, keys: EnclaveKeys, deal: Deal
) -> None:
    """One file of each code; that each file has its code is held above."""
    async with Runner(spares=2) as workers:
        bench = Bench(keys, bundle, workers)
        for case in {(one.group, one.code): one for one in ALL if one.group in CHECKS}.values():
            await _require(bench, forge, _deal(bundle, keys, case), case)
        assert (await run(bench, forge, deal)).result.outcome is Outcome.PASS


async def test_wrong_test_set_outweighs_a_hostile_model_and_the_host_both(
    forge: Forge, bundle: TrustBundle, keys: EnclaveKeys
) -> None:
    """Section 8's order, 15 before 16, and bytes that aren't the ledger's before all."""
    both = Deal.make(bundle, keys, model=b"no model", container=b"no container")
    async with Runner(spares=0) as workers:
        bench = Bench(keys, bundle, workers)
        signed = await run(bench, forge, both)
        assert (signed.result.outcome, signed.reason) == (Outcome.UNUSABLE, "DATASET_MALFORMED")
        with pytest.raises(errors.HostBytesRefused):
            await run(bench, forge, both, dataset=both.dataset.ciphertext + b"x")
        late = Deal.make(bundle, keys, model=b"no model", container=pack(*examples(), name="x") + b"x")
        assert (await run(bench, forge, late)).reason == "DATASET_MALFORMED"


async def test_outputs_that_are_no_numbers_are_declined_not_failed(
    forge: Forge, bundle: TrustBundle, keys: EnclaveKeys
) -> None:
    from .hostile.onnx_models import nan_outputs

    async with Runner() as workers:
        signed = await run(Bench(keys, bundle, workers), forge, Deal.make(bundle, keys, model=nan_outputs()))
    assert (signed.result.outcome, signed.reason) == (Outcome.DECLINED, "")
