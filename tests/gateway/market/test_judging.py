"""`market.enclaves.judge`: a quote judged by a client, by the ledger's policy and collateral, as the contract would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from goldengrain.chaincode.protocol import errors
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.chaincode.protocol.queries import GetCollateral, GetPolicy
from goldengrain.chaincode.protocol.requests import Query
from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform
from goldengrain.gateway.market.calls import Caller
from goldengrain.gateway.market.enclaves import Enclaves
from tests.chaincode.protocol import samples

CODE = samples.word("measurement")


class Ledger:
    """Answers what a judge asks, as the contract does."""

    def __init__(self, policy: Policy, platform: SimulatedPlatform) -> None:
        self.policy, self.platform = policy, platform

    async def ask(self, query: Query) -> dict[str, Any]:
        if isinstance(query, GetPolicy):
            return {"policy": self.policy.to_json(), "adopted": 1, "transaction": "0" * 64}
        assert isinstance(query, GetCollateral)
        assert query.tee is self.platform.tee
        text = self.platform.collateral(at=samples.NOW)
        where = {"root": query.root.hex(), "fmspc": query.fmspc.hex()}
        return {**where, "text": text, "stored": samples.NOW, "transaction": "0" * 64}


@pytest.mark.parametrize("tee", Tee)
async def test_a_client_judges_as_the_contract_does(tee: Tee, tmp_path: Path) -> None:
    root = DevelopmentRoot.create(tmp_path, at=samples.NOW)
    platform = SimulatedPlatform(root, tee=tee)
    accepted = AttestationRoot(root.root_der)
    policy = samples.policy(roots=(accepted,), measurements=(platform.measurement_of(CODE),))
    ledger = Ledger(policy, platform)
    enclaves = Enclaves(cast("Caller", ledger))
    quote = platform.quote(bytes(64), CODE)
    verdict = await enclaves.judge(quote, accepted.id, platform.fmspc, samples.NOW)
    assert (verdict.tee, verdict.measurement, verdict.simulated) == (tee, platform.measurement_of(CODE), True)
    with pytest.raises(errors.QuoteMeasurementRefused):
        await enclaves.judge(platform.quote(bytes(64), bytes(32)), accepted.id, platform.fmspc, samples.NOW)
    with pytest.raises(errors.CollateralExpired):
        await enclaves.judge(quote, accepted.id, platform.fmspc, samples.NOW + 40 * 86_400)
    ledger.policy = replace(policy, roots=(AttestationRoot(bytes(100)),))
    with pytest.raises(errors.QuoteRootUnknown):
        await enclaves.judge(quote, accepted.id, platform.fmspc, samples.NOW)
