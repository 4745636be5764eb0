"""`goldengrain network`: a Fabric network of this machine, up and down."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import click
from rich.table import Table

from goldengrain.chaincode.protocol.clock import LedgerClock, advance
from goldengrain.cli import contract_process
from goldengrain.cli.command import Group, command
from goldengrain.cli.contexts import CONTRACT, Contexts
from goldengrain.cli.errors import CommandLineError, FileRefused
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import cards, lifecycle, runtime
from goldengrain.network.collections import collection_package
from goldengrain.network.doctor import examine
from goldengrain.network.errors import NetworkNotRunning
from goldengrain.network.home import Home, NetworkState, write_atomically
from goldengrain.network.importing import import_network, read_identity
from goldengrain.network.indexes import read_indexes
from goldengrain.network.nodes import own_nodes
from goldengrain.network.topology import Capabilities, Channel, Consensus, Topology, default_topology
from goldengrain.network.topology_file import load_topology
from goldengrain.network.topology_template import commented

FOUNDING = "goldengrain.cli.founding"
"""Half of what there is to import, for the commands that found a market or ask for its policy."""


@click.group(cls=Group)
def network() -> None:
    """Bring a Fabric network up, look at it, operate it, take it down."""


@command(network, example="goldengrain network init --orderers 4 --consensus smartbft")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--organizations", default=3, show_default=True, type=click.IntRange(1, 26), help="How many members.")
@click.option("--peers", default=1, show_default=True, type=click.IntRange(1, 16), help="Peers of each.")
@click.option("--orderers", default=3, show_default=True, type=click.IntRange(1, 16), help="How many ordering nodes.")
@click.option("--consensus", default="raft", show_default=True, type=click.Choice(get_args(Consensus)))
@click.option("--channel", default="market", show_default=True, help="Name of the channel.")
def init(
    context: click.Context,
    file: Path | None,
    organizations: int,
    peers: int,
    orderers: int,
    consensus: Consensus,
    channel: str,
) -> None:
    """Write a commented topology file, HOME/network.yaml unless FILE is given; `network up` makes what it describes."""
    home = home_of(context)
    path = file or home.plan_file
    topology = default_topology(organizations, peers=peers, channel=channel, orderers=orderers, consensus=consensus)
    if path.exists():
        raise FileRefused(f"{path} exists; remove it, or name another file")
    try:
        write_atomically(path, commented(topology).encode())
    except OSError as error:
        raise FileRefused(f"{path} cannot be written: {error.strerror}") from error
    up_command = "goldengrain network up" + ("" if file is None else f" --topology {file}")
    hint = f"next: look at it, then `{up_command} --runtime native` (Fabric's own programs) or `{up_command}`"
    emit(context, {"file": str(path.absolute())}, [f"wrote {path}", hint])


@command(network, example="goldengrain network up --market")
@click.option(
    "--market", is_flag=True, help="Also deploy the market's contract as `golden-grain` and found the market."
)
@click.option("--organizations", default=3, show_default=True, type=click.IntRange(1, 26), help="How many members.")
@click.option(
    "--topology", type=click.Path(path_type=Path, dir_okay=False), help="YAML file that describes another network."
)
@click.option(
    "--runtime",
    "kind",
    type=click.Choice(runtime.RUNTIMES),
    help="What runs it: one process (embedded), Fabric's programs (native, in FABRIC_BIN or on PATH), images (docker).",
)
def up(context: click.Context, market: bool, organizations: int, topology: Path | None, kind: str | None) -> None:
    """Bring a network up and leave it running: the folder's, the one that `network init` described, or three members.

    The folder keeps certificates, ports and ledger: a network that comes up again goes on where it was, after a reboot
    too. The embedded network is for development and tests, never for value.
    """
    home = home_of(context)
    begun = time.perf_counter()
    acts = Acts(console(context))
    fresh = not home.topology_file.exists()
    if market:  # what founding needs is read while the network's process starts
        threading.Thread(target=import_module, args=(FOUNDING,), daemon=True).start()
    state = runtime.up(home, _wanted(home, organizations, topology), runtime=kind, steps=acts.act)
    try:
        asyncio.run(_deploy(home, acts))
        deployed = _market(home, acts, market)
    except BaseException:
        _stop(home, purge=fresh)
        raise
    value = _described(home, state) | {"contract": deployed, "seconds": round(time.perf_counter() - begun, 3)}
    emit(context, value, [*_people(value), "", "next: " + _next_step(market)])


@command(network, example="goldengrain network status")
def status(context: click.Context) -> None:
    """Show each node: does it answer, height, leader, what is deployed, when its first certificate expires."""
    home = home_of(context)
    found = runtime.status(home)
    nodes = [_node(one) for one in found.nodes]
    contract = contract_process.load(home)
    value: dict[str, Any] = {
        "running": found.running,
        "runtime": found.state.runtime if found.state else None,
        "contract": {"address": contract.address, "running": contract_process.is_running(home)} if contract else None,
        "clock_offset_s": LedgerClock(home.clock_file).offset(),
        "nodes": nodes,
    }
    rows = [
        (
            one["name"],
            ("yes" if one["answering"] else "no") + (", leads" if one["leader"] else ""),
            one["height"],
            ", ".join(one["chaincodes"]),
            (one["expires"] or "")[:10],
        )
        for one in nodes
    ]
    columns = ("node", "answers", "blocks", "chaincodes", "expires")
    state = "running" if found.running else "not running; `goldengrain network up` starts it"
    emit(context, value, [table(f"Network in {home.path}: {state}", columns, rows)])


@command(network, example="goldengrain network found org1.json org2.json org3.json orderers.json")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--channel", default="market", show_default=True, help="Name of the channel.")
@click.option("--consensus", default="raft", show_default=True, type=click.Choice(get_args(Consensus)))
@click.option("--capability", default="V3_0", show_default=True, help="The channel's: V2_0 if Fabric 2.5 takes part.")
def found(context: click.Context, files: tuple[Path, ...], channel: str, consensus: Consensus, capability: str) -> None:
    """Found a network of organisations that keep their own keys, from their cards (`org init`); nothing is started.

    Writes HOME/network.bundle, which the others join by.
    """
    home = home_of(context)
    _require_no_network(home)
    wanted = Channel(channel, consensus=consensus, capabilities=Capabilities(channel=capability))
    made = cards.found_network(home, [cards.read_card(file) for file in files], wanted)
    _write_bundle(context, home, home.path / "network.bundle", [one.name for one in made.everyone])


@command(network, example="goldengrain network export network.bundle")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(context: click.Context, file: Path) -> None:
    """Write what an organisation joins this network by: topology, everybody's certificates, genesis blocks; no key."""
    home = home_of(context)
    _write_bundle(context, home, file, [one.name for one in home.load_topology().everyone])


