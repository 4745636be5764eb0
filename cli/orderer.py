"""`goldengrain orderer`: ordering nodes of real networks."""

from __future__ import annotations

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.output import console, emit
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import growth
from goldengrain.network.topology import LOOPBACK, Orderer

_NEXT = "next: `goldengrain network status` shows who leads and how far each is"


@click.group(cls=Group)
def orderer() -> None:
    """Add, replace and remove ordering nodes (of real networks)."""


@command(orderer, example="goldengrain orderer add orderer4")
@click.argument("name")
@click.option("--org", "organization", help="Organisation that runs it; the first that runs orderers.")
@click.option("--listen", default=LOOPBACK, show_default=True, help="IP address that it is reached at.")
async def add(context: click.Context, name: str, organization: str | None, listen: str) -> None:
    """Add an ordering node: certificates, channel configuration, process."""
    acts = Acts(console(context))
    made = await growth.add_orderer(
        home_of(context), Orderer(name, listen=listen), organization=organization, steps=acts.act
    )
    emit(context, {"name": made.name, "address": made.address}, [f"{made.name} orders at {made.address}", _NEXT])


@command(orderer, example="goldengrain orderer replace orderer2 orderer4")
@click.argument("old")
@click.argument("name")
@click.option("--org", "organization", help="Organisation that runs both; the first that runs orderers.")
@click.option("--listen", default=LOOPBACK, show_default=True, help="IP address that the new one is reached at.")
async def replace(context: click.Context, old: str, name: str, organization: str | None, listen: str) -> None:
    """Put a new ordering node in the place of one, which may be dead."""
    acts = Acts(console(context))
    made = await growth.add_orderer(
        home_of(context), Orderer(name, listen=listen), organization=organization, instead_of=old, steps=acts.act
    )
    value = {"name": made.name, "address": made.address, "replaced": old}
    emit(context, value, [f"{made.name} orders at {made.address} instead of {old}", _NEXT])


@command(orderer, example="goldengrain orderer remove orderer4")
@click.argument("name")
@click.option("--org", "organization", help="Organisation that runs it; the first that runs orderers.")
async def remove(context: click.Context, name: str, organization: str | None) -> None:
    """Remove an ordering node from the channel and stop it; its data stay in the folder."""
    acts = Acts(console(context))
    gone = await growth.remove_orderer(home_of(context), name, organization=organization, steps=acts.act)
    emit(context, {"removed": gone.name}, [f"{gone.name} orders no more", _NEXT])
