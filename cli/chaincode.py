"""`goldengrain chaincode`: any chaincode-as-a-service server on the network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError, FileRefused
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.cli.stage.acts import Acts
from goldengrain.network import lifecycle
from goldengrain.network.definition import MAJORITY
from goldengrain.network.indexes import read_indexes


@click.group(cls=Group)
def chaincode() -> None:
    """Deploy chaincode servers of any language through Fabric's lifecycle."""


@dataclass(frozen=True)
class Wanted:
    """A definition and where its server is, from the command line."""

    name: str
    version: str
    address: str
    policy: str
    init_required: bool
    tls_root: Path | None
    indexes: Path | None
    channel: str | None


channel_option = click.option("--channel", metavar="NAME", help="On which channel; the network's first.")


def _definition(function: Callable[[click.Context, Wanted], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Give a command the options that describe a definition, as one value."""

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
    @click.option(
        "--indexes",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Folder of CouchDB indexes, NAME.json and COLLECTION/NAME.json, for peers that have CouchDB.",
    )
    @channel_option
    @wraps(function)
    def call(context: click.Context, **options: Any) -> Awaitable[None]:
        return function(context, Wanted(**options))

    return call


@command(chaincode, example="goldengrain chaincode deploy --name basic --version 1.0 --address 127.0.0.1:9999")
@_definition
async def deploy(context: click.Context, wanted: Wanted) -> None:
    """Install, approve and commit a chaincode for every organisation whose keys are here. The server need not run yet.

    The sequence is worked out. Organisations that hold their keys elsewhere run the same command there; whoever brings
    the majority together commits. Start the server with the package id that this prints (CHAINCODE_ID) at the address
    that you gave.
    """
    await _bring(context, wanted)


@command(chaincode, example="goldengrain chaincode upgrade --name basic --version 2.0 --address 127.0.0.1:9998")
@_definition
async def upgrade(context: click.Context, wanted: Wanted) -> None:
    """Put a new definition in the place of one that is deployed: another version, policy or server."""
    home = home_of(context)
    if await lifecycle.committed(home, wanted.name, channel=wanted.channel) is None:
        raise CommandLineError(f"{wanted.name} is not deployed; `goldengrain chaincode deploy` does it")
    await _bring(context, wanted)


@command(chaincode, example="goldengrain chaincode approve --name basic --version 1.0 --address 127.0.0.1:9999")
@_definition
async def approve(context: click.Context, wanted: Wanted) -> None:
    """Only install and approve, for every organisation whose keys are here; somebody else commits by `deploy`."""
    await _bring(context, wanted, commit=False)


async def _bring(context: click.Context, wanted: Wanted, *, commit: bool = True) -> None:
    home = home_of(context)
    made = await lifecycle.deploy(
        home,
        wanted.name,
        wanted.version,
        wanted.address,
        policy=wanted.policy,
        tls_root=_read(wanted.tls_root),
        init_required=wanted.init_required,
        indexes=read_indexes(wanted.indexes) if wanted.indexes else None,
        commit=commit,
        channel=wanted.channel,
        steps=Acts(console(context)).act,
    )
    channel = home.load_topology().channel_named(wanted.channel).name
    value = asdict(made) | {"address": wanted.address, "channel": channel}
    lines = [
        f"{made.name} {made.version}, sequence {made.sequence}: {_outcome(made) if commit else _approved(made)}",
        f"package id: {made.package_id}",
        f"next: start its server with CHAINCODE_ID={made.package_id} CHAINCODE_SERVER_ADDRESS={wanted.address}",
    ]
    emit(context, value, lines)


@command(chaincode, example="goldengrain chaincode status golden-grain")
@click.argument("name")
@channel_option
async def status(context: click.Context, name: str, channel: str | None) -> None:
    """Show a chaincode's committed definition and which organisations have approved it."""
    home = home_of(context)
    found = await lifecycle.committed(home, name, channel=channel)
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


def _approved(made: lifecycle.Deployment) -> str:
    missing = f"; {', '.join(made.waiting_for)} have not" if made.waiting_for else " by all; `chaincode deploy` commits"
    return f"approved{missing}"


def _outcome(made: lifecycle.Deployment) -> str:
    if made.waiting_for:
        return f"approved; {', '.join(made.waiting_for)} still have to, by the same command where their keys are"
    return "deployed" if made.changed else "nothing to change"


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}") from error
