"""`goldengrain org`: members of the channel."""

from __future__ import annotations

from pathlib import Path

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.output import console, emit
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import cards, growth
from goldengrain.network.topology import LOOPBACK, Orderer, OrdererOrganization, Organization, Peer


@click.group(cls=Group)
def org() -> None:
    """Add and remove members of the channel; found a consortium whose members keep their own keys."""


@command(org, example="goldengrain org init Org1 --listen 10.0.0.1")
@click.argument("name")
@click.option("--msp-id", help="MSP id; NAMEMSP where it is not given.")
@click.option("--domain", help="Domain of its nodes; NAME.example.com in lower case where it is not given.")
@click.option("--peers", default=1, show_default=True, type=click.IntRange(1, 16), help="How many peers it runs.")
@click.option("--orderers", type=click.IntRange(1, 16), help="It runs so many ordering nodes, and no peers.")
@click.option("--listen", default=LOOPBACK, show_default=True, help="IP address or name that its nodes are reached at.")
def init(
    context: click.Context,
    name: str,
    msp_id: str | None,
    domain: str | None,
    peers: int,
    orderers: int | None,
    listen: str,
) -> None:
    """Make an organisation's certificates and keys, which stay in this folder, and its card for the others."""
    names = (name, msp_id or f"{name}MSP", domain or f"{name.lower()}.example.com")
    if orderers is None:
        nodes = tuple(Peer(f"peer{number}", listen=listen) for number in range(peers))
        wanted: Organization | OrdererOrganization = Organization(*names, peers=nodes)
    else:
        ordering = tuple(Orderer(f"orderer{number}", listen=listen) for number in range(orderers))
        wanted = OrdererOrganization(*names, orderers=ordering)
    home = home_of(context)
    made = cards.init_organization(home, wanted)
    card = cards.card_file(home, made)
    hint = f"next: hand {card} to who founds the network (`goldengrain network found`), or to its members (`org add`)"
    emit(context, {"name": made.name, "msp_id": made.msp_id, "card": str(card.absolute())}, [f"wrote {card}", hint])


@command(org, example="goldengrain org add Org4 --peers 2")
@click.argument("name")
@click.option("--msp-id", help="MSP id; NAMEMSP where it is not given.")
@click.option("--domain", help="Domain of its nodes; NAME.example.com in lower case where it is not given.")
@click.option("--peers", default=1, show_default=True, type=click.IntRange(1, 16), help="How many peers to run.")
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False), help="Its card, where it keeps its own keys.")
async def add(
    context: click.Context, name: str, msp_id: str | None, domain: str | None, peers: int, card: Path | None
) -> None:
    """Add an organisation to the running network: certificates, channel configuration, peers.

    With its card only the channel changes; it joins by the bundle that `network export` writes.

    Its peers endorse once it has approved the chaincodes: repeat `chaincode deploy`, or `network up --market`.
    """
    organization = Organization(
        name,
        msp_id or f"{name}MSP",
        domain or f"{name.lower()}.example.com",
        peers=tuple(Peer(f"peer{number}") for number in range(peers)),
    )
    home = home_of(context)
    if card is not None:
        placed = cards.place_card(home, cards.read_card(card))
        if not isinstance(placed, Organization) or placed.name != name:
            raise CommandLineError(f"{card} is not the card of a member {name}")
        organization = placed
    acts = Acts(console(context))
    made = await growth.add_organization(home, organization, steps=acts.act)
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
