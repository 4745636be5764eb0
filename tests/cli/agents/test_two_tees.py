"""Enclaves of several operators and both TEEs on one task: an SGX machine of one organisation, a TDX guest of another.

Simulated, both; the quotes have each TEE's own shape, collateral and measurement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from goldengrain.chaincode.protocol.commands import SubmitReport
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.cli import enclave_config
from goldengrain.cli.enclave_process import folder_of
from goldengrain.cli.founding import connect_admin
from goldengrain.enclave.measurement import simulated_measurement
from goldengrain.enclave.quoting import SourceKind
from goldengrain.enclave.quoting.bodies import measurement_of
from goldengrain.gateway.audit import audit
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import EnclaveView, OfferView
from goldengrain.network.home import Home
from tests.cli.agents.asking import asked
from tests.cli.agents.conftest import DEVELOPER, OPERATORS, PROVIDER
from tests.cli.market.running import Folder, agents

CODES = {tee: measurement_of(tee, simulated_measurement()) for tee in Tee}


@dataclass(frozen=True)
class Machine:
    """An operator's enclave on a machine of its own kind."""

    name: str
    operator: str
    quotes: SourceKind
    tee: Tee


SGX = Machine("machine1", OPERATORS[0], SourceKind.SIMULATED, Tee.SGX)
TDX = Machine("guest3", OPERATORS[2], SourceKind.SIMULATED_TDX, Tee.TDX)
MACHINES = (SGX, TDX)


def works(market: Folder, machine: Machine) -> list[str]:
    """What a machine's agent did, once."""
    told = market("agent", "operator", machine.name, "--once", "--as", machine.operator)
    return [one["command"] for one in told["done"]]


def registered(market: Folder) -> dict[Tee, EnclaveView]:
    """The registrations of the two machines, by TEE."""

    async def listed(opened: Market) -> list[EnclaveView]:
        return [one async for one in opened.enclaves.listing()]

    names = {machine.operator.partition("@")[2].partition(".")[0].title() + "MSP": machine for machine in MACHINES}
    found = {}
    for one in asked(market, listed):
        machine = names.get(one.operator_msp)
        if machine is not None and one.measurement == CODES[machine.tee]:
            found[machine.tee] = one
    return found


def voted(market: Folder, change: Callable[[Policy], Policy]) -> None:
    """Put a policy to the vote and carry it with two organisations' votes."""

    async def vote() -> None:
        home = Home(market.home)
        first, second, *_ = home.load_topology().organizations
        async with connect_admin(home, first) as one, connect_admin(home, second) as other:
            markets = [Market(gateway.network("market")) for gateway in (one, other)]
            policy = (await markets[0].consortium.policy()).policy
            proposed = await markets[0].consortium.propose_policy(replace(change(policy), number=policy.number + 1))
            carried = await markets[1].consortium.vote(proposed.transaction_id)
            assert carried.answer["carried"] is True

    asyncio.run(vote())


def offer_of(market: Folder, offer: str) -> OfferView:
    return asked(market, lambda opened: opened.offers.get(bytes.fromhex(offer)))


def reports_on(market: Folder, offer: str) -> list[SubmitReport]:
    """The reports on an offer as the channel's valid transactions carry them."""

    async def found(opened: Market) -> list[SubmitReport]:
        transactions = (await audit(opened.network)).transactions
        calls = [one.call for one in transactions if one.valid and one.call and one.call.function == "SubmitReport"]
        reports = [SubmitReport.from_args(list(call.arguments)) for call in calls]
        return [one for one in reports if one.offer.hex() == offer]

    return asked(market, found)


