"""`goldengrain identity`: certificates of users and nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.output import console, emit
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.gateway.passphrases import passphrase
from goldengrain.network import cards, channel_admin, renewal, runtime
from goldengrain.network.config_changes import with_msp
from goldengrain.network.errors import UpdateInvalid
from goldengrain.network.genesis import msp_config
from goldengrain.network.home import Home
from goldengrain.network.nodes import own_nodes
from goldengrain.network.pki import identity_names, issue_identity
from goldengrain.network.profiles import add_to_wallet
from goldengrain.network.topology import OrdererOrganization, Organization, Topology


@click.group(cls=Group)
def identity() -> None:
    """Issue, renew and revoke certificates."""


@command(identity, example="goldengrain identity issue Org1 alice --attribute golden-grain.roles=developer")
@click.argument("organization")
@click.argument("name")
@click.option("--role", type=click.Choice(("client", "admin")), default="client", show_default=True)
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="Goes into the certificate.")
@click.option("--encrypt", "secret", is_flag=True, help="Encrypt its keys, as `identity encrypt` does.")
def issue(
    context: click.Context, organization: str, name: str, role: Any, attributes: tuple[str, ...], secret: bool
) -> None:
    """Issue an identity of an organisation whose authority is in this folder, and put it into the wallet."""
    home = home_of(context)
    owner = home.load_topology().organization(organization)
    password = passphrase(f"the key of {name}") if secret else None
    made = issue_identity(home, owner, name, role, dict(_pair(one) for one in attributes))
    label = add_to_wallet(home, made)
    if password:
        renewal.encrypt(home, owner, password, name)
    lines = [
        f"{label} is in the wallet",
        f"next: `goldengrain wallet show {label}`; act as it by `--as {label}`",
    ]
    emit(context, {"label": label, "msp_id": made.msp_id}, lines)


@command(identity, example="goldengrain identity renew Org1 User1")
@click.argument("organization", required=False)
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Every authority, user and node whose keys are here.")
@click.option("--authorities", is_flag=True, help="Those of the organisation's two authorities alone.")
def renew(
    context: click.Context, organization: str | None, name: str | None, everything: bool, authorities: bool
) -> None:
    """Renew certificates of a user or a node (its host name): of one, of an organisation, or of --all.

    Accounts in the market stay the same. Nodes that run are started again one after the other. Authorities keep key and
    subject; the channels are told, and the market's policy follows, since enclaves believe these certificates.
    """
    home = home_of(context)
    topology = home.load_topology()
    if not everything and organization is None:
        raise CommandLineError("name an organisation (and a user or node of it), or say --all")
    wanted = topology.everyone if organization is None else (_organization(topology, organization),)
    acts = Acts(console(context))
    renewed: dict[str, list[str]] = {}
    for owner in wanted:
        if not (home.organization(owner) / "ca" / "priv_sk").exists():
            continue
        renewed[owner.msp_id] = _renewed(home, topology, owner, name, everything, authorities, acts)
    nodes = {one for names in renewed.values() for one in names}
    if authorities or everything:
        asyncio.run(_tell(home, topology, [one for one in wanted if one.msp_id in renewed], acts))
        nodes |= {one for owner in wanted if owner.msp_id in renewed for one in renewal.node_names(home, owner)}
    _restart(home, topology, nodes, acts)
    lines = [f"{sum(map(len, renewed.values()))} renewed", "next: `goldengrain network status` shows till when"]
    followed = asyncio.run(_follow(home, acts)) if authorities or everything else None
    emit_followed_where_founded(context, followed, {"renewed": renewed}, lines)


@command(identity, example="goldengrain identity revoke Org1 alice")
@click.argument("organization")
@click.argument("name")
async def revoke(context: click.Context, organization: str, name: str) -> None:
    """Revoke a user's or node's certificate: on the organisation's list, and in its channels if the network runs.

    Where there is a market, its policy follows: the trust bundle without that list is good for nothing from then on.
    """
    home = home_of(context)
    topology = home.load_topology()
    owner = _organization(topology, organization)
    acts = Acts(console(context))
    renewal.revoke(home, owner, name)
    told = await _tell(home, topology, [owner], acts)
    hint = "the channel refuses it from now on" if told else "the channel learns of it: start the network, revoke again"
    value = {"revoked": name, "msp_id": owner.msp_id, "in_channel": told}
    emit_followed_where_founded(
        context, await _follow(home, acts), value, [f"{name} is revoked; {hint}", "next: `goldengrain wallet list`"]
    )


@command(identity, example="goldengrain identity encrypt Org1 Admin")
@click.argument("organization")
@click.argument("name", required=False)
def encrypt(context: click.Context, organization: str, name: str | None) -> None:
    """Encrypt the keys of an organisation's certificate authorities, or those of its user NAME, by a passphrase.

    It is the one in GOLDENGRAIN_KEY_PASSWORD, in the file that GOLDENGRAIN_KEY_PASSWORD_FILE or the context names, or
    is asked for. From then on whatever uses these keys needs it. Nodes' keys stay as they are: Fabric reads them so.
    """
    home = home_of(context)
    owner = _organization(home.load_topology(), organization)
    what = f"the keys of {name} of {owner.name}" if name else f"the authorities' keys of {owner.name}"
    renewal.encrypt(home, owner, passphrase(what), name)
    emit(
        context,
        {"encrypted": owner.msp_id, "name": name},
        [f"{what} are encrypted", "next: `goldengrain context use --help` says where the passphrase may lie"],
    )


def _renewed(
    home: Home,
    topology: Topology,
    owner: Organization | OrdererOrganization,
    name: str | None,
    everything: bool,
    authorities: bool,
    acts: Acts,
) -> list[str]:
    """Renew what is wanted of an organisation; returns whose certificates they are."""
    made = []
    if authorities or everything:
        with acts.act(f"authorities of {owner.name}"):
            renewal.renew_authorities(home, topology, owner)
        made += [f"ca.{owner.domain}", f"tlsca.{owner.domain}"]
        if cards.card_file(home, owner).exists():
            cards.write_card(home, owner)
    if authorities:
        return made
    names = [name] if name else [*identity_names(home, owner), *renewal.node_names(home, owner)]
    with acts.act(f"certificates of {owner.name}: {', '.join(names)}"):
        for one in names:
            renewal.renew(home, owner, one)
    return made + names


async def _tell(
    home: Home, topology: Topology, owners: Iterable[Organization | OrdererOrganization], acts: Acts
) -> bool:
    """Put organisations' authorities and revocation lists into their channels; False where the network does not run."""
    if not runtime.is_running(home):
        return False
    for channel in topology.channels:
        for owner in owners:
            if isinstance(owner, Organization) and owner not in topology.members(channel):
                continue
            change = partial(with_msp, config=msp_config(home, owner))
            with suppress(UpdateInvalid), acts.act(f"channel {channel.name}: certificates of {owner.name}"):
                proposal = await channel_admin.propose(home, channel.name, change)
                await channel_admin.submit(home, channel.name, proposal)
    return True


