"""`goldengrain org`: members of the channel."""

from __future__ import annotations

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.output import console, emit
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import growth
from goldengrain.network.topology import Organization, Peer


@click.group(cls=Group)
def org() -> None:
    """Add and remove members of the channel."""


@command(org, example="goldengrain org add Org4 --peers 2")
@click.argument("name")
@click.option("--msp-id", help="MSP id; NAMEMSP where it is not given.")
@click.option("--domain", help="Domain of its nodes; NAME.example.com in lower case where it is not given.")
@click.option("--peers", default=1, show_default=True, type=click.IntRange(1, 16), help="How many peers to run.")
async def add(context: click.Context, name: str, msp_id: str | None, domain: str | None, peers: int) -> None:
    """Add an organisation to the running network: certificates, channel configuration, peers.

    Its peers endorse once it has approved the chaincodes: repeat `chaincode deploy`, or `network up --market`.
    """
    organization = Organization(
        name,
        msp_id or f"{name}MSP",
        domain or f"{name.lower()}.example.com",
        peers=tuple(Peer(f"peer{number}") for number in range(peers)),
    )
    acts = Acts(console(context))
    made = await growth.add_organization(home_of(context), organization, steps=acts.act)
    addresses = {peer.host(made): peer.address for peer in made.peers}
    value = {"name": made.name, "msp_id": made.msp_id, "domain": made.domain, "peers": addresses}
    emit(context, value, [f"{made.name} is a member; next: have it approve with `goldengrain chaincode deploy`"])


@command(org, example="goldengrain org remove Org4")
@click.argument("name")
async def remove(context: click.Context, name: str) -> None:
    """Remove an organisation from the channel and stop its peers; its keys and ledgers stay in the folder."""
    acts = Acts(console(context))
    removed = await growth.remove_organization(home_of(context), name, steps=acts.act)
    emit(context, {"removed": removed.msp_id}, [f"{removed.name} is no member any more"])
