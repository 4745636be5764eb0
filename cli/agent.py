"""`goldengrain agent`: do what one side of the market owes, in time, until told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click
from rich.text import Text

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.cli.agents.agent import Agent, Side
from goldengrain.cli.agents.developer import Developer
from goldengrain.cli.agents.duty import Duty, Kind, Notice
from goldengrain.cli.agents.operator import Operator
from goldengrain.cli.agents.provider import Provider
from goldengrain.cli.collateral import roots_option
from goldengrain.cli.command import Group, command
from goldengrain.cli.enclave_process import EnclaveKeeper
from goldengrain.cli.market_session import market_session, short
from goldengrain.cli.operators import NAME, challenger_option, challenging, evidence_for, pccs_option, prepare
from goldengrain.cli.output import console, emit, printable, table
from goldengrain.cli.session import home_of
from goldengrain.cli.settings import settings
from goldengrain.cli.timing import DURATION, moment
from goldengrain.network.home import Home

once_option = click.option("--once", is_flag=True, help="Do what is due now and exit: 0 if nothing failed, 1 if not.")
COLOURS = {Kind.DONE: "green", Kind.FAILED: "red", Kind.WARNING: "bold yellow", Kind.MISSED: "bold red"}


@click.group(cls=Group)
def agent() -> None:
    """Do what one side owes, in time: run one for whoever buys, sells or benchmarks.

    An agent works until Ctrl+C. It says what it did, what failed, and before a deadline is missed. It may be killed at
    any moment: started again, it finishes what is owed. Two of the same do no harm.
    """


@command(agent, example="goldengrain agent provider --as User1@org1.example.com")
@once_option
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where bought models go, as OFFER.onnx.  [default: HOME/bought]",
)
async def provider(context: click.Context, once: bool, into: Path | None) -> int:
    """For who opened tasks: receipts, opening what was bought, awards, forfeits, refunds, the test set before A."""
    async with market_session(context) as opened:
        side = Provider(opened.market, opened.home, opened.stores, into or opened.home.path / "bought")
        return await _work(context, opened.home, side, once)


@command(agent, example="goldengrain agent developer --as User1@org2.example.com")
@once_option
async def developer(context: click.Context, once: bool) -> int:
    """For who made offers: the secret r in time, envelopes for further enclaves, and what is to be taken back."""
    async with market_session(context) as opened:
        return await _work(context, opened.home, Developer(opened.market, opened.home, opened.stores), once)


@command(agent, example="goldengrain agent operator org2 --as operator@org2.example.com")
@NAME
@once_option
@challenger_option
@click.option("--lease", type=DURATION, help="Lease of a claim.  [default: 10m, within the policy's bounds and B]")
@pccs_option
@roots_option
async def operator(
    context: click.Context,
    name: str | None,
    once: bool,
    challenger: str | None,
    lease: int | None,
    pccs: str | None,
    pccs_ca: Path | None,
) -> int:
    """For who runs an enclave: its registration and renewals, claims, reports in time, lapses, collateral.

    NAME tells enclaves of one machine apart (default: the organisation's).
    """
    home, name = home_of(context), prepare(context, name)
    async with market_session(context) as opened:
        where = opened.context
        async with EnclaveKeeper(home, name, channel=where.channel, contract=where.contract) as keeper:
            other = challenging(opened, challenger)
            evidence = await evidence_for(opened, keeper, name, pccs, pccs_ca)
            side = Operator(opened.market, home, opened.stores, keeper, other, lease, evidence=evidence)
            return await _work(context, home, side, once)


async def _work(context: click.Context, home: Home, side: Side, once: bool) -> int:
    clock = LedgerClock(home.clock_file)
    if not once:
        await Agent(side, clock, partial(show, context, sink=sys.stdout)).work(stopped_by_signals())
        return 0
    notices: list[Notice] = []
    agent = Agent(side, clock, notices.append)
    with console(context).status("doing what is due"):
        left = await agent.once()
    now = clock.now()
    undone = [one for one in left if one.due <= now]
    value: dict[str, Any] = {str(kind): _of_kind(notices, kind) for kind in COLOURS}
    value["waiting"] = [_waiting(one, now) for one in left if one.due > now]
    emit(context, value, [*map(_line, notices), *_table(left, now)])
    return 1 if undone or agent.counts.get(Kind.FAILED) else 0


def _of_kind(notices: list[Notice], kind: Kind) -> list[dict[str, Any]]:
    return [one.to_json() for one in notices if one.kind is kind]


def _waiting(duty: Duty, now: int) -> dict[str, Any]:
    return duty.named() | {"due": duty.due, "due_in_s": duty.due - now, "until": duty.until}


def _table(duties: list[Duty], now: int) -> list[Any]:
    rows = [
        (
            duty.command,
            f"{duty.what} {short(duty.about)}",
            duty.number,
            "now" if duty.due <= now else f"in {duty.due - now:,} s",
            moment(duty.last) if duty.last else "",
        )
        for duty in sorted(duties, key=lambda one: one.due)
    ]
    return [table("Not done yet", ("command", "of", "number", "due", "send until"), rows)] if rows else []


def show(context: click.Context, notice: Notice, sink: TextIO) -> None:
    """Print a notice as it comes: a line for a person; with --json one JSON object a line, to ``sink``."""
    if settings(context).json:
        sink.write(json.dumps(notice.to_json()) + "\n")
        sink.flush()
    else:
        console(context).print(_line(notice), soft_wrap=True)
        sys.stdout.flush()


def _line(notice: Notice) -> Text:
    return Text(printable(str(notice)), COLOURS.get(notice.kind, ""))


def stopped_by_signals() -> asyncio.Event:
    """Return an event that Ctrl+C and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