@command(network, example="goldengrain network join network.bundle")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def join(context: click.Context, file: Path) -> None:
    """Make this folder, which holds an organisation's keys, a network's by its bundle; nothing is started."""
    home = home_of(context)
    _require_no_network(home)
    try:
        bundle = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise FileRefused(f"{file} cannot be read: {error}") from error
    made = cards.join_network(home, bundle)
    own = [node.name for node in own_nodes(home, made)]
    lines = [f"nodes of this folder: {', '.join(own) or 'none'}", "next: `goldengrain network up`"]
    emit(context, {"channel": made.channel.name, "nodes": own}, lines)


@command(
    network, name="import", example="goldengrain network import connection-org1.json Org1MSP --msp users/User1/msp"
)
@click.argument("profile", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("msp_id")
@click.option("--msp", type=click.Path(path_type=Path, file_okay=False), help="MSP folder of who you are there.")
@click.option("--certificate", type=click.Path(path_type=Path, dir_okay=False), help="Or your certificate, PEM …")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="… and its private key, PEM.")
@click.option("--channel", help="Channel; the profile's only one.")
def import_existing(
    context: click.Context,
    profile: Path,
    msp_id: str,
    msp: Path | None,
    certificate: Path | None,
    key: Path | None,
    channel: str | None,
) -> None:
    """Use a network that others run: its connection profile (Fabric's test network's, hfc-py's) and your identity."""
    home = home_of(context)
    credentials, pem = read_identity(msp_id, folder=msp, certificate=certificate, key=key)
    made = import_network(home, profile, credentials, pem, channel=channel)
    Contexts(home).use(made.organization.lower(), identity=made.label)
    lines = [
        f"{made.label} acts on channel {made.channel} through {made.organization}",
        "next: `goldengrain network status`",
    ]
    emit(context, asdict(made), lines)


