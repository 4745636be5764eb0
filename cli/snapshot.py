"""`goldengrain snapshot`: snapshots of real peers' ledgers."""

from __future__ import annotations

from pathlib import Path

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.output import console, emit
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import growth, snapshots
from goldengrain.network.topology import Peer


@click.group(cls=Group)
def snapshot() -> None:
    """Take snapshots of peers' ledgers, and begin new peers with them."""


@command(snapshot, example="goldengrain snapshot create peer0.org1.example.com")
@click.argument("peer")
async def create(context: click.Context, peer: str) -> None:
    """Have a peer (its host name) take a snapshot at its newest block; it lies in HOME/snapshots then."""
    with Acts(console(context)).act(f"{peer} has taken a snapshot"):
        made = await snapshots.create_snapshot(home_of(context), peer)
    emit(
        context,
        {"snapshot": str(made.absolute()), "block": int(made.name)},
        [f"snapshot at block {made.name}: {made}", f"next: `goldengrain snapshot restore {made} ORGANIZATION peer1`"],
    )


@command(snapshot, example="goldengrain snapshot restore .goldengrain/snapshots/market/42 Org1 peer1")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("organization")
@click.argument("name")
async def restore(context: click.Context, folder: Path, organization: str, name: str) -> None:
    """Add a peer to an organisation that begins with a snapshot instead of the first block."""
    home = home_of(context)
    acts = Acts(console(context))
    made = await growth.add_peer(home, organization, Peer(name), snapshot=folder, steps=acts.act)
    host = made.host(home.load_topology().organization(organization))
    emit(
        context,
        {"name": host, "address": made.address},
        [
            f"{host} runs at {made.address}",
            "next: `goldengrain chaincode deploy`, as before, installs there what is deployed",
        ],
    )
