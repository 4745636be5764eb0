"""`goldengrain events`: what contracts announce, as it is committed."""

from __future__ import annotations

import json
import sys

import click
from rich.text import Text

from goldengrain.cli.command import Group, command
from goldengrain.cli.output import console, plain, printable
from goldengrain.cli.session import session
from goldengrain.cli.settings import settings
from goldengrain.gateway.events import ChaincodeEvent


@click.group(cls=Group)
def events() -> None:
    """Follow the events of a contract."""


@command(events, example="goldengrain events follow --from-block 0 --limit 20")
@click.option("--contract", metavar="NAME", help="Chaincode to listen to; without it, the context's.")
@click.option("--from-block", type=click.IntRange(0), help="Replay from this block on; without it, only what comes.")
@click.option("--limit", type=click.IntRange(1), help="Stop after so many events; without it, never.")
async def follow(context: click.Context, contract: str | None, from_block: int | None, limit: int | None) -> None:
    """Print events as they are committed, one line each (one JSON object a line with --json); stop with Ctrl+C."""
    left = limit
    async with session(context) as opened:
        name = contract or opened.context.contract
        async with opened.network.chaincode_events(name, from_block) as stream:
            async for event in stream:
                _print(context, event)
                if left is not None:
                    left -= 1
                    if not left:
                        return


def _print(context: click.Context, event: ChaincodeEvent) -> None:
    payload = event.payload.decode(errors="replace")
    if settings(context).json:
        line = {"block": event.block, "transaction": event.transaction_id, "event": event.name, "payload": payload}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        return
    head = Text.assemble(
        (f"{event.block:>6} {event.transaction_id[:12]} ", "dim"), (printable(event.name), "bold"), " "
    )
    console(context).print(head, plain(payload), sep="", soft_wrap=True)
