"""`goldengrain tx`: call any function of any contract, look at any transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import FileRefused
from goldengrain.cli.output import emit, table
from goldengrain.cli.session import session
from goldengrain.gateway.blocks import transactions

contract_option = click.option("--contract", metavar="NAME", help="Chaincode to call; without it, the context's.")


@click.group(cls=Group)
def tx() -> None:
    """Submit and evaluate transactions of any contract."""


@command(tx, example="goldengrain tx submit --contract basic CreateAsset asset1 blue 5")
@click.argument("function")
@click.argument("arguments", nargs=-1)
@contract_option
@click.option("--transient", multiple=True, metavar="KEY=FILE", help="Data for the endorsers only, read from a file.")
@click.option("--endorser", "endorsers", multiple=True, metavar="MSP", help="Ask peers of exactly these organisations.")
@click.option(
    "--attempts", default=1, show_default=True, type=click.IntRange(1, 20), help="Tries after read conflicts."
)
async def submit(
    context: click.Context,
    function: str,
    arguments: tuple[str, ...],
    contract: str | None,
    transient: tuple[str, ...],
    endorsers: tuple[str, ...],
    attempts: int,
) -> None:
    """Submit a transaction and wait until it is committed."""
    async with session(context) as opened:
        target = opened.network.contract(contract) if contract else opened.contract
        result = await target.submit(
            function,
            *arguments,
            transient=_transient(transient),
            endorsing_organizations=endorsers,
            attempts=attempts,
        )
    value = {
        "transaction": result.transaction_id,
        "block": result.block,
        "code": result.code,
        "result": _text(result.payload),
    }
    emit(context, value, [f"{result.code} in block {result.block}: {result.transaction_id}", _text(result.payload)])


@command(tx, example="goldengrain tx evaluate --contract basic ReadAsset asset1")
@click.argument("function")
@click.argument("arguments", nargs=-1)
@contract_option
@click.option("--transient", multiple=True, metavar="KEY=FILE", help="Data for the endorser only, read from a file.")
async def evaluate(
    context: click.Context,
    function: str,
    arguments: tuple[str, ...],
    contract: str | None,
    transient: tuple[str, ...],
) -> None:
    """Run a function on one peer; nothing is written."""
    async with session(context) as opened:
        target = opened.network.contract(contract) if contract else opened.contract
        payload = await target.evaluate(function, *arguments, transient=_transient(transient))
    emit(context, {"result": _text(payload)}, [_text(payload)])


@command(tx, example="goldengrain tx show 3f0c…")
@click.argument("transaction")
async def show(context: click.Context, transaction: str) -> None:
    """Show a committed transaction: its block, its code, who called what."""
    async with session(context) as opened, opened.endorser() as endorser:
        block = await endorser.block_by_transaction(opened.context.channel, transaction)
    found = next(one for one in transactions(block) if one.transaction_id == transaction)
    value: dict[str, Any] = {
        "transaction": transaction,
        "block": block.header.number,
        "code": found.code_name,
        "creator": found.creator_msp_id,
        "kind": found.kind,
        "contract": found.call.chaincode if found.call else None,
        "function": found.call.function if found.call else None,
        "timestamp": datetime.fromtimestamp(found.timestamp_ns / 10**9, UTC).isoformat(),
    }
    emit(context, value, [table("Transaction", ("", ""), value.items())])


def _transient(pairs: tuple[str, ...]) -> dict[str, bytes]:
    made = {}
    for pair in pairs:
        key, sign, path = pair.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{pair!r} is not KEY=FILE", param_hint="--transient")
        try:
            made[key] = Path(path).read_bytes()
        except OSError as error:
            raise FileRefused(f"{path} cannot be read: {error.strerror}; give the file that holds {key}") from error
    return made


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload.hex()
