"""The operator's agent and a caching service: asked daily, collateral renewed in time, failures told and outlived."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.collateral import examine
from goldengrain.chaincode.protocol.errors import CollateralNotFound, CollateralUntrusted, GoldenGrainError
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.cli.agents.duty import Done, Duty
from goldengrain.cli.agents.evidence import LOOK_S, Evidence
from goldengrain.cli.founding import root_folder
from goldengrain.enclave.quoting import DevelopmentRoot, SimulatedPlatform
from goldengrain.enclave.quoting.development_root import FMSPC
from goldengrain.gateway import errors
from goldengrain.gateway.collateral import Cache, Pccs
from goldengrain.gateway.market.views import EnclaveView
from goldengrain.network.home import Home
from tests.chaincode.protocol import samples
from tests.cli.agents.conftest import OPERATORS
from tests.cli.market.running import Folder
from tests.gateway.collateral.service import Service, serving

AT, DAY, W = 1_900_000_000, 86_400, 20


class Ledger:
    """Stands for `market.enclaves`: keeps the collateral that was put there."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def collateral(self, root: bytes, fmspc: bytes, tee: Tee) -> Any:
        if not self.texts:
            raise CollateralNotFound("none")
        return SimpleNamespace(text=self.texts[-1])

    async def put_collateral(self, root: bytes, text: str) -> Any:
        self.texts.append(text)
        return SimpleNamespace(transaction_id=f"{len(self.texts):064x}")


@dataclass
class World:
    """A machine whose collateral is kept, the service that is asked, and the ledger."""

    evidence: Evidence
    service: Service
    ledger: Ledger
    clock: Any
    policy: Policy

    def duty(self, command: str) -> Duty:
        return next(one for one in self.evidence.duties(W) if one.command == command)

    def is_due(self, command: str) -> bool:
        return self.duty(command).due <= self.clock.at

    async def does(self, command: str) -> Done:
        done = await self.duty(command).do()
        assert done is not None
        return done

    @property
    def stored(self) -> int:
        """Until when the ledger's collateral is good."""
        root = self.policy.roots[0].certificate
        return examine(self.ledger.texts[-1], root).expires


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentRoot:
    return DevelopmentRoot.create(tmp_path_factory.mktemp("root") / "root", at=AT)


@pytest.fixture(params=Tee)
async def world(request: pytest.FixtureRequest, root: DevelopmentRoot, tmp_path: Path) -> Any:
    """A registered enclave, just after its first look."""
    machine, ledger = SimulatedPlatform(root, tee=request.param), Ledger()
    clock = SimpleNamespace(at=AT)
    clock.now = lambda: clock.at
    policy = samples.policy(roots=(AttestationRoot(root.root_der),))

    async def quote() -> bytes:
        return machine.quote(bytes(64), bytes(32))

    with serving(Service(root, AT, FMSPC)) as service:
        fetch = Pccs(service.url, timeout=0.5).fetch
        market = cast(Any, SimpleNamespace(enclaves=ledger))
        made = Evidence(market, clock, lambda _: Cache(tmp_path / "kept", fetch), quote)
        ledger.texts.append(await made.of(await quote(), policy))
        known = SimpleNamespace(root=policy.roots[0].id, fmspc=FMSPC, transaction="t1")
        await made.refresh(cast(EnclaveView, known), policy)
        here = World(made, service, ledger, clock, policy)
        await here.does("FetchCollateral")
        yield here


async def test_the_service_is_asked_daily_and_nothing_is_stored_before_it_is_due(world: World) -> None:
    assert (world.is_due("FetchCollateral"), world.is_due("PutCollateral")) == (False, False)
    world.clock.at += LOOK_S
    assert (world.is_due("FetchCollateral"), world.is_due("PutCollateral")) == (True, False)
    done = await world.does("FetchCollateral")
    assert (done.transaction, done.warning, done.facts["evaluation"]) == (None, "", 17)
    assert not world.is_due("FetchCollateral")
    assert len(world.ledger.texts) == 1


async def test_collateral_is_renewed_from_two_thirds_of_its_time_on(world: World) -> None:
    before = world.stored
    world.clock.at = world.service.at = AT + 21 * DAY
    duty = world.duty("PutCollateral")
    assert (world.is_due("PutCollateral"), duty.until) == (True, before)
    assert (await world.does("PutCollateral")).transaction is not None
    assert world.stored >= world.clock.at + 30 * DAY - 1
    assert not world.is_due("PutCollateral")


async def test_a_tcb_recovery_is_stored_at_once_and_tells_how_this_machine_stands(world: World) -> None:
    world.service.evaluation, world.clock.at = 18, AT + LOOK_S
    done = await world.does("FetchCollateral")
    assert "tcb-recovery" in done.warning
    assert "17 to 18" in done.warning
    assert "UpToDate" in done.warning
    assert world.is_due("PutCollateral")
    assert (await world.does("PutCollateral")).facts["evaluation"] == 18
    assert not world.is_due("PutCollateral")


