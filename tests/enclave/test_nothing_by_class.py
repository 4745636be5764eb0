"""What an enclave knows by class stays where it is: nothing asks for it in a job, and no answer has room for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.report import Outcome
from goldengrain.chaincode.protocol.task import Metric
from goldengrain.enclave import metrics
from goldengrain.enclave.job import Bench
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.runner import Runner
from tests.docs.markdown import ROOT

from .fabric import Forge
from .market import Deal

ANSWER = {"offer", "claim", "outcome", "score", "locked", "model", "signature", "reason"}


@pytest.fixture
async def bench(bundle: TrustBundle, keys: EnclaveKeys) -> AsyncIterator[Bench]:
    async with Runner() as workers:
        yield Bench(keys, bundle, workers)


@pytest.mark.parametrize("metric", [Metric.ACCURACY, Metric.MACRO_F1, Metric.AUROC])
async def test_a_job_asks_for_no_results_by_class(
    metric: Metric, bench: Bench, forge: Forge, bundle: TrustBundle, keys: EnclaveKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(tally: metrics.Tally) -> list[metrics.ClassResult]:
        raise AssertionError("a job asks for results by class")

    deal = Deal.make(bundle, keys, spec={"metric": metric})
    monkeypatch.setattr(type(metrics.Tally.of(deal.task.spec)), "classes", asked)
    signed = await bench.run(forge.ticket(deal.payload(), bench.tickets.nonces.make()), deal.files())
    assert signed.result.outcome in (Outcome.PASS, Outcome.DECLINED)
    assert set(signed.to_json()) == ANSWER


def test_only_who_has_model_and_test_set_can_ask() -> None:
    asking = {
        str(path.relative_to(ROOT))
        for part in ("enclave", "cli", "chaincode", "gateway")
        for path in (ROOT / part).rglob("*.py")
        if ".classes()" in path.read_text()
    }
    assert asking == {"enclave/metrics.py", "enclave/evaluate.py", "cli/evaluating.py"}
