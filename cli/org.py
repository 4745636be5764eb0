"""`goldengrain org`: members of the channel."""

from __future__ import annotations

from pathlib import Path

import click

from goldengrain.cli import contract_process, following
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.founding import approve_contract
from goldengrain.cli.market_session import account_from
from goldengrain.cli.output import console, emit
from goldengrain.cli.policy import emit_followed, followed_lines, followed_value, operators_option
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import cards, growth
from goldengrain.network.home import write_atomically
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
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), help="Write the channel's change; send nothing."
)
@operators_option
async def add(
    context: click.Context,
    name: str,
    msp_id: str | None,
    domain: str | None,
    peers: int,
    card: Path | None,
    file: Path | None,
    operators: tuple[str, ...],
) -> None:
    """Add an organisation to the running network: certificates, channel configuration, peers, the market's policy.

    With its card only channel and policy change; it joins by the bundle that `network export` writes. Where the Admins'
    keys lie apart, --file writes the channel's change for them to sign; once it is submitted, `org add` goes on.

    Its peers endorse once it has approved the chaincodes: here it approves the market's contract at once, others by
    `chaincode deploy`.
    """
    organization = Organization(
        name,
        msp_id or f"{name}MSP",
        domain or f"{name.lower()}.example.com",
        peers=tuple(Peer(f"peer{number}") for number in range(peers)),
    )
    home = home_of(context)
    accounts = [account_from(home, one) for one in operators]
    if card is not None:
        placed = cards.place_card(home, cards.read_card(card))
        if not isinstance(placed, Organization) or placed.name != name:
            raise CommandLineError(f"{card} is not the card of a member {name}")
        organization = placed
    if file is not None:
        if card is None:
            raise CommandLineError("--file goes with --card: the organisation keeps its own keys")
        write_atomically(file, await growth.propose_organization(home, organization))
        written = {"file": str(file), "msp_id": organization.msp_id}
        emit(context, written, [f"wrote {file}; next: `goldengrain channel sign {file}` here and at the others"])
        return
    acts = Acts(console(context))
    made = await growth.add_organization(home, organization, steps=acts.act)
    addresses = {peer.host(made): peer.address for peer in made.peers}
    value = {"name": made.name, "msp_id": made.msp_id, "domain": made.domain, "peers": addresses}
    lines = [f"{made.name} is a member of channel {home.load_topology().channel.name}"]
    if contract_process.load(home) is not None:
        with acts.act(f"the market's contract: approved by {made.name}"):
            await approve_contract(home)
    if not await following.is_founded(home):
        emit(context, value | {"policy": None}, [*lines, "next: have it approve with `goldengrain chaincode deploy`"])
        return
    emit_followed(context, await following.follow(home, operators=accounts, steps=acts.act), value, lines)


@command(org, example="goldengrain org accept org4.json")
@click.argument("card", type=click.Path(path_type=Path, dir_okay=False))
def accept(context: click.Context, card: Path) -> None:
    """Take an organisation's CARD over again, after it has renewed its authorities: certificates, profiles.

    An authority with another key than before is refused.
    """
    home = home_of(context)
    taken = cards.accept_card(home, cards.read_card(card))
    hint = "next: `goldengrain network restart`, when it suits; what runs goes on until the old certificates end"
    emit(context, {"name": taken.name, "msp_id": taken.msp_id}, [f"certificates of {taken.name} taken over", hint])


@command(org, example="goldengrain org remove Org4")
@click.argument("name")
async def remove(context: click.Context, name: str) -> None:
    """Remove an organisation from the market's policy and the channel and stop its peers; its keys and ledgers stay.

    The policy comes first: the trust bundle that names the organisation is good for nothing from then on.
    """
    home = home_of(context)
    acts = Acts(console(context))
    leaving = home.load_topology().organization(name)
    done = None
    if await following.is_founded(home):
        done = await following.follow(home, without=leaving.msp_id, steps=acts.act)
        if done is not None and not done.carried:
            raise CommandLineError(
                f"policy {done.number} without {leaving.msp_id} has only the votes of {', '.join(done.votes)}; the "
                f"others vote by `goldengrain policy vote {done.proposal}`, then remove it from the channel"
            )
    removed = await growth.remove_organization(home, name, steps=acts.act)
    value = {"removed": removed.msp_id, "policy": followed_value(done)}
    hint = followed_lines(done) if done else ["next: `goldengrain channel info`"]
    lines = [f"{removed.name} is no member any more", *hint]
    emit(context, value, lines)