@command(network, example="goldengrain network doctor")
async def doctor(context: click.Context) -> None:
    """Look for what is wrong or soon will be, and say what to do: programs, ports, certificates, nodes, clocks, disk.

    Ends with exit code 1 where there is a problem.
    """
    found = await examine(home_of(context))
    rows = [(one.level, one.what, one.advice) for one in found]
    problems = sum(one.level == "problem" for one in found)
    value = {"problems": problems, "findings": [asdict(one) for one in found]}
    emit(context, value, [table(f"{problems or 'No'} problems", ("", "what", "what to do"), rows)])
    if problems:
        context.exit(1)


@command(network, example="goldengrain network restart peer0.org1.example.com")
@click.argument("node", required=False)
def restart(context: click.Context, node: str | None) -> None:
    """Stop and start the network, or one of its nodes (of real peers and orderers)."""
    home = home_of(context)
    acts = Acts(console(context))
    if node is None:
        with acts.act("network stopped"):
            _stop(home, purge=False)
        runtime.up(home, steps=acts.act)
        _market(home, acts, False)
    else:
        asyncio.run(runtime.restart_node(home, node, steps=acts.act))
    emit(
        context,
        {"restarted": node or "all"},
        [f"{node or 'the network'} runs again", "next: `goldengrain network status`"],
    )


@command(network, example="goldengrain network down --purge")
@click.option("--purge", is_flag=True, help="Also delete keys, ledgers, wallet and logs.")
def down(context: click.Context, purge: bool) -> None:
    """Stop the network and its contract; without --purge it can come up again as it was."""
    home = home_of(context)
    with Acts(console(context)).act("network stopped" + (", its folder cleared" if purge else "")):
        was_running = _stop(home, purge=purge)
    emit(
        context,
        {"was_running": was_running, "purged": purge},
        ["stopped" if was_running else "it was not running", "next: `goldengrain network up`"],
    )


@command(network, example="goldengrain network destroy")
def destroy(context: click.Context) -> None:
    """Stop the network and delete all that it made: `network down --purge`."""
    with Acts(console(context)).act("network stopped, its folder cleared"):
        was_running = _stop(home_of(context), purge=True)
    emit(
        context,
        {"was_running": was_running, "purged": True},
        ["stopped and deleted", "next: `goldengrain network init`, or `goldengrain network up`"],
    )


@command(network, example="goldengrain network logs --lines 20 contract")
@click.argument("name", default="network")
@click.option(
    "--lines", default=100, show_default=True, type=click.IntRange(1, 100_000), help="How many, from the end."
)
def logs(context: click.Context, name: str, lines: int) -> None:
    """Print the end of a log: `network` (embedded), a node's by its host name, `contract`, or an enclave's."""
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
    await import_module(FOUNDING).require_test_policy(home)
    offset = advance(home.clock_file, seconds)
    now = LedgerClock(home.clock_file).now()
    emit(context, {"advanced_s": seconds, "offset_s": offset, "now": now}, [f"the ledger's time is {offset} s ahead"])


