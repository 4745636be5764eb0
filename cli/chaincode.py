"""`goldengrain chaincode`: any chaincode-as-a-service server on the network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import FileRefused
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.network import lifecycle
from goldengrain.network.definition import MAJORITY


@click.group(cls=Group)
def chaincode() -> None:
    """Deploy chaincode servers of any language through Fabric's lifecycle."""


@command(chaincode, example="goldengrain chaincode deploy --name basic --version 1.0 --address 127.0.0.1:9999")
@click.option("--name", required=True, help="Name of the chaincode.")
@click.option("--version", required=True, help="Version of the chaincode, free text.")
@click.option("--address", required=True, metavar="HOST:PORT", help="Where its server listens (now or later).")
@click.option(
    "--policy",
    default=MAJORITY,
    help="Endorsement policy, such as \"OR('Org1MSP.peer','Org2MSP.peer')\"; the majority.",
)
@click.option("--init-required", is_flag=True, help="Its Init must be called before any other function.")
@click.option(
    "--tls-root",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM file of the authority of the server's certificate; without it, no TLS.",
)
async def deploy(
    context: click.Context,
    name: str,
    version: str,
    address: str,
    policy: str,
    init_required: bool,
    tls_root: Path | None,
) -> None:
    """Install, approve and commit a chaincode for every organisation. The server need not run yet.

    Start the server with the package id that this prints (CHAINCODE_ID) at the address that you gave.
    """
    home = home_of(context)
    with console(context).status(f"deploying {name}"):
        made = await lifecycle.deploy(
            home,
            name,
            version,
            address,
            policy=policy,
            tls_root=_read(tls_root),
            init_required=init_required,
            clock=LedgerClock(home.clock_file),
        )
    value = asdict(made) | {"address": address}
    lines = [
        f"{name} {version}, sequence {made.sequence}: {'deployed' if made.changed else 'nothing to change'}",
        f"package id: {made.package_id}",
        f"next: start its server with CHAINCODE_ID={made.package_id} CHAINCODE_SERVER_ADDRESS={address}",
    ]
    emit(context, value, lines)


@command(chaincode, example="goldengrain chaincode status golden-grain")
@click.argument("name")
async def status(context: click.Context, name: str) -> None:
    """Show a chaincode's committed definition and which organisations have approved it."""
    home = home_of(context)
    found = await lifecycle.committed(home, name, clock=LedgerClock(home.clock_file))
    if found is None:
        emit(
            context,
            {"name": name, "committed": False},
            [f"{name} is not deployed; `goldengrain chaincode deploy` does it"],
        )
        return
    rows = [(organization, "yes" if approved else "no") for organization, approved in sorted(found.approvals.items())]
    title = f"{found.name} {found.version}, sequence {found.sequence}"
    emit(context, {"committed": True} | asdict(found), [table(title, ("organisation", "approved"), rows)])


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}") from error
