"""`goldengrain context`: through which organisation, and as whom, the other commands act."""

from __future__ import annotations

from pathlib import Path

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.contexts import Contexts
from goldengrain.cli.output import emit, table
from goldengrain.cli.session import home_of
from goldengrain.gateway.wallet import Wallet


@click.group(cls=Group)
def context() -> None:
    """Choose through which organisation, and as whom, commands act."""


@command(context, name="list", example="goldengrain context list")
def list_contexts(click_context: click.Context) -> None:
    """List the contexts of this network; the current one is marked."""
    contexts = Contexts(home_of(click_context))
    rows = [("*" if one == contexts.current else "", *one.to_json().values()) for one in contexts.all()]
    emit(
        click_context,
        {"current": contexts.current.name, "contexts": [one.to_json() for one in contexts.all()]},
        [table("Contexts", ("", "name", "organisation", "identity", "channel", "contract", "password file"), rows)],
    )


@command(context, example="goldengrain context use org2 --identity Admin@org2.example.com")
@click.argument("name")
@click.option("--identity", metavar="LABEL", help="Wallet label that commands of this context act as.")
@click.option("--contract", metavar="NAME", help="Chaincode that commands of this context call.")
@click.option("--password-file", type=click.Path(path_type=Path, dir_okay=False), help="Passphrase of its key.")
def use(
    click_context: click.Context,
    name: str,
    identity: str | None,
    contract: str | None,
    password_file: Path | None,
) -> None:
    """Make a context the current one; its identity and contract, and where the passphrase lies, can be changed."""
    home = home_of(click_context)
    if identity is not None:
        Wallet(home.wallet).identity(identity)
    secret = None if password_file is None else str(password_file.absolute())
    chosen = Contexts(home).use(name, identity=identity, contract=contract, password_file=secret)
    emit(click_context, chosen.to_json(), [f"now {chosen.identity} through {chosen.organization}"])