def _require_no_network(home: Home) -> None:
    if home.topology_file.exists():
        raise FileRefused(f"{home.path} holds a network already; choose another folder with --home")


def _write_bundle(context: click.Context, home: Home, file: Path, names: list[str]) -> None:
    try:
        write_atomically(file, json.dumps(cards.make_bundle(home)).encode())
    except OSError as error:
        raise FileRefused(f"{file} cannot be written: {error.strerror}") from error
    hint = f"next: hand {file} to the others (`goldengrain network join`), then `goldengrain network up` at each"
    emit(context, {"bundle": str(file.absolute()), "organizations": names}, [f"a network of {', '.join(names)}", hint])


def _wanted(home: Home, organizations: int, topology: Path | None) -> Topology | None:
    if topology is not None:
        return load_topology(topology)
    if home.topology_file.exists():
        return None
    return load_topology(home.plan_file) if home.plan_file.exists() else default_topology(organizations)


async def _deploy(home: Home, acts: Acts) -> None:
    """Deploy the chaincodes that the topology names."""
    topology = home.load_topology()
    for chaincode in topology.chaincodes:
        for channel in chaincode.channels or (topology.channel.name,):
            with acts.act(f"chaincode {chaincode.name} on {channel}: installed, approved, committed"):
                await lifecycle.deploy(
                    home,
                    chaincode.name,
                    chaincode.version,
                    chaincode.address,
                    policy=chaincode.policy,
                    init_required=chaincode.init_required,
                    collections=collection_package(chaincode.collections),
                    indexes=read_indexes(Path(chaincode.indexes)) if chaincode.indexes else None,
                    channel=channel,
                )


def _market(home: Home, acts: Acts, wanted: bool) -> str | None:
    if not wanted and contract_process.load(home) is None:
        return None
    with acts.act("the market's contract: deployed, started, founded"):
        asyncio.run(import_module(FOUNDING).market_up(home))
    return CONTRACT


def _node(found: runtime.NodeStatus) -> dict[str, Any]:
    return {
        "name": found.name,
        "msp_id": found.organization,
        "address": found.address,
        "answering": found.answering,
        "height": found.height,
        "leader": found.leader,
        "chaincodes": list(found.chaincodes),
        "expires": found.expires.isoformat() if found.expires else None,
    }


def _stop(home: Home, *, purge: bool) -> bool:
    contract_process.stop(home)
    return runtime.down(home, purge=purge)


def _described(home: Home, state: NetworkState) -> dict[str, Any]:
    topology = home.load_topology()
    own = [one.name for one in topology.everyone if (home.organization(one) / "ca").exists()]
    whose = "all keys lie" if len(own) == len(topology.everyone) else f"the keys of {', '.join(own) or 'nobody'} lie"
    value = state.to_json() | {"home": str(home.path.absolute()), "keys": f"{whose} in this folder"}
    for described, organization in zip(value["organizations"], topology.organizations, strict=True):
        described["connection_profile"] = str(home.connection_profile(organization).absolute())
    return value


def _people(value: dict[str, Any]) -> list[str | Table]:
    rows = [
        (one["name"], one["msp_id"], ", ".join(peer["address"] for peer in one["peers"]), one["connection_profile"])
        for one in value["organizations"]
    ]
    orderer = ", ".join(node["address"] for node in value["orderer"]["orderers"])
    kind = {"embedded": "Embedded network"}.get(value["runtime"], "Network of Fabric's own programs")
    caution = "for development and tests only" if value["runtime"] == "embedded" else value["keys"]
    return [
        table(f"{kind}, channel {value['channel']}", ("name", "MSP id", "peers", "connection profile"), rows),
        f"orderer at {orderer}; up in {value['seconds']} s; {caution}",
    ]


def _next_step(market: bool) -> str:
    if market:
        return "`goldengrain credits balance`, `goldengrain task open --help`"
    return "`goldengrain chaincode deploy --help`, or the market: `goldengrain network up --market`"