async def test_the_end_is_told_in_good_time(world: World) -> None:
    world.clock.at = AT + 25 * DAY
    assert "expires-soon" in (await world.does("FetchCollateral")).warning
    assert world.duty("PutCollateral").is_pressing(AT + 28 * DAY)


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ((500, b""), errors.PccsRefused),
        ((429, b""), errors.PccsRefused),
        ((404, b""), errors.PccsUnknownPlatform),
        ((200, b"<html>"), errors.PccsMalformed),
        ((200, b'{"tcbInfo": {}, "signature": "00"}'), GoldenGrainError),
    ],
)
async def test_a_failing_service_is_told_and_tried_again(
    wrong: tuple[int, bytes], refusal: type[GoldenGrainError], world: World
) -> None:
    """What is kept on this machine is good all the while."""
    world.service.wrong = {"tcb": wrong}
    world.clock.at = AT + 21 * DAY
    for command in ("FetchCollateral", "PutCollateral"):
        with pytest.raises(refusal):
            await world.duty(command).do()
        assert world.is_due(command)
        assert list(world.duty(command).retry) == sorted(world.duty(command).retry)
    assert len(world.ledger.texts) == 1
    world.service.wrong, world.service.at = {}, world.clock.at
    await world.does("PutCollateral")
    assert len(world.ledger.texts) == 2


async def test_a_service_that_hangs_is_given_up(world: World, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = Pccs(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        evidence = replace(world.evidence, cache_of=lambda _: Cache(tmp_path / "kept", hanging.fetch))
        world = replace(world, evidence=evidence)
        world.clock.at = AT + 21 * DAY
        with pytest.raises(errors.PccsUnreachable):
            await world.duty("FetchCollateral").do()


async def test_a_service_that_gives_what_the_ledger_has_is_stale(world: World) -> None:
    world.clock.at = AT + 21 * DAY
    with pytest.raises(errors.PccsStale):
        await world.duty("PutCollateral").do()
    world.clock.at = world.stored + 1
    assert world.duty("PutCollateral").until is None  # it may still be put after its end
    world.service.at = world.clock.at
    await world.does("PutCollateral")


async def test_another_root_s_collateral_is_never_stored(world: World, tmp_path: Path) -> None:
    world.service.root = DevelopmentRoot.create(tmp_path / "other", at=AT)
    world.clock.at = AT + 21 * DAY
    with pytest.raises(CollateralUntrusted):
        await world.duty("PutCollateral").do()
    assert len(world.ledger.texts) == 1


async def test_what_another_agent_has_stored_is_not_stored_again(world: World) -> None:
    world.clock.at = world.service.at = AT + 21 * DAY
    duty = world.duty("PutCollateral")
    root = world.policy.roots[0].certificate
    cache = world.evidence.cache_of(world.policy.roots[0])
    tee = Tee(world.service.requests[0].split("/")[0].upper())
    world.ledger.texts.append(cache.get(FMSPC, tee, root, world.clock.at, anew=True).text)
    world.service.hex_lists = False
    assert len(world.ledger.texts) == 2
    assert await duty.do() is None
    assert not world.is_due("PutCollateral")


# --- on a market -----------------------------------------------------------------------------------------------------


@pytest.fixture
def own_market(tmp_path: Path) -> Iterator[Folder]:
    """A market of its own: its time is moved by weeks."""
    folder = Folder(tmp_path / "home")
    folder("network", "up", "--market")
    try:
        yield folder
    finally:
        folder("network", "down", "--purge")


def ends(market: Folder) -> int:
    (found,) = market("enclave", "collateral", "status", "--offline")["collateral"]
    return int(found["expires"])


@pytest.mark.check
@pytest.mark.timeout(120)
def test_an_agent_keeps_its_registration_and_collateral_through_weeks(own_market: Folder) -> None:
    market = own_market
    clock = LedgerClock(Home(market.home).clock_file)
    with serving(Service(DevelopmentRoot.load(root_folder(Home(market.home))), clock.now(), FMSPC)) as service:
        agent = ("agent", "operator", "org3", "--once", "--as", OPERATORS[2], "--pccs", service.url)

        def works() -> tuple[int, dict[str, list[Any]]]:
            told = market.attempt(*agent)
            return told.code, {
                kind: [one["command"] for one in told.value[kind]] for kind in ("done", "failed", "warning")
            }

        assert works() == (0, {"done": ["RegisterEnclave", "FetchCollateral"], "failed": [], "warning": []})
        assert service.requests
        first = ends(market)
        market("network", "advance", 6 * DAY)  # three quarters of a registration's week are over
        service.at = clock.now()
        code, told = works()
        assert (code, set(told["done"])) == (0, {"RegisterEnclave", "FetchCollateral"})
        assert ends(market) >= first + 6 * DAY - 60  # the renewal brought what the service had by then
        service.evaluation = 18
        code, told = works()
        assert (code, set(told["done"]), told["warning"]) == (
            0, {"FetchCollateral", "PutCollateral"}, ["FetchCollateral"],
        )  # fmt: skip
        (shown,) = market("enclave", "collateral", "status", "--offline")["collateral"]
        assert shown["evaluation"] == 18
        service.wrong = {"tcb": (503, b"")}
        assert works() == (1, {"done": [], "failed": ["FetchCollateral"], "warning": []})
        service.wrong = {}
        assert works()[0] == 0