def both_serve_one_task(market: Folder, model: Path) -> None:
    """The whole way: registrations, policy, the test set's key, envelopes, rewrap, claims, reports, the sale."""
    enclave_config.save(folder_of(Home(market.home), TDX.name), TDX.quotes)
    for machine in MACHINES:
        assert works(market, machine) == ["RegisterEnclave"]
    enclaves = registered(market)
    policy = asked(market, lambda opened: opened.consortium.policy()).policy
    assert CODES[Tee.SGX] != CODES[Tee.TDX]
    assert set(CODES.values()) <= set(policy.measurements)
    assert {one.operator_msp for one in enclaves.values()} == {"Org1MSP", "Org3MSP"}
    shown = market("enclave", "collateral", "status", "--offline")["collateral"]
    assert {one["tee"] for one in shown} == set(Tee)

    opening = ("task", "open", "--dataset", "digits", "--schedule", "500000:1000,950000:5000", "--eta", 1)
    task = market(*opening, "--enclaves", 2, "--seed", 41, "--as", PROVIDER)
    assert {one.id.hex() for one in enclaves.values()} <= set(task["enclaves"])

    # The guest's measurement is withdrawn, so that the model is sealed to the SGX machine alone.
    voted(market, lambda old: replace(old, measurements=(CODES[Tee.SGX],)))
    sealing = ("model", "seal", model, "--task", task["task"], "--provider-may-operate", "--as", DEVELOPER)
    offer = str(market(*sealing)["offer"])
    market("offer", "submit", offer, "--as", DEVELOPER)
    sealed_to = {one.enclave for one in offer_of(market, offer).envelopes}
    assert enclaves[Tee.SGX].id in sealed_to
    assert enclaves[Tee.TDX].id not in sealed_to

    # It is accepted again and the guest registered anew, after the offer: the developer's agent seals to it as well.
    voted(market, lambda old: replace(old, measurements=tuple(CODES.values())))
    with agents(market.home, (TDX.name, "--as", TDX.operator)):
        later = market("enclave", "register", TDX.name, "--again", "--as", TDX.operator)
    assert (later["enclave"], later["registered"]) == (enclaves[Tee.TDX].id.hex(), True)
    assert registered(market)[Tee.TDX].registered > offer_of(market, offer).offered
    rewrapped = market("agent", "developer", "--once", "--as", DEVELOPER)
    assert [one["command"] for one in rewrapped["done"]] == ["Rewrap"]
    assert enclaves[Tee.TDX].id in {one.enclave for one in offer_of(market, offer).envelopes}

    assert [one["command"] for one in market("agent", "provider", "--once", "--as", PROVIDER)["done"]] == ["Receipt"]
    for machine in MACHINES:
        assert works(market, machine) == ["Claim", "SubmitReport"]
    require_agreement(market, offer, enclaves)
    developer = market("agent", "developer", "--once", "--as", DEVELOPER)
    assert "Reveal" in [one["command"] for one in developer["done"]]
    market("agent", "provider", "--once", "--as", PROVIDER)
    assert (market.home / "bought" / f"{offer}.onnx").read_bytes() == model.read_bytes()
    assert market("credits", "balance", "--all")["conserved"] is True


def require_agreement(market: Folder, offer: str, enclaves: dict[Tee, EnclaveView]) -> None:
    """Both claims are reported, by either TEE's enclave, with the same score and signatures that differ."""
    view = offer_of(market, offer)
    assert view.state is OfferState.LOCKED
    claimed = {one.claim.enclave: one for one in view.claims}
    assert claimed.keys() == {one.id for one in enclaves.values()}
    assert {one.state for one in claimed.values()} == {"reported"}
    reports = reports_on(market, offer)
    assert len({one.signature for one in reports}) == 2
    assert len({(one.outcome, one.score, one.model) for one in reports}) == 1
    assert view.lock is not None
    assert view.lock.score == reports[0].score > 500_000
    assert view.lock.simulated is True


@pytest.mark.check
@pytest.mark.timeout(180)
def test_enclaves_of_both_tees_and_two_operators_agree_on_one_offer(market: Folder, model: Path) -> None:
    both_serve_one_task(market, model)


@pytest.mark.check
@pytest.mark.timeout(180)
def test_an_enclave_registered_after_a_task_was_opened_gets_none_of_its_jobs(market: Folder, model: Path) -> None:
    """A test set's key is sealed once (decision 28): the newcomer serves tasks opened from then on."""
    opening = ("task", "open", "--dataset", "digits", "--seed", 42, "--as", PROVIDER)
    task = market(*opening)
    sealing = ("model", "seal", model, "--task", task["task"], "--as", DEVELOPER)
    offer = str(market(*sealing)["offer"])
    market("offer", "submit", offer, "--as", DEVELOPER)
    told: dict[str, Any] = market("enclave", "run", "newcomer3", "--idle", "1s", "--as", OPERATORS[2])
    assert told["enclave"] not in task["enclaves"]
    assert market("agent", "developer", "--once", "--as", DEVELOPER)["done"] == []
    market("offer", "receipt", offer, "--as", PROVIDER)
    assert told["jobs"] == market("enclave", "run", "newcomer3", "--idle", "1s", "--as", OPERATORS[2])["jobs"] == []
    newest = market("task", "open", "--dataset", "digits", "--seed", 43, "--as", PROVIDER)
    assert told["enclave"] in newest["enclaves"]


@pytest.mark.fabric
@pytest.mark.timeout(180)
def test_both_tees_serve_one_task_on_real_peers(real_market: Folder, model: Path) -> None:
    both_serve_one_task(real_market, model)
