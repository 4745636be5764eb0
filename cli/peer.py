"""`goldengrain peer`: peers of the organisations whose keys are in the folder."""

from __future__ import annotations

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.output import console, emit
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import growth
from goldengrain.network.topology import LOOPBACK, Peer


@click.group(cls=Group)
def peer() -> None:
    """Add peers."""


@command(peer, example="goldengrain peer add Org1 peer1")
@click.argument("organization")
@click.argument("name")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Of its gRPC services; a free one.")
@click.option("--listen", default=LOOPBACK, show_default=True, help="IP address that it is reached at.")
async def add(context: click.Context, organization: str, name: str, port: int, listen: str) -> None:
    """Add a peer to an organisation: certificates, process, channel; it fetches every block from the orderers."""
    home = home_of(context)
    acts = Acts(console(context))
    made = await growth.add_peer(home, organization, Peer(name, port, listen=listen), steps=acts.act)
    owner = home.load_topology().organization(organization)
    value = {"name": made.host(owner), "msp_id": owner.msp_id, "address": made.address}
    emit(
        context,
        value,
        [
            f"{made.host(owner)} runs at {made.address}",
            "next: `goldengrain chaincode deploy`, as before, installs there what is deployed",
        ],
    )
