"""`goldengrain network`: a Fabric network of this machine, up and down."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from goldengrain.chaincode.protocol.clock import LedgerClock, advance
from goldengrain.cli import contract_process, founding
from goldengrain.cli.command import Group, command
from goldengrain.cli.contexts import CONTRACT
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.network import runtime
from goldengrain.network.errors import NetworkNotRunning
from goldengrain.network.home import Home, NetworkState
from goldengrain.network.topology import Topology, default_topology
from goldengrain.network.topology_file import load_topology


@click.group(cls=Group)
def network() -> None:
    """Bring a Fabric network up on this machine, look at it, take it down."""


@command(network, example="goldengrain network up --market")
@click.option(
    "--market", is_flag=True, help="Also deploy the market's contract as `golden-grain` and found the market."
)
@click.option("--organizations", default=3, show_default=True, type=click.IntRange(1, 26), help="How many members.")
@click.option(
    "--topology", type=click.Path(path_type=Path, dir_okay=False), help="YAML file that describes another network."
)
def up(context: click.Context, market: bool, organizations: int, topology: Path | None) -> None:
    """Bring the embedded network up and leave it running: for development and tests, never for value.

    The folder keeps certificates, ports and ledger: a network that comes up again goes on where it was.
    """
    home = home_of(context)
    begun = time.perf_counter()
    with console(context).status("starting peers and orderer"):
        state = runtime.up(home, _wanted(home, organizations, topology))
    try:
        deployed = _market(context, home, market)
    except BaseException:
        _stop(home, purge=False)
        raise
    value = _described(home, state) | {"contract": deployed, "seconds": round(time.perf_counter() - begun, 3)}
    emit(context, value, [*_people(value), "", "next: " + _next_step(market)])


@command(network, example="goldengrain network status")
def status(context: click.Context) -> None:
    """Show the processes, the ports that answer and how long each peer's chain is."""
    home = home_of(context)
    found = runtime.status(home)
    nodes = [
        {
            "name": one.name,
            "msp_id": one.organization,
            "address": one.address,
            "answering": one.answering,
            "height": one.height,
        }
        for one in found.nodes
    ]
    contract = contract_process.load(home)
    value: dict[str, Any] = {
        "running": found.running,
        "runtime": found.state.runtime if found.state else None,
        "contract": {"address": contract.address, "running": contract_process.is_running(home)} if contract else None,
        "clock_offset_s": LedgerClock(home.clock_file).offset(),
        "nodes": nodes,
    }
    rows = [(*list(one.values())[:3], "yes" if one["answering"] else "no", one["height"]) for one in nodes]
    columns = ("node", "MSP id", "address", "answers", "blocks")
    state = "running" if found.running else "not running; `goldengrain network up` starts it"
    emit(context, value, [table(f"Network in {home.path}: {state}", columns, rows)])


@command(network, example="goldengrain network down --purge")
@click.option("--purge", is_flag=True, help="Also delete keys, ledgers, wallet and logs.")
def down(context: click.Context, purge: bool) -> None:
    """Stop the network and its contract; without --purge it can come up again as it was."""
    home = home_of(context)
    was_running = _stop(home, purge=purge)
    emit(context, {"was_running": was_running, "purged": purge}, ["stopped" if was_running else "it was not running"])


@command(network, example="goldengrain network logs --lines 20 contract")
@click.argument("name", default="network")
@click.option(
    "--lines", default=100, show_default=True, type=click.IntRange(1, 100_000), help="How many, from the end."
)
def logs(context: click.Context, name: str, lines: int) -> None:
    """Print the end of a log: `network`, `contract`, or an enclave's."""
    found = runtime.logs(home_of(context), lines=lines, name=f"{name}.log")
    emit(context, {"name": name, "lines": found}, ["\n".join(found)])


@command(network, name="advance", example="goldengrain network advance 600")
@click.argument("seconds", type=click.IntRange(1))
async def advance_time(context: click.Context, seconds: int) -> None:
    """Move the ledger's time forward, under a `test` policy on the embedded runtime.

    Network, contract, clients and enclaves of this folder follow at once; time never goes back.
    """
    home = home_of(context)
    state = home.load_state()
    if not runtime.is_running(home):
        raise NetworkNotRunning(f"the network in {home.path} does not run; `goldengrain network up` starts it")
    if state.runtime != "embedded":
        raise CommandLineError(f"time can be moved on the embedded runtime only; this network is {state.runtime}")
    await founding.require_test_policy(home)
    offset = advance(home.clock_file, seconds)
    now = LedgerClock(home.clock_file).now()
    emit(context, {"advanced_s": seconds, "offset_s": offset, "now": now}, [f"the ledger's time is {offset} s ahead"])


def _wanted(home: Home, organizations: int, topology: Path | None) -> Topology | None:
    if topology is not None:
        return load_topology(topology)
    return None if home.topology_file.exists() else default_topology(organizations)


def _market(context: click.Context, home: Home, wanted: bool) -> str | None:
    if not wanted and contract_process.load(home) is None:
        return None
    with console(context).status("deploying the contract"):
        asyncio.run(founding.market_up(home))
    return CONTRACT


def _stop(home: Home, *, purge: bool) -> bool:
    contract_process.stop(home)
    return runtime.down(home, purge=purge)


def _described(home: Home, state: NetworkState) -> dict[str, Any]:
    topology = home.load_topology()
    value = state.to_json() | {"home": str(home.path.absolute())}
    for described, organization in zip(value["organizations"], topology.organizations, strict=True):
        described["connection_profile"] = str(home.connection_profile(organization).absolute())
    return value


def _people(value: dict[str, Any]) -> list[str | Table]:
    rows = [
        (one["name"], one["msp_id"], ", ".join(peer["address"] for peer in one["peers"]), one["connection_profile"])
        for one in value["organizations"]
    ]
    orderer = ", ".join(node["address"] for node in value["orderer"]["orderers"])
    return [
        table(f"Embedded network, channel {value['channel']}", ("name", "MSP id", "peers", "connection profile"), rows),
        f"orderer at {orderer}; up in {value['seconds']} s; for development and tests only",
    ]


def _next_step(market: bool) -> str:
    if market:
        return "`goldengrain credits balance`, `goldengrain task open --help`"
    return "`goldengrain chaincode deploy --help`, or the market: `goldengrain network up --market`"