async def _follow(home: Home, acts: Acts) -> Any:
    """Have the policy of a market follow the channel; None where there is none, or where it fits."""
    following = import_module("goldengrain.cli.following")
    if not runtime.is_running(home) or not await following.is_founded(home):
        return None
    return await following.follow(home, steps=acts.act)


def emit_followed_where_founded(context: click.Context, done: Any, value: dict[str, Any], lines: list[str]) -> None:
    """End a command, with what has become of the market's policy where it had to follow."""
    if done is None:
        emit(context, value, lines)
        return
    import_module("goldengrain.cli.policy").emit_followed(context, done, value, lines)


def _restart(home: Home, topology: Topology, renewed: set[str], acts: Acts) -> None:
    if not runtime.is_running(home):
        return
    nodes = [node.name for node in own_nodes(home, topology) if node.name in renewed]
    if not nodes:
        return
    if runtime.runtime_of(home) == "embedded":
        with acts.act("network restarted"):
            runtime.down(home)
            runtime.up(home)
        return
    for node in nodes:
        asyncio.run(runtime.restart_node(home, node, steps=acts.act))


def _organization(topology: Topology, name: str) -> Organization | OrdererOrganization:
    for one in topology.orderer_organizations:
        if name in (one.name, one.msp_id, one.domain):
            return one
    return topology.organization(name)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise CommandLineError(f"--attribute {text!r} is not NAME=VALUE")
    return name, value
