"""`goldengrain identity`: certificates of users and nodes."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.output import console, emit
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import channel_admin, renewal, runtime
from goldengrain.network.config_changes import with_msp
from goldengrain.network.genesis import msp_config
from goldengrain.network.home import Home
from goldengrain.network.msp_folders import PASSWORD_VARIABLE
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
def issue(context: click.Context, organization: str, name: str, role: Any, attributes: tuple[str, ...]) -> None:
    """Issue an identity of an organisation whose authority is in this folder, and put it into the wallet."""
    home = home_of(context)
    owner = home.load_topology().organization(organization)
    made = issue_identity(home, owner, name, role, dict(_pair(one) for one in attributes))
    label = add_to_wallet(home, made)
    emit(context, {"label": label, "msp_id": made.msp_id}, [f"{label} is in the wallet; act as it with `--as {label}`"])


@command(identity, example="goldengrain identity renew Org1 User1")
@click.argument("organization", required=False)
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Every user and node of all organisations whose keys are here.")
def renew(context: click.Context, organization: str | None, name: str | None, everything: bool) -> None:
    """Renew certificates of a user or a node (its host name): of one, of an organisation, or of --all.

    Accounts in the market stay the same. Nodes that run are started again one after the other.
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
        names = [name] if name else [*identity_names(home, owner), *renewal.node_names(home, owner)]
        with acts.act(f"certificates of {owner.name}: {', '.join(names)}"):
            for one in names:
                renewal.renew(home, owner, one)
        renewed[owner.msp_id] = names
    _restart(home, topology, {one for names in renewed.values() for one in names}, acts)
    emit(
        context, {"renewed": renewed}, [f"{sum(map(len, renewed.values()))} renewed; `network status` shows till when"]
    )


@command(identity, example="goldengrain identity revoke Org1 alice")
@click.argument("organization")
@click.argument("name")
async def revoke(context: click.Context, organization: str, name: str) -> None:
    """Revoke a user's or node's certificate: on the organisation's list, and in the channel if the network runs.

    Enclaves follow once a policy with the new trust bundle is voted.
    """
    home = home_of(context)
    topology = home.load_topology()
    owner = _organization(topology, organization)
    renewal.revoke(home, owner, name)
    told = runtime.is_running(home)
    if told:
        change = partial(with_msp, config=msp_config(home, owner))
        channel = topology.channel.name
        await channel_admin.submit(home, channel, await channel_admin.propose(home, channel, change))
    hint = "the channel refuses it from now on" if told else "the channel learns of it: start the network, revoke again"
    emit(context, {"revoked": name, "msp_id": owner.msp_id, "in_channel": told}, [f"{name} is revoked; {hint}"])


@command(identity, example="goldengrain identity encrypt Org1")
@click.argument("organization")
def encrypt(context: click.Context, organization: str) -> None:
    """Encrypt the keys of an organisation's certificate authorities by the password in GOLDENGRAIN_KEY_PASSWORD.

    From then on issuing, renewing and revoking need it.
    """
    home = home_of(context)
    owner = _organization(home.load_topology(), organization)
    renewal.encrypt(home, owner, os.environ.get(PASSWORD_VARIABLE, "").encode())
    emit(context, {"encrypted": owner.msp_id}, [f"the authorities' keys of {owner.name} are encrypted"])


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
