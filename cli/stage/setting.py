"""Set the stage: a network of its own, the market founded on it, everybody funded, two enclaves registered.

Everything lies in one folder and is stopped at the end, whatever happens in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from goldengrain.chaincode.protocol.clock import LedgerClock, advance
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.cli import contract_process, operating
from goldengrain.cli.contexts import CONTRACT
from goldengrain.cli.enclave_process import EnclaveHost, enclave_process
from goldengrain.cli.founding import market_up
from goldengrain.cli.stage.acts import Acts
from goldengrain.cli.stage.cast import Actor, Cast, open_cast
from goldengrain.cli.stores import Stores
from goldengrain.gateway.market import Committed
from goldengrain.network import runtime
from goldengrain.network.home import Home
from goldengrain.network.topology import Topology, default_topology

PROVIDER_CREDITS = 200_000
OTHERS_CREDITS = 20_000


@dataclass(frozen=True)
class Operation:
    """An operator and the enclave that it runs."""

    operator: Actor
    host: EnclaveHost


@dataclass
class Stage:
    """The stage as it stands: who plays, where things lie, what clients were told is committed."""

    home: Home
    acts: Acts
    cast: Cast
    stores: Stores
    operations: tuple[Operation, ...] = ()
    acknowledged: list[Committed] = field(default_factory=list)

    async def keep(self, *committed: Committed) -> dict[str, Any]:
        """Remember transactions that a client saw committed; returns the last one's answer.

        Goes on once every organisation's peer has them: whoever acts next asks its own peer, which may be behind.
        """
        self.acknowledged.extend(committed)
        newest = max(one.block for one in committed)
        await asyncio.gather(*(one.market.catch_up(newest) for one in self.cast.admins))
        return committed[-1].answer

    @property
    def now(self) -> int:
        """Ledger time in seconds."""
        return LedgerClock(self.home.clock_file).now()

    def advance_past(self, moment: int) -> None:
        """Move ledger time beyond a moment; not at all where it has passed."""
        seconds = moment + 1 - self.now
        if seconds > 0:
            advance(self.home.clock_file, seconds)

    def operation_for(self, developer: Actor) -> Operation:
        """An enclave that may run a developer's model: its operator is of another organisation than both sides."""
        barred = {developer.organization.msp_id, self.cast.provider.organization.msp_id}
        place = self.cast.developers.index(developer)
        fit = [one for one in self.operations if one.operator.organization.msp_id not in barred]
        return fit[place % len(fit)]


def stage_topology(kind: str) -> Topology:
    """Three organisations; with real peers three orderers.

    Waiting is cut short by moving time for the contract and all who send (the policy is marked ``test``). Real peers
    compare a transaction's time with their own clock as well, so that these get a wide window.
    """
    if kind == "embedded":
        return default_topology()
    topology = default_topology(orderers=3)
    window = {"peer": {"authentication": {"timewindow": "2400h"}}}
    organizations = tuple(
        replace(one, peers=tuple(replace(peer, config=window) for peer in one.peers)) for one in topology.organizations
    )
    return replace(topology, organizations=organizations)


@asynccontextmanager
async def set_stage(home: Home, acts: Acts, kind: str = "embedded") -> AsyncIterator[Stage]:
    """Bring everything up in an empty folder, until the block ends; then stop all that was started.

    ``kind`` is the runtime of the network.
    """
    topology = stage_topology(kind)
    nodes = {"embedded": "a peer each, an orderer"}.get(kind, "a real peer each, three real Raft orderers")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_strike, home)
        with acts.act(f"network: three organisations, {nodes}", "network_up"):
            await asyncio.to_thread(partial(runtime.up, home, topology, runtime=kind))
        with acts.act("contract: its own process, deployed by all organisations, market founded", "network_up"):
            await market_up(home)
        cast = await stack.enter_async_context(open_cast(home))
        stage = Stage(home, acts, cast, Stores(home))
        with acts.act("credits: proposed by one organisation's admin, carried by another's vote"):
            await _fund(stage)
        with acts.act("enclaves: two processes, registered by [bold]simulated[/] quotes"):
            stage.operations = await _enclaves(stage, stack)
        yield stage


async def _strike(home: Home) -> None:
    await asyncio.to_thread(contract_process.stop, home)
    if runtime.is_running(home):
        await asyncio.to_thread(runtime.down, home)


async def _fund(stage: Stage) -> None:
    cast = stage.cast
    outputs = [Output(cast.provider.account, PROVIDER_CREDITS)]
    outputs += [Output(one.account, OTHERS_CREDITS) for one in cast.developers]
    # A coin for each of the deposits that an operator may pay at the same time.
    outputs += [Output(one.account, OTHERS_CREDITS // 2) for one in cast.operators for _ in range(2)]
    proposed = await cast.admins[0].market.consortium.propose_mint(outputs)
    voted = await cast.admins[1].market.consortium.vote(proposed.transaction_id)
    await stage.keep(proposed, voted)


async def _enclaves(stage: Stage, stack: AsyncExitStack) -> tuple[Operation, ...]:
    channel = stage.home.load_topology().channel.name
    hosts: Sequence[EnclaveHost] = [
        await stack.enter_async_context(
            enclave_process(stage.home, one.organization.name.lower(), channel=channel, contract=CONTRACT)
        )
        for one in stage.cast.operators
    ]
    operations = tuple(Operation(one, host) for one, host in zip(stage.cast.operators, hosts, strict=True))
    for operation in operations:
        async with operation.host.client() as enclave:
            registered = await operating.register(
                operation.operator.market, stage.cast.provider.market, stage.home, enclave
            )
        await stage.keep(*registered.committed)
    return operations
